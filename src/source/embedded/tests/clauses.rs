//! Clauses, names and types.

use super::{Place, id, types};
use crate::source::{Job, Source};
use arrow::datatypes::DataType;

#[tokio::test]
async fn names_are_found_in_every_spelling_of_the_table() {
    let place = Place::new();
    for table in ["`p.d.t`", "p.d.t", "`p`.`d`.`t`", "`p.d`.t", "p.`d.t`", "d.t", "`d.t`", "t"] {
        place.check(&format!("SELECT COUNT(n) FROM {table}"), &["3"]).await;
    }
}

#[tokio::test]
async fn a_project_with_dashes_needs_no_quotes() {
    let place = Place::new();
    let rows = place.answer("SELECT n FROM t").await.unwrap().concat().unwrap();
    place.table("moz-fx-data-shared-prod.telemetry.t", &rows, None);
    place.check("SELECT COUNT(*) FROM moz-fx-data-shared-prod.telemetry.t", &["4"]).await;
    place.check("SELECT COUNT(*) FROM `moz-fx-data-shared-prod`.telemetry.t", &["4"]).await;
}

#[tokio::test]
async fn tables_are_case_sensitive_and_columns_are_not() {
    let place = Place::new();
    let rows = place.answer("SELECT n FROM t").await.unwrap().concat().unwrap();
    place.table("p.d.Upper", &rows, None);
    place.check("SELECT COUNT(N) FROM Upper", &["3"]).await;
    assert!(place.error("SELECT COUNT(N) FROM upper").await.message().starts_with("Not found: Table p:d.upper"));
    place.check("SELECT BRANCH FROM t AS Q WHERE q.N = 1", &["control"]).await;
}

#[tokio::test]
async fn columns_keep_their_spelling() {
    let place = Place::new();
    for (sql, expected) in [
        ("SELECT n AS Value, branch FROM t", vec!["Value", "branch"]),
        ("SELECT * FROM t", vec!["ts", "day", "Branch", "n", "x", "ok", "list"]),
        ("SELECT * EXCEPT (LIST, ok, x) FROM t", vec!["ts", "day", "Branch", "n"]),
        ("SELECT * FROM (SELECT n AS Value FROM t)", vec!["Value"]),
        ("SELECT 1, n, 2, t.x, COUNT(*) OVER () FROM t", vec!["f0_", "n", "f1_", "x", "f2_"]),
        ("SELECT SUM(n) FROM t UNION ALL SELECT 1", vec!["f0_"]),
        ("SELECT s.Inner FROM (SELECT STRUCT(1 AS Inner) AS s)", vec!["Inner"]),
    ] {
        assert_eq!(place.names(sql).await, expected, "{sql}");
    }
    let answer = place.answer("SELECT STRUCT(1 AS Inner) AS s").await.unwrap();
    assert!(format!("{:?}", answer.schema()).contains("Inner"));
}

#[tokio::test]
async fn types_are_those_of_the_storage_read_api() {
    let place = Place::new();
    let sql = "SELECT ts, day, branch, n, x, ok, list, DATETIME(ts) AS dt, ROW_NUMBER() OVER (ORDER BY ts) AS rn,
        COUNT(*) OVER () AS c, SUM(n) OVER () AS s, NULL AS nothing, CAST(n AS NUMERIC) * 2 AS num, CAST(n AS BIGNUMERIC) AS big,
        LENGTH(branch) AS len, STRPOS(branch, 'o') AS pos, UPPER(branch) AS up, CAST(branch AS BYTES) AS bytes, TIME(ts) AS clock,
        STRUCT(n AS a) AS s1, EXTRACT(DAY FROM ts) AS e, RANK() OVER (ORDER BY n) + 1 AS r FROM t";
    let expected = [
        types::timestamp(),
        DataType::Date32,
        DataType::Utf8,
        DataType::Int64,
        DataType::Float64,
        DataType::Boolean,
        types::array(DataType::Int64),
        types::DATETIME,
        DataType::Int64,
        DataType::Int64,
        DataType::Int64,
        DataType::Int64,
        types::NUMERIC,
        types::BIGNUMERIC,
        DataType::Int64,
        DataType::Int64,
        DataType::Utf8,
        DataType::Binary,
        types::TIME,
        DataType::Struct(vec![arrow::datatypes::Field::new("a", DataType::Int64, true)].into()),
        DataType::Int64,
        DataType::Int64,
    ];
    let answer = place.answer(sql).await.unwrap();
    for (field, expected) in answer.schema().fields().iter().zip(&expected) {
        assert_eq!((field.data_type(), field.is_nullable()), (expected, true), "{}", field.name());
    }
    assert_eq!(answer.schema().fields().len(), expected.len());
    let mut job = Job::new("dry", sql);
    job.default_dataset = Some("p.d".to_owned());
    let estimate = place.embedded.dry_run(&job).await.unwrap();
    assert_eq!(estimate.schema, *answer.schema());
}

#[tokio::test]
async fn a_view_has_the_types_of_its_answer() {
    let place = Place::new();
    place.embedded.create_view(id("p.d.v"), "SELECT n AS Mixed FROM d.t UNION ALL SELECT x FROM d.t").unwrap();
    let described = place.embedded.table(&id("p.d.v")).await.unwrap();
    let answer = place.answer("SELECT * FROM v").await.unwrap();
    assert_eq!(described.schema.field(0), answer.schema().field(0));
    assert_eq!(
        (described.schema.field(0).name().as_str(), described.schema.field(0).data_type()),
        ("Mixed", &DataType::Float64)
    );
    assert_eq!((described.kind.as_str(), described.num_rows), ("VIEW", 0));
    place.check("SELECT SUM(mixed + 1) FROM v", &["12.0"]).await;
}

#[tokio::test]
async fn times_compare_with_literals() {
    let place = Place::new();
    for (condition, expected) in [
        ("ts >= '2024-01-02T00:00:00Z'", "2"),
        ("ts >= '2024-01-01T00:00:00Z' AND ts <= '2024-01-02T00:00:00Z'", "2"),
        ("ts < '2024-01-02'", "2"),
        ("'2024-01-02' <= ts", "2"),
        ("ts BETWEEN TIMESTAMP '2024-01-01' AND TIMESTAMP '2024-01-02'", "2"),
        ("ts BETWEEN TIMESTAMP_MILLIS (1704067200000) AND TIMESTAMP_MILLIS (1704153600000)", "2"),
        ("ts BETWEEN '2024-01-01' AND '2024-01-02'", "2"),
        ("ts > TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))", "3"),
        ("ts IN ('2024-01-01T00:00:00Z', '2024-01-03 10:00:00 UTC')", "2"),
        ("day = '2024-01-01'", "2"),
        ("day IN ('2024-01-01', '2024-01-02')", "3"),
        ("day BETWEEN '2024-01-01' AND '2024-01-02'", "3"),
        ("DATE(ts) = '2024-01-01'", "2"),
        ("DATE(ts) >= DATE_SUB(CURRENT_DATE(), INTERVAL 1 DAY)", "2"),
        ("CAST(ts AS DATE) = DATE '2024-01-02'", "1"),
        ("DATETIME(ts) < '2024-01-02'", "2"),
    ] {
        place.check(&format!("SELECT COUNT(*) FROM t WHERE {condition}"), &[expected]).await;
    }
}

#[tokio::test]
async fn aliases_are_resolved_as_bigquery_does() {
    let place = Place::new();
    place
        .check(
            "SELECT TIMESTAMP_TRUNC(ts, DAY) AS ts, SUM(n) AS n FROM t WHERE ts < '2024-01-03' GROUP BY ts HAVING n > 2 ORDER BY ts",
            &["2024-01-01T00:00:00Z|3", "2024-01-02T00:00:00Z|3"],
        )
        .await;
    place.check("SELECT branch, SUM(n) AS n FROM t GROUP BY branch HAVING SUM(n) > 3", &["control|4"]).await;
    place
        .check(
            "SELECT branch AS metric, SUM(n) AS value FROM t GROUP BY metric ORDER BY value DESC",
            &["control|4", "treatment|2", "NULL|NULL"],
        )
        .await;
    place.check("SELECT branch, SUM(n) FROM t GROUP BY 1 ORDER BY 2", &["NULL|NULL", "treatment|2", "control|4"]).await;
    place
        .check(
            "SELECT branch, COUNT(*) AS c FROM t GROUP BY branch ORDER BY COUNT(*) DESC, branch",
            &["control|2", "NULL|1", "treatment|1"],
        )
        .await;
    place.check("SELECT -n AS n FROM t ORDER BY n LIMIT 2", &["NULL", "-3"]).await;
    place.check("SELECT UPPER(branch) AS b FROM t GROUP BY b ORDER BY b DESC", &["TREATMENT", "CONTROL", "NULL"]).await;
}

#[tokio::test]
async fn nulls_sort_first_ascending_and_last_descending() {
    let place = Place::new();
    place.check("SELECT n FROM t ORDER BY n", &["NULL", "1", "2", "3"]).await;
    place.check("SELECT n FROM t ORDER BY n DESC", &["3", "2", "1", "NULL"]).await;
    place.check("SELECT n FROM t ORDER BY n NULLS LAST LIMIT 2 OFFSET 1", &["2", "3"]).await;
    place
        .check("SELECT n, ROW_NUMBER() OVER (ORDER BY n DESC) AS r FROM t ORDER BY r", &["3|1", "2|2", "1|3", "NULL|4"])
        .await;
}

#[tokio::test]
async fn sets_subqueries_and_common_table_expressions() {
    let place = Place::new();
    for (sql, expected) in [
        ("WITH a AS (SELECT n FROM t WHERE n > 1), b AS (SELECT n * 10 AS n FROM a) SELECT SUM(n) FROM b", vec!["50"]),
        ("WITH T AS (SELECT n FROM t) SELECT COUNT(*) FROM T", vec!["4"]),
        ("SELECT n FROM t WHERE n = (SELECT MAX(n) FROM t)", vec!["3"]),
        (
            "SELECT n FROM t WHERE branch IN (SELECT branch FROM t GROUP BY 1 HAVING COUNT(*) > 1) ORDER BY 1",
            vec!["1", "3"],
        ),
        ("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a DESC", vec!["2", "1"]),
        ("SELECT 1 UNION DISTINCT SELECT 1", vec!["1"]),
        ("SELECT a, a / 2 AS half FROM (SELECT 1 AS a UNION ALL SELECT 2.5) ORDER BY a", vec!["1.0|0.5", "2.5|1.25"]),
        ("SELECT a + 1 AS b FROM (SELECT NULL AS a UNION ALL SELECT 2.5) ORDER BY b", vec!["NULL", "3.5"]),
        ("SELECT 1 EXCEPT DISTINCT SELECT 1", vec![]),
        ("SELECT DISTINCT branch FROM t WHERE branch IS NOT NULL ORDER BY branch", vec!["control", "treatment"]),
        ("SELECT a.n, b.x FROM t AS a JOIN t AS b USING (ts) WHERE a.n = 2", vec!["2|1.5"]),
        (
            "SELECT a.n FROM t a LEFT JOIN (SELECT n FROM t WHERE n > 2) b ON a.n = b.n WHERE b.n IS NULL AND a.n IS NOT NULL ORDER BY 1",
            vec!["1", "2"],
        ),
        ("SELECT COUNT(*) FROM t a CROSS JOIN t b", vec!["16"]),
        ("SELECT COUNT(*) FROM t a, t b WHERE a.n = b.n", vec!["3"]),
        (
            "SELECT COALESCE(a.n, b.n) AS n FROM (SELECT 1 AS n) a FULL OUTER JOIN (SELECT 2 AS n) b ON a.n = b.n ORDER BY n",
            vec!["1", "2"],
        ),
        ("SELECT * REPLACE (n + 1 AS n) FROM (SELECT n FROM t WHERE n = 1)", vec!["2"]),
        ("SELECT n FROM t WHERE EXISTS (SELECT 1 FROM t u WHERE u.n = t.n + 1) ORDER BY n", vec!["1", "2"]),
        (
            "SELECT branch, COUNT(*) FROM t WHERE n IS NOT NULL GROUP BY ROLLUP(branch) ORDER BY 2 DESC, 1",
            vec!["NULL|3", "control|2", "treatment|1"],
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT i FROM r ORDER BY i",
            vec!["1", "2", "3"],
        ),
    ] {
        place.check(sql, &expected).await;
    }
}

#[tokio::test]
async fn windows_and_qualify() {
    let place = Place::new();
    for (sql, expected) in [
        ("SELECT n, SUM(n) OVER (ORDER BY ts) AS running FROM t ORDER BY ts", vec!["1|1", "2|3", "3|6", "NULL|6"]),
        (
            "SELECT n FROM t WHERE n IS NOT NULL QUALIFY ROW_NUMBER() OVER (PARTITION BY branch ORDER BY ts DESC) = 1 ORDER BY n",
            vec!["2", "3"],
        ),
        (
            "SELECT n, RANK() OVER (ORDER BY n DESC) AS r FROM t WHERE TRUE QUALIFY r <= 2 ORDER BY r",
            vec!["3|1", "2|2"],
        ),
        (
            "SELECT n, LAG(n) OVER w AS l, LEAD(n, 1, 0) OVER w AS m FROM t WHERE n > 0 WINDOW w AS (ORDER BY n) ORDER BY n",
            vec!["1|NULL|2", "2|1|3", "3|2|0"],
        ),
        ("SELECT FIRST_VALUE(n) OVER (ORDER BY n DESC) AS f FROM t LIMIT 1", vec!["3"]),
        (
            "SELECT n, SUM(n) OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM t WHERE n > 0 ORDER BY ts",
            vec!["1|1", "2|3", "3|5"],
        ),
        (
            "SELECT branch, SUM(SUM(n)) OVER (ORDER BY branch) AS s FROM t WHERE n > 0 GROUP BY branch ORDER BY branch",
            vec!["control|4", "treatment|6"],
        ),
        ("SELECT COUNTIF(n > 1) OVER () AS c FROM t LIMIT 1", vec!["2"]),
    ] {
        place.check(sql, &expected).await;
    }
}

#[tokio::test]
async fn arrays_are_unnested() {
    let place = Place::new();
    for (sql, expected) in [
        ("SELECT x FROM UNNEST([1, 2, 3]) AS x WHERE x > 1", vec!["2", "3"]),
        ("SELECT x, i FROM UNNEST(['a', 'b']) AS x WITH OFFSET AS i ORDER BY i DESC", vec!["b|1", "a|0"]),
        ("SELECT x, offset FROM UNNEST(['a', 'b']) AS x WITH OFFSET", vec!["a|0", "b|1"]),
        ("SELECT s.a FROM UNNEST([STRUCT(1 AS a), STRUCT(2 AS a)]) AS s", vec!["1", "2"]),
        ("SELECT n, e FROM t, UNNEST(list) AS e ORDER BY e", vec!["1|1", "1|2", "3|3"]),
        ("SELECT t.n, e FROM t CROSS JOIN UNNEST(t.list) AS e WHERE e > 1 ORDER BY e", vec!["1|2", "3|3"]),
        (
            "SELECT n, e FROM t LEFT JOIN UNNEST(list) AS e ORDER BY n, e",
            vec!["NULL|NULL", "1|1", "1|2", "2|NULL", "3|3"],
        ),
        ("SELECT n, SUM(e) AS s FROM t JOIN UNNEST(list) AS e ON e < 3 GROUP BY n", vec!["1|3"]),
        ("SELECT a.n, b.n AS m, e FROM t a JOIN t b USING (ts), UNNEST(b.list) AS e ORDER BY e LIMIT 1", vec!["1|1|1"]),
        ("SELECT COUNT(*) FROM UNNEST(GENERATE_DATE_ARRAY('2024-01-01', CURRENT_DATE())) AS day", vec!["3"]),
        (
            "SELECT d, COUNT(n) FROM UNNEST(GENERATE_DATE_ARRAY('2024-01-01', '2024-01-04')) AS d LEFT JOIN t ON t.day = d GROUP BY d ORDER BY d",
            vec!["2024-01-01|2", "2024-01-02|1", "2024-01-03|0", "2024-01-04|0"],
        ),
        (
            "SELECT ARRAY_LENGTH(list), list[SAFE_OFFSET(1)] FROM t ORDER BY ts",
            vec!["2|2", "0|NULL", "1|NULL", "NULL|NULL"],
        ),
    ] {
        place.check(sql, &expected).await;
    }
}
