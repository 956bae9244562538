//! `weir demo`: generated data, a panel's query asked twice, and lines to paste.

mod place;
mod progress;
mod text;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use weir_plan::extent::{DAY, HOUR};
use weir_plan::{Extent, Parameter, Query, Result, Step};

use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::{Answer, Door, Engine, EngineSettings, LocalSettings};
use place::Place;

pub use progress::show_progress;

/// A panel of the boards for experiments: enrollments by branch.
const PANEL: &str = "SELECT $__timeGroup(time, $__interval) AS time, branch AS metric, SUM(value) AS value \
    FROM `moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall` \
    WHERE experiment = @experiment AND branch IS NOT NULL AND $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2";

/// A running demo.
pub struct Demo {
    app: Arc<App>,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    place: Place,
}

impl Demo {
    /// Makes the data, as of the clock's now; `progress` is told the share that is done, 0 to 1, and
    /// what is being done. With `as_bigquery` the data are also served as a `BigQuery` server would.
    ///
    /// # Errors
    /// Those of the generator; `Unavailable` if no port is free.
    pub async fn start(
        clock: Arc<dyn Clock>,
        as_bigquery: bool,
        progress: impl FnMut(f64, &str) + Send + 'static,
    ) -> Result<Self> {
        let place = Place::make(&clock, as_bigquery, progress).await?;
        let mut app = App::new(StoreSettings::of(Config::CACHE_CAPACITY), Arc::clone(&clock), App::GRACE);
        let settings = EngineSettings { local: Arc::new(LocalSettings::ready_made()), ..EngineSettings::default() };
        let engine = app.add_source("demo", Arc::clone(&place.source), settings);
        Ok(Self { app: Arc::new(app), engine, clock, place })
    }

    /// The app, whose only source is the demo's.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Asks the panel's query twice; says what each answer cost.
    ///
    /// # Errors
    /// Those of [`Engine::answer`].
    pub async fn panel_twice(&self) -> Result<String> {
        let query = self.panel()?;
        let mut text = format!(
            "\nThe panel \"Enrollments by branch\" of the experiment {}, the last 28 days, asked twice:\n",
            self.place.experiment
        );
        for time in ["first ", "second"] {
            let start = Instant::now();
            let answer = self.engine.answer(&query, Door::Export).await?;
            let _ = writeln!(text, "  {time}  {}", line(&answer, start.elapsed().as_secs_f64() * 1e3));
        }
        Ok(text)
    }

    fn panel(&self) -> Result<Query> {
        let now = self.clock.now();
        let start = weir_plan::Timestamp::saturating(now.micros() - 28 * DAY);
        let mut query = Query::new(PANEL);
        query.range = Some(Extent::new(start, now)?);
        query.step = Some(Step::Micros(HOUR));
        let experiment = Parameter { type_name: "STRING".into(), value: self.place.experiment.clone().into() };
        query.parameters.insert("experiment".into(), experiment);
        Ok(query)
    }

    /// Lines to paste into a shell, for the export API at `address`.
    pub fn what_to_try(&self, address: SocketAddr) -> String {
        text::what_to_try(address, &self.place)
    }
}

fn line(answer: &Answer, took_ms: f64) -> String {
    let provenance = &answer.provenance;
    format!(
        "{took_ms:>7.1} ms  {:>6} rows  billed {:>9}  saved {:>9}  ({})",
        answer.batches.num_rows(),
        text::mebibytes(provenance.bytes_billed),
        text::mebibytes(provenance.bytes_saved),
        provenance.status.as_str(),
    )
}
