//! The tables and views that the cases ask about, and how each implementation gets them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::ReaderBuilder;
use serde_json::Value;
use weir::clock::ManualClock;
use weir::source::embedded::{Embedded, TableSpec};
use weir::source::{PartitionUnit, Partitioning};
use weir_plan::{TableId, Timestamp};

use super::google_type::{Column, GoogleType, rest, schema};
use super::tables;
use crate::support::emulator::{Emulator, PROJECT};

/// The tests' present: a Friday, two days and a bit after the flip of the union view.
pub(crate) const NOW: &str = "2024-03-15T12:07:00Z";

/// The present's date.
const TODAY: &str = "2024-03-15";

/// A table and its rows.
pub(crate) struct Table {
    /// Full name.
    pub(crate) id: TableId,
    /// Columns.
    pub(crate) columns: Vec<Column>,
    /// Partitioning by day on this column.
    pub(crate) partitioned_by: Option<&'static str>,
    /// Rows, JSON objects as the Arrow JSON reader takes them.
    pub(crate) rows: Vec<Value>,
}

impl Table {
    fn partitioning(&self) -> Option<Partitioning> {
        self.partitioned_by.map(|column| Partitioning { column: Some(column.to_owned()), unit: PartitionUnit::Day })
    }

    fn batch(&self) -> RecordBatch {
        let schema = schema(&self.columns);
        let mut decoder =
            ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(self.rows.len()).build_decoder().unwrap();
        decoder.serialize(&self.rows).unwrap_or_else(|error| panic!("rows of {}: {error}", self.id));
        decoder.flush().unwrap().unwrap_or_else(|| RecordBatch::new_empty(schema))
    }
}

/// Views by their full names, in an order in which they can be made.
fn views() -> [(&'static str, &'static str); 11] {
    [
        (
            "telemetry_derived.experiment_enrollment_aggregates_live_v1",
            include_str!("views/enrollment_aggregates_live.sql"),
        ),
        ("telemetry.experiment_enrollment_overall", include_str!("views/enrollment_overall.sql")),
        ("telemetry.experiment_unenrollment_overall", include_str!("views/unenrollment_overall.sql")),
        ("telemetry.experiment_enrollment_other_events_overall", include_str!("views/other_events_overall.sql")),
        ("telemetry.experiment_exposure_overall", include_str!("views/exposure_overall.sql")),
        (
            "telemetry.experiment_enrollment_cumulative_population_estimate",
            include_str!("views/cumulative_population_estimate.sql"),
        ),
        ("telemetry.experiment_enrollment_daily_active_population", include_str!("views/daily_active_population.sql")),
        ("telemetry.experiment_cumulative_search_count", include_str!("views/cumulative_search_count.sql")),
        ("telemetry.experiment_cumulative_ad_clicks", include_str!("views/cumulative_ad_clicks.sql")),
        (
            "telemetry.experiment_cumulative_search_with_ads_count",
            include_str!("views/cumulative_search_with_ads_count.sql"),
        ),
        ("telemetry.experiment_crash_counts", include_str!("views/crash_counts.sql")),
    ]
}

fn view_id(name: &str) -> TableId {
    format!("{PROJECT}.{name}").parse().unwrap()
}

/// The embedded source with every table and view, at [`NOW`].
pub(crate) fn embedded() -> Arc<Embedded> {
    let now = Timestamp::parse(NOW, Timestamp::MIN).unwrap();
    let embedded = Embedded::new(PROJECT, Arc::new(ManualClock::new(now)));
    for table in tables::all() {
        let spec =
            TableSpec { id: table.id.clone(), schema: schema(&table.columns), partitioning: table.partitioning() };
        embedded.create_table(spec).unwrap();
        embedded.append(&table.id, &table.batch()).unwrap();
    }
    for (name, sql) in views() {
        embedded.create_view(view_id(name), sql).unwrap();
    }
    Arc::new(embedded)
}

/// Gives the emulator every table and view; views with [`TODAY`] in place of its own clock's date.
pub(crate) async fn seed(emulator: &Emulator) {
    for table in tables::all() {
        emulator.create_dataset(&table.id.project, &table.id.dataset).await;
        match emulator.create_table(&table.id, rest(&table.columns), table.partitioning().as_ref()).await {
            Ok(()) => emulator.load(&table.id, &table.batch()).await,
            // A case about this table fails then, as cannot.toml says.
            Err(error) => assert!(has_bignumeric(&table), "{error}"),
        }
    }
    for (name, sql) in views() {
        let id = view_id(name);
        emulator.create_dataset(&id.project, &id.dataset).await;
        let sql = sql.replace("CURRENT_DATE()", &format!("DATE '{TODAY}'"));
        emulator.create_view(&id, &sql).await;
    }
}

/// `DuckDB`'s decimals end at 38 digits.
fn has_bignumeric(table: &Table) -> bool {
    table.columns.iter().any(|column| column.kind == GoogleType::Scalar("BIGNUMERIC".to_owned()))
}

#[test]
fn every_table_is_well_formed_and_has_rows() {
    for table in tables::all() {
        assert_eq!(table.batch().num_rows(), table.rows.len(), "{}", table.id);
        assert!(!table.rows.is_empty(), "{}", table.id);
    }
}
