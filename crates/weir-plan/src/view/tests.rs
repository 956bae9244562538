//! Views by their tables, as text; that they answer the same is shown where SQL can be run.

use std::collections::BTreeSet;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::descriptor::{Comparison, Flip, Pruning};

const NOW: &str = "2024-03-10T12:00:00Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn extent(from: &str, to: &str) -> Extent {
    Extent::new(at(from), at(to)).unwrap()
}

fn branch(name: &str, side: Side, column: Option<&str>) -> Branch {
    let pruning = column.map(|column| Pruning {
        column: column.into(),
        time_type: TimeType::Timestamp,
        hidden: true,
        truncated: Duration::from_hours(24),
        behind: Duration::ZERO,
        slack: Duration::ZERO,
    });
    Branch { table: TableId::new("p", "d", name), side, pruning }
}

fn descriptor() -> SourceDescriptor {
    SourceDescriptor {
        time_column: Some("ts".into()),
        flip: Some(Flip { days: 2, comparison: Comparison::ByDate }),
        daily_table: Some(TableId::new("p", "d", "daily")),
        branches: vec![
            branch("live_a", Side::Live, Some("day")),
            branch("live_b", Side::Live, Some("day")),
            branch("daily", Side::Daily, Some("ts")),
        ],
        ..SourceDescriptor::new(TableId::new("p", "d", "v"))
    }
}

const OVERALL: &str = "SELECT ts, SUM(n) AS value FROM `p.d.union` GROUP BY ts;\n";
const UNION: &str = "SELECT ts, n FROM `p.d.live_a` WHERE DATE(ts) > DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY) -- UNION ALL\n\
    union all\n\
    (SELECT ts, n FROM `p`.d.live_b x WHERE DATE(ts) > date_sub(CURRENT_DATE, interval 2 day))\n\
    UNION ALL SELECT ts, n FROM p.d.daily";

fn view(overall: &str, union: &str) -> Result<View, Reason> {
    let names = ["p.d.v", "p.d.union"].map(|name| name.parse::<TableId>().unwrap());
    let texts: BTreeMap<TableId, String> = names.into_iter().zip([overall.to_owned(), union.to_owned()]).collect();
    View::new(&descriptor(), |table| texts.get(table).map(String::as_str))
}

fn text(extent: Extent) -> String {
    let now = at(NOW);
    view(OVERALL, UNION).unwrap().text(extent, descriptor().sides(extent, now), now, &BTreeSet::new())
}

#[test]
fn tables_are_bounded_by_their_pruning_columns() {
    let seam = text(extent("2024-03-07T06:00:00Z", "2024-03-10T12:00:00Z"));
    let live = "(SELECT * FROM `p.d.live_a` WHERE `day` >= TIMESTAMP '2024-03-09T00:00:00Z' \
        AND `day` < TIMESTAMP '2024-03-11T00:00:00Z') AS `live_a` WHERE DATE(ts) > DATE_SUB( DATE '2024-03-10' , INTERVAL 2 DAY) -- UNION ALL";
    assert!(seam.contains(live), "{seam}");
    assert!(seam.contains("(SELECT * FROM `p.d.live_b` WHERE `day` >="), "{seam}");
    assert!(seam.contains(") x WHERE DATE(ts) > date_sub( DATE '2024-03-10' , interval 2 day))"), "{seam}");
    let daily = "(SELECT * FROM `p.d.daily` WHERE `ts` >= TIMESTAMP '2024-03-07T00:00:00Z' \
        AND `ts` < TIMESTAMP '2024-03-09T00:00:00Z') AS `daily`";
    assert!(seam.contains(daily), "{seam}");
    assert!(seam.starts_with("SELECT ts, SUM(n) AS value FROM (\nSELECT ts, n FROM (SELECT"), "{seam}");
    assert!(seam.ends_with("\n) AS `union` GROUP BY ts"), "{seam}");
}

#[test]
fn tables_of_the_other_side_are_left_out() {
    let daily = text(extent("2024-03-01", "2024-03-05"));
    assert!(daily.contains("daily") && !daily.contains("live") && !daily.contains("UNION"), "{daily}");
    let live = text(extent("2024-03-09", "2024-03-10"));
    assert!(!live.contains("daily") && live.contains("live_a") && live.contains("UNION ALL"), "{live}");
}

#[test]
fn arms_that_have_no_rows_are_left_out_where_a_union_is_all_there_is() {
    let now = at(NOW);
    let seam = extent("2024-03-07T06:00:00Z", "2024-03-10T12:00:00Z");
    let read = |union: &str, extent: Extent, empty: &[&str]| {
        let empty = empty.iter().map(|name| TableId::new("p", "d", *name)).collect();
        view(OVERALL, union).unwrap().text(extent, descriptor().sides(extent, now), now, &empty)
    };
    let unions = |text: &str| text.matches("\nUNION ALL\n").count();
    assert_eq!(unions(&read(UNION, seam, &[])), 2);
    let fewer = read(UNION, seam, &["live_a"]);
    assert!(unions(&fewer) == 1 && !fewer.contains("live_a"), "{fewer}");
    let none = read(UNION, seam, &["live_a", "live_b", "daily"]);
    assert!(unions(&none) == 0 && none.contains("`p.d.live_a` WHERE FALSE"), "{none}");
    // What stands round a union is for all of it.
    let past = extent("2024-03-01", "2024-03-05");
    let with = format!("WITH w AS (SELECT 1 AS one) {}", UNION.replace(" -- UNION ALL\nunion all\n", " UNION ALL "));
    for union in [format!("{UNION} ORDER BY ts"), format!("{UNION} LIMIT 5"), with] {
        let text = read(&union, past, &[]);
        assert!(text.contains("`p.d.live_a` WHERE FALSE") && text.contains("`p.d.live_b` WHERE FALSE"), "{text}");
    }
    let cut = "WHERE DATE(ts) > DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)";
    let all = format!(
        "SELECT ALL ts, n FROM `p.d.live_a` {cut} UNION ALL SELECT ALL ts, n FROM `p.d.live_b` {cut} \
         UNION ALL SELECT ALL ts, n FROM `p.d.daily`"
    );
    assert!(!read(&all, past, &[]).contains("live"));
    let nested = format!(
        "SELECT ts, n FROM (SELECT ts, n FROM `p.d.live_a` {cut} UNION ALL SELECT ts, n FROM `p.d.live_b` {cut}) \
         UNION ALL SELECT ts, n FROM `p.d.daily`"
    );
    let text = read(&nested, past, &[]);
    assert!(text.contains("p.d.daily") && !text.contains("live"), "{text}");
}

#[test]
fn a_text_tells_the_tables_that_it_reads() {
    let names = |text: &str| tables(text).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
    let joined = "WITH w AS (SELECT 1 FROM `p.d.a`) SELECT * FROM w JOIN p.d.b USING (x)";
    assert_eq!(names(joined), Some(vec!["p.d.a".to_owned(), "p.d.b".to_owned()]));
    assert_eq!(names("SELECT 1"), Some(vec![]));
    assert_eq!((names("SELECT 1 FROM d.a"), names("SELECT (")), (None, None));
}

#[test]
fn a_table_by_another_column_than_its_time_is_bounded_by_it() {
    let table = |column: &str| SourceDescriptor {
        time_column: Some("ts".into()),
        pruning: branch("t", Side::Both, Some(column)).pruning,
        ..SourceDescriptor::new(TableId::new("p", "d", "t"))
    };
    let day = extent("2024-03-09", "2024-03-10");
    let by_day = table("day");
    let text = View::of_table(&by_day).unwrap().text(day, by_day.sides(day, at(NOW)), at(NOW), &BTreeSet::new());
    assert_eq!(
        text,
        "SELECT * FROM (SELECT * FROM `p.d.t` WHERE `day` >= TIMESTAMP '2024-03-09T00:00:00Z' \
         AND `day` < TIMESTAMP '2024-03-10T00:00:00Z') AS `t`"
    );
    assert!(View::of_table(&table("TS")).is_none());
}

#[test]
fn a_table_outside_of_a_union_is_read_without_rows() {
    let only = SourceDescriptor { branches: vec![branch("live_a", Side::Live, None)], ..descriptor() };
    let text = "SELECT ts FROM `p.d.live_a` WHERE DATE(ts) > DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)";
    let view = View::new(&only, |table| (table.table == "v").then_some(text)).unwrap();
    let past = extent("2024-03-01", "2024-03-05");
    let text = view.text(past, only.sides(past, at(NOW)), at(NOW), &BTreeSet::new());
    let expected = "SELECT ts FROM (SELECT * FROM `p.d.live_a` WHERE FALSE) AS `live_a` WHERE DATE(ts) > ";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_text_that_is_not_the_descriptors_makes_no_view() {
    let check = |overall: &str, union: &str, what: &str| {
        assert_eq!(view(overall, union).err(), Some(reason::VIEW_UNKNOWN), "{what}");
    };
    assert!(view(OVERALL, UNION).is_ok());
    check(OVERALL, "SELECT ts, n FROM `p.d.live_a`", "branches that are not read");
    check(OVERALL, &format!("{UNION} UNION ALL SELECT ts, n FROM `p.d.other`"), "a table that is no branch");
    check(OVERALL, &format!("{UNION} UNION ALL SELECT ts, n FROM d.daily"), "a name without project");
    check(OVERALL, &format!("{UNION} WHERE `p.d.daily`.n > 0"), "a name outside of FROM");
    check(OVERALL, &UNION.replace("CURRENT_DATE()", "CURRENT_DATE('Asia/Tokyo')"), "a date of elsewhere");
    check(OVERALL, &UNION.replace("CURRENT_DATE()", "CURRENT_TIMESTAMP()"), "the time of day");
    let cut = "> DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)";
    for other in [
        "> DATE_SUB(CURRENT_DATE(), INTERVAL 3 DAY)",
        "> DATE_SUB(CURRENT_DATE(), INTERVAL 2 WEEK)",
        "> TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))",
        ">= DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)",
        "<> DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)",
        "!> DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)",
        "> DATE_ADD(CURRENT_DATE(), INTERVAL 2 DAY)",
        "> CURRENT_DATE()",
    ] {
        check(OVERALL, &UNION.replace(cut, other), other);
    }
    let cuts = [cut, "> date_sub(CURRENT_DATE, interval 2 day)"];
    check(OVERALL, &cuts.iter().fold(UNION.to_owned(), |text, cut| text.replace(cut, "> '2024-01-01'")), "no cut");
    assert!(view(OVERALL, &UNION.replace(cut, &cut.replace('>', "<="))).is_ok(), "daily rows up to the cut");
    check("SELECT * FROM `p.d.v`", UNION, "itself");
    check("DELETE FROM `p.d.union` WHERE TRUE", UNION, "no query");
    check("SELECT (", UNION, "no SQL");
}

#[test]
fn a_view_takes_the_place_of_its_one_name() {
    let names = vec![vec!["p".to_owned(), "d".to_owned(), "v".to_owned()]];
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(substituted(text, &names, "SELECT 1").as_deref(), expected, "{text}");
    };
    check("SELECT x FROM `p.d.v` WHERE a", Some("SELECT x FROM (\nSELECT 1\n) AS `v` WHERE a"));
    check("SELECT x FROM p.d.v", Some("SELECT x FROM (\nSELECT 1\n) AS `v`"));
    check("(SELECT x FROM p.d.`v`) -- y", Some("(SELECT x FROM (\nSELECT 1\n) AS `v`) -- y"));
    check("SELECT x FROM `p.d.v` /* as */ AS t", Some("SELECT x FROM (\nSELECT 1\n) /* as */ AS t"));
    check("SELECT x FROM `p.d.v` t, u", Some("SELECT x FROM (\nSELECT 1\n) t, u"));
    check("SELECT x FROM `p.d.v` `t`", Some("SELECT x FROM (\nSELECT 1\n) `t`"));
    check("SELECT x FROM `p.d.v`, u", Some("SELECT x FROM (\nSELECT 1\n) AS `v`, u"));
    check("SELECT x FROM `p.d.v` a JOIN `p.d.v` b", None);
    check("SELECT v.x FROM `p.d.v`", Some("SELECT v.x FROM (\nSELECT 1\n) AS `v`"));
    check("SELECT `p.d.v`.x FROM `p.d.v`", None);
    check("SELECT `p.d.v`.x FROM `p.d.other`", None);
    check("SELECT 'p.d.v'", None);
    let short = [vec!["v".to_owned()]];
    let text = substituted("SELECT v.x FROM v", &short, "SELECT 1");
    assert_eq!(text.as_deref(), Some("SELECT v.x FROM (\nSELECT 1\n) AS `v`"), "an alias is no name of a table");
}

#[test]
fn the_cut_of_an_instant_is_told_from_that_of_a_date() {
    let flip = |comparison| Flip { days: 2, comparison };
    let after = ",INTERVAL2DAY))ANDX";
    for (before, is_cut_there) in [
        ("WHEREWINDOW_START>TIMESTAMP(DATE_SUB(", true),
        ("WHEREWINDOW_START<=TIMESTAMP(DATE_SUB(", true),
        ("WHEREWINDOW_START>=TIMESTAMP(DATE_SUB(", false),
        ("WHEREWINDOW_START<TIMESTAMP(DATE_SUB(", false),
        ("WHEREWINDOW_START>DATE_SUB(", false),
    ] {
        assert_eq!(is_cut(before, after, flip(Comparison::AfterInstant)), is_cut_there, "{before}");
    }
    assert!(is_cut("DATE(TS)>DATE_SUB(", ",INTERVAL2DAY)", flip(Comparison::ByDate)));
    assert!(!is_cut("TS>TIMESTAMP(DATE_SUB(", ",INTERVAL2DAY)", flip(Comparison::AfterInstant)), "one bracket too few");
    assert!(!is_cut("TS>TIMESTAMP(DATE_SUB(", ",INTERVAL20DAY))", flip(Comparison::AfterInstant)));
}

#[test]
fn rows_that_depend_on_others_are_not_local() {
    let text = "SELECT ts, SUM(n) OVER (ORDER BY ts) AS n FROM `p.d.a` UNION ALL SELECT ts, n FROM `p.d.b` -- OVER";
    let local = SourceDescriptor {
        history: History::Local,
        branches: ["a", "b"].map(|name| branch(name, Side::Both, None)).into(),
        ..SourceDescriptor::new(TableId::new("p", "d", "v"))
    };
    let view = |text: &str| View::new(&local, |table| (table.table == "v").then_some(text)).err();
    assert_eq!(view(text), Some(reason::VIEW_UNKNOWN));
    assert_eq!(view(&text.replace("SUM(n) OVER (ORDER BY ts)", "n")), None);
}

#[test]
fn a_table_that_rows_stream_into_is_quiet_where_it_was_so_the_day_before_too() {
    let now = at(NOW);
    let probes = |extent: Extent| view(OVERALL, UNION).unwrap().probes(extent, descriptor().sides(extent, now));
    let today = probes(extent("2024-03-10", "2024-03-11"));
    let tables: Vec<&str> = today.iter().map(|(table, _)| &*table.table).collect();
    assert_eq!(tables, ["live_a", "live_b"]);
    assert_eq!(
        today[0].1,
        "SELECT `day` FROM (SELECT * FROM `p.d.live_a` WHERE `day` >= TIMESTAMP '2024-03-09T00:00:00Z' \
         AND `day` < TIMESTAMP '2024-03-11T00:00:00Z')"
    );
    let past = probes(extent("2024-03-05", "2024-03-06"));
    assert_eq!(past.len(), 1);
    assert!(past[0].1.contains("`ts` >= TIMESTAMP '2024-03-05T00:00:00Z'"), "{}", past[0].1);
}
