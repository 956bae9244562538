//! The views' `GoogleSQL`, run by the embedded source while the clock moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::concat_batches;
use weir_plan::extent::DAY;

use super::super::rows::WINDOW;
use super::*;
use crate::clock::ManualClock;
use crate::source::{Job, MINIMUM_BYTES_PER_TABLE, Outcome, Source};

struct Place {
    clock: Arc<ManualClock>,
    synthetic: Arc<Synthetic>,
    embedded: Embedded,
}

impl Place {
    fn new(config: SyntheticConfig, now: &str) -> Self {
        let clock = Arc::new(ManualClock::new(at(now)));
        let synthetic = Arc::new(Synthetic::new(config));
        let feed: Arc<dyn Feed> = Arc::<Synthetic>::clone(&synthetic);
        let embedded =
            Embedded::new(PROJECT, Arc::<ManualClock>::clone(&clock) as Arc<dyn crate::clock::Clock>).with_feed(feed);
        synthetic.install(&embedded, at(now), &mut |_| ()).unwrap();
        Self { clock, synthetic, embedded }
    }

    async fn run(&self, sql: &str) -> Outcome {
        self.embedded
            .run(Job::new(uuid::Uuid::new_v4().to_string(), sql))
            .await
            .unwrap_or_else(|error| panic!("{error:?}\n{sql}"))
    }

    async fn rows(&self, sql: &str) -> RecordBatch {
        self.run(sql).await.batches.concat().unwrap()
    }

    async fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        rows.column(0).as_primitive::<Int64Type>().value(0)
    }

    /// The truth of all days up to `now` of the v1 set, cut at the last window that has ended.
    fn truth(&self, fact: Fact, now: Timestamp) -> RecordBatch {
        let first =
            self.synthetic.config().end.date() - chrono::Days::new(u64::from(self.synthetic.config().history_days));
        let days: Vec<_> = first.iter_days().take_while(|day| *day <= now.date()).collect();
        let days: Vec<_> = days.into_iter().map(|day| self.synthetic.raw(fact, day).unwrap()).collect();
        let all = concat_batches(&fact.daily_schema(), &days).unwrap();
        between(&all, i64::MIN, now.floor(WINDOW).micros())
    }
}

fn table(id: &weir_plan::TableId) -> String {
    format!("`{id}`")
}

#[tokio::test]
async fn every_view_runs_and_has_the_contracts_columns() {
    let place = Place::new(small(), NOW);
    for (id, _) in views::all() {
        let outcome = place.run(&format!("SELECT * FROM {}", table(&id))).await;
        assert!(outcome.batches.num_rows() > 0, "{id}");
        if id.dataset == "telemetry" && id.table != "experiment_crash_rates_live" {
            let schema = outcome.batches.schema();
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            for column in ["time", "experiment", "branch", "value"] {
                assert!(names.contains(&column), "{id}: {names:?}");
            }
            assert_eq!(schema.field_with_name("value").unwrap().data_type(), &DataType::Int64, "{id}");
            assert!(
                matches!(schema.field_with_name("time").unwrap().data_type(), DataType::Timestamp(_, Some(_))),
                "{id}"
            );
        }
    }
}

#[tokio::test]
async fn the_union_view_holds_live_rows_after_the_cut_and_daily_ones_up_to_it() {
    let place = Place::new(small(), NOW);
    let union = views::all()[0].0.clone();
    let cut = at(NOW).floor(DAY).micros() - 2 * DAY;
    // The daily side is the truth.
    let daily = between(&place.truth(Fact::Enrollment, at(NOW)), i64::MIN, cut + 1);
    let condition = "window_start <= TIMESTAMP('2024-05-13 00:00:00 UTC')";
    let sql = |what: &str| format!("SELECT {what} FROM {} WHERE {condition}", table(&union));
    assert_eq!(place.number(&sql("COUNT(*)")).await, i64::try_from(daily.num_rows()).unwrap());
    assert_eq!(place.number(&sql("SUM(exposure_count)")).await, sum(&daily, "exposure_count"));
    // The live side has the truth's windows, with rows twice and rows that are not there yet.
    let live = between(&place.truth(Fact::Enrollment, at(NOW)), cut + 1, i64::MAX);
    let rows = place.number(&format!("SELECT COUNT(*) FROM {} WHERE NOT ({condition})", table(&union))).await;
    let rows = draw::real(rows) / draw::real_count(live.num_rows());
    assert!((0.99..1.01).contains(&rows), "{rows}");
}

#[tokio::test]
async fn flows_are_sums_and_running_sums_end_at_them() {
    let place = Place::new(small(), NOW);
    let union = table(&views::all()[0].0);
    for (view, counter) in [
        ("experiment_enrollment_overall", "enroll_count"),
        ("experiment_unenrollment_overall", "unenroll_count"),
        ("experiment_exposure_overall", "exposure_count"),
    ] {
        let flow = place.number(&format!("SELECT SUM(value) FROM {}", table(&tables::telemetry(view)))).await;
        assert_eq!(flow, place.number(&format!("SELECT SUM({counter}) FROM {union}")).await, "{view}");
    }
    let other = table(&tables::telemetry("experiment_enrollment_other_events_overall"));
    let failed = place.number(&format!("SELECT SUM(value) FROM {other} WHERE event = 'updated'")).await;
    assert_eq!(failed, place.number(&format!("SELECT SUM(update_count) FROM {union}")).await);

    let estimate = table(&tables::telemetry("experiment_enrollment_cumulative_population_estimate"));
    let last = place
        .rows(&format!(
            "SELECT e.experiment, e.branch, e.value FROM {estimate} AS e JOIN \
             (SELECT experiment, branch, MAX(time) AS time FROM {estimate} WHERE branch IS NOT NULL GROUP BY experiment, branch) AS l \
             ON e.experiment = l.experiment AND e.branch = l.branch AND e.time = l.time"
        ))
        .await;
    let totals = place
        .rows(&format!(
            "SELECT experiment, branch, SUM(enroll_count) - SUM(unenroll_count) - SUM(graduate_count) AS value \
             FROM {union} WHERE branch IS NOT NULL GROUP BY experiment, branch"
        ))
        .await;
    let by_branch = |rows: &RecordBatch| -> BTreeMap<(String, String), i64> {
        let text = |column: usize, row: usize| rows.column(column).as_string::<i32>().value(row).to_owned();
        let value = |row: usize| rows.column(2).as_primitive::<Int64Type>().value(row);
        (0..rows.num_rows()).map(|row| ((text(0, row), text(1, row)), value(row))).collect()
    };
    let (last, totals) = (by_branch(&last), by_branch(&totals));
    assert!(last.len() > 20, "{}", last.len());
    assert_eq!(last, totals);

    let search = table(&tables::telemetry("experiment_cumulative_search_count"));
    let events = table(&views::all()[1].0);
    let reached = place
        .number(&format!(
            "SELECT SUM(value) FROM (SELECT experiment, branch, MAX(value) AS value FROM {search} GROUP BY 1, 2)"
        ))
        .await;
    assert_eq!(reached, place.number(&format!("SELECT SUM(search_count) FROM {events}")).await);
    assert!(reached > 0);
}

#[tokio::test]
async fn a_window_flips_to_the_daily_side_and_its_duplicates_go() {
    let place = Place::new(small(), "2024-05-15T23:59:00Z");
    let union = table(&views::all()[0].0);
    let of_the_14th = format!(
        "SELECT COUNT(*) FROM {union} WHERE window_start > TIMESTAMP('2024-05-14 00:00:00 UTC') \
         AND window_start < TIMESTAMP('2024-05-15 00:00:00 UTC')"
    );
    let midnight = config::start_of(day("2024-05-14")).micros();
    let truth =
        between(&place.synthetic.raw_windows(day("2024-05-14")).unwrap(), midnight + 1, midnight + DAY).num_rows();
    let truth = i64::try_from(truth).unwrap();
    place.clock.set(at("2024-05-16T12:00:00Z"));
    assert!(place.number(&of_the_14th).await > truth, "live, so some rows are there twice");
    place.clock.set(at("2024-05-17T00:00:00Z"));
    assert_eq!(place.number(&of_the_14th).await, truth);
}

#[tokio::test]
async fn active_clients_are_told_at_the_end_of_their_day() {
    let place = Place::new(small(), NOW);
    let view = table(&tables::telemetry("experiment_enrollment_daily_active_population"));
    let told =
        place.number(&format!("SELECT SUM(value) FROM {view} WHERE time = TIMESTAMP('2024-05-14 00:00:00 UTC')")).await;
    let truth = place.synthetic.active_clients(day("2024-05-13")).unwrap();
    assert_eq!(told, sum(&truth, "active_clients"));
}

#[tokio::test]
async fn a_boards_query_sees_new_windows_and_pays_for_every_table() {
    let place = Place::new(small(), NOW);
    let recipe = place.synthetic.recipes().iter().filter(|recipe| recipe.is_live(at(NOW)));
    let recipe = recipe.max_by(|one, other| one.enrollments.total_cmp(&other.enrollments)).unwrap();
    let sql = format!(
        "SELECT TIMESTAMP_SECONDS(DIV(UNIX_SECONDS(time), 300) * 300) AS time, branch AS metric, SUM(value) AS value \
         FROM {} WHERE experiment = '{}' AND branch IS NOT NULL AND time >= TIMESTAMP('2024-05-15 11:00:00 UTC') \
         GROUP BY 1, 2 ORDER BY 1",
        table(&tables::telemetry("experiment_enrollment_overall")),
        recipe.slug
    );
    let before = place.run(&sql).await;
    assert!(before.bytes_billed >= 18 * MINIMUM_BYTES_PER_TABLE, "{}", before.bytes_billed);
    let last = |outcome: &Outcome| {
        let rows = outcome.batches.concat().unwrap();
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        times.into_iter().max().unwrap()
    };
    assert_eq!(last(&before), at("2024-05-15T11:55:00Z").micros());
    place.clock.set(at("2024-05-15T12:05:00Z"));
    assert_eq!(last(&place.run(&sql).await), at("2024-05-15T12:00:00Z").micros());
}

#[tokio::test]
async fn live_recipes_are_found_in_the_list_of_experiments() {
    let place = Place::new(small(), NOW);
    let list = table(&tables::experiments().id);
    assert_eq!(
        place.number(&format!("SELECT COUNT(*) FROM {list} WHERE status = 'Live' AND end_date IS NULL")).await,
        12
    );
    let branches: usize = place.synthetic.recipes()[..16].iter().map(|recipe| recipe.branches.len()).sum();
    let sql = format!("SELECT COUNT(*) FROM {list}, UNNEST(branches) AS branch WHERE branch.ratio >= 1");
    assert_eq!(place.number(&sql).await, i64::try_from(branches).unwrap());
}
