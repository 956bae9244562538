//! Budgets refuse or serve what is old, and say so.

use super::*;
use crate::engine::budget::OVER_BUDGET;
use crate::ledger::Budget;

/// A bench whose data source may bill so many jobs a day, and each principal so many.
fn bench_with(jobs: Option<u64>, jobs_per_principal: Option<u64>) -> Bench {
    let budget = Budget {
        daily_bytes: jobs.map(|jobs| jobs * BILL),
        daily_bytes_per_principal: jobs_per_principal.map(|jobs| jobs * BILL),
        ..Budget::default()
    };
    let settings = EngineSettings { budget, ..EngineSettings::default() };
    bench_of(StoreSettings::of(1 << 20), settings, |source| source)
}

fn sliding(bench: &Bench) -> Query {
    let mut query = query();
    let now = bench.clock.now();
    query.range = Some(Extent::new(now.minus(Duration::from_hours(6)), now).unwrap());
    query
}

fn asked_by(user: &str, text: &str) -> Query {
    let mut query = Query::new(text);
    query.principal = Some(user.to_owned());
    query
}

impl Bench {
    async fn refusal(&self, query: &Query) -> Error {
        self.engine.answer(query, Door::Export).await.unwrap_err()
    }
}

#[tokio::test(start_paused = true)]
async fn over_budget_the_last_answer_is_served_and_says_so_until_midnight() {
    let bench = bench_with(Some(1), None);
    let first = bench.ask(&sliding(&bench)).await;
    bench.advance(3 * 3600);
    let stale = bench.ask(&sliding(&bench)).await;
    assert_eq!((stale.provenance.status, stale.provenance.reason), (Status::Stale, OVER_BUDGET));
    assert_eq!((stale.provenance.range, stale.content_id), (first.provenance.range, first.content_id));
    assert_eq!((stale.provenance.age_s, stale.provenance.bytes_billed, bench.jobs()), (3.0 * 3600.0, 0, 1));
    bench.advance(9 * 3600);
    let renewed = bench.ask(&sliding(&bench)).await;
    assert_eq!((renewed.provenance.status, bench.jobs()), (Status::Miss, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_never_answered_is_refused_with_the_budget_and_when_it_renews() {
    let bench = bench_with(Some(1), None);
    bench.ask(&sliding(&bench)).await;
    let mut another = query();
    another.sql = "SELECT n + 1 FROM t WHERE $__timeFilter(ts)".to_owned();
    let error = bench.refusal(&another).await;
    assert_eq!(error.kind(), Kind::TooExpensive);
    let parts = ["10485760 bytes a day of data source only", "10485760 bytes are billed", "2024-01-03T00:00:00Z"];
    assert!(parts.iter().all(|part| error.message().contains(part)), "{error}");
    bench.advance(3600);
    let mut yesterday = sliding(&bench);
    yesterday.range = Some(Extent::new(at("2024-01-01T06:00:00Z"), at("2024-01-01T12:00:00Z")).unwrap());
    assert!(OverBudget::is_cause_of(&bench.refusal(&yesterday).await), "another six hours are another question");
    let mut whole = sliding(&bench);
    whole.cache.mode = CacheMode::Off;
    assert!(OverBudget::is_cause_of(&bench.refusal(&whole).await), "who wants no cached answer gets none");
    assert_eq!(bench.jobs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_refused_and_a_purge_leaves_nothing_to_serve() {
    let bench = bench_with(Some(1), None);
    bench.ask(&sliding(&bench)).await;
    bench.advance(3600);
    let mut alert = sliding(&bench);
    alert.cache.max_stale = Some(Duration::ZERO);
    assert_eq!(bench.refusal(&alert).await.kind(), Kind::TooExpensive);
    let mut patient = sliding(&bench);
    patient.cache.max_stale = Some(Duration::from_mins(30));
    assert_eq!(bench.refusal(&patient).await.kind(), Kind::TooExpensive, "older than the caller takes");
    patient.cache.max_stale = Some(Duration::from_hours(2));
    assert_eq!(bench.ask(&patient).await.provenance.status, Status::Stale);
    bench.engine.purge().unwrap();
    assert_eq!(bench.refusal(&sliding(&bench)).await.kind(), Kind::TooExpensive);
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_days_or_of_a_text_leaves_nothing_to_serve_either() {
    let days = Extent::new(at("2024-01-01"), at("2024-01-03")).unwrap();
    let text = sliding(&bench_with(None, None)).sql;
    for (range, sql) in [(Some(days), None), (None, Some(&*text))] {
        let bench = bench_with(Some(1), None);
        bench.ask(&sliding(&bench)).await;
        bench.advance(3600);
        assert_eq!(bench.ask(&sliding(&bench)).await.provenance.status, Status::Stale);
        bench.engine.purge_some(range, sql).unwrap();
        assert_eq!(bench.refusal(&sliding(&bench)).await.kind(), Kind::TooExpensive, "{range:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_principals_budget_refuses_nobody_else() {
    let bench = bench_with(None, Some(1));
    bench.ask(&asked_by("ada", "SELECT 1 AS n")).await;
    assert!(bench.refusal(&asked_by("ada", "SELECT 2 AS n")).await.message().contains("of ada at data source only"));
    assert_eq!(bench.ask(&asked_by("grace", "SELECT 2 AS n")).await.provenance.status, Status::Miss);
    assert_eq!(
        bench.ask(&asked_by("ada", "SELECT 2 AS n")).await.provenance.status,
        Status::Hit,
        "what is there is free"
    );
}

#[tokio::test(start_paused = true)]
async fn jobs_at_once_reserve_what_dry_runs_say() {
    let bench = bench_with(Some(2), None);
    let asked: Vec<Query> = (0..5).map(|number| Query::new(format!("SELECT {number} AS n"))).collect();
    for query in &asked {
        bench.engine.explain(query).await.unwrap();
    }
    let answers = join_all(asked.iter().map(|query| bench.engine.answer(query, Door::Export))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert_eq!(bench.engine.shared.ledger.total().bytes_billed, 2 * BILL);
}

#[tokio::test(start_paused = true)]
async fn cold_panels_at_once_reserve_what_a_free_dry_run_of_each_says() {
    let panels: Vec<Query> = (0..27).map(|number| Query::new(format!("SELECT {number} AS n"))).collect();
    let check = async |budget: Option<u64>, refusal: Option<Error>, [answered, dry_runs]: [usize; 2]| {
        let settings =
            EngineSettings { budget: Budget { daily_bytes: budget, ..Budget::default() }, ..EngineSettings::default() };
        let bench = bench_of(StoreSettings::of(1 << 20), settings, |source| match refusal {
            Some(error) => source.refusing(error),
            None => source,
        });
        let answers = join_all(panels.iter().map(|query| bench.engine.answer(query, Door::Export))).await;
        let found = [answers.iter().filter(|answer| answer.is_ok()).count(), bench.source.dry_runs()];
        assert_eq!(found, [answered, dry_runs], "{budget:?}");
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(refused.into_iter().all(OverBudget::is_cause_of));
        assert_eq!(bench.engine.shared.ledger.total().bytes_billed, answered as u64 * BILL);
    };
    check(Some(2 * BILL + 1), None, [2, 27]).await;
    check(Some(1), None, [0, 27]).await;
    // Where the source says nothing beforehand, a job starts if anything is left.
    check(Some(1), Some(Error::new(Kind::PermissionDenied, "no dry runs here")), [27, 27]).await;
    check(None, None, [27, 0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_like_was_billed_needs_no_dry_run() {
    let bench = bench_with(Some(3), None);
    bench.ask(&sliding(&bench)).await;
    bench.advance(3600);
    bench.ask(&sliding(&bench)).await;
    assert_eq!((bench.jobs(), bench.source.dry_runs()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_not_refreshed_over_budget() {
    let bench = bench_with(Some(1), None);
    let query = Query::new("SELECT 1 AS n");
    bench.ask(&query).await;
    bench.advance(61);
    let stale = bench.ask(&query).await.provenance;
    assert_eq!((stale.status, stale.reason), (Status::Stale, OVER_BUDGET));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((bench.jobs(), bench.engine.shared.ledger.total().jobs_failed), (1, 0));
}
