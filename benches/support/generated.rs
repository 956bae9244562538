//! The demo's data at a moment of a clock that is set by hand, and an app over them that keeps them as
//! the demo does.

use std::sync::Arc;

use weir::app::App;
use weir::cache::StoreSettings;
use weir::clock::{Clock, ManualClock};
use weir::config::Config;
use weir::engine::{EngineSettings, LocalSettings};
use weir::monitoring::synthetic::{PROJECT, Recipe, Synthetic, SyntheticConfig};
use weir::source::embedded::{Embedded, Feed as _};
use weir_plan::Timestamp;
use weir_plan::extent::{HOUR, MINUTE, SECOND};

use super::Outcome;

/// 2024-05-15T12:02:00Z: the last window has not ended.
fn begin() -> Timestamp {
    Timestamp::saturating(1_715_774_520_000_000)
}

/// The data, 30 days of 160 experiments, and the app whose only source they are.
pub(crate) struct Generated {
    clock: Arc<ManualClock>,
    synthetic: Arc<Synthetic>,
    pub(crate) embedded: Embedded,
    pub(crate) app: Arc<App>,
}

impl Generated {
    /// The data as of [`begin`]; nothing of them is kept yet.
    pub(crate) fn new() -> Outcome<Self> {
        // Tables are as young as their installation; what changed less than two hours ago is awaited.
        let installed = Timestamp::saturating(begin().micros() - 3 * HOUR);
        let clock = Arc::new(ManualClock::new(installed));
        let as_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let synthetic = Arc::new(Synthetic::new(SyntheticConfig::demo(begin())));
        let embedded = Embedded::new(PROJECT, Arc::clone(&as_clock)).with_feed(Arc::<Synthetic>::clone(&synthetic));
        synthetic.install(&embedded, installed, &mut |_| ())?;
        let mut app = App::new(StoreSettings::of(Config::CACHE_CAPACITY), as_clock, App::GRACE);
        let settings = EngineSettings { local: Arc::new(LocalSettings::ready_made()), ..EngineSettings::default() };
        app.add_source("demo", Arc::new(embedded.clone()), settings);
        let generated = Self { clock, synthetic, embedded, app: Arc::new(app) };
        generated.advance(3 * HOUR)?;
        Ok(generated)
    }

    /// The same a slot later: to the second, what was fetched is fresh for so long.
    pub(crate) fn next_slot(&self) -> Outcome {
        self.advance(5 * MINUTE + SECOND)
    }

    /// Sets the clock, and has the rows drawn that have come by then.
    fn advance(&self, micros: i64) -> Outcome {
        let now = Timestamp::saturating(self.clock.now().micros() + micros);
        self.clock.set(now);
        Ok(self.synthetic.advance(&self.embedded, now)?)
    }

    /// The live experiment with most enrollments among those that have several branches.
    pub(crate) fn largest(&self) -> Outcome<&Recipe> {
        let live =
            self.synthetic.recipes().iter().filter(|recipe| recipe.is_live(begin()) && recipe.branches.len() > 1);
        let largest = live.max_by(|one, other| one.enrollments.total_cmp(&other.enrollments));
        Ok(largest.ok_or("no experiment is live")?)
    }
}
