//! What a dataset says about its tables' partitions.

use super::{Place, at, id};
use crate::source::{Job, MINIMUM_BYTES_PER_TABLE, Source};
use weir_plan::Kind;

const CHANGED: &str = "SELECT partition_id, total_rows, last_modified_time FROM `p.d`.INFORMATION_SCHEMA.PARTITIONS \
    WHERE table_name = 't' ORDER BY 1";

#[tokio::test]
async fn partitions_tell_when_they_changed() {
    let place = Place::new();
    let noon = "2024-01-03T12:00:00Z";
    let row = |day: &str, rows: u64, changed: &str| format!("{day}|{rows}|{changed}");
    let expected = [row("20240101", 2, noon), row("20240102", 1, noon), row("20240103", 1, noon)];
    assert_eq!(place.rows(CHANGED).await, expected);

    place.clock.set(at("2024-01-04T01:00:00Z"));
    let Ok(rows) = place.embedded.table(&id("p.d.t")).await.map(|table| table.schema) else { panic!("no table") };
    let nothing = arrow::array::RecordBatch::new_empty(rows);
    place.embedded.replace_partition(&id("p.d.t"), at("2024-01-02"), &nothing).unwrap();
    let later = format!("{CHANGED} -- later");
    assert_eq!(place.rows(&later).await, [row("20240101", 2, noon), row("20240103", 1, noon)]);
}

#[tokio::test]
async fn a_listing_of_partitions_is_billed_the_minimum() {
    let place = Place::new();
    place.table("p.d.plain", &place.answer("SELECT n FROM t").await.unwrap().concat().unwrap(), None);
    let outcome = place.embedded.run(Job::new("listing", CHANGED)).await.unwrap();
    assert_eq!(outcome.bytes_billed, MINIMUM_BYTES_PER_TABLE);
    place.check("SELECT COUNT(*) FROM d.information_schema.partitions WHERE partition_id IS NULL", &["1"]).await;
    let refused =
        [("p.nowhere.INFORMATION_SCHEMA.PARTITIONS", "p:nowhere"), ("p.d.INFORMATION_SCHEMA.COLUMNS", "COLUMNS")];
    for (name, expected) in refused {
        let error = place.answer(&format!("SELECT * FROM {name}")).await.unwrap_err();
        assert!(error.kind() == Kind::NotFound && error.message().contains(expected), "{error}");
    }
}
