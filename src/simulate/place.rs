//! The generated data of a trace, a clock that is set by hand, and a meter before the source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::NaiveDate;
use parking_lot::Mutex;
use tokio::sync::watch;
use weir_plan::extent::DAY;
use weir_plan::{Error, Result, TableId, Timestamp};

use super::trace::Trace;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::engine::{Engine, EngineSettings, LocalSettings};
use crate::monitoring::synthetic::{PROJECT, Synthetic};
use crate::source::embedded::Embedded;
use crate::source::{Estimate, Identity, Job, Outcome, Source, Table};

/// How long the data are there before a trace begins.
const BEFORE: Duration = Duration::from_hours(3);

/// The data, and the time there.
pub(super) struct Place {
    pub(super) source: Embedded,
    pub(super) clock: Arc<ManualClock>,
}

impl Place {
    /// Generates the data of a trace. They are there some hours before its start, so that no partition is as
    /// young as one that is still being written.
    pub(super) async fn make(trace: &Trace) -> Result<Self> {
        let installed = trace.start.minus(BEFORE);
        let clock = Arc::new(ManualClock::new(installed));
        let synthetic = Arc::new(Synthetic::new(trace.data()));
        let source =
            Embedded::new(PROJECT, Arc::clone(&clock) as Arc<dyn Clock>).with_feed(Arc::clone(&synthetic) as _);
        let generated = tokio::task::spawn_blocking({
            let source = source.clone();
            move || synthetic.install(&source, installed, &mut |_| ())
        });
        generated.await.map_err(|error| Error::internal("the generator failed").with_source(error))??;
        clock.set(trace.start);
        Ok(Self { source, clock })
    }

    /// An engine with an empty store, and the meter of its jobs, which no engine of another name joins.
    pub(super) fn engine(&self, name: &'static str, local: LocalSettings) -> (Arc<Engine>, Arc<Meter>) {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let meter = Arc::new(Meter::new(name, self.source.clone(), Arc::clone(&clock)));
        let mut app = App::new(StoreSettings::of(Config::CACHE_CAPACITY), clock, App::GRACE);
        let settings = EngineSettings { local: Arc::new(local), ..EngineSettings::default() };
        let engine = app.add_source("simulated", Arc::clone(&meter) as Arc<dyn Source>, settings);
        (engine, meter)
    }

    /// Rows and bytes of all tables.
    pub(super) async fn size(&self) -> Result<(u64, u64)> {
        let mut size = (0, 0);
        for id in self.source.tables() {
            let table = self.source.table(&id).await?;
            size = (size.0 + table.num_rows, size.1 + table.num_bytes);
        }
        Ok(size)
    }
}

/// When the daily job for a day runs.
pub(super) fn landing(trace: &Trace, day: NaiveDate) -> Timestamp {
    let delay = trace.late.iter().find(|(late, _)| *late == day).map(|(_, delay)| *delay).unwrap_or_default();
    Timestamp::from(day).plus(Duration::from_hours(24)).plus(trace.data().daily_job.at).plus(delay)
}

/// Days that land during a trace, and when.
pub(super) fn landings(trace: &Trace) -> Vec<(NaiveDate, Timestamp)> {
    let first = Timestamp::saturating(trace.start.floor(DAY).micros() - i64::from(trace.history_days) * DAY).date();
    let days = first.iter_days().take_while(|day| *day <= trace.end().date());
    let all = days.map(|day| (day, landing(trace, day)));
    let mut landings: Vec<_> = all.filter(|(_, at)| trace.start < *at && *at < trace.end()).collect();
    landings.sort_by_key(|(_, at)| *at);
    landings
}

/// A job that was billed.
#[derive(Clone, Debug)]
pub(super) struct Billed {
    /// The label of who asked.
    pub(super) asker: String,
    /// What was read.
    pub(super) read: Read,
    pub(super) bytes: u64,
}

/// What a job reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    /// When partitions last changed.
    Listing,
    /// Live tables and the daily one: at first, and over the flip.
    Both,
    /// Live tables.
    Live,
    /// The daily table.
    Daily,
    /// A view by its name, and so all that it reads.
    View,
}

impl Read {
    /// As in reports.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listings of partitions",
            Self::Both => "live and daily tables",
            Self::Live => "live tables",
            Self::Daily => "daily table",
            Self::View => "all of the view",
        }
    }

    fn of(sql: &str) -> Self {
        let is_live = sql.contains("events_live_v1`");
        let is_daily = sql.contains("aggregates_v1`") || sql.contains("active_clients_v1`");
        match (is_live, is_daily) {
            _ if sql.contains("INFORMATION_SCHEMA.PARTITIONS") => Self::Listing,
            (true, true) => Self::Both,
            (true, false) => Self::Live,
            (false, true) => Self::Daily,
            (false, false) => Self::View,
        }
    }
}

/// The label under which a job says who asked.
pub(super) const ASKER: &str = "panel";

/// A source that writes down what its jobs bill.
pub(super) struct Meter {
    name: &'static str,
    source: Embedded,
    clock: Arc<dyn Clock>,
    billed: Mutex<Vec<Billed>>,
    /// When each text of a listing was last run.
    listed: Mutex<BTreeMap<String, Timestamp>>,
    ended: watch::Sender<u64>,
}

impl Meter {
    fn new(name: &'static str, source: Embedded, clock: Arc<dyn Clock>) -> Self {
        Self { name, source, clock, billed: Mutex::default(), listed: Mutex::default(), ended: watch::Sender::new(0) }
    }

    /// What was billed since the last call.
    pub(super) fn take(&self) -> Vec<Billed> {
        std::mem::take(&mut *self.billed.lock())
    }

    /// Jobs that ended so far; for waiting.
    pub(super) fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// When the oldest of the listings that are in use was made.
    pub(super) fn oldest_listing(&self) -> Option<Timestamp> {
        self.listed.lock().values().min().copied()
    }
}

#[async_trait]
impl Source for Meter {
    fn identity(&self) -> &Identity {
        self.source.identity()
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        self.source.dry_run(job).await
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        let (read, sql) = (Read::of(&job.sql), job.sql.clone());
        let asker = job.labels.get(ASKER).cloned().unwrap_or_default();
        let job = Job { id: format!("{}_{}", self.name, job.id), ..job };
        let outcome = self.source.run(job).await;
        if let Ok(outcome) = &outcome
            && outcome.ours
        {
            if read == Read::Listing {
                self.listed.lock().insert(sql, self.clock.now());
            }
            self.billed.lock().push(Billed { asker, read, bytes: outcome.bytes_billed });
        }
        self.ended.send_modify(|ended| *ended += 1);
        outcome
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        // A table that has not changed confirms its listing.
        let name = format!("'{}'", table.table);
        for (_, listed) in self.listed.lock().iter_mut().filter(|(sql, _)| sql.contains(&name)) {
            *listed = self.clock.now();
        }
        self.source.table(table).await
    }
}
