//! What does an answer in parts cost once its parts are stored?
//!
//! A panel of 28 days at five minutes with three branches, in 28 segments: answering and encoding it
//! against encoding its rows alone; planning it against planning it whole; and what its segments weigh
//! in the store against their Arrow bytes. Then a thousand panels, refreshed at once, against one of
//! them a thousand times.

mod support;

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::future::try_join_all;
use tokio::runtime::Runtime;
use weir::app::App;
use weir::cache::StoreSettings;
use weir::clock::{Clock, ManualClock};
use weir::engine::{Answer, Door, Engine, EngineSettings, Status};
use weir::plugin::{Format, frames};
use weir::source::embedded::{Embedded, TableSpec};
use weir::source::{PartitionUnit, Partitioning};
use weir_plan::descriptor::History;
use weir_plan::extent::{DAY, HOUR, MINUTE};
use weir_plan::plan::delta::{Listing, delta};
use weir_plan::plan::{self, Context, Template};
use weir_plan::{
    Catalog, Descriptors, Extent, Mode, Query, SourceDescriptor, Step, TableId, Target, Timestamp, analyse,
};

use support::fixed::now;
use support::ratio::Bench;
use support::{Outcome, say};

const DAYS: i64 = 28;
const BRANCHES: [&str; 3] = ["control", "treatment-a", "treatment-b"];
const PANELS: i64 = 1000;

const PANEL: &str = "SELECT $__timeGroup(ts, $__interval) AS time, branch, SUM(n) AS value FROM `p.d.t` \
    WHERE $__timeFilter(ts) GROUP BY 1, 2 ORDER BY 1";

fn main() -> Outcome {
    let runtime = Runtime::new()?;
    let mut bench = Bench::new();
    let place = Place::new()?;
    runtime.block_on(place.weigh())?;
    answers(&mut bench, &runtime, &place.engine)?;
    plans(&mut bench)?;
    // Another store, which no frames fill.
    let place = Place::new()?;
    runtime.block_on(place.fill())?;
    refreshes(&mut bench, &runtime, &place.engine)?;
    bench.criterion.final_summary();
    Ok(())
}

/// A warm panel and its frame, against the frame alone, made anew each time; and as it is, when the
/// frame is found in the store too.
fn answers(bench: &mut Bench, runtime: &Runtime, engine: &Arc<Engine>) -> Outcome {
    let query = panel(0, DAYS, 5 * MINUTE)?;
    runtime.block_on(warm(engine, &query))?;
    let encoded_anew = |mut answer: Answer| {
        // Encodings of such answers are not kept, so that none of many thousands takes the segments' room.
        answer.provenance.mode = Mode::Off;
        frames(engine, &answer, Format::Table, "A").expect("the rows can be shown")
    };
    let answer = || runtime.block_on(warm(engine, &query)).expect("the panel is stored");
    let once = answer();
    let mut group = bench.criterion.benchmark_group("parts_answer");
    group.bench_function("encoding", |bencher| bencher.iter(|| encoded_anew(black_box(once.clone()))));
    group.bench_function("answer-and-encoding", |bencher| bencher.iter(|| encoded_anew(answer())));
    group.bench_function("answer-and-stored-encoding", |bencher| {
        bencher.iter(|| frames(engine, &answer(), Format::Table, "A").expect("the rows can be shown"));
    });
    group.finish();
    bench.compare("parts_answer", "encoding", "answer-and-encoding")?;
    bench.compare("parts_answer", "encoding", "answer-and-stored-encoding")
}

/// Planning in parts against planning whole: the planner alone, without looking anything up.
fn plans(bench: &mut Bench) -> Outcome {
    let descriptor = SourceDescriptor {
        time_column: Some("ts".into()),
        partition: Some(PartitionUnit::Day),
        history: History::Local,
        ..SourceDescriptor::new(table())
    };
    let descriptors: Descriptors = [descriptor.clone()].into_iter().collect();
    let analysis = analyse(PANEL, &Catalog { descriptors: &descriptors, project: None, dataset: None });
    let template = Arc::new(Template::new(PANEL, &Target::default(), &analysis, descriptor, None)?);
    let (query, context) = (panel(0, DAYS, 5 * MINUTE)?, Context::default());
    let changed = |extent: Extent| Some((extent.end(), 1));
    let listing = Listing { at: now(), modified: None, changed: &changed, purged: &|_| 0, statics: &[] };
    let in_parts = || delta(&query, &context, &template, listing, now()).expect("the text can be cut");
    say(&format!("parts_plan: {} segments", in_parts().segments.len()));
    let mut group = bench.criterion.benchmark_group("parts_plan");
    group.bench_function("whole", |bencher| bencher.iter(|| plan::plan(black_box(&query), &context, now())));
    group.bench_function("in-parts", |bencher| bencher.iter(in_parts));
    group.finish();
    bench.compare("parts_plan", "whole", "in-parts")
}

/// Refreshes of stored panels at once: distinct ones against as many of one.
fn refreshes(bench: &mut Bench, runtime: &Runtime, engine: &Arc<Engine>) -> Outcome {
    let queries = (0..PANELS).map(|number| panel(number, 7, HOUR)).collect::<Outcome<Vec<_>>>()?;
    let at_once = |queries: &[Query]| {
        let asked = try_join_all(queries.iter().map(|query| warm(engine, query)));
        runtime.block_on(asked).expect("the panels are stored").len()
    };
    let same = vec![queries[0].clone(); queries.len()];
    let mut group = bench.criterion.benchmark_group("parts_refresh");
    group.sample_size(10);
    group.bench_function("one-panel", |bencher| bencher.iter(|| at_once(&same)));
    group.bench_function("distinct-panels", |bencher| bencher.iter(|| at_once(&queries)));
    group.finish();
    bench.compare("parts_refresh", "one-panel", "distinct-panels")
}

/// A panel that must come from the store, in parts.
async fn warm(engine: &Arc<Engine>, query: &Query) -> Result<Answer, String> {
    let answer = engine.answer(query, Door::Grafana).await.map_err(|error| error.to_string())?;
    let found = (answer.provenance.mode, answer.provenance.status);
    if found == (Mode::Delta, Status::Hit) { Ok(answer) } else { Err(format!("not from stored parts: {found:?}")) }
}

fn table() -> TableId {
    TableId::new("p", "d", "t")
}

/// One of the panels: over the days before the present, of other rows than its neighbours.
fn panel(number: i64, days: i64, step: i64) -> Outcome<Query> {
    let mut query = Query::new(PANEL.replace("GROUP BY", &format!("AND n <> -{number} GROUP BY")));
    let end = now().floor(DAY);
    query.range = Some(Extent::new(Timestamp::saturating(end.micros() - days * DAY), end)?);
    query.step = Some(Step::Micros(step));
    Ok(query)
}

/// A table by day with a row for each branch in five minutes, and an engine over it.
struct Place {
    app: App,
    engine: Arc<Engine>,
}

impl Place {
    fn new() -> Outcome<Self> {
        // The rows have been there for an hour, so that their partitions are known not to change.
        let clock = Arc::new(ManualClock::new(Timestamp::saturating(now().micros() - HOUR)));
        let as_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let source = Embedded::new("p", Arc::clone(&as_clock));
        let rows = rows(now().micros() - DAYS * DAY)?;
        let partitioning = Some(Partitioning { column: Some("ts".into()), unit: PartitionUnit::Day });
        source.create_table(TableSpec { id: table(), schema: rows.schema(), partitioning })?;
        source.append(&table(), &rows)?;
        clock.set(now());
        let mut app = App::new(StoreSettings::of(1 << 30), as_clock, App::GRACE);
        let engine = app.add_source("only", Arc::new(source), EngineSettings::default());
        Ok(Self { app, engine })
    }

    /// What the store weighs.
    fn weight(&self) -> i64 {
        self.app.metrics().cache_bytes.with_label_values(&["memory"]).get()
    }

    /// Fetches the large panel, and prints what its segments weigh.
    async fn weigh(&self) -> Outcome {
        let query = panel(0, DAYS, 5 * MINUTE)?;
        let before = self.weight();
        let answer = self.engine.answer(&query, Door::Grafana).await?;
        let (rows, arrow) = (answer.batches.num_rows(), answer.batches.sliced_size());
        warm(&self.engine, &query).await?;
        let weight = self.weight() - before;
        #[expect(clippy::cast_precision_loss, reason = "a ratio to print")]
        let ratio = weight as f64 / arrow as f64;
        say(&format!(
            "parts_memory: {rows} rows in {DAYS} segments, Arrow bytes {arrow}, weighed {weight}, ratio {ratio:.3}\n"
        ));
        Ok(())
    }

    /// Fetches the small panels.
    async fn fill(&self) -> Outcome {
        for number in 0..PANELS {
            self.engine.answer(&panel(number, 7, HOUR)?, Door::Grafana).await?;
        }
        Ok(())
    }
}

fn rows(first: i64) -> Outcome<RecordBatch> {
    let starts = || (0..DAYS * DAY / (5 * MINUTE)).map(move |bucket| first + bucket * 5 * MINUTE);
    let times = starts().flat_map(|start| BRANCHES.map(|_| start));
    let branches = starts().flat_map(|_| BRANCHES);
    let numbers = starts().flat_map(|start| [1, 2, 3].map(|factor| start / MINUTE % 97 * factor));
    let columns: [(&str, ArrayRef); 3] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("branch", Arc::new(StringArray::from_iter_values(branches))),
        ("n", Arc::new(Int64Array::from_iter_values(numbers))),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))?)
}
