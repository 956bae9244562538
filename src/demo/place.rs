//! Where the demo's data are.

use std::sync::Arc;

use weir_plan::extent::DAY;
use weir_plan::{Error, Kind, Result, Timestamp};

use crate::clock::Clock;
use crate::monitoring::synthetic::{PROJECT, Synthetic, SyntheticConfig};
use crate::source::Source;
use crate::source::embedded::Embedded;
use crate::source::fake::{FakeConfig, FakeServer};

/// A source with generated data.
pub(super) struct Place {
    pub(super) source: Arc<dyn Source>,
    /// A live experiment.
    pub(super) experiment: String,
    /// The same data as a `BigQuery` server, if it was asked for.
    pub(super) bigquery: Option<FakeServer>,
}

impl Place {
    /// Generates the data as of the clock's now.
    pub(super) async fn make(
        clock: &Arc<dyn Clock>,
        as_bigquery: bool,
        progress: impl FnMut(f64, &str) + Send + 'static,
    ) -> Result<Self> {
        let generated = tokio::task::spawn_blocking({
            let clock = Arc::clone(clock);
            move || generate(&clock, progress)
        });
        let (embedded, experiment) =
            generated.await.map_err(|error| Error::internal("the generator failed").with_source(error))??;
        let source: Arc<dyn Source> = embedded;
        let bigquery = if as_bigquery {
            Some(FakeServer::start(Arc::clone(&source), Arc::clone(clock), FakeConfig::default()).await?)
        } else {
            None
        };
        Ok(Self { source, experiment, bigquery })
    }
}

fn generate(clock: &Arc<dyn Clock>, mut progress: impl FnMut(f64, &str)) -> Result<(Arc<Embedded>, String)> {
    let now = clock.now();
    let synthetic = Arc::new(Synthetic::new(SyntheticConfig::demo(now)));
    let embedded = Embedded::new(PROJECT, Arc::clone(clock)).with_feed(Arc::clone(&synthetic) as _);
    synthetic.install(&embedded, now, &mut |at| progress(at.fraction, &at.what))?;
    // Two weeks of enrollment make a panel worth looking at.
    let since = Timestamp::saturating(now.micros() - 14 * DAY);
    let experiments = synthetic.recipes().iter().filter(|recipe| recipe.is_live(now) && recipe.branches.len() > 1);
    let recipe =
        experiments.filter(|recipe| recipe.start <= since).max_by(|a, b| a.enrollments.total_cmp(&b.enrollments));
    let recipe = recipe.ok_or_else(|| Error::new(Kind::Internal, "the generator made no live experiment"))?;
    Ok((Arc::new(embedded), recipe.slug.clone()))
}
