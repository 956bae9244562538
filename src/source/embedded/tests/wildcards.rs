//! Tables by day under one name.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use weir_plan::Kind;

use super::{Place, id, timestamps, types};
use crate::source::{Job, MINIMUM_BYTES_PER_TABLE, Source};

/// Three days of `p.d.e_…`, of which the first lacks a column, and a table whose name begins otherwise.
fn place() -> Place {
    let place = Place::new();
    for (day, count) in [("20240101", 1), ("20240102", 2), ("20240103", 3)] {
        let mut fields = vec![Field::new("ts", types::timestamp(), true), Field::new("n", DataType::Int64, true)];
        let time = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
        let mut columns = vec![timestamps(&[&time]), Arc::new(Int64Array::from(vec![count]))];
        if count > 1 {
            fields.push(Field::new("Who", DataType::Utf8, true));
            columns.push(Arc::new(StringArray::from(vec!["x"])));
        }
        place.table(
            &format!("p.d.e_{day}"),
            &RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(),
            None,
        );
    }
    place
}

#[tokio::test]
async fn a_wildcard_is_all_tables_of_its_prefix_with_their_endings() {
    let place = place();
    place
        .check("SELECT _TABLE_SUFFIX AS day, n FROM `p.d.e_*` ORDER BY 1", &["20240101|1", "20240102|2", "20240103|3"])
        .await;
    place.check("SELECT SUM(n) FROM `d.e_2024010*` WHERE _table_suffix > '1'", &["5"]).await;
    place.check("SELECT n FROM `e_*` WHERE _TABLE_SUFFIX BETWEEN '20240102' AND '20240102'", &["2"]).await;
    place.check("SELECT COUNT(who), COUNT(*) FROM `p.d.e_*`", &["2|3"]).await;
    place.check("SELECT * FROM `p.d.e_*` AS e WHERE n = 2", &["2024-01-02T00:00:00Z|2|x"]).await;
    place.check("SELECT e.*, 1 AS one FROM `p.d.e_*` AS e WHERE n = 1", &["2024-01-01T00:00:00Z|1|NULL|1"]).await;
    place.check("SELECT * EXCEPT (who) FROM (SELECT * FROM `p.d.e_*`) WHERE n = 1", &["2024-01-01T00:00:00Z|1"]).await;
    assert_eq!(place.names("SELECT * FROM `p.d.e_*`").await, ["ts", "n", "Who"]);
    place.refuses("SELECT n FROM `p.d.f_*`", Kind::InvalidQuery, "p:d.f_* does not match any table.").await;
}

#[tokio::test]
async fn only_the_tables_whose_ending_is_asked_for_are_billed() {
    let place = place();
    for (sql, tables) in [
        ("SELECT SUM(n) FROM `p.d.e_*`", 3),
        ("SELECT SUM(n) FROM `p.d.e_*` WHERE _TABLE_SUFFIX BETWEEN '20240102' AND '20240109'", 2),
        ("SELECT SUM(n) FROM `p.d.e_*` WHERE _TABLE_SUFFIX = '20230102'", 0),
    ] {
        let outcome = place.embedded.run(Job::new(sql, sql)).await.unwrap();
        assert_eq!(outcome.bytes_processed, tables * 8, "{sql}");
        assert_eq!(outcome.bytes_billed, tables * MINIMUM_BYTES_PER_TABLE, "{sql}");
    }
    let estimate = place.embedded.dry_run(&Job::new("dry", "SELECT n FROM `p.d.e_2024010*`")).await.unwrap();
    assert!(estimate.referenced_tables.contains(&id("p.d.e_20240103")), "{estimate:?}");
}
