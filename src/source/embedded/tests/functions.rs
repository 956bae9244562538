//! Every function, by table.

use super::Place;

/// Checks `SELECT expr` for each pair of an expression and its text.
async fn check(cases: &[(&str, &str)]) {
    let place = Place::new();
    let mut wrong = Vec::new();
    for (expr, expected) in cases {
        match place.answer(&format!("SELECT {expr}")).await {
            Ok(batches) => {
                let found = super::rows_of(&batches).join("\n");
                if found != *expected {
                    wrong.push(format!("{expr}\n  expected {expected}\n  found    {found}"));
                }
            }
            Err(error) => wrong.push(format!("{expr}\n  {error:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn timestamps() {
    check(&[
        ("TIMESTAMP '2024-01-01'", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP '2024-01-01T02:00:00+02:00'", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP '2024-07-01 00:00:00 America/Los_Angeles'", "2024-07-01T07:00:00Z"),
        ("TIMESTAMP('2024-01-01 10:00:00')", "2024-01-01T10:00:00Z"),
        ("TIMESTAMP('2024-07-01 00:00:00', 'America/Los_Angeles')", "2024-07-01T07:00:00Z"),
        ("TIMESTAMP(DATE '2024-01-01')", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP_SECONDS(1704067200)", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP_MILLIS(1704067200123)", "2024-01-01T00:00:00.123Z"),
        ("TIMESTAMP_MICROS(1704067200123456)", "2024-01-01T00:00:00.123456Z"),
        ("UNIX_SECONDS(TIMESTAMP '2024-01-01')", "1704067200"),
        ("UNIX_MILLIS(TIMESTAMP '1969-12-31 23:59:59.9995')", "-1"),
        ("UNIX_MICROS(TIMESTAMP '2024-01-01')", "1704067200000000"),
        ("UNIX_SECONDS('2024-01-01T00:00:00Z')", "1704067200"),
        ("FORMAT_TIMESTAMP('%F', '2024-01-01')", "2024-01-01"),
        ("UNIX_DATE(DATE '2024-01-01')", "19723"),
        ("DATE_FROM_UNIX_DATE(19723)", "2024-01-01"),
        (
            "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(TIMESTAMP '2024-01-01 00:07:31'), 300000) * 300000)",
            "2024-01-01T00:05:00Z",
        ),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-02-29 13:47:31.5', HOUR)", "2024-02-29T13:00:00Z"),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-02-29 13:47:31', WEEK)", "2024-02-25T00:00:00Z"),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-02-29 13:47:31', WEEK(MONDAY))", "2024-02-26T00:00:00Z"),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-02-29 13:47:31', QUARTER)", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-02-29 03:00:00', DAY, 'America/Los_Angeles')", "2024-02-28T08:00:00Z"),
        ("timestamp_trunc(timestamp '2024-02-29 13:47:31', day)", "2024-02-29T00:00:00Z"),
        ("TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL 90 MINUTE)", "2024-01-01T01:30:00Z"),
        ("TIMESTAMP_SUB(TIMESTAMP '2024-01-01', INTERVAL 2 * 12 HOUR)", "2023-12-31T00:00:00Z"),
        ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-02', TIMESTAMP '2024-01-01 00:30:00', HOUR)", "23"),
        ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-02', DAY)", "-1"),
        ("TIMESTAMP '2024-01-01' + INTERVAL 1 DAY", "2024-01-02T00:00:00Z"),
        ("CURRENT_TIMESTAMP()", "2024-01-03T12:00:00Z"),
        ("CURRENT_TIMESTAMP", "2024-01-03T12:00:00Z"),
        ("STRING(TIMESTAMP '2024-01-01 00:00:00.5')", "2024-01-01 00:00:00.500+00"),
        ("CAST('2024-01-01 00:00:00 UTC' AS TIMESTAMP)", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP_SECONDS(NULL)", "NULL"),
    ])
    .await;
}

#[tokio::test]
async fn dates_and_datetimes() {
    check(&[
        ("DATE '2024-01-01'", "2024-01-01"),
        ("DATE(2024, 2, 29)", "2024-02-29"),
        ("DATE(TIMESTAMP '2024-01-01 23:00:00')", "2024-01-01"),
        ("DATE(TIMESTAMP '2024-01-01 23:30:00', 'Europe/Paris')", "2024-01-02"),
        ("DATE(DATETIME '2024-01-01 23:00:00')", "2024-01-01"),
        ("DATE('2024-1-5')", "2024-01-05"),
        ("CURRENT_DATE()", "2024-01-03"),
        ("CURRENT_DATE", "2024-01-03"),
        ("CURRENT_DATE('Pacific/Kiritimati')", "2024-01-04"),
        ("DATE_ADD(DATE '2024-01-31', INTERVAL 1 MONTH)", "2024-02-29"),
        ("DATE_SUB('2024-01-01', INTERVAL 1 WEEK)", "2023-12-25"),
        ("DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)", "2024-01-01"),
        ("DATE_DIFF(DATE '2024-01-03', DATE '2024-01-01', DAY)", "2"),
        ("DATE_DIFF(DATE '2024-01-01', DATE '2023-12-31', YEAR)", "1"),
        ("DATE_TRUNC(DATE '2024-02-29', MONTH)", "2024-02-01"),
        ("DATE_TRUNC(DATE '2024-02-29', ISOWEEK)", "2024-02-26"),
        ("DATE '2024-01-01' + 3", "2024-01-04"),
        ("DATETIME '2024-01-01 10:00:00'", "2024-01-01T10:00:00"),
        ("DATETIME(TIMESTAMP '2024-01-01 23:30:00', 'Europe/Paris')", "2024-01-02T00:30:00"),
        ("DATETIME(2024, 1, 2, 3, 4, 5)", "2024-01-02T03:04:05"),
        ("DATETIME(DATE '2024-01-02', TIME '03:04:05')", "2024-01-02T03:04:05"),
        ("DATETIME_TRUNC(DATETIME '2024-01-01 10:47:00', HOUR)", "2024-01-01T10:00:00"),
        ("DATETIME_ADD(DATETIME '2024-01-01', INTERVAL 1 QUARTER)", "2024-04-01T00:00:00"),
        ("DATETIME_DIFF(DATETIME '2024-01-01 10:00:01', DATETIME '2024-01-01 09:59:59', HOUR)", "1"),
        ("EXTRACT(HOUR FROM TIMESTAMP '2024-01-01 13:47:31')", "13"),
        ("EXTRACT(DAYOFWEEK FROM DATE '2024-09-01')", "1"),
        ("EXTRACT(ISOWEEK FROM DATE '2024-09-01')", "35"),
        ("EXTRACT(WEEK FROM DATE '2024-09-01')", "35"),
        ("EXTRACT(YEAR FROM DATE '2024-09-01')", "2024"),
        ("EXTRACT(DATE FROM TIMESTAMP '2024-01-01 13:47:31')", "2024-01-01"),
        ("EXTRACT(HOUR FROM TIMESTAMP '2024-01-01 13:47:31' AT TIME ZONE 'Asia/Kolkata')", "19"),
        ("TIME '01:02:03'", "01:02:03"),
        (
            "FORMAT_TIMESTAMP('%Y-%m-%d %H:%M:%E3S %Z', TIMESTAMP '2024-01-01 13:47:31.25')",
            "2024-01-01 13:47:31.250 UTC",
        ),
        ("FORMAT_TIMESTAMP('%F %T', TIMESTAMP '2024-07-01 00:00:00', 'America/Los_Angeles')", "2024-06-30 17:00:00"),
        ("FORMAT_DATE('%Y Q%Q %b %A', DATE '2024-05-01')", "2024 Q2 May Wednesday"),
        ("FORMAT_DATETIME('%c', DATETIME '2024-01-01 13:47:31')", "Mon Jan  1 13:47:31 2024"),
        ("PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%S', '2024-01-01 13:47:31')", "2024-01-01T13:47:31Z"),
        ("PARSE_TIMESTAMP('%F %H', '2024-07-01 05', 'America/Los_Angeles')", "2024-07-01T12:00:00Z"),
        ("PARSE_DATE('%Y%m%d', '20240229')", "2024-02-29"),
        ("PARSE_DATE('%Y%m', '202402')", "2024-02-01"),
        ("PARSE_DATETIME('%d.%m.%Y', '01.02.2024')", "2024-02-01T00:00:00"),
    ])
    .await;
}

#[tokio::test]
async fn numbers() {
    check(&[
        ("1 / 2", "0.5"),
        ("7 / 2", "3.5"),
        ("DIV(-7, 2)", "-3"),
        ("MOD(-7, 2)", "-1"),
        ("SAFE_DIVIDE(1, 0)", "NULL"),
        ("SAFE_DIVIDE(1, 4)", "0.25"),
        ("IEEE_DIVIDE(1, 0)", "inf"),
        ("ABS(-3)", "3"),
        ("ABS(-3.5)", "3.5"),
        ("SIGN(-3)", "-1"),
        ("ROUND(2.5)", "3.0"),
        ("ROUND(-1.235, 1)", "-1.2"),
        ("TRUNC(1.99)", "1.0"),
        ("FLOOR(-1.5)", "-2.0"),
        ("CEIL(1.2)", "2.0"),
        ("CEILING(1.2)", "2.0"),
        ("SQRT(16)", "4.0"),
        ("POW(2, 10)", "1024.0"),
        ("LN(EXP(1))", "1.0"),
        ("LOG(8, 2)", "3.0"),
        ("LOG10(1000)", "3.0"),
        ("GREATEST(1, 3, 2)", "3"),
        ("LEAST(1, NULL, 2)", "NULL"),
        ("IS_NAN(IEEE_DIVIDE(0, 0))", "true"),
        ("1 + 2 * 3", "7"),
        ("CAST(2.5 AS INT64)", "3"),
        ("CAST(-2.5 AS INT64)", "-3"),
        ("CAST('0x1F' AS INT64)", "31"),
        ("CAST(3 AS FLOAT64)", "3.0"),
        ("CAST(1.25 AS NUMERIC)", "1.250000000"),
        ("CAST(NUMERIC '1.5' AS STRING)", "1.5"),
        ("CAST(NUMERIC '2.5' AS INT64)", "3"),
        ("SUM(CAST(v AS NUMERIC)) FROM UNNEST([1, 2]) AS v", "3.000000000"),
        ("SAFE_CAST('x' AS INT64)", "NULL"),
        ("SAFE_CAST('7' AS INT64)", "7"),
        ("SAFE_CAST('2024-13-01' AS DATE)", "NULL"),
        ("CAST(1 AS BOOL)", "true"),
        ("CAST('TRUE' AS BOOL)", "true"),
        ("-(-3)", "3"),
    ])
    .await;
}

#[tokio::test]
async fn texts() {
    check(&[
        ("'a' || 'b'", "ab"),
        ("CONCAT('a', 'b', 'c')", "abc"),
        ("CONCAT('a', NULL)", "NULL"),
        ("LOWER('ÀB')", "àb"),
        ("UPPER('ab')", "AB"),
        ("LENGTH('é')", "1"),
        ("BYTE_LENGTH('é')", "2"),
        ("SUBSTR('apple', 2)", "pple"),
        ("SUBSTR('apple', -3, 2)", "pl"),
        ("SUBSTR('apple', 0, 2)", "ap"),
        ("SUBSTRING('apple', 2, 3)", "ppl"),
        ("STARTS_WITH('apple', 'ap')", "true"),
        ("ENDS_WITH('apple', 'le')", "true"),
        ("REGEXP_CONTAINS('apple', r'^a.*e$')", "true"),
        ("REGEXP_EXTRACT('foo-42', r'(\\d+)')", "42"),
        ("REGEXP_EXTRACT('foo', r'\\d+')", "NULL"),
        ("REGEXP_REPLACE('a1b2', r'([a-z])', r'\\1\\1')", "aa1bb2"),
        ("SPLIT('a,b,c')", "[a, b, c]"),
        ("SPLIT('a|b', '|')[OFFSET(1)]", "b"),
        ("TRIM('  a ')", "a"),
        ("TRIM('xxaxx', 'x')", "a"),
        ("LTRIM('  a')", "a"),
        ("RTRIM('axx', 'x')", "a"),
        ("REPLACE('banana', 'a', 'o')", "bonono"),
        ("STRPOS('banana', 'nan')", "3"),
        ("REVERSE('abc')", "cba"),
        ("LEFT('abc', 2)", "ab"),
        ("LPAD('7', 3, '0')", "007"),
        ("CAST(1.0 AS STRING)", "1"),
        ("CAST(0.1 AS STRING)", "0.1"),
        ("CAST(TRUE AS STRING)", "true"),
        ("CAST(DATE '2024-01-01' AS STRING)", "2024-01-01"),
        ("CAST(DATETIME '2024-01-01 00:00:00' AS STRING)", "2024-01-01 00:00:00"),
        ("CAST(b'ab' AS STRING)", "ab"),
        ("CAST('ab' AS BYTES)", "6162"),
        ("'it\\'s'", "it's"),
        ("\"double\"", "double"),
        ("'''triple'''", "triple"),
        ("'a' LIKE 'A%'", "false"),
        ("'abc' LIKE 'a%'", "true"),
    ])
    .await;
}

#[tokio::test]
async fn conditions_and_arrays() {
    check(&[
        ("IF(1 < 2, 'yes', 'no')", "yes"),
        ("IF(NULL, 'yes', 'no')", "no"),
        ("IFNULL(NULL, 3)", "3"),
        ("NULLIF(3, 3)", "NULL"),
        ("COALESCE(NULL, NULL, 'a')", "a"),
        ("CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END", "b"),
        ("CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "b"),
        ("3 IN (1, 2, 3)", "true"),
        ("3 IN UNNEST([1, 2])", "false"),
        ("3 NOT IN UNNEST([1, 2])", "true"),
        ("2 BETWEEN 1 AND 3", "true"),
        ("2 NOT BETWEEN 1 AND 3", "false"),
        ("NULL IS NULL", "true"),
        ("[1, 2, 3]", "[1, 2, 3]"),
        ("ARRAY_LENGTH([1, 2, 3])", "3"),
        ("[1, 2][OFFSET(0)]", "1"),
        ("[1, 2][ORDINAL(1)]", "1"),
        ("[1, 2][SAFE_OFFSET(5)]", "NULL"),
        ("GENERATE_ARRAY(1, 10, 4)", "[1, 5, 9]"),
        ("GENERATE_DATE_ARRAY('2024-01-30', '2024-02-02')", "[2024-01-30, 2024-01-31, 2024-02-01, 2024-02-02]"),
        (
            "ARRAY_LENGTH(GENERATE_TIMESTAMP_ARRAY(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-02', INTERVAL 1 HOUR))",
            "25",
        ),
        ("ARRAY_TO_STRING(['a', 'b'], '-')", "a-b"),
        ("ARRAY_CONCAT([1], [2, 3])", "[1, 2, 3]"),
        ("STRUCT(1 AS a, 'x' AS b)", "{a: 1, b: x}"),
        ("STRUCT(1 AS a, 'x' AS b).b", "x"),
    ])
    .await;
}

#[tokio::test]
async fn aggregates() {
    check(&[
        ("COUNT(*), COUNT(n), COUNT(DISTINCT Branch) FROM t", "4|3|2"),
        ("SUM(n), AVG(n), MIN(n), MAX(n) FROM t", "6|2.0|1|3"),
        ("SUM(x), SUM(n) / COUNT(n) FROM t", "0.0|2.0"),
        ("COUNTIF(n > 1) FROM t", "2"),
        ("LOGICAL_OR(ok), LOGICAL_AND(ok) FROM t", "true|false"),
        ("ANY_VALUE(Branch) FROM t WHERE n = 2 OR n IS NULL", "treatment"),
        ("MAX_BY(Branch, n), MIN_BY(Branch, ts) FROM t", "control|control"),
        ("ANY_VALUE(Branch HAVING MAX n) FROM t WHERE n < 3", "treatment"),
        ("APPROX_COUNT_DISTINCT(Branch) FROM t", "2"),
        ("APPROX_QUANTILES(n, 2) FROM t", "[1, 2, 3]"),
        ("APPROX_QUANTILES(n, 100)[OFFSET(50)] FROM t", "2"),
        ("ARRAY_AGG(n IGNORE NULLS ORDER BY n DESC LIMIT 2) FROM t", "[3, 2]"),
        ("ARRAY_AGG(n ORDER BY ts) FROM t", "[1, 2, 3, NULL]"),
        ("STRING_AGG(Branch, '; ' ORDER BY ts) FROM t", "control; treatment; control"),
        ("STRING_AGG(DISTINCT Branch ORDER BY Branch) FROM t", "control,treatment"),
        ("STDDEV(n), VAR_POP(n) FROM t", "1.0|0.6666666666666666"),
        ("SUM(n) FROM t WHERE FALSE", "NULL"),
        ("COUNT(*) FROM t WHERE FALSE", "0"),
        ("SUM(IF(ok, n, 0)) FROM t", "1"),
    ])
    .await;
}
