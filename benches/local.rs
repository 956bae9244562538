//! What does a panel cost that is answered from what is kept here?
//!
//! The 27 panels of the enrollment board, of one experiment and of twenty, each with a text that was not
//! asked before: against the same texts run by DataFusion on the raw rows of five minutes, and by `DuckDB`
//! over the kept rows as Parquet. Then a new slot's rows against their jobs alone, memory against Arrow
//! bytes, and a start from disk against one from the source.
//!
//! `WEIR_BENCH_DAYS` and `WEIR_BENCH_RECIPES` say how much data there is: 28 days and 24 live recipes.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use weir::app::App;
use weir::board::{Board, Item};
use weir::cache::{FolderSettings, StoreSettings};
use weir::clock::{Clock, ManualClock};
use weir::engine::{Door, Engine, EngineSettings, LocalSettings};
use weir::monitoring::synthetic::{EXPERIMENTS_PROJECT, PROJECT, Recipe, Synthetic, SyntheticConfig};
use weir::source::embedded::Embedded;
use weir::source::{Job, Source};
use weir_plan::extent::{DAY, HOUR};
use weir_plan::local::LocalRelation;
use weir_plan::local::experiments::relations;
use weir_plan::{Extent, Mode, Query, SourceDescriptor, Step, TableId, Timestamp, macros};

use support::{Outcome, resident, say};

/// Times that each round is measured.
const ROUNDS: usize = 5;

fn main() -> Outcome {
    let number = |name: &str, usual: u32| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let runtime = Runtime::new()?;
    let place = Place::new(number("WEIR_BENCH_DAYS", 28), number("WEIR_BENCH_RECIPES", 24))?;
    let folder = tempfile::tempdir()?;
    let app = runtime.block_on(place.loaded(folder.path()))?;
    let engine = app.source(None)?;
    for experiments in [1, 20] {
        runtime.block_on(place.panels(&engine, experiments))?;
    }
    runtime.block_on(place.slots(&engine))?;
    runtime.block_on(app.stop());
    runtime.block_on(place.restart(folder.path()))
}

/// Generated experiments, and the board's texts.
struct Place {
    source: Arc<Embedded>,
    clock: Arc<ManualClock>,
    experiments: Vec<Recipe>,
    texts: Vec<String>,
    days: u32,
}

impl Place {
    fn new(history_days: u32, live_recipes: u32) -> Outcome<Self> {
        let now = support::fixed::now();
        let clock = Arc::new(ManualClock::new(now));
        let config = SyntheticConfig {
            live_recipes,
            ended_recipes: live_recipes / 3,
            upcoming_recipes: 1,
            history_days,
            ..SyntheticConfig::demo(now)
        };
        let synthetic = Arc::new(Synthetic::new(config));
        let source = Embedded::new(PROJECT, Arc::clone(&clock) as Arc<dyn Clock>);
        let source = Arc::new(source.with_feed(Arc::clone(&synthetic) as _));
        synthetic.install(&source, now, &mut |_| {})?;
        // What is younger than two hours is awaited.
        clock.set(Timestamp::saturating(now.micros() + 3 * HOUR));
        let mut experiments: Vec<Recipe> =
            synthetic.recipes().iter().filter(|it| it.is_live(now) && it.branches.len() > 1).cloned().collect();
        experiments.truncate(20);
        let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/experiment-enrollment.json");
        let boards = Board::read(&board, std::fs::read_to_string(&board)?)?;
        let items = boards.first().ok_or("no board")?.items();
        let texts = items.iter().filter_map(|item| match item {
            Item::Target(target) => target.model.get("rawSql")?.as_str().map(str::to_owned),
            Item::Library { .. } => None,
        });
        let texts = texts.collect();
        Ok(Self { source, clock, experiments, texts, days: history_days.min(28) })
    }

    /// An app with a folder, and all that it keeps; prints what that weighs.
    async fn loaded(&self, folder: &Path) -> Outcome<App> {
        let before = resident()?;
        let app = self.app(folder)?;
        let engine = app.source(None)?;
        let begun = Instant::now();
        engine.load_locals(|_| {}).await?;
        let took = begun.elapsed();
        let (rows, arrow) = engine.locals().iter().fold((0, 0), |(rows, bytes), it| (rows + it.rows, bytes + it.bytes));
        let grown = resident()?.saturating_sub(before);
        say(&format!(
            "local_memory: {rows} rows, Arrow bytes {arrow}, process grown by {grown}, ratio {:.2}",
            ratio(grown, arrow)
        ));
        say(&format!("local_load: from the source {took:.2?}\n"));
        Ok(app)
    }

    fn app(&self, folder: &Path) -> Outcome<App> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let folder = FolderSettings { path: folder.to_owned(), capacity: FolderSettings::CAPACITY };
        let mut app = App::in_folder(StoreSettings::of(1 << 30), &folder, clock, App::GRACE)?;
        let local = Arc::new(LocalSettings::ready_made());
        let source = Arc::clone(&self.source) as Arc<dyn Source>;
        app.add_source("only", source, EngineSettings { local, ..EngineSettings::default() });
        Ok(app)
    }

    /// The board of some experiments, as of `hours` ago, so that each round has texts of its own.
    fn board(&self, experiments: usize, hours: i64) -> Outcome<Vec<Query>> {
        let end = Timestamp::saturating(self.clock.now().floor(HOUR).micros() - hours * HOUR);
        let range = Extent::new(Timestamp::saturating(end.micros() - i64::from(self.days) * DAY), end)?;
        let mut queries = vec![];
        for recipe in self.experiments.iter().take(experiments) {
            let branches: Vec<String> = recipe.branches.iter().map(|branch| format!("'{}'", branch.slug)).collect();
            for text in &self.texts {
                let sql = text.replace("$experiment_id", &recipe.slug).replace("$branch_id", &branches.join(", "));
                let mut query = Query::new(sql.replace("$normalized_channel", "'release', 'beta', 'nightly'"));
                query.range = Some(range);
                query.step = Some(Step::Micros(HOUR));
                queries.push(query);
            }
        }
        Ok(queries)
    }

    async fn panels(&self, engine: &Arc<Engine>, experiments: usize) -> Outcome {
        let experiments = experiments.min(self.experiments.len());
        // What the first answer of all finds out is known from then on.
        ask(engine, &self.board(experiments, 0)?).await?;
        let (mut ours, mut last) = (vec![], vec![]);
        for round in 0..ROUNDS {
            let queries = self.board(experiments, 1 + i64::try_from(round)?)?;
            let begun = Instant::now();
            last = ask(engine, &queries).await?;
            ours.push(begun.elapsed());
        }
        // The raw rows take minutes: once, of one experiment's panels, is enough to see by how much.
        let begun = Instant::now();
        for (sql, _) in last.iter().take(self.texts.len()) {
            self.source.run(Job::new(uuid::Uuid::new_v4().to_string(), sql)).await?;
        }
        let raw = begun.elapsed() * u32::try_from(experiments)?;
        let duckdb = self.duckdb(&last).await?;
        let name = format!("local_panels_{}x{}", experiments, self.texts.len());
        let ours = median(ours);
        compare(&format!("{name}: raw rows by DataFusion"), raw, "weir", ours);
        compare(&format!("{name}: kept rows by DuckDB"), duckdb, "weir", ours);
        Ok(())
    }

    /// The time that `DuckDB` takes for texts over the kept rows as Parquet.
    async fn duckdb(&self, asked: &[(String, usize)]) -> Outcome<Duration> {
        let folder = tempfile::tempdir()?;
        let mut views: Vec<Value> = vec![];
        let mut tables: BTreeMap<String, String> = BTreeMap::new();
        for relation in relations(PROJECT) {
            let base = relation.base();
            let last = Timestamp::saturating(self.clock.now().ceil(DAY).micros() + DAY);
            let first = Timestamp::saturating(last.micros() - 1000 * DAY);
            let five = Step::Micros(i64::try_from(relation.source.grain.as_micros())?);
            let sql = macros::expand(&base.sql, Some(Extent::new(first, last)?), Some(five), &base.target)?.sql;
            let source = relation.text.clone().unwrap_or_else(|| format!("SELECT * FROM `{}`", relation.source.table));
            let sql = sql.replace(&format!("`{}`", relation.table()), &format!("({source})"));
            tables.insert(relation.table().to_string(), self.parquet(folder.path(), &relation.name, &sql).await?);
            let kept = LocalRelation {
                source: SourceDescriptor {
                    time_column: Some("time".to_owned()),
                    grain: relation.source.grain,
                    ..SourceDescriptor::new(relation.table())
                },
                text: None,
                ..relation.clone()
            };
            views.extend(relation.views.iter().map(|view| json!([view.table.to_string(), view.sql])));
            views.extend(relation.totals.iter().map(|total| json!([total.table.to_string(), kept.total_text(total)])));
        }
        let experiments = TableId::new(EXPERIMENTS_PROJECT, "monitoring", "experimenter_experiments_v1");
        let sql = format!("SELECT * FROM `{experiments}`");
        tables.insert(experiments.to_string(), self.parquet(folder.path(), "experiments", &sql).await?);
        let asked: Vec<Value> = asked.iter().map(|(sql, rows)| json!([sql, rows])).collect();
        let wish = json!({"tables": tables, "views": views, "texts": asked, "rounds": ROUNDS});
        let file = folder.path().join("wish.json");
        std::fs::write(&file, wish.to_string())?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let venv = std::process::Command::new(root.join("tests/python/venv")).output()?;
        let python = Path::new(std::str::from_utf8(&venv.stdout)?.trim()).join("bin/python");
        let output =
            std::process::Command::new(python).arg(root.join("benches/support/panels.py")).arg(&file).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(Duration::from_secs_f64(std::str::from_utf8(&output.stdout)?.trim().parse()?))
    }

    async fn parquet(&self, folder: &Path, name: &str, sql: &str) -> Outcome<String> {
        let rows = self.source.run(Job::new(uuid::Uuid::new_v4().to_string(), sql)).await?.batches;
        let path = folder.join(format!("{name}.parquet"));
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&path)?, Arc::clone(rows.schema()), None)?;
        for batch in &rows {
            writer.write(batch)?;
        }
        writer.close()?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// A new slot: the first question brings the open day, against the jobs that it takes.
    async fn slots(&self, engine: &Arc<Engine>) -> Outcome {
        let asked = &self.board(1, 0)?[12..13];
        let (mut ours, mut jobs) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            self.clock.set(Timestamp::saturating(self.clock.now().micros() + 301_000_000));
            // The rows of the slot themselves are made before.
            self.source.run(Job::new(uuid::Uuid::new_v4().to_string(), "SELECT 1")).await?;
            let mut query = self.board(1, 0)?[12].clone();
            query.range = Some(Extent::new(asked[0].range.map_or(Timestamp::MIN, Extent::start), self.clock.now())?);
            query.cache.max_stale = Some(Duration::ZERO);
            let explained = engine.explain(&query).await?;
            let begun = Instant::now();
            ask(engine, &[query]).await?;
            ours.push(begun.elapsed());
            let begun = Instant::now();
            for segment in explained.segments.iter().filter(|segment| segment.status != weir::engine::Status::Hit) {
                self.source.run(Job::new(uuid::Uuid::new_v4().to_string(), &*segment.sql)).await?;
            }
            jobs.push(begun.elapsed());
        }
        compare("local_slot: the slot's jobs alone", median(jobs), "first answer of the slot", median(ours));
        Ok(())
    }

    /// A start from disk, against one from the source.
    async fn restart(&self, folder: &Path) -> Outcome {
        let load = async |folder: &Path| -> Outcome<Duration> {
            let engine = self.app(folder)?.source(None)?;
            let begun = Instant::now();
            engine.load_locals(|_| {}).await?;
            Ok(begun.elapsed())
        };
        let empty = tempfile::tempdir()?;
        let from_source = load(empty.path()).await?;
        let from_disk = load(folder).await?;
        compare("local_start: from the source", from_source, "from disk", from_disk);
        Ok(())
    }
}

/// The texts that were run, and the rows of each; all must be answered here.
async fn ask(engine: &Arc<Engine>, queries: &[Query]) -> Outcome<Vec<(String, usize)>> {
    let mut asked = vec![];
    for query in queries {
        let answer = engine.answer(query, Door::Grafana).await?;
        if answer.provenance.mode != Mode::Local {
            return Err(format!("not answered here: {}\n{}", answer.provenance.reason, query.sql).into());
        }
        asked.push((answer.executed_sql.to_string(), answer.batches.num_rows()));
    }
    Ok(asked)
}

fn compare(baseline: &str, theirs: Duration, name: &str, ours: Duration) {
    say(&format!(
        "{baseline} {theirs:.2?}, {name} {ours:.2?}, ratio {:.4}\n",
        ours.as_secs_f64() / theirs.as_secs_f64()
    ));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio to print")]
fn ratio(ours: u64, theirs: u64) -> f64 {
    ours as f64 / theirs as f64
}
