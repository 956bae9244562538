//! For the tests of this folder: an answer, and engines over a source with an answer for each text.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weir_plan::{Error, Mode, Price, Ranges, Timestamp};

use crate::app::App;
use crate::batches::Batches;
use crate::cache::StoreSettings;
use crate::clock::ManualClock;
use crate::engine::{Answer, Engine, EngineSettings, Provenance, Status};
use crate::ledger::Savings;
use crate::source::Source;
use crate::source::scripted::Scripted;

/// The clock of these tests, 2024-01-02T00:00:00Z.
pub(super) const NOW: i64 = 1_704_153_600_000_000;

/// An answer of the text `SELECT 1`.
pub(super) fn answer(batches: Batches) -> Answer {
    Answer {
        batches,
        provenance: Provenance {
            mode: Mode::Whole,
            reason: "no_range",
            status: Status::Hit,
            age_s: 1.0,
            fetched_at: Timestamp::saturating(NOW),
            fresh_for_s: 60.0,
            range: None,
            fetched: Ranges::default(),
            stale: Ranges::default(),
            stale_age_s: None,
            bytes_processed: 0,
            bytes_billed: 0,
            cost: Price::default().of(0),
            bytes_saved: 0,
            cost_saved: Price::default().of(0),
            savings: Savings::default(),
            slot_ms: 0,
            derived: false,
            job_ids: vec!["job".into()],
        },
        executed_sql: "SELECT 1".into(),
        content_id: 1,
        lifetime: Duration::from_mins(1),
        step: None,
    }
}

/// The texts that a source answers at once; a text it does not know is an error, and `SELECT panic`
/// a defect.
#[derive(Default)]
pub(super) struct Known(HashMap<String, Batches>);

impl Known {
    /// Adds a text and its answer.
    pub(super) fn with(mut self, sql: &str, batches: Batches) -> Self {
        self.0.insert(sql.to_owned(), batches);
        self
    }

    /// The source.
    pub(super) fn source(self) -> Scripted {
        let source = Scripted::new(move |job, _| {
            assert_ne!(job.sql, "SELECT panic", "as scripted");
            let answer = self.0.get(&job.sql).cloned();
            answer.ok_or_else(|| Error::invalid(format!("no answer to {}", job.sql)))
        });
        source.reading(7)
    }
}

/// An engine over a source of known texts, in an app of its own.
pub(super) fn engine(known: Known) -> Arc<Engine> {
    engine_over(Arc::new(known.source()))
}

/// An engine over a source that the test holds too.
pub(super) fn engine_over(source: Arc<Scripted>) -> Arc<Engine> {
    app().add_source("scripted", source as Arc<dyn Source>, EngineSettings::default())
}

/// An app whose clock stands still.
pub(super) fn app() -> App {
    let clock = Arc::new(ManualClock::new(Timestamp::saturating(NOW)));
    App::new(StoreSettings::of(10_000_000), clock, Duration::from_secs(1))
}
