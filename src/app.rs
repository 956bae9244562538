//! The composition root: the one place where clock, store, sources and engines are put together,
//! by the program and by the tests alike.

mod connected;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weir_plan::{Error, Result};

pub use self::connected::Caller;
use self::connected::Connected;
use crate::cache::{FolderSettings, Store, StoreSettings};
use crate::clock::Clock;
use crate::config::{BigQueryConfig, Config, SourceConfig};
use crate::engine::{Engine, EngineSettings, Loaded, Shared};
use crate::flight::Flights;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::monitoring::MonitoringSettings;
use crate::monitoring::figures::Figures;
use crate::source::Source;
use crate::source::embedded::Embedded;
use crate::source::limited::{Limited, Limits};

/// Everything that runs in one process.
pub struct App {
    shared: Shared,
    sources: BTreeMap<String, Arc<Figures>>,
    instances: Mutex<HashMap<String, Instance>>,
}

/// A Grafana data source: its settings' version, and its project once it is connected.
struct Instance {
    version: i64,
    connected: Arc<OnceCell<Connected>>,
}

impl App {
    /// How long a fetch goes on after its last caller left: a board that is reloaded finds it again.
    pub const GRACE: Duration = Duration::from_secs(2);

    /// An app without sources.
    pub fn new(store: StoreSettings, clock: Arc<dyn Clock>, grace: Duration) -> Self {
        let metrics = Arc::new(Metrics::new());
        Self::over(Store::new(store, Arc::clone(&metrics)), metrics, clock, grace)
    }

    /// As [`App::new`], with a folder in which settled answers outlive the app.
    ///
    /// # Errors
    /// Those of [`Store::in_folder`].
    pub fn in_folder(
        store: StoreSettings,
        folder: &FolderSettings,
        clock: Arc<dyn Clock>,
        grace: Duration,
    ) -> Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let store = Store::in_folder(store, folder, Arc::clone(&metrics), clock.now())?;
        Ok(Self::over(store, metrics, clock, grace))
    }

    fn over(store: Store, metrics: Arc<Metrics>, clock: Arc<dyn Clock>, grace: Duration) -> Self {
        let (flights, recalls) = (Arc::new(Flights::new(grace)), Arc::new(Flights::new(grace)));
        let ledger = Ledger::new(Ledger::CAPACITY);
        Self {
            shared: Shared { store: Arc::new(store), clock, metrics, ledger, flights, recalls },
            sources: BTreeMap::new(),
            instances: Mutex::default(),
        }
    }

    /// An app with the sources of a configuration.
    ///
    /// # Errors
    /// Those of the cache's folder, and of the sources, naming the source.
    pub async fn build(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let store = StoreSettings::of(config.cache_capacity);
        let mut app = match &config.cache_folder {
            Some(folder) => Self::in_folder(store, folder, clock, Self::GRACE)?,
            None => Self::new(store, clock, Self::GRACE),
        };
        for (name, source) in &config.sources {
            let engine = app.engine_of(name, source, config.deadline).await;
            let engine = engine.map_err(|error| error.context(format_args!("source {name}")))?;
            app.add(name, engine, config.monitoring.get(name).cloned().unwrap_or_default());
        }
        Ok(app)
    }

    async fn engine_of(&self, name: &str, source: &SourceConfig, deadline: Duration) -> Result<Arc<Engine>> {
        match source {
            SourceConfig::BigQuery(config) => {
                let deadline = config.deadline.or(Some(deadline));
                self.connect(name, &BigQueryConfig { deadline, ..BigQueryConfig::clone(config) }).await
            }
            SourceConfig::Embedded(folder) => {
                let source = Embedded::of_folder(folder, Arc::clone(&self.shared.clock))?;
                let source = Limited::new(Arc::new(source), Limits::default());
                let settings = EngineSettings { deadline: Some(deadline), ..EngineSettings::default() };
                Ok(self.engine(name, Arc::new(source), settings))
            }
        }
    }

    fn engine(&self, name: &str, source: Arc<dyn Source>, settings: EngineSettings) -> Arc<Engine> {
        let settings = EngineSettings { name: Some(name.to_owned()), ..settings };
        Engine::new(source, settings, self.shared.clone())
    }

    /// Adds a source under the name by which the export API selects it, with the ready-made datasets of
    /// experiments.
    pub fn add_source(&mut self, name: &str, source: Arc<dyn Source>, settings: EngineSettings) -> Arc<Engine> {
        let engine = self.engine(name, source, settings);
        self.add(name, Arc::clone(&engine), MonitoringSettings::default());
        engine
    }

    fn add(&mut self, name: &str, engine: Arc<Engine>, monitoring: MonitoringSettings) {
        self.sources.insert(name.to_owned(), Arc::new(Figures::with(engine, monitoring)));
    }

    /// The engine of the source called `name`, or of the only one.
    ///
    /// # Errors
    /// `NotFound` naming the sources there are; `InvalidQuery` if there are several and none is named.
    pub fn source(&self, name: Option<&str>) -> Result<Arc<Engine>> {
        Ok(Arc::clone(self.figures(name)?.engine()))
    }

    /// The figures of experiments over the source called `name`, or over the only one.
    ///
    /// # Errors
    /// As [`App::source`].
    pub fn figures(&self, name: Option<&str>) -> Result<Arc<Figures>> {
        let names = || self.sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let figures = match name {
            Some(name) => self
                .sources
                .get(name)
                .ok_or_else(|| Error::not_found(format!("no source {name:?}; there are: {}", names())))?,
            None => match self.sources.len() {
                0 => return Err(Error::not_found("no source is configured; add one to the configuration file")),
                1 => self.sources.values().next().ok_or_else(|| Error::internal("a source vanished"))?,
                _ => return Err(Error::invalid(format!("several sources; give source, one of: {}", names()))),
            },
        };
        Ok(Arc::clone(figures))
    }

    /// The engine of a Grafana data source for a caller, made by its first request and again when its
    /// settings change. Where callers' logins are forwarded, each has an engine of its own.
    ///
    /// # Errors
    /// Those of `config` and of [`BigQuery::connect_at`]; a failed one is tried again by the next
    /// request. `Unauthenticated` if the caller lacks the token that is forwarded.
    ///
    /// [`BigQuery::connect_at`]: crate::source::bigquery::BigQuery::connect_at
    pub async fn instance(
        &self,
        uid: &str,
        version: i64,
        caller: &Caller,
        config: impl FnOnce() -> Result<BigQueryConfig>,
    ) -> Result<Arc<Engine>> {
        let cell = {
            let mut instances = self.instances.lock();
            let instance = instances.entry(uid.to_owned()).or_insert_with(|| Instance::new(version));
            if instance.version != version {
                *instance = Instance::new(version);
            }
            Arc::clone(&instance.connected)
        };
        let connect = || async {
            let connected = Connected::new(uid, &config()?, &self.shared).await?;
            connected.own().load_locals_behind();
            Ok::<_, Error>(connected)
        };
        let connected = cell.get_or_try_init(connect).await?;
        connected.engine(uid, caller, &self.shared)
    }

    /// An engine over `BigQuery`, called `name` in the ledger, with limits and retries.
    ///
    /// # Errors
    /// Those of [`BigQuery::connect_at`].
    ///
    /// [`BigQuery::connect_at`]: crate::source::bigquery::BigQuery::connect_at
    pub async fn connect(&self, name: &str, config: &BigQueryConfig) -> Result<Arc<Engine>> {
        Ok(Arc::clone(Connected::new(name, config, &self.shared).await?.own()))
    }

    /// The names of the export API's sources, sorted.
    pub fn source_names(&self) -> Vec<&str> {
        self.sources.keys().map(String::as_str).collect()
    }

    /// Loads the local relations of the export API's sources in the background, which sends jobs.
    pub fn load_locals_behind(&self) {
        self.sources.values().for_each(|figures| figures.engine().load_locals_behind());
    }

    /// What is there of the local relations, by the export API's sources that have any.
    pub fn locals(&self) -> BTreeMap<&str, Vec<Loaded>> {
        let all = self.sources.iter().map(|(name, figures)| (name.as_str(), figures.engine().locals()));
        all.filter(|(_, loaded)| !loaded.is_empty()).collect()
    }

    /// Ends every fetch of every engine, and waits until their jobs' cancellations have been sent and
    /// the cache's folder has what it was given.
    pub async fn stop(&self) {
        let instances: Vec<_> = self
            .instances
            .lock()
            .values()
            .filter_map(|instance| Some(Arc::clone(instance.connected.get()?.own())))
            .collect();
        self.shared.flights.abort_all().await;
        let engines = self.sources.values().map(|figures| figures.engine());
        join_all(engines.chain(&instances).map(|engine| engine.source().settled())).await;
        self.shared.store.written().await;
    }

    /// The ledger of the process.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.shared.ledger
    }

    /// The metrics of the process.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// The clock of the process.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }
}

impl Instance {
    fn new(version: i64) -> Self {
        Self { version, connected: Arc::default() }
    }
}
