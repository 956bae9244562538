//! Where the demo's data are.

use std::sync::Arc;

use weir_plan::{Error, Result};

use crate::clock::Clock;
use crate::source::Source;

/// A source with generated data.
pub(super) struct Place {
    pub(super) source: Arc<dyn Source>,
    /// A live experiment.
    pub(super) experiment: String,
    /// URLs of the REST and Storage Read servers over the same data, if they were asked for.
    pub(super) bigquery: Option<(String, String)>,
}

impl Place {
    /// The seam for [`crate::monitoring::synthetic`].
    #[expect(clippy::unused_async, reason = "the generator runs here once it is there")]
    pub(super) async fn make(
        _clock: &Arc<dyn Clock>,
        _as_bigquery: bool,
        _progress: impl FnMut(f64, &str) + Send + 'static,
    ) -> Result<Self> {
        Err(Error::internal("this build has no generator"))
    }
}
