//! What is kept here says what `BigQuery` says (P11): through the client crate, before the fake server
//! under a moving clock, and before bqemulator at one moment.

pub(crate) mod place;
mod texts;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir::clock::Clock as _;
use weir::engine::Status;
use weir::source::bigquery::BigQuery;
use weir::source::fake::JobRule;
use weir::source::{Job, Source as _};
use weir_plan::Mode;
use weir_plan::analysis::reason;

use self::place::{Place, SLOT_AND_MORE, ask, at, hours};
use self::texts::{Asked, Texts};
use crate::conformance::config;
use crate::support::process::weir;
use crate::support::python::repository;

/// Random texts in a usual run.
const TEXTS: u64 = 60;

/// How many random texts there are, and of which seed: in a long run as for proptest.
fn long_run(usual: u64) -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    (number("PROPTEST_CASES").unwrap_or(usual), number("PROPTEST_RNG_SEED").unwrap_or(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_of_the_board_is_answered_here_as_by_bigquery() {
    let place = Place::new().await;
    let engine = place.engine();
    let panels = place.panels();
    assert_eq!(panels.len(), 27);
    let mut rows = 0;
    // Over two midnights, a late and a partial daily job, and a backfill.
    for advance in [0, 11, 13, 9, 14] {
        place.advance(hours(advance));
        for (days, step) in [(5, "1h"), (2, "5m")] {
            let before = place.server.jobs_run().len();
            let mut answers = vec![];
            for (title, sql) in &panels {
                answers.push((title, ask(&engine, &place.query(sql, days, step)).await));
            }
            let jobs = place.server.jobs_run().len() - before;
            // Rows of four sources and the list of experiments, and where they changed, listings of partitions.
            let most = if step == "5m" { 0 } else { 2 * 4 + 1 + 4 };
            assert!(jobs <= most, "{jobs} jobs for {} panels at {}", panels.len(), place.clock.now());
            for (title, answer) in answers {
                let when = format!("{title} by {step} at {}", place.clock.now());
                assert_eq!(answer.provenance.mode, Mode::Local, "{when}: {}", answer.provenance.reason);
                let expected = place.direct(&answer).await;
                rows += expected.num_rows();
                assert!(answer.batches.has_same_rows(&expected).unwrap(), "{when}\n{}", answer.executed_sql);
            }
        }
    }
    assert!(rows > 1000, "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_texts_are_answered_here_as_by_bigquery() {
    let (cases, seed) = long_run(TEXTS);
    let place = Place::new().await;
    let mut engine = place.engine();
    let mut texts = Texts::new(seed, &place.slug);
    let (mut rows, mut is_coarse, mut coarse) = (0, false, 0);
    for number in 0..cases {
        if number % 10 == 9 {
            // Rows that are late show within an hour: at the same instant only what is read anew is the same.
            place.advance(hours(texts.below(4)) + SLOT_AND_MORE);
            is_coarse = !is_coarse;
            engine = if is_coarse { place.coarse_engine() } else { place.engine() };
        }
        let Asked { sql, days, step } = texts.next().unwrap();
        let answer = ask(&engine, &place.query(&sql, days, step)).await;
        let when = format!("{number} at {}: {sql}\n{}", place.clock.now(), answer.executed_sql);
        let provenance = &answer.provenance;
        if is_coarse && provenance.reason == reason::FINER_THAN_KEPT {
            continue;
        }
        assert_eq!(provenance.mode, Mode::Local, "{when}: {}", provenance.reason);
        coarse += u64::from(is_coarse);
        let expected = place.direct(&answer).await;
        rows += expected.num_rows();
        assert!(answer.batches.has_same_rows(&expected).unwrap(), "{when}");
    }
    assert!(rows > 0 && coarse > 0, "{coarse} texts of days that are kept coarsely are answered here");
}

/// Asks the panels of running totals, which rest on all days there are, of an app that begins with what is
/// in the folder; the bytes that their jobs read.
async fn totals(place: &Place, folder: &Path) -> u64 {
    let app = place.app(Some(folder));
    let engine = app.source(None).unwrap();
    let panels = place.panels();
    let totals: Vec<_> = panels.iter().filter(|(_, sql)| sql.contains("cumulative")).collect();
    assert!(totals.len() >= 5);
    let mut read = 0;
    for (title, sql) in totals {
        let answer = ask(&engine, &place.query(sql, 5, "1h")).await;
        read += answer.provenance.bytes_processed;
        let expected = place.direct(&answer).await;
        let when = format!("{title} at {}", place.clock.now());
        assert!(expected.num_rows() > 0, "{when}");
        assert!(answer.batches.has_same_rows(&expected).unwrap(), "{when}\n{}", answer.executed_sql);
    }
    app.stop().await;
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn running_totals_outlast_a_flip_a_backfill_and_restarts() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().unwrap();
    let first = totals(&place, folder.path()).await;
    let app = place.app(Some(folder.path()));
    let engine = app.source(None).unwrap();
    // Which days are settled, the partitions' listing says: an explanation sends no job for it.
    let [flow, population] = [12, 8].map(|panel| place.panels()[panel].1.clone());
    ask(&engine, &place.query(&flow, 1, "1h")).await;
    let explained = engine.explain(&place.query(&population, 5, "1h")).await.unwrap();
    assert_eq!(explained.mode, Mode::Local);
    let of = |status| explained.segments.iter().filter(move |it| it.status == status).filter_map(|it| it.range);
    assert!(of(Status::Hit).any(|range| range.start() < at("2024-03-08")), "settled days are in the folder");
    assert!(of(Status::Miss).all(|range| range.start() >= at("2024-03-08")), "and the others are not");
    app.stop().await;
    let again = totals(&place, folder.path()).await;
    assert!(again < first, "{again} of {first} bytes are read again");
    for moment in ["2024-03-11T00:30:00Z", "2024-03-12T08:00:00Z", "2024-03-12T12:30:00Z", "2024-03-13T13:00:00Z"] {
        place.clock.set(at(moment));
        totals(&place, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_leaves_what_is_there_and_says_that_it_is_stale() {
    let place = Place::new().await;
    let engine = place.engine();
    let (_, sql) = &place.panels()[12];
    let mut query = place.query(sql, 2, "1h");
    query.cache.max_stale = None;
    let first = ask(&engine, &query).await;
    assert_eq!(first.provenance.mode, Mode::Local);
    place.advance(SLOT_AND_MORE);
    place.server.script().jobs(usize::MAX, JobRule::new().fails("backendError", "Error encountered during execution"));
    for _ in 0..2 {
        let mut again = place.query(sql, 2, "1h");
        again.cache.max_stale = None;
        let answer = ask(&engine, &again).await;
        assert_eq!((answer.provenance.mode, answer.provenance.status), (Mode::Local, Status::Stale));
        assert!(answer.provenance.age_s >= SLOT_AND_MORE.as_secs_f64());
        assert_eq!(answer.batches.concat().unwrap(), first.batches.concat().unwrap());
    }
    place.server.script().clear();
    place.advance(Duration::from_mins(2));
    let mut query = place.query(sql, 2, "1h");
    query.cache.skip_read = true;
    let mut answer = ask(&engine, &query).await;
    if answer.provenance.status == Status::Joined {
        // A try from before, which went on behind its callers.
        answer = ask(&engine, &query).await;
    }
    assert!(answer.provenance.status != Status::Stale && answer.provenance.age_s < 1.0, "{:?}", answer.provenance);
    assert!(answer.batches.has_same_rows(&place.direct(&answer).await).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_explained_without_a_job_and_shared_rows_count_once() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.toml");
    let settings = format!(
        "[source.main]\nkind = \"bigquery\"\nlogin = \"anonymous\"\nproject = \"moz-fx-data-shared-prod\"\n\
         endpoint = \"{}\"\nlocal = \"mozilla\"\n",
        place.server.rest_url()
    );
    std::fs::write(&file, settings).unwrap();
    let board = repository("dashboards/experiment-enrollment.json");
    let mut command = weir(["explain", "--json", "--config", file.to_str().unwrap(), board.to_str().unwrap()]);
    for variable in [&*format!("experiment_id={}", place.slug), "branch_id=control", "normalized_channel=release"] {
        command.args(["--var", variable]);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.server.jobs_run().len(), 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let explanations = report["targets"].as_array().unwrap().iter().map(|target| &target["explanation"]);
    assert!(explanations.clone().all(|explanation| explanation["mode"] == "local"), "{report}");
    let jobs: BTreeMap<&str, u64> = explanations
        .flat_map(|explanation| explanation["segments"].as_array().unwrap())
        .map(|segment| (segment["key"].as_str().unwrap(), segment["bytes_billed"].as_u64().unwrap()))
        .collect();
    // Four sources, and the list of experiments; in the first minutes of a day the slots of some panels
    // end with the day before, so that they read other days than the rest.
    assert!((5..=9).contains(&jobs.len()), "{jobs:?}");
    assert_eq!(report["bytes_billed"].as_u64(), Some(jobs.values().sum()));
}

/// Random texts that bqemulator is asked too, where `PROPTEST_CASES` does not say.
const JUDGED: u64 = 40;

/// One text of so many is refused at most: bqemulator hands them to `DuckDB`.
const REFUSED: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn bqemulator_says_what_is_kept_here() {
    let place = Place::new().await;
    let engine = place.engine();
    let emulator = place::copied().await;
    let client = BigQuery::connect(&config(emulator.rest_url(), emulator.storage_url(), None)).await.unwrap();
    let (cases, seed) = long_run(JUDGED);
    let random = Texts::new(seed, &place.slug).take(usize::try_from(cases).unwrap());
    let panels = place.panels().into_iter().map(|(_, sql)| Asked { sql, days: 5, step: "1h" });
    let (mut refused, mut judged) = (vec![], 0);
    for Asked { sql, days, step } in panels.chain(random) {
        let answer = ask(&engine, &place.query(&sql, days, step)).await;
        assert_eq!(answer.provenance.mode, Mode::Local, "{sql}: {}", answer.provenance.reason);
        match client.run(Job::new(uuid::Uuid::new_v4().to_string(), &*answer.executed_sql)).await {
            Err(error) => refused.push(format!("{}\n{}", error.message(), answer.executed_sql)),
            Ok(outcome) => {
                judged += 1;
                assert!(answer.batches.has_same_rows(&outcome.batches).unwrap(), "{}", answer.executed_sql);
            }
        }
    }
    let said = format!("{} texts are refused, {judged} judged", refused.len());
    eprintln!("{said}");
    assert!(refused.len() * REFUSED <= judged, "{said}\n{}", refused.join("\n\n"));
}
