//! Names, columns and partitioning of the tables. It knows no rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use weir_plan::TableId;
use weir_plan::local::experiments::ENROLLMENT_COUNTERS;

use super::apps::{APPS, App, CRASH, SEARCH};
use crate::source::embedded::TableSpec;
use crate::source::{PartitionUnit, Partitioning};

/// Project of all tables but the list of experiments.
pub const PROJECT: &str = "moz-fx-data-shared-prod";
/// Project of the list of experiments.
pub const EXPERIMENTS_PROJECT: &str = "moz-fx-data-experiments";

/// Counters of search rows.
pub(super) const SEARCH_COUNTER_NAMES: [&str; 3] = ["ad_clicks_count", "search_with_ads_count", "search_count"];

/// What is counted in 5-minute windows, live per application and daily in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// Enrollment events.
    Enrollment,
    /// Searches.
    Search,
    /// Crashes.
    Crash,
}

impl Fact {
    /// All facts.
    pub const ALL: [Self; 3] = [Self::Enrollment, Self::Search, Self::Crash];

    /// The live table of one application.
    pub(super) fn live_table(self, app: App) -> TableId {
        let table = match self {
            Self::Enrollment => "experiment_events_live_v1",
            Self::Search => "experiment_search_events_live_v1",
            Self::Crash => "experiment_crash_events_live_v1",
        };
        TableId::new(PROJECT, format!("{}_derived", APPS[app]), table)
    }

    /// The table that the daily job fills.
    pub fn daily_table(self) -> TableId {
        derived(match self {
            Self::Enrollment => "experiment_enrollment_aggregates_v1",
            Self::Search => "experiment_search_aggregates_v1",
            Self::Crash => "experiment_crash_aggregates_v1",
        })
    }

    /// Applications that have a live table.
    pub(super) fn apps(self) -> Vec<App> {
        match self {
            Self::Enrollment => (0..APPS.len()).collect(),
            Self::Search => SEARCH.to_vec(),
            Self::Crash => CRASH.to_vec(),
        }
    }

    /// Columns of the daily table.
    pub fn daily_schema(self) -> SchemaRef {
        let mut columns = match self {
            Self::Enrollment => vec![text("type"), text("experiment"), text("branch"), text("normalized_channel")],
            Self::Search | Self::Crash => vec![text("experiment"), text("branch")],
        };
        columns.extend([timestamp("window_start"), timestamp("window_end")]);
        match self {
            Self::Enrollment => columns.extend(ENROLLMENT_COUNTERS.map(int)),
            Self::Search => columns.extend(SEARCH_COUNTER_NAMES.map(int)),
            Self::Crash => columns.extend([text("crash_process_type"), text("crash_signature"), int("crash_count")]),
        }
        Arc::new(Schema::new(columns))
    }

    /// Columns of the live tables.
    pub fn live_schema(self) -> SchemaRef {
        let mut columns = vec![Arc::new(timestamp("partition_date")), Arc::new(date("submission_date"))];
        columns.extend(self.daily_schema().fields().iter().cloned());
        Arc::new(Schema::new(columns))
    }
}

/// Daily active clients.
pub(super) fn active_clients() -> TableSpec {
    let schema = Schema::new(vec![
        date("submission_date"),
        text("experiment_id"),
        text("branch"),
        text("normalized_channel"),
        int("active_clients"),
    ]);
    spec(derived("experiments_daily_active_clients_v1"), Arc::new(schema), Some("submission_date"))
}

/// The list of experiments, as Experimenter exports it.
pub(super) fn experiments() -> TableSpec {
    let texts = |name| list(name, DataType::Utf8);
    let branch = DataType::Struct(branch_fields().into());
    let schema = Schema::new(vec![
        text("normandy_slug"),
        text("type"),
        text("status"),
        date("start_date"),
        date("end_date"),
        date("enrollment_end_date"),
        int("proposed_enrollment"),
        text("reference_branch"),
        flag("is_high_population"),
        list("branches", branch),
        text("app_id"),
        text("app_name"),
        text("channel"),
        texts("channels"),
        text("targeting"),
        Field::new("targeted_percent", DataType::Float64, true),
        text("namespace"),
        texts("feature_ids"),
        flag("is_rollout"),
        texts("outcomes"),
        texts("segments"),
        text("randomization_unit"),
        flag("is_firefox_labs_opt_in"),
        flag("is_enrollment_paused"),
    ]);
    let id = TableId::new(EXPERIMENTS_PROJECT, "monitoring", "experimenter_experiments_v1");
    spec(id, Arc::new(schema), None)
}

/// Fields of a branch in the list of experiments; `features` is JSON text.
pub(super) fn branch_fields() -> Vec<Field> {
    vec![text("slug"), int("ratio"), text("features")]
}

/// Every table.
pub(super) fn all() -> Vec<TableSpec> {
    let live = Fact::ALL.into_iter().flat_map(|fact| {
        let schema = fact.live_schema();
        let table = move |app| spec(fact.live_table(app), Arc::clone(&schema), Some("partition_date"));
        fact.apps().into_iter().map(table)
    });
    let daily = Fact::ALL.map(|fact| spec(fact.daily_table(), fact.daily_schema(), Some("window_start")));
    live.chain(daily).chain([active_clients(), experiments()]).collect()
}

/// A table or view of `telemetry_derived`.
pub(super) fn derived(table: &str) -> TableId {
    TableId::new(PROJECT, "telemetry_derived", table)
}

/// A view of `telemetry`.
pub(super) fn telemetry(view: &str) -> TableId {
    TableId::new(PROJECT, "telemetry", view)
}

fn spec(id: TableId, schema: SchemaRef, daily_by: Option<&str>) -> TableSpec {
    let partitioning = daily_by.map(|column| Partitioning { column: Some(column.into()), unit: PartitionUnit::Day });
    TableSpec { id, schema, partitioning }
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

fn date(name: &str) -> Field {
    Field::new(name, DataType::Date32, true)
}

fn timestamp(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

fn list(name: &str, item: DataType) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new_list_field(item, true))), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(schema: &Schema) -> String {
        let kind = |kind: &DataType| match kind {
            DataType::Utf8 => "STRING",
            DataType::Int64 => "INT64",
            DataType::Float64 => "FLOAT64",
            DataType::Boolean => "BOOL",
            DataType::Date32 => "DATE",
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => "TIMESTAMP",
            DataType::List(item) if item.data_type() == &DataType::Utf8 => "ARRAY<STRING>",
            DataType::List(_) => "ARRAY<STRUCT>",
            _ => "?",
        };
        let column = |field: &Arc<Field>| format!("{} {}", field.name(), kind(field.data_type()));
        schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn columns_and_types_are_the_contracts() {
        let counters = "enroll_count INT64, unenroll_count INT64, graduate_count INT64, update_count INT64, \
            enroll_failed_count INT64, unenroll_failed_count INT64, update_failed_count INT64, \
            disqualification_count INT64, exposure_count INT64, validation_failed_count INT64";
        let enrollment = format!(
            "type STRING, experiment STRING, branch STRING, normalized_channel STRING, \
            window_start TIMESTAMP, window_end TIMESTAMP, {counters}"
        );
        let live = format!("partition_date TIMESTAMP, submission_date DATE, {enrollment}");
        assert_eq!(columns(&Fact::Enrollment.daily_schema()), enrollment);
        assert_eq!(columns(&Fact::Enrollment.live_schema()), live);
        assert_eq!(
            columns(&Fact::Search.live_schema()),
            "partition_date TIMESTAMP, submission_date DATE, experiment STRING, branch STRING, window_start TIMESTAMP, \
            window_end TIMESTAMP, ad_clicks_count INT64, search_with_ads_count INT64, search_count INT64"
        );
        assert_eq!(
            columns(&Fact::Crash.daily_schema()),
            "experiment STRING, branch STRING, window_start TIMESTAMP, window_end TIMESTAMP, \
            crash_process_type STRING, crash_signature STRING, crash_count INT64"
        );
        assert_eq!(
            columns(&active_clients().schema),
            "submission_date DATE, experiment_id STRING, branch STRING, normalized_channel STRING, active_clients INT64"
        );
        assert_eq!(
            columns(&experiments().schema),
            "normandy_slug STRING, type STRING, status STRING, start_date DATE, end_date DATE, \
            enrollment_end_date DATE, proposed_enrollment INT64, reference_branch STRING, is_high_population BOOL, \
            branches ARRAY<STRUCT>, app_id STRING, app_name STRING, channel STRING, channels ARRAY<STRING>, \
            targeting STRING, targeted_percent FLOAT64, namespace STRING, feature_ids ARRAY<STRING>, is_rollout BOOL, \
            outcomes ARRAY<STRING>, segments ARRAY<STRING>, randomization_unit STRING, is_firefox_labs_opt_in BOOL, \
            is_enrollment_paused BOOL"
        );
    }

    #[test]
    fn each_application_has_a_live_table_partitioned_by_its_date() {
        let tables = all();
        let live: Vec<_> = tables.iter().filter(|table| table.id.table == "experiment_events_live_v1").collect();
        assert_eq!(live.len(), 18);
        for table in live {
            let partitioning = table.partitioning.as_ref().unwrap();
            assert_eq!(partitioning.column.as_deref(), Some("partition_date"));
            assert_eq!(partitioning.unit, PartitionUnit::Day);
        }
        let daily = tables.iter().find(|table| table.id == Fact::Enrollment.daily_table()).unwrap();
        assert_eq!(daily.partitioning.as_ref().unwrap().column.as_deref(), Some("window_start"));
        assert_eq!(
            Fact::Enrollment.live_table(1).to_string(),
            "moz-fx-data-shared-prod.org_mozilla_fenix_derived.experiment_events_live_v1"
        );
    }
}
