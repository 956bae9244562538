//! Whether what the analysis calls delta or rows may be answered in parts: random texts, cut at random
//! bucket starts, against the same text for all of the range; and from a store that was warmed by parts.
//!
//! The embedded source judges as many as `PROPTEST_CASES` says, bqemulator a pinned sample.

mod grammar;
mod judge;
mod phrases;
mod tables;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use serde_json::{Value, json};
use weir::app::App;
use weir::cache::StoreSettings;
use weir::clock::{Clock, ManualClock};
use weir::engine::{Engine, EngineSettings};
use weir::source::Source;
use weir::source::bigquery::BigQuery;
use weir::source::embedded::{Embedded, TableSpec};
use weir_plan::{CacheMode, Descriptors, Mode, SourceDescriptor};

use self::judge::{Case, Verdict, cases, judge, judge_pieces, uncached};
use crate::conformance::config;
use crate::support::emulator;

/// An engine over a source that has the tables.
fn engine(source: Arc<dyn Source>, clock: Arc<ManualClock>) -> Arc<Engine> {
    let names = SourceDescriptor { is_static: true, ..SourceDescriptor::new("p.d.names".parse().unwrap()) };
    let descriptors: Arc<Descriptors> = Arc::new([names].into_iter().collect());
    let mut app = App::new(StoreSettings::of(256 << 20), clock, App::GRACE);
    app.add_source("only", source, EngineSettings { descriptors, ..EngineSettings::default() })
}

fn embedded() -> Arc<Engine> {
    let clock = Arc::new(ManualClock::new(tables::now().minus(Duration::from_hours(1))));
    let source = Embedded::new("p", Arc::clone(&clock) as Arc<dyn Clock>);
    for table in tables::all() {
        let partitioning = table.partitioning();
        source.create_table(TableSpec { id: table.id.clone(), schema: table.rows.schema(), partitioning }).unwrap();
        source.append(&table.id, &table.rows).unwrap();
    }
    clock.set(tables::now());
    engine(Arc::new(source), clock)
}

/// Fewer texts say nothing of their shares; a run of all tests has 64.
const FEWEST: u32 = 50;

#[test]
fn texts_that_are_answered_in_parts_may_be() {
    // A quarter of PROPTEST_CASES, each some ten answers.
    let all = Config::default();
    let config = Config { cases: all.cases / 4, source_file: Some(file!()), ..all };
    let texts = config.cases;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = runtime.block_on(async { embedded() });
    let verdicts = RefCell::new(BTreeMap::<Verdict, u32>::new());
    let outcome = TestRunner::new(config).run(&cases(), |case| {
        let verdict = runtime.block_on(judge(&engine, &case)).map_err(TestCaseError::fail)?;
        *verdicts.borrow_mut().entry(verdict).or_default() += 1;
        Ok(())
    });
    let verdicts = verdicts.into_inner();
    eprintln!("{texts} texts: {verdicts:?}");
    outcome.unwrap_or_else(|error| panic!("{error}"));
    // Far from what is usual, so that no seed fails for it.
    let count = |is_it: fn(&Verdict) -> bool| -> u32 {
        verdicts.iter().filter(|(verdict, _)| is_it(verdict)).map(|(_, count)| count).sum()
    };
    if texts >= FEWEST {
        assert!(count(|it| matches!(it, Verdict::Refused)) * 2 <= texts, "most texts are to be judged");
        assert!(count(|it| matches!(it, Verdict::Buckets | Verdict::Rows)) * 6 >= texts, "many are to be cut");
        assert!(count(|it| matches!(it, Verdict::Needful(_))) * 64 >= texts, "some must not be cut");
    }
}

/// Texts of the sample.
const SAMPLE: usize = 60;

/// The texts that the embedded engine answers in parts, first ones of a pinned seed.
async fn sample() -> Vec<(Case, Mode)> {
    let engine = embedded();
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(20_240_101), ..Config::default() });
    let mut sample = Vec::new();
    while sample.len() < SAMPLE {
        let case = cases().new_tree(&mut runner).unwrap().current();
        let explained = engine.explain(&case.query(case.range(), CacheMode::Auto)).await;
        let mode = explained.map_or(Mode::Whole, |explained| explained.mode);
        if matches!(mode, Mode::Delta | Mode::Rows) {
            sample.push((case, mode));
        }
    }
    sample
}

/// The emulator, which hands them to `DuckDB`, refuses this many texts of the sample at most.
const REFUSED: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn bqemulator_agrees_on_a_sample() {
    let emulator = emulator::lease().await;
    emulator.create_dataset("p", "d").await;
    for table in tables::all() {
        let field = |(name, kind): &(&str, &str)| json!({"name": name, "type": kind, "mode": "NULLABLE"});
        let fields: Value = table.columns.iter().map(field).collect();
        emulator.create_table(&table.id, fields, table.partitioning().as_ref()).await.unwrap();
        emulator.load(&table.id, &table.rows).await;
    }
    let client = BigQuery::connect(&config(emulator.rest_url(), emulator.storage_url(), None)).await.unwrap();
    let engine = engine(Arc::new(client), Arc::new(ManualClock::new(tables::now())));
    let (mut refused, mut wrong) = (Vec::new(), Vec::new());
    for (case, mode) in sample().await {
        match uncached(&engine, &case, case.widened(mode)).await {
            Err(error) => refused.push(format!("{}: {}", case.text.sql, error.message())),
            Ok(whole) => {
                let judged = judge_pieces(&engine, &case, mode, &whole).await;
                wrong.extend(judged.err().map(|error| format!("{case:?}\n{error}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} texts must not be cut\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused.len() <= REFUSED, "{} texts are refused\n{}", refused.len(), refused.join("\n"));
}
