//! The table of texts in `cases.txt`, what the details say, and properties of any text.

use proptest::prelude::*;

use std::time::Duration;

use super::*;
use crate::descriptor::{Compatible, History, TimeType, experiments};
use crate::extent::Step;
use crate::macros;
use crate::target::Target;

fn described(name: &str) -> SourceDescriptor {
    SourceDescriptor {
        time_column: Some("ts".into()),
        history: History::Local,
        ..SourceDescriptor::new(format!("p.d.{name}").parse().unwrap())
    }
}

/// `flow`, `second`: by `ts`. `days`, `stamps`: by a DATE and a DATETIME. `lookup`: static. `dims`:
/// without a time. `running`, `opaque`: with another history. And all of Mozilla's.
fn descriptors() -> Descriptors {
    let compatible = |column: &str, time_type, truncated| Compatible { column: column.into(), time_type, truncated };
    let flow = SourceDescriptor {
        compatible: vec![
            compatible("same", TimeType::Timestamp, Duration::ZERO),
            compatible("day", TimeType::Date, Duration::from_hours(24)),
        ],
        ..described("flow")
    };
    let domain = SourceDescriptor { table: TableId::new("example.com:p", "d", "flow"), ..flow.clone() };
    // No name of three parts: only a domain has dots.
    let dotted = SourceDescriptor { table: TableId::new("a.b", "d", "flow"), ..flow.clone() };
    let timed = |name: &str, column: &str, time_type| SourceDescriptor {
        time_column: Some(column.into()),
        time_type,
        ..described(name)
    };
    let mut all: Descriptors = [
        flow,
        domain,
        dotted,
        described("second"),
        timed("days", "day", TimeType::Date),
        timed("stamps", "dt", TimeType::Datetime),
        SourceDescriptor { time_column: None, is_static: true, ..described("lookup") },
        SourceDescriptor { time_column: None, ..described("dims") },
        SourceDescriptor { history: History::Prefix, ..described("running") },
        SourceDescriptor { history: History::Opaque, ..described("opaque") },
    ]
    .into_iter()
    .collect();
    all.extend(experiments::descriptors("moz-fx-data-shared-prod"));
    all
}

fn analysed(sql: &str) -> Analysis {
    analyse(sql, &Catalog { descriptors: &descriptors(), project: Some("p"), dataset: Some("d") })
}

fn delta(sql: &str) -> Delta {
    match analysed(&short(sql)) {
        Analysis { mode: Mode::Delta(delta), .. } => *delta,
        other => panic!("{sql}: {other:?}"),
    }
}

fn rows(sql: &str) -> Rows {
    match analysed(&short(sql)) {
        Analysis { mode: Mode::Rows(rows), .. } => *rows,
        other => panic!("{sql}: {other:?}"),
    }
}

fn short(sql: &str) -> String {
    sql.replace("{b}", "$__timeGroup(ts, 5m)").replace("{f}", "$__timeFilter(ts)").replace("\\n", "\n")
}

/// Mode, reason and text of each case.
fn cases() -> Vec<(&'static str, &'static str, String)> {
    let lines = include_str!("cases.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (expected, sql) = line.split_once(" | ").unwrap_or_else(|| panic!("{line}"));
            let (mode, reason) = expected.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            (mode, reason, short(sql))
        })
        .collect()
}

fn day() -> Extent {
    let at = |text| Timestamp::parse(text, Timestamp::MIN).unwrap();
    Extent::new(at("2024-01-01"), at("2024-01-02")).unwrap()
}

#[test]
fn every_text_has_its_mode_and_reason() {
    let wrong: Vec<_> = cases()
        .into_iter()
        .filter_map(|(mode, reason, sql)| {
            let found = analysed(&sql);
            let found = (found.mode.as_str(), found.reason);
            (found != (mode, reason)).then(|| format!("{sql}\n  is {found:?}, not {:?}", (mode, reason)))
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases().len() >= 200);
}

#[test]
fn every_reason_for_a_text_has_a_case() {
    let named: Vec<_> = cases().into_iter().map(|(_, reason, _)| reason).collect();
    // Found by length alone, by the range alone, by the second look alone.
    let others = [reason::TOO_COMPLEX, reason::BEFORE_EPOCH, reason::EXPANSION_DIFFERS];
    let of_planners = reason::ALL.iter().position(|code| *code == reason::STATIC_JOIN).unwrap();
    let of_texts = &reason::ALL[..of_planners];
    let missing: Vec<_> = of_texts.iter().filter(|code| !named.contains(code) && !others.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_is_delta_or_rows_is_still_so_after_expansion() {
    for (_, _, sql) in cases() {
        let filter = match analysed(&sql).mode {
            Mode::Delta(delta) => delta.filter,
            Mode::Rows(rows) => rows.filter,
            Mode::Whole | Mode::None => continue,
        };
        if filter.time_type != TimeType::Timestamp && !filter.cast {
            continue;
        }
        let expanded = macros::expand(&sql, Some(day()), Some("1d".parse().unwrap()), &Target::default()).unwrap().sql;
        assert_eq!(verify(&sql, &expanded, &filter, day()), Ok(()), "{expanded}");
    }
}

#[test]
fn one_wrong_clause_makes_every_good_text_whole() {
    type Break = fn(&str) -> String;
    let breaks: [(&str, Break); 6] = [
        ("limit", |sql| format!("{sql}\nLIMIT 1")),
        ("union", |sql| format!("{sql}\nUNION ALL SELECT 1")),
        ("not", |sql| sql.replace("$__timeFilter(", "NOT $__timeFilter(")),
        ("or", |sql| sql.replace("$__timeFilter(", "TRUE OR $__timeFilter(")),
        ("comparison", |sql| sql.replace("$__timeFilter(", "TRUE = $__timeFilter(")),
        ("volatile", |sql| sql.replacen("$__timeFilter(", "RAND() < 0.5 AND $__timeFilter(", 1)),
    ];
    for (mode, _, sql) in cases() {
        if !["delta", "rows"].contains(&mode) || sql.ends_with(';') {
            continue;
        }
        for (name, broken) in breaks {
            let broken = broken(&sql);
            assert_eq!(analysed(&broken).mode, Mode::Whole, "{name}: {broken}");
        }
    }
}

#[test]
fn an_expansion_that_says_something_else_is_refused() {
    let template = "SELECT ts FROM flow WHERE $__timeFilter(ts)";
    let filter = rows(template).filter;
    let check = |condition: &str, expected: Result<(), Reason>| {
        let expanded = format!("SELECT ts FROM flow WHERE {condition}");
        assert_eq!(verify(template, &expanded, &filter, day()), expected, "{condition}");
    };
    let differs = Err(reason::EXPANSION_DIFFERS);
    let (from, to) = ("TIMESTAMP '2024-01-01T00:00:00Z'", "TIMESTAMP '2024-01-02T00:00:00Z'");
    check(&format!("ts >= {from} AND ts < {to}"), Ok(()));
    check(&format!("(ts >= {from} AND ts < {to})"), Ok(()));
    check(&format!("ts >= {from} AND ts <= {to}"), differs);
    check(&format!("NOT ts >= {from} AND ts < {to}"), differs);
    check(&format!("ts >= {from} AND ts < {to} OR x"), differs);
    check(&format!("ts >= {from} AND ts < {from}"), differs);
    check(&format!("created >= {from} AND created < {to}"), differs);
    check(&format!("ts >= {from} AND ts < {to} AND ts < {to}"), differs);
    check(&format!("ts >= {from} AND ts < {to} AND $__timeFilter(ts)"), differs);
    check(&format!("ts >= {from} AND ts < {to} AND $__timeGroup(ts, 5m) = ts"), differs);
    let template = "SELECT day FROM days WHERE $__timeFilter(day)";
    let filter = rows(template).filter;
    let at = |text| Timestamp::parse(text, Timestamp::MIN).unwrap();
    let day_and_more = Extent::new(at("2024-01-01T06:00:00Z"), at("2024-01-02T18:00:00Z")).unwrap();
    for (from, to, expected) in [("01", "03", Ok(())), ("02", "02", differs), ("01", "02", differs)] {
        let days = format!("SELECT day FROM days WHERE day >= DATE '2024-01-{from}' AND day < DATE '2024-01-{to}'");
        assert_eq!(verify(template, &days, &filter, day_and_more), expected, "{days}");
    }
    check(&format!("ts >= {from} AND ts < {to} AND x IN (SELECT 1)"), differs);
    check("ts >= DATE '2024-01-01' AND ts < DATE '2024-01-02'", Ok(()));
    check("ts >= DATETIME '2024-01-01 00:00:00' AND ts < DATETIME '2024-01-02 00:00:00'", Ok(()));
    check("ts >= DATE '2024-01-01' AND ts < DATE '2024-01-03'", differs);
}

#[test]
fn the_details_of_delta_are_what_a_planner_needs() {
    let found = delta(
        "SELECT a.name, {b} AS t, COUNT(*), SUM(x) v FROM flow f JOIN lookup a USING (id) WHERE $__timeFilter(f.ts) GROUP BY t, 1 ORDER BY v DESC, 1",
    );
    assert_eq!((found.source.to_string(), found.statics.len()), ("p.d.flow".to_owned(), 1));
    assert_eq!((found.filter.text.as_str(), found.filter.column.as_str()), ("f.ts", "ts"));
    assert_eq!(found.step, BucketStep::Written("5m".parse().unwrap()));
    assert_eq!(found.bucket_output, 1);
    let roles: Vec<_> = found.outputs.iter().map(|output| (output.name.as_deref(), output.role)).collect();
    let expected = [
        (Some("name"), Role::Group),
        (Some("t"), Role::Bucket),
        (None, Role::Measure(Measure::Count)),
        (Some("v"), Role::Measure(Measure::Sum)),
    ];
    assert_eq!(roles, expected);
    let all = delta("SELECT {b} t, branch, SUM(x) FROM flow WHERE {f} GROUP BY ALL");
    let roles: Vec<_> = all.outputs.iter().map(|output| output.role).collect();
    assert_eq!(roles, [Role::Bucket, Role::Group, Role::Measure(Measure::Sum)]);
    let order = [
        OrderKey { output: 3, descending: true, nulls_first: false },
        OrderKey { output: 0, descending: false, nulls_first: true },
    ];
    assert_eq!(found.order, order);
    assert!(found.keyed && found.derivable);
    assert_eq!(
        delta("SELECT $__timeGroup(ts, $__interval) t FROM flow WHERE {f} GROUP BY 1").step,
        BucketStep::Suggested
    );
}

#[test]
fn only_bare_additive_aggregates_are_derivable() {
    let check = |outputs: &str, rest: &str, expected: bool| {
        let found = delta(&format!("SELECT {{b}} t, {outputs} FROM flow WHERE {{f}} GROUP BY 1{rest}"));
        assert_eq!(found.derivable, expected, "{outputs} {rest}");
    };
    check("SUM(x), COUNT(x), COUNT(*), COUNTIF(y), MIN(x), MAX(x), AVG(x), 'c', @p", "", true);
    check("branch, UPPER(branch) u, SUM(x)", ", branch, u", true);
    check("UPPER(Branch) u, SUM(x)", ", UPPER(`branch`)", true);
    check("SUM(x)", " ORDER BY 2", true);
    check("COUNT(DISTINCT x)", "", false);
    check("SUM(DISTINCT x)", "", false);
    check("SUM(x) + 1", "", false);
    check("-SUM(x)", "", false);
    check("STRING_AGG(x)", "", false);
    check("ANY_VALUE(x)", "", false);
    check("MAX(x HAVING MIN y)", "", false);
    for name in ["COUNT", "COUNTIF", "SUM", "MIN", "MAX", "AVG"] {
        check(&format!("{name}(x, y)"), "", false);
    }
    check("MAX(x) IGNORE NULLS", "", false);
    check("SUM(x) WITHIN GROUP (ORDER BY y)", "", false);
    check("SUM(x)", " HAVING SUM(x) > 1", false);
    check("SUM(x)", ", channel", false);
    check("SUM(SUM(x)) OVER (PARTITION BY {b})", "", false);
    check("SUM(x) AS v, COUNT(*) / $__interval_ms", "", false);
    assert!(!delta("SELECT DISTINCT {b} t, branch FROM flow WHERE {f}").derivable);
    assert!(!delta("SELECT {b} t, SUM(x) FROM flow WHERE {f} GROUP BY ALL").derivable);
    assert!(!delta("SELECT t, SUM(x) FROM (SELECT {b} t, x FROM flow WHERE {f}) GROUP BY t").derivable);
}

#[test]
fn rows_are_cropped_by_an_output_and_perhaps_ordered_by_it() {
    let check = |sql: &str, output: &str, descending: Option<bool>| {
        let found = rows(sql);
        assert_eq!((found.time_output.as_str(), found.descending), (output, descending), "{sql}");
    };
    check("SELECT * FROM flow WHERE {f}", "ts", None);
    check("SELECT ts AS Time, x FROM flow WHERE {f} ORDER BY time DESC", "Time", Some(true));
    check("SELECT * FROM (SELECT x, ts AS u FROM flow) WHERE $__timeFilter(u) ORDER BY u", "u", Some(false));
}

#[test]
fn a_suggested_step_and_the_range_may_refuse_later() {
    let at = |text: &str| Timestamp::parse(text, Timestamp::MIN).unwrap();
    let step = |text: &str| text.parse::<Step>().unwrap();
    let found = delta("SELECT $__timeGroup(ts, $__interval) t FROM flow WHERE $__timeFilter(day) GROUP BY 1");
    assert_eq!(found.refusal(step("1d"), day()), None);
    assert_eq!(found.refusal(step("1M"), day()), None);
    assert_eq!(found.refusal(step("1h"), day()), Some(reason::STEP_SPLITS_COLUMN));
    let early = Extent::new(at("1969-12-31"), at("1970-01-02")).unwrap();
    assert_eq!(found.refusal(step("1d"), early), Some(reason::BEFORE_EPOCH));
}

#[test]
fn short_names_need_a_default_dataset() {
    let all = descriptors();
    let sql = short("SELECT {b} t FROM flow WHERE {f} GROUP BY 1");
    let reason = |project, dataset| analyse(&sql, &Catalog { descriptors: &all, project, dataset }).reason;
    assert_eq!(reason(None, Some("p.d")), reason::BUCKETS);
    assert_eq!(reason(Some("p"), Some("d")), reason::BUCKETS);
    assert_eq!(reason(Some("q"), Some("d")), reason::UNKNOWN_SOURCE);
    assert_eq!(reason(None, Some("d")), reason::UNKNOWN_SOURCE);
    assert_eq!(reason(Some("p"), None), reason::UNKNOWN_SOURCE);
}

#[test]
fn long_chains_and_deep_brackets_end_without_harm() {
    let chain = |piece: &str, count: usize| {
        analysed(&short(&format!("SELECT {{b}} t, 1{} FROM flow WHERE {{f}} GROUP BY 1", piece.repeat(count)))).mode
    };
    assert!(matches!(chain(" + x", 300), Mode::Delta(_)));
    for (piece, count) in [(" + x", 50_000), (" IS NULL", 30_000), (" OR x", 50_000), (" COLLATE x", 20_000)] {
        assert_eq!(chain(piece, count), Mode::Whole, "{piece}");
    }
    for (open, close) in
        [("(", ")"), ("f(", ")"), ("[", "]"), ("CASE WHEN ", " THEN 1 END"), ("NOT ", ""), ("(SELECT ", ")")]
    {
        let sql = format!("SELECT {}1{}", open.repeat(10_000), close.repeat(10_000));
        assert_eq!(analysed(&sql).mode, Mode::Whole, "{open}");
    }
}

/// Words, symbols and macros that queries are made of.
const TOKENS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "QUALIFY",
    "WINDOW",
    "WITH",
    "AS",
    "JOIN",
    "LEFT JOIN",
    "CROSS JOIN",
    "ON",
    "USING",
    "UNION ALL",
    "LIMIT",
    "DISTINCT",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "OVER",
    "PARTITION BY",
    "UNNEST",
    "ROLLUP",
    "EXCEPT",
    "REPLACE",
    "INTERVAL",
    "EXTRACT",
    "CAST",
    "TIMESTAMP",
    "DATE",
    "STRUCT",
    "ARRAY",
    "flow",
    "lookup",
    "second",
    "ts",
    "x",
    "t",
    "day",
    "`p.d.flow`",
    "`ts`",
    "COUNT(*)",
    "SUM(x)",
    "MAX",
    "1",
    "2",
    "1.5",
    "'a'",
    "\"b\"",
    "r'c'",
    "'",
    "`",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "*",
    "+",
    "-",
    "=",
    "<",
    ">=",
    ";",
    "@p",
    "?",
    "|>",
    "--",
    "/*",
    "*/",
    "#",
    "\\",
    "\n",
    "$__timeFilter(ts)",
    "$__timeGroup(ts, 5m)",
    "$__timeGroup(ts, $__interval)",
    "$__interval",
    "$__interval_ms",
    "$__timeFilter(",
    "$__timeGroup(",
    "${__from}",
    "${__",
    "$__",
    "$x",
    "é",
    "FOR SYSTEM_TIME AS OF",
    "PIVOT",
    "TABLESAMPLE SYSTEM (1 PERCENT)",
    "<",
    ">",
    "{",
    "}",
    "::",
    "=>",
    "->",
    "VALUES",
    "LATERAL",
    "MATCH_RECOGNIZE",
];

/// A query of the board's shape with some tokens thrown in.
fn almost_a_query() -> impl Strategy<Value = String> {
    let token = || prop::sample::select(TOKENS);
    let soup = || prop::collection::vec(token(), 0..4).prop_map(|tokens| tokens.join(" "));
    (soup(), soup(), soup(), soup()).prop_map(|(a, b, c, d)| {
        short(&format!("SELECT {{b}} AS t, {a} COUNT(*) FROM flow {b} WHERE {{f}} {c} GROUP BY 1 {d}"))
    })
}

proptest! {
    #[test]
    fn any_text_is_analysed(sql in "\\PC{0,80}") {
        analysed(&sql);
    }

    #[test]
    fn any_tokens_are_analysed(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..40)) {
        analysed(&tokens.join(" "));
        analysed(&tokens.concat());
    }

    #[test]
    fn delta_survives_its_expansion(sql in almost_a_query()) {
        let filter = match analysed(&sql).mode {
            Mode::Delta(delta) => delta.filter,
            Mode::Rows(rows) => rows.filter,
            Mode::Whole | Mode::None => return Ok(()),
        };
        let expanded = macros::expand(&sql, Some(day()), Some("1d".parse().unwrap()), &Target::default()).unwrap().sql;
        prop_assert_eq!(verify(&sql, &expanded, &filter, day()), Ok(()), "{}", expanded);
    }

    #[test]
    fn what_is_appended_never_makes_a_whole_text_delta_by_being_a_comment(sql in almost_a_query()) {
        let commented = format!("/* {} */ {sql} -- $__timeFilter(ts)", "LIMIT 1");
        prop_assert_eq!(analysed(&commented).mode, analysed(&sql).mode);
    }
}
