//! What do viewers of a board cost with Weir, and without? Counted, not timed.
//!
//! Ten panels of the board for experiments on generated data; twenty viewers refresh them every
//! minute for half an hour of a clock that is set by hand. The baseline sends each query to the
//! source as Grafana does. The embedded source bills as `BigQuery` would: the referenced columns of
//! the partitions that survive pruning, and at least 10 MiB for each table.

mod support;

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use futures::future::try_join_all;
use serde_json::Value;
use tokio::runtime::Runtime;
use weir::app::App;
use weir::cache::StoreSettings;
use weir::clock::{Clock, ManualClock};
use weir::engine::{Door, Engine, EngineSettings};
use weir::monitoring::synthetic::{PROJECT, Recipe, Synthetic, SyntheticConfig};
use weir::source::embedded::{Bill, Embedded, TableSpec};
use weir::source::{Job, PartitionUnit, Partitioning, Source as _};
use weir_plan::extent::{DAY, HOUR, MINUTE, SECOND};
use weir_plan::{CacheMode, Extent, Query, Step, TableId, Timestamp};

use support::{Outcome, say};

const BOARD: &str = include_str!("../dashboards/experiment-enrollment.json");
const PANELS: usize = 10;
const VIEWERS: u32 = 20;
const MINUTES: u32 = 30;
/// The board's own range, and the interval that Grafana suggests for it.
const RANGE: i64 = 28 * DAY;
const INTERVAL: i64 = HOUR;

fn main() -> Outcome {
    let runtime = Runtime::new()?;
    runtime.block_on(board())?;
    runtime.block_on(partition())
}

/// A board's viewers, with the cache and without.
async fn board() -> Outcome {
    // All viewers of a minute see the same tables, so the first and the last stand for them all.
    let place = Place::new()?;
    let sample = place.watch(&[0, VIEWERS - 1], CacheMode::Off).await?;
    if place.bills.lock().chunks(2).any(|pair| pair[0] != pair[1]) {
        return Err("viewers of one minute are billed differently".into());
    }
    let uncached = Bill {
        jobs: sample.jobs * u64::from(VIEWERS) / 2,
        bytes_processed: sample.bytes_processed * u64::from(VIEWERS) / 2,
        bytes_billed: sample.bytes_billed * u64::from(VIEWERS) / 2,
    };
    let viewers: Vec<u32> = (0..VIEWERS).collect();
    let cached = Place::new()?.watch(&viewers, CacheMode::Auto).await?;

    say(&format!("{PANELS} panels, {VIEWERS} viewers, a refresh a minute for {MINUTES} minutes:\n"));
    say(
        "|              |     jobs | bytes read | bytes billed |\n|--------------|---------:|-----------:|-------------:|",
    );
    for (name, bill) in [("without Weir", uncached), ("with Weir", cached)] {
        let (read, billed) = (mebibytes(bill.bytes_processed), mebibytes(bill.bytes_billed));
        say(&format!("| {name:<12} | {:>8} | {read:>10} | {billed:>12} |", bill.jobs));
    }
    let ratio = |ours: u64, theirs: u64| format!("1/{:.0}", real(theirs) / real(ours.max(1)));
    say(&format!(
        "| ratio        | {:>8} | {:>10} | {:>12} |\n",
        ratio(cached.jobs, uncached.jobs),
        ratio(cached.bytes_processed, uncached.bytes_processed),
        ratio(cached.bytes_billed, uncached.bytes_billed)
    ));
    Ok(())
}

/// Generated tables, and an engine over them.
struct Place {
    clock: Arc<ManualClock>,
    embedded: Embedded,
    engine: Arc<Engine>,
    panels: Vec<String>,
    /// Bytes billed to each viewer at each refresh.
    bills: parking_lot::Mutex<Vec<u64>>,
}

impl Place {
    fn new() -> Outcome<Self> {
        let now = begin();
        let clock = Arc::new(ManualClock::new(now));
        let synthetic = Arc::new(Synthetic::new(SyntheticConfig::small(now)));
        let as_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let embedded = Embedded::new(PROJECT, Arc::clone(&as_clock)).with_feed(Arc::<Synthetic>::clone(&synthetic));
        synthetic.install(&embedded, now, &mut |_| ())?;
        let live = synthetic.recipes().iter().filter(|recipe| recipe.is_live(now) && recipe.branches.len() > 1);
        let recipe = live.max_by(|one, other| one.enrollments.total_cmp(&other.enrollments));
        let panels = panels(recipe.ok_or("no experiment is live")?)?;
        let mut app = App::new(StoreSettings::of(64 << 20), as_clock, App::GRACE);
        let engine = app.add_source("demo", Arc::new(embedded.clone()), EngineSettings::default());
        Ok(Self { clock, embedded, engine, panels, bills: parking_lot::Mutex::default() })
    }

    /// Lets viewers watch the board; they refresh one after the other, three seconds apart, so that
    /// no two of them could share a job that is still running.
    async fn watch(&self, viewers: &[u32], mode: CacheMode) -> Outcome<Bill> {
        for minute in 0..MINUTES {
            for viewer in viewers {
                let seconds = i64::from(minute * 60 + viewer * 60 / VIEWERS);
                let now = Timestamp::saturating(begin().micros() + seconds * SECOND);
                self.clock.set(now);
                let before = self.embedded.bill().bytes_billed;
                self.refresh(now, mode).await?;
                self.bills.lock().push(self.embedded.bill().bytes_billed - before);
            }
        }
        Ok(self.embedded.bill())
    }

    /// Asks all panels at once, as a browser does.
    async fn refresh(&self, now: Timestamp, mode: CacheMode) -> Outcome {
        let range = Extent::new(Timestamp::saturating(now.micros() - RANGE), now)?;
        let answers = self.panels.iter().map(|sql| {
            let mut query = Query::new(sql);
            query.range = Some(range);
            query.step = Some(Step::Micros(INTERVAL));
            query.cache.mode = mode;
            async move { self.engine.answer(&query, Door::Grafana).await }
        });
        try_join_all(answers).await?;
        Ok(())
    }
}

/// The board's first panels, with its variables put in as Grafana does.
fn panels(recipe: &Recipe) -> Outcome<Vec<String>> {
    let board: Value = serde_json::from_str(BOARD)?;
    let quoted = |names: Vec<&str>| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(",");
    let branches = quoted(recipe.branches.iter().map(|branch| branch.slug.as_str()).collect());
    let channels = quoted(recipe.channels.iter().map(|(channel, _)| *channel).collect());
    let texts = board["panels"].as_array().ok_or("the board has no panels")?.iter();
    let texts = texts.filter_map(|panel| panel["targets"][0]["rawSql"].as_str());
    let put_in = |text: &str| {
        let text = text.replace("$experiment_id", &recipe.slug);
        text.replace("$branch_id", &branches).replace("$normalized_channel", &channels)
    };
    let panels: Vec<_> = texts.take(PANELS).map(put_in).collect();
    if panels.len() < PANELS {
        return Err(format!("the board has only {} panels with a query", panels.len()).into());
    }
    Ok(panels)
}

/// What is billed for a part of a day: the partition that it lies in.
async fn partition() -> Outcome {
    let now = begin();
    let embedded = Embedded::new(PROJECT, Arc::new(ManualClock::new(now)));
    let table = TableId::new(PROJECT, "telemetry_derived", "events_v1");
    let midnight = now.floor(DAY).micros();
    let today = events(midnight, now.micros())?;
    embedded.create_table(TableSpec {
        id: table.clone(),
        schema: today.schema(),
        partitioning: Some(Partitioning { column: Some("time".to_owned()), unit: PartitionUnit::Day }),
    })?;
    embedded.append(&table, &events(midnight - DAY, midnight)?)?;
    embedded.append(&table, &today)?;

    say("A table partitioned by day, 20 rows a second, two columns of 8 bytes:\n");
    say(
        "| asked range          |     rows | bytes read | bytes billed |\n|----------------------|---------:|-----------:|-------------:|",
    );
    let quarter = now.micros() - 15 * MINUTE;
    for (name, from) in
        [("15 minutes of today", quarter), ("today so far", midnight), ("yesterday and today", midnight - DAY)]
    {
        let from = Timestamp::saturating(from);
        let sql = format!("SELECT COUNT(value) FROM `{table}` WHERE time >= TIMESTAMP '{from}'");
        let outcome = embedded.run(Job::new(name.replace(' ', "_"), sql)).await?;
        let rows = outcome.batches.concat()?;
        let rows = rows.column(0).as_any().downcast_ref::<Int64Array>().ok_or("a count is an INT64")?.value(0);
        let (read, billed) = (mebibytes(outcome.bytes_processed), mebibytes(outcome.bytes_billed));
        say(&format!("| {name:<20} | {rows:>8} | {read:>10} | {billed:>12} |"));
    }
    Ok(())
}

/// Rows from `from` to `to`, 50 ms apart.
fn events(from: i64, to: i64) -> Outcome<RecordBatch> {
    let times = TimestampMicrosecondArray::from_iter_values((from..to).step_by(50_000)).with_timezone("UTC");
    let values = Int64Array::from_iter_values((0..).take(times.len()));
    let columns: [(&str, ArrayRef); 2] = [("time", Arc::new(times)), ("value", Arc::new(values))];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))?)
}

/// The first refresh, 2024-05-15T12:00:00Z.
fn begin() -> Timestamp {
    Timestamp::saturating(1_715_774_400_000_000)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", real(bytes) / real(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn real(number: u64) -> f64 {
    number as f64
}
