//! Generated experiments behind the fake server, under a clock that moves, and what is asked of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use weir::app::App;
use weir::batches::Batches;
use weir::board::{Board, Item};
use weir::cache::{FolderSettings, StoreSettings};
use weir::clock::{Clock, ManualClock};
use weir::engine::{Answer, Door, Engine, EngineSettings, LocalSettings};
use weir::monitoring::synthetic::{Backfill, Landing, Synthetic, SyntheticConfig};
use weir::source::bigquery::BigQuery;
use weir::source::embedded::Embedded;
use weir::source::fake::{FakeConfig, FakeServer};
use weir::source::{Job, Source};
use weir_plan::extent::HOUR;
use weir_plan::local::Keep;
use weir_plan::{Extent, Query, TableId, Timestamp};

use crate::conformance::config;
use crate::support::emulator::Emulator;
use crate::support::python::repository;

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

pub(super) fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

/// Within a slot to the second, an answer is fresh.
pub(super) const SLOT_AND_MORE: Duration = Duration::from_secs(301);

pub(crate) struct Place {
    pub(super) clock: Arc<ManualClock>,
    pub(crate) tables: Arc<Embedded>,
    pub(super) server: FakeServer,
    client: Arc<BigQuery>,
    /// A live experiment with several branches.
    pub(super) slug: String,
    branches: String,
}

impl Place {
    /// 12 recipes and 6 days, at 15:00 of 2024-03-10: tables are as old as noon, and partitions younger than
    /// the grace of two hours are awaited. The daily job for 03-10 is nine hours late; that for 03-07 stops
    /// at nine o'clock, and runs again on 03-12.
    pub(crate) async fn new() -> Self {
        let now = at("2024-03-10T12:00:00Z");
        let clock = Arc::new(ManualClock::new(now));
        let mut config_of_data = SyntheticConfig { history_days: 6, live_days: 4, ..SyntheticConfig::small(now) };
        let job = &mut config_of_data.daily_job;
        job.exceptions.insert(now.date(), Landing::Late(hours(9)));
        job.exceptions.insert(at("2024-03-07").date(), Landing::Partial { until_hour: 9 });
        job.backfills.push(Backfill { day: at("2024-03-07").date(), at: at("2024-03-12T09:00:00Z") });
        let synthetic = Arc::new(Synthetic::new(config_of_data));
        let tables = Embedded::new("moz-fx-data-shared-prod", Arc::clone(&clock) as Arc<dyn Clock>);
        let tables = Arc::new(tables.with_feed(Arc::clone(&synthetic) as _));
        synthetic.install(&tables, now, &mut |_| {}).unwrap();
        clock.set(now.plus(hours(3)));
        let server = FakeServer::start(
            Arc::clone(&tables) as Arc<dyn Source>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            FakeConfig::default(),
        );
        let server = server.await.unwrap();
        let client = BigQuery::connect(&config(server.rest_url(), server.storage_url(), None)).await.unwrap();
        let live = synthetic.recipes().iter().find(|recipe| recipe.is_live(now) && recipe.branches.len() > 1).unwrap();
        let branches = live.branches.iter().map(|branch| format!("'{}'", branch.slug)).collect::<Vec<_>>().join(", ");
        Self { clock, tables, server, client: Arc::new(client), slug: live.slug.clone(), branches }
    }

    pub(super) fn advance(&self, time: Duration) {
        self.clock.set(self.clock.now().plus(time));
    }

    /// An app that keeps what Mozilla's boards read; settled days in a folder, where one is given.
    pub(crate) fn app(&self, folder: Option<&Path>) -> App {
        self.app_with(folder, &[])
    }

    fn app_with(&self, folder: Option<&Path>, keep: &[Keep]) -> App {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let store = StoreSettings::of(64 << 20);
        let mut app = match folder {
            Some(folder) => {
                let folder = FolderSettings { path: folder.to_owned(), capacity: FolderSettings::CAPACITY };
                App::in_folder(store, &folder, clock, App::GRACE).unwrap()
            }
            None => App::new(store, clock, App::GRACE),
        };
        let mut local = LocalSettings::ready_made();
        for relation in local.relations.iter_mut().filter(|it| it.source.grain < hours(1)) {
            relation.keep = keep.to_vec();
        }
        let settings = EngineSettings { local: Arc::new(local), ..EngineSettings::default() };
        app.add_source("only", Arc::clone(&self.client) as Arc<dyn Source>, settings);
        app
    }

    /// The engine of such an app without a folder.
    pub(super) fn engine(&self) -> Arc<Engine> {
        self.app(None).source(None).unwrap()
    }

    /// An engine that keeps a day at five minutes, two more by the hour, and the others by the day.
    pub(super) fn coarse_engine(&self) -> Arc<Engine> {
        let keep = |minutes, days| Keep { step: Duration::from_mins(minutes), days };
        self.app_with(None, &[keep(5, Some(1)), keep(60, Some(3)), keep(1440, None)]).source(None).unwrap()
    }

    /// A query for the last days up to now, that takes nothing stale.
    pub(super) fn query(&self, sql: &str, days: u64, step: &str) -> Query {
        let now = self.clock.now();
        let mut query = Query::new(sql);
        query.range = Some(Extent::new(now.minus(hours(24 * days)).floor(HOUR), now).unwrap());
        query.step = Some(step.parse().unwrap());
        query.cache.max_stale = Some(Duration::ZERO);
        query
    }

    /// What the server says to the text of an answer.
    pub(super) async fn direct(&self, answer: &Answer) -> Batches {
        let job = Job::new(uuid::Uuid::new_v4().to_string(), &*answer.executed_sql);
        self.client.run(job).await.unwrap_or_else(|error| panic!("{error:?}\n{}", answer.executed_sql)).batches
    }

    /// The panels of the board *Experiment enrollment*, by title, for the experiment.
    pub(super) fn panels(&self) -> Vec<(String, String)> {
        let path = repository("dashboards/experiment-enrollment.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let boards = Board::read(&path, text).unwrap();
        let items = boards[0].items();
        let panels = items.iter().filter_map(|item| match item {
            Item::Target(target) => Some((target.panel.to_owned(), target.model["rawSql"].as_str().unwrap())),
            Item::Library { .. } => None,
        });
        let written = |sql: &str| {
            sql.replace("$experiment_id", &self.slug)
                .replace("$branch_id", &self.branches)
                .replace("$normalized_channel", "'release', 'beta', 'nightly'")
        };
        panels.map(|(title, sql)| (title, written(sql))).collect()
    }

    /// Puts all tables and views, as they are, into the emulator; its views are of the same day for ever.
    async fn copy_to(&self, emulator: &Emulator) {
        let today = format!("DATE '{}'", self.clock.now().date());
        let mut views: Vec<(TableId, String)> = vec![];
        for id in self.tables.tables() {
            let table = self.tables.table(&id).await.unwrap();
            if let Some(text) = table.view_sql {
                views.push((id, text.replace("CURRENT_DATE()", &today)));
                continue;
            }
            let TableId { project, dataset, table: name } = &id;
            let url = format!("{}/projects/{project}/datasets/{dataset}/tables/{name}", self.server.v2_url());
            let described: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
            emulator.create_dataset(project, dataset).await;
            let fields = described["schema"]["fields"].clone();
            emulator.create_table(&id, fields, table.partitioning.as_ref()).await.unwrap();
            let rows = self.tables.run(Job::new(uuid::Uuid::new_v4().to_string(), format!("SELECT * FROM `{id}`")));
            let rows = rows.await.unwrap().batches.concat().unwrap();
            if rows.num_rows() > 0 {
                emulator.load(&id, &rows).await;
            }
        }
        // Unions of live and daily tables first: the others read them.
        let is_union = |text: &str| text.contains("UNION ALL");
        views.sort_by_key(|(id, text)| (!is_union(text) || id.table.contains("other_events"), id.clone()));
        for (id, text) in views {
            emulator.create_dataset(&id.project, &id.dataset).await;
            emulator.create_view(&id, &text).await;
        }
    }
}

/// An emulator of its own with a copy of a place's tables, for as long as the guard lives.
pub(crate) async fn copied() -> MutexGuard<'static, Emulator> {
    static COPY: OnceCell<Mutex<Emulator>> = OnceCell::const_new();
    let copy = async || {
        let emulator = Emulator::start().await;
        Place::new().await.copy_to(&emulator).await;
        Mutex::new(emulator)
    };
    COPY.get_or_init(copy).await.lock().await
}

pub(super) async fn ask(engine: &Arc<Engine>, query: &Query) -> Answer {
    engine.answer(query, Door::Export).await.unwrap_or_else(|error| panic!("{error:?}\n{}", query.sql))
}
