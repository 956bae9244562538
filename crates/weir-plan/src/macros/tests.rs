use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::target::TimeType;
use proptest::prelude::*;

fn day() -> Extent {
    let at = |text| Timestamp::parse(text, Timestamp::MIN).unwrap();
    Extent::new(at("2024-01-01"), at("2024-01-02")).unwrap()
}

fn ten_minutes() -> Step {
    "10m".parse().unwrap()
}

#[test]
fn macros_expand_to_their_documented_text() {
    let check = |template: &str, expected: &str| {
        assert_eq!(expanded(template).unwrap(), expected, "{template}");
    };
    let filter = "ts >= TIMESTAMP '2024-01-01T00:00:00Z' AND ts < TIMESTAMP '2024-01-02T00:00:00Z'";
    check("WHERE $__timeFilter(ts)", &format!("WHERE {filter}"));
    check("WHERE $__timeFilter( ts ) AND x", &format!("WHERE {filter} AND x"));
    check(
        "$__timeFilter(cast(sth as timestamp) )",
        "cast(sth as timestamp) >= TIMESTAMP '2024-01-01T00:00:00Z' AND cast(sth as timestamp) < TIMESTAMP '2024-01-02T00:00:00Z'",
    );
    check("$__timeFrom(ts)", "ts >= TIMESTAMP '2024-01-01T00:00:00Z'");
    check("$__timeTo(ts)", "ts < TIMESTAMP '2024-01-02T00:00:00Z'");
    check(
        "ts BETWEEN $__timeFrom() AND $__timeTo",
        "ts BETWEEN TIMESTAMP '2024-01-01T00:00:00Z' AND TIMESTAMP '2024-01-02T00:00:00Z'",
    );
    check("$__timeGroup(created_at, 1w)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(created_at), 604800000) * 604800000)");
    check("$__timeGroup(t,$__interval)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 600000) * 600000)");
    check("$__timeGroup(t, '$__interval')", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 600000) * 600000)");
    check("$__timeGroup(t, '5m', NULL)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 300000) * 300000)");
    check("$__timeGroup(t, 1M)", "TIMESTAMP_TRUNC(t, MONTH)");
    check("$__timeGroup(t, '3M')", "TIMESTAMP_TRUNC(t, QUARTER)");
    check(
        "$__timeGroup(t, 2M)",
        "TIMESTAMP(DATE_SUB(DATE_TRUNC(DATE(t), MONTH), INTERVAL MOD(EXTRACT(MONTH FROM t) - 1, 2) MONTH))",
    );
    check("$__timeGroupAlias(t, 1h)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 3600000) * 3600000) AS time");
    check("bin(time, $__interval), $__interval_ms", "bin(time, 10m), 600000");
    check("$__millisTimeFrom(x) $__millisTimeTo(x)", "TIMESTAMP_MILLIS(1704067200000) TIMESTAMP_MILLIS(1704153600000)");
    check("$__unixEpochFilter(x)", "x >= 1704067200 AND x < 1704153600");
    check("$__unixEpochGroup(x, 5m)", "DIV(x, 300) * 300");
    check("$__from-${__from}-${__to:date:seconds}", "1704067200000-1704067200000-1704153600");
    check("'${__from:date}' ${__interval_ms}", "'2024-01-01T00:00:00.000Z' 600000");
    check("ts > '${__from:date:iso}' ${__interval}", "ts > '2024-01-01T00:00:00.000Z' 10m");
    check("[[__from]] `t_${__to}`", "1704067200000 `t_1704153600000`");
    check("$__interval(), $__timeGroup(t, M)", "10m, TIMESTAMP_TRUNC(t, MONTH)");
    check("'${__nope} ${__to' -- ${__from}", "'${__nope} ${__to' -- ${__from}");
    check("$__range $__range_s ${__range_ms}", "86400s 86400 86400000");
    check("$__timeGroup(IF(a, b, c), 1h)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(IF(a, b, c)), 3600000) * 3600000)");
    check("$__timeGroup(f(')', x[0]), 1h)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(f(')', x[0])), 3600000) * 3600000)");
}

fn expanded(template: &str) -> Result<String> {
    expand(template, Some(day()), Some(ten_minutes()), &Target::default()).map(|expansion| expansion.sql)
}

/// A target of doitintl's editor.
fn doitintl() -> Target {
    Target {
        dialect: Dialect::Doitintl,
        table: Some("p.d.t".into()),
        time_column: Some("created".into()),
        partition_column: None,
        max_data_points: Some(900),
        column_types: BTreeMap::new(),
    }
}

fn typed(time_type: TimeType, mut target: Target) -> Target {
    target.column_types.insert("created".into(), time_type);
    target
}

#[test]
fn a_date_or_datetime_column_gets_literals_of_its_type() {
    let range =
        Extent::new(day().start().plus(Duration::from_hours(6)), day().end().plus(Duration::from_hours(6))).unwrap();
    let check = |time_type: TimeType, template: &str, expected: &str| {
        let target = typed(time_type, Target::default());
        let expansion = expand(template, Some(range), Some(ten_minutes()), &target).unwrap();
        assert_eq!(expansion.sql, expected, "{template}");
    };
    check(
        TimeType::Date,
        "$__timeFilter(Created) AND x",
        "Created >= DATE '2024-01-01' AND Created < DATE '2024-01-03' AND x",
    );
    check(TimeType::Date, "$__timeFrom(`created`)", "`created` >= DATE '2024-01-01'");
    check(TimeType::Date, "$__timeTo(created)", "created < DATE '2024-01-03'");
    check(
        TimeType::Date,
        "$__timeGroup(created, 1d)",
        "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(TIMESTAMP(created)), 86400000) * 86400000)",
    );
    check(TimeType::Date, "$__timeGroup(created, 1M)", "TIMESTAMP_TRUNC(TIMESTAMP(created), MONTH)");
    check(
        TimeType::Datetime,
        "$__timeFilter(created)",
        "created >= DATETIME '2024-01-01T06:00:00' AND created < DATETIME '2024-01-02T06:00:00'",
    );
    let other = "other >= TIMESTAMP '2024-01-01T06:00:00Z' AND other < TIMESTAMP '2024-01-02T06:00:00Z'";
    check(TimeType::Date, "$__timeFilter(other)", other);
    check(
        TimeType::Date,
        "$__timeFilter(TIMESTAMP(created))",
        "TIMESTAMP(created) >= TIMESTAMP '2024-01-01T06:00:00Z' AND TIMESTAMP(created) < TIMESTAMP '2024-01-02T06:00:00Z'",
    );
    check(TimeType::Timestamp, "$__timeTo(_PARTITIONDATE)", "_PARTITIONDATE < DATE '2024-01-03'");
}

#[test]
fn doitintl_macros_have_doitintls_meaning() {
    let check = |target: &Target, template: &str, expected: &str| {
        let expansion = expand(template, Some(day()), Some(ten_minutes()), target).unwrap();
        assert_eq!(expansion.sql, expected, "{template}");
    };
    let target = &doitintl();
    let filter = "`created` >= TIMESTAMP '2024-01-01T00:00:00Z' AND `created` < TIMESTAMP '2024-01-02T00:00:00Z'";
    check(target, "WHERE $__timeFilter(other)", &format!("WHERE {filter}"));
    check(target, "WHERE $__timeFilter()", &format!("WHERE {filter}"));
    check(target, "$__timeFrom(x)", "`created` >= TIMESTAMP '2024-01-01T00:00:00Z'");
    check(target, "$__timeTo(x)", "`created` < TIMESTAMP '2024-01-02T00:00:00Z'");
    check(target, "$__timeTo(t.created)", "t.created < TIMESTAMP '2024-01-02T00:00:00Z'");
    let group = |millis: i64| format!("TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(`created`), {millis}) * {millis})");
    check(target, "SELECT $__timeGroup(x,5m), y", &format!("SELECT {} AS time, y", group(300_000)));
    check(target, "SELECT $__timeGroup(x,5m,1h)\nFROM t", &format!("SELECT {} AS time\nFROM t", group(3_600_000)));
    check(target, "SELECT $__timeGroup(x,1h,5min)", &format!("SELECT {} AS time", group(3_600_000)));
    check(target, "SELECT $__timeGroupAlias(x,auto,none)", &format!("SELECT {} AS time", group(600_000)));
    check(target, "SELECT $__timeGroup(x,$__interval,0), 1", &format!("SELECT {} AS time, 1", group(600_000)));
    check(target, "SELECT $__timeGroup(x,1m), 1", &format!("SELECT {} AS time, 1", group(60_000)));
    check(target, "SELECT $__timeGroup(x,1M), 1", "SELECT TIMESTAMP_TRUNC(`created`, MONTH) AS time, 1");
    check(target, "SELECT $__timeGroup(x,1h) AS t, 1", &format!("SELECT {} AS t, 1", group(3_600_000)));
    check(target, "SELECT MAX($__timeGroup(x,1h))", &format!("SELECT MAX({})", group(3_600_000)));
    check(target, "FROM t GROUP BY $__timeGroup(x,1h), 2", &format!("FROM t GROUP BY {}, 2", group(3_600_000)));
    check(
        target,
        "SELECT $__unixEpochGroup(x, 5m) AS e, $__timeGroup(x,1h), 1",
        &format!("SELECT DIV(x, 300) * 300 AS e, {} AS time, 1", group(3_600_000)),
    );
    check(target, "SUM(x) AS v $__timeShifting(1d), 2", "SUM(x) AS v , 2");
    check(target, "SELECT 1$__limitPosition", "SELECT 1 LIMIT 900");
    check(target, "SELECT 1$__limitPosition LIMIT 5", "SELECT 1 LIMIT 5");
    check(target, "FROM $__table WHERE $__column > 1", "FROM `p.d.t` WHERE `created` > 1");
    check(target, "$__unixEpochFilter(x)", "x >= 1704067200 AND x < 1704153600");
    let dates = &typed(TimeType::Date, doitintl());
    check(dates, "$__timeFilter(x)", "`created` >= DATE '2024-01-01' AND `created` < DATE '2024-01-02'");
    check(
        dates,
        "SELECT $__timeGroup(x,1d), 1",
        "SELECT TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(TIMESTAMP(`created`)), 86400000) * 86400000) AS time, 1",
    );
    let unnamed = &Target { time_column: None, ..doitintl() };
    check(unnamed, "$__timeTo(x)", "x < TIMESTAMP '2024-01-02T00:00:00Z'");
}

#[test]
fn times_in_a_text_that_doitintls_editor_generated_are_renewed() {
    let generated = Target { partition_column: Some("_PARTITIONTIME".into()), ..doitintl() };
    let check = |target: &Target, template: &str, expected: &str| {
        let expansion = expand(template, Some(day()), None, target).unwrap();
        assert_eq!((expansion.sql.as_str(), expansion.uses_range), (expected, expected != template), "{template}");
    };
    let suffix = "WHERE a = 'b' AND\n  _TABLE_SUFFIX BETWEEN '20200101' AND '20200107' ";
    check(&generated, suffix, "WHERE a = 'b' AND\n  _TABLE_SUFFIX BETWEEN '20240101' AND '20240102' ");
    check(&doitintl(), suffix, suffix);
    check(
        &generated,
        "_PARTITIONTIME >= '2020-01-01 10:00:00' AND\n _PARTITIONTIME < '2020-01-02 10:00:00'",
        "_PARTITIONTIME >= '2024-01-01 00:00:00' AND\n _PARTITIONTIME < '2024-01-02 00:00:00'",
    );
    for other in [
        "b BETWEEN '20200101' AND '20200107'",
        "a >= '2020-01-01 10:00:00'",
        "_PARTITIONTIME >= 'x'",
        "_PARTITIONTIME >= '2020-01-01'",
        "_PARTITIONTIME >= '2020-01-01 10:00:0x'",
        "_PARTITIONTIME >= '2020x01-01 10:00:00'",
        "_PARTITIONTIME >= '2020301-01 10:00:00'",
        "_TABLE_SUFFIX BETWEEN '2020010' AND '20200107'",
        "_TABLE_SUFFIX BETWEEN '2020010x' AND '20200107'",
    ] {
        check(&generated, other, other);
    }
}

#[test]
fn shifts_are_read_from_code_each_once() {
    let sql = "SELECT a $__timeShifting(1d), b $__timeShifting('1w'), c $__timeShifting(1d) -- $__timeShifting(9d)";
    assert_eq!(super::shifts(sql).unwrap(), ["1d", "1w"]);
    for bad in ["$__timeShifting(soon)", "$__timeShifting", "$__timeShifting(1d", "$__timeShifting(1d, 2d)"] {
        assert!(super::shifts(bad).unwrap_err().message().contains("$__timeShifting"), "{bad}");
    }
}

#[test]
fn macros_in_strings_comments_and_names_stay_text() {
    for template in [
        "SELECT '$__timeFilter(x)'",
        "-- $__interval\n",
        "/* $__nope( $x */",
        "`$__timeFrom`",
        "# $__x",
        "'$x ${x} [[x]]' `$x`",
        "a[[1, 2]] $",
    ] {
        let expansion = expand(template, None, None, &Target::default()).unwrap();
        assert_eq!(expansion, Expansion { sql: template.into(), uses_range: false });
    }
}

#[test]
fn a_comment_in_an_argument_does_not_swallow_what_follows() {
    let expected = "ts >= TIMESTAMP '2024-01-01T00:00:00Z' AND x";
    assert_eq!(expanded("$__timeFrom(ts -- the time\n) AND x").unwrap(), expected);
}

#[test]
fn a_bound_without_a_column_is_a_bare_literal() {
    let expected = "ts BETWEEN TIMESTAMP '2024-01-01T00:00:00Z' AND TIMESTAMP '2024-01-02T00:00:00Z'";
    assert_eq!(expanded("ts BETWEEN $__timeFrom() AND $__timeTo()").unwrap(), expected);
}

#[test]
fn an_apostrophe_in_a_value_neither_ends_nor_opens_a_literal() {
    let template = r"x IN ('it\'s $__interval', 'a') AND $__interval_ms > 0 -- don't $__interval";
    let expected = r"x IN ('it\'s $__interval', 'a') AND 600000 > 0 -- don't $__interval";
    assert_eq!(expanded(template).unwrap(), expected);
}

#[test]
fn the_interval_is_replaced_before_the_macros_that_take_it() {
    let expected = "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(c), 600000) * 600000)";
    assert_eq!(expanded("$__timeGroup(c,$__interval)").unwrap(), expected);
}

#[test]
fn misuse_is_an_error_that_names_the_macro() {
    let check = |template: &str, expected: &str| {
        let error = expand(template, None, None, &Target::default()).unwrap_err();
        assert!(error.message().starts_with(expected), "{template}: {error}");
    };
    check("$__timeFilter(ts", "macro $__timeFilter has an unclosed bracket");
    check("$__timeFilter(a, ')'", "macro $__timeFilter has an unclosed bracket");
    check("$__timeFilter", "macro $__timeFilter needs the time column as its argument");
    check("$__timeFilter()", "macro $__timeFilter needs the time column as its argument");
    check("$__timeFilter(a, b)", "macro $__timeFilter takes one argument, the time column");
    check("$__timeFilter(ts)", "macro $__timeFilter needs a time range; give from and to");
    check(
        "$__timeFilterEpoch(x)",
        "macro $__timeFilterEpoch is not a known macro or variable; known are $__timeFilter",
    );
    check("$__interval", "macro $__interval needs an interval; give a step, for example 5m");
    check("$__interval(1)", "macro $__interval takes no arguments");
    check("$__from", "variable ${__from} needs a time range; give from and to");
    check("${__nope}", "variable ${__nope} is not known to the backend");
    check("${__from", "a variable ${… has an unclosed brace");
    check("'${__from:date:YYYY}'", "variable ${__from:date:YYYY} needs a time range");
    check("$__interval (1)", "macro $__interval needs an interval; give a step, for example 5m");
    check("$__timeGroup(ts)", "macro $__timeGroup takes the time column and an interval, for example (ts, 5m)");
    check("$__timeGroup(, 5m)", "macro $__timeGroup needs the time column as its argument");
    check("$__timeGroup(ts, '')", "$__timeGroup: interval \"\" is not");
    check("$__timeGroup(/* ts */, 5m)", "macro $__timeGroup needs the time column as its argument");
    check("$__timeGroup(ts, auto)", "$__timeGroup: interval \"auto\" is not");
    check("$__unixEpochGroup(ts, 500ms)", "macro $__unixEpochGroup takes an interval of whole seconds");
    check("$__unixEpochGroup(ts, 1M)", "macro $__unixEpochGroup takes an interval of whole seconds");
    check("$__timeGroup(ts, 5x)", "$__timeGroup: interval \"5x\" is not");
    check("SELECT * FROM $__table", "macro $__table needs the target's table");
    check("$__column", "macro $__column needs the target's timeColumn");
    check("SELECT 1 $__timeShifting(1d)", "macro $__timeShifting is for targets of doitintl's data source only");
    check("SELECT 1 $__limitPosition", "macro $__limitPosition is for targets of doitintl's");
    let error = expand("${__to:date:YYYY}", Some(day()), None, &Target::default()).unwrap_err();
    assert!(error.message().contains("${__to:date:YYYY} has a format that the backend does not know"), "{error}");
}

#[test]
fn a_variable_without_its_value_is_an_error_that_names_it() {
    for (template, variable) in [
        ("WHERE env = $env AND x", "$env"),
        ("WHERE env IN (${env:sqlstring})", "${env:sqlstring}"),
        ("WHERE env = [[env]]", "[[env]]"),
        ("SELECT ${col} FROM t", "${col}"),
        ("$__timeGroup($col, 1h)", "$col"),
    ] {
        let error = expanded(template).unwrap_err();
        assert!(error.message().starts_with(&format!("variable {variable} arrived without its value")), "{error}");
    }
}

#[test]
fn a_text_without_range_macros_does_not_depend_on_the_range() {
    let uses_range =
        |template: &str| expand(template, Some(day()), Some(ten_minutes()), &Target::default()).unwrap().uses_range;
    assert!(!uses_range("SELECT $__interval_ms"));
    assert!(uses_range("SELECT $__timeFrom()"));
    assert!(uses_range("SELECT '${__to}'"));
}

proptest! {
    #[test]
    fn expansion_never_panics_and_leaves_text_without_macros_alone(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)
    ) {
        let template = pieces.concat();
        let expansion = expanded(&template);
        for target in [doitintl(), typed(TimeType::Date, doitintl())] {
            let _ = expand(&template, Some(day()), Some(ten_minutes()), &target);
            let _ = crate::columns::time_columns(&template, &target, None, "p");
        }
        let _ = shifts(&template);
        if !template.contains(['$', '[']) {
            prop_assert_eq!(expansion.unwrap(), template);
        }
    }

    #[test]
    fn expansion_never_changes_strings_and_comments(
        pieces in prop::collection::vec((prop::sample::select(MACROS), "[a-z$ (]{0,4}", 0..6_usize), 0..12)
    ) {
        let (mut template, mut kept) = (String::new(), vec![]);
        for (code, inside, shape) in pieces {
            let ((inside, end), is_kept) = match shape {
                0 => ((format!("'$__timeFilter(x) {inside}'"), ""), None),
                1 => ((format!("\"\"\"$env '{inside} $__interval\"\"\""), ""), None),
                2 => ((format!("-- $__timeGroup(t, {inside}"), "\n"), None),
                3 => ((format!("/* ${{env}} ${{__from}} {inside} [[x]] */"), ""), None),
                // A front end puts the values of variables into strings too; in braces Grafana's own are told.
                4 => {
                    let text = |from: &str| format!("'{from}{inside}${{__nope}} [[__to]] $__from'");
                    ((text("${__from}"), ""), Some(text("1704067200000")))
                }
                _ => {
                    let text = |from: &str| format!("\"{from} {inside}\"");
                    ((text("${__from:date:iso}"), ""), Some(text("2024-01-01T00:00:00.000Z")))
                }
            };
            template.extend([code, " ", &inside, end]);
            kept.push(is_kept.unwrap_or(inside));
        }
        let found = expanded(&template).unwrap();
        let is_kept = |(lexeme, text): &(Lexeme, &str)| match lexeme {
            Lexeme::Comment => true,
            Lexeme::Text => !text.starts_with("'2024"),
            Lexeme::Code | Lexeme::Name => false,
        };
        let found: Vec<_> = lexemes(&found).filter(is_kept).map(|(_, text)| text.to_owned()).collect();
        prop_assert_eq!(found, kept);
    }

    #[test]
    fn lexemes_tile_the_text(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let sql = pieces.concat();
        prop_assert_eq!(lexemes(&sql).map(|(_, text)| text).collect::<String>(), sql);
    }
}

const MACROS: &[&str] = &[
    " a",
    " $__timeFilter(t)",
    " $__timeGroup(t /* gone */, '5m')",
    " $__interval_ms",
    " $__timeFrom()",
    " ${__from}",
    " $__unixEpochFilter(f(a, b))",
];

const PIECES: &[&str] = &[
    " ",
    "a",
    "'",
    "\"",
    "`",
    "(",
    ")",
    "[",
    "]",
    ",",
    "#",
    "/",
    "*",
    "-",
    "\\",
    "\n",
    "é",
    "'''",
    "$__",
    "$__timeFilter(",
    "$__interval",
    "timeGroup(",
    "1M)",
    "${__",
    "from}",
    "$env",
    "[[x]]",
    "SELECT ",
    " FROM t",
    "$__timeShifting(",
    "1d",
];

#[test]
fn a_text_without_time_macros_over_columns_is_not_probed() {
    let target = Target::default();
    for text in ["SELECT 1", "SELECT $__timeFrom()", "SELECT '$__timeFilter(a)'", "SELECT $__timeFilter(a"] {
        assert_eq!(probe(text, &target), None, "{text}");
    }
    assert!(probe("SELECT $__timeFrom(a)", &target).unwrap().contains(PROBE));
}
