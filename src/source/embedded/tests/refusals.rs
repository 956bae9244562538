//! What is refused, in which words.

use weir_plan::Kind;

use super::{Place, id};

#[tokio::test]
async fn unknown_names_have_their_place() {
    let place = Place::new();
    for (sql, message) in [
        ("SELECT Brnch FROM t", "Unrecognized name: brnch at [1:8]"),
        ("SELECT n\nFROM t\nWHERE nope = 1", "Unrecognized name: nope at [3:7]"),
        ("SELECT u.n FROM t", "Unrecognized name: u at [1:8]"),
        ("SELECT t.nope FROM t", "Name nope not found inside t at [1:10]"),
        ("SELECT n FROM t a JOIN t b ON a.n = b.n", "Column name n is ambiguous at [1:8]"),
        ("SELECT n FROM t WHERE ts > 'yesterday'", "Could not cast literal \"yesterday\" to type TIMESTAMP"),
        (
            "SELECT n FROM t WHERE ts > DATE '2024-01-01'",
            "No matching signature for operator > for argument types: TIMESTAMP, DATE",
        ),
        ("SELECT n FROM t WHERE branch = 1", "No matching signature for operator = for argument types: STRING, INT64"),
        ("SELECT ts - ts FROM t", "No matching signature for operator - for argument types: TIMESTAMP, TIMESTAMP"),
        ("SELECT n, n FROM t", "Duplicate column names in the result are not supported. Found duplicate(s): n"),
        ("SELECT *, n AS N FROM t", "Duplicate column names in the result are not supported. Found duplicate(s): n"),
        ("SELECT TIMESTAMP 'x'", "Invalid TIMESTAMP literal \"x\""),
        ("SELECT 1 / 0", "division by zero: 1 / 0"),
        ("SELECT DIV(n, 0) FROM t WHERE n = 1", "division by zero: DIV(1, 0)"),
        ("SELECT CAST('x' AS INT64)", "Bad int64 value: x"),
        ("SELECT 9223372036854775807 + 1", "int64 overflow: 9223372036854775807 + 1"),
        ("SELECT [1][OFFSET(3)]", "Array index 3 is out of bounds"),
        ("SELECT TIMESTAMP_TRUNC(ts, FORTNIGHT) FROM t", "A valid date part name is required but found FORTNIGHT"),
        (
            "SELECT UNIX_SECONDS(ts, 1, 2) FROM t",
            "No matching signature for function UNIX_SECONDS for argument types: TIMESTAMP, INT64, INT64",
        ),
        ("SELECT UNIX_SECONDS(n) FROM t", "No matching signature for function UNIX_SECONDS for argument types: INT64"),
        (
            "SELECT TIMESTAMP_DIFF(ts, day, DAY) FROM t",
            "No matching signature for function TIMESTAMP_DIFF, DATE_DIFF or DATETIME_DIFF for argument types: TIMESTAMP, DATE, STRING, STRING",
        ),
        (
            "SELECT n FROM t WHERE FORMAT_DATE('%F', n) = 'x'",
            "No matching signature for function FORMAT_DATE for argument types: STRING, INT64",
        ),
        ("SELECT @nope", "Query parameter 'nope' not found at [1:8]"),
    ] {
        place.refuses(sql, Kind::InvalidQuery, message).await;
    }
}

#[tokio::test]
async fn unknown_tables_are_not_found() {
    let place = Place::new();
    for (sql, message) in [
        ("SELECT 1 FROM nope", "Not found: Table p:d.nope was not found in location US"),
        ("SELECT 1 FROM `p.d.T`", "Not found: Table p:d.T was not found in location US"),
        ("SELECT 1 FROM p.elsewhere.t", "Not found: Dataset p:elsewhere was not found in location US"),
        ("SELECT 1 FROM (SELECT * FROM q.d.t)", "Not found: Dataset q:d was not found in location US"),
    ] {
        place.refuses(sql, Kind::NotFound, message).await;
    }
    let job = crate::source::Job::new("j", "SELECT 1 FROM t");
    let error = crate::source::Source::run(&place.embedded, job).await.unwrap_err();
    assert_eq!(error.message(), "Table \"t\" must be qualified with a dataset (e.g. dataset.table) at [1:15]");
}

#[tokio::test]
async fn what_the_engine_lacks_is_refused_by_name() {
    let place = Place::new();
    for (sql, what) in [
        ("SELECT APPROX_TOP_COUNT(n, 3) FROM t", "FUNCTION APPROX_TOP_COUNT at [1:8]"),
        ("SELECT NET.HOST('x')", "FUNCTION NET.HOST at [1:8]"),
        ("SELECT RAND()", "FUNCTION RAND at [1:8]"),
        ("SELECT date_bin(INTERVAL 1 DAY, ts) FROM t", "FUNCTION DATE_BIN at [1:8]"),
        ("SELECT `$cast_int64`('1')", "FUNCTION $CAST_INT64 at [1:8]"),
        ("SELECT n FROM t TABLESAMPLE SYSTEM (10 PERCENT)", "TABLESAMPLE"),
        ("SELECT n FROM t FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()", "FOR SYSTEM_TIME AS OF"),
        ("SELECT * FROM t PIVOT (SUM(n) FOR branch IN ('a', 'b'))", "PIVOT"),
        ("SELECT AS STRUCT n FROM t", "SELECT AS STRUCT or AS VALUE"),
        ("SELECT n FROM `p.d.t_*`", "p:d.t_* does not match any table."),
        ("SELECT CAST(n AS INTERVAL) FROM t", "casts to INTERVAL"),
        ("SELECT INTERVAL 1 DAY AS i", "answers of INTERVAL, as column i"),
        ("SELECT (SELECT COUNT(*) FROM UNNEST(list)) FROM t", "a subquery's UNNEST(list) of an outer query's array"),
        ("SELECT * FROM EXTERNAL_QUERY('connection', 'query')", "TABLE FUNCTION EXTERNAL_QUERY"),
    ] {
        let error = place.error(sql).await;
        assert_eq!(error.kind(), Kind::InvalidQuery, "{sql}: {error:?}");
        assert!(error.message().contains(what), "{sql}: {error}");
    }
}

#[tokio::test]
async fn statements_that_are_no_query_are_refused() {
    let place = Place::new();
    for (sql, message) in [
        ("DELETE FROM t WHERE TRUE", "DELETE is not a query; only SELECT (or WITH … SELECT) is run"),
        ("CREATE TABLE d.u AS SELECT 1", "CREATE is not a query; only SELECT (or WITH … SELECT) is run"),
        ("SELECT 1; DROP TABLE t", "the text has several statements; only one SELECT (or WITH … SELECT) is run"),
        ("SELECT n FORM t", "Syntax error: Expected end of statement, found: t at [1:15]"),
        ("SELECT (1", "Syntax error: Expected ), found: EOF"),
    ] {
        let error = place.error(sql).await;
        assert!(error.kind() == Kind::InvalidQuery && error.message().starts_with(message), "{sql}: {error}");
    }
    place.check("SELECT COUNT(*) FROM t", &["4"]).await;
}

#[tokio::test]
async fn views_that_read_themselves_or_nothing_are_errors() {
    let place = Place::new();
    place.embedded.create_view(id("p.d.a"), "SELECT * FROM d.b").unwrap();
    place.embedded.create_view(id("p.d.b"), "SELECT * FROM d.a").unwrap();
    let error = place.error("SELECT * FROM a").await;
    assert!(error.message().contains("view p.d.a reads itself"), "{error}");
    place.embedded.create_view(id("p.d.c"), "SELECT * FROM d.nope").unwrap();
    let error = place.error("SELECT * FROM c").await;
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(error.message(), "in view p.d.c: Not found: Table p:d.nope was not found in location US");
    assert!(place.embedded.create_view(id("p.d.e"), "DROP TABLE t").is_err());
}
