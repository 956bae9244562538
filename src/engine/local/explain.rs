//! What a text that is answered here would read, and what its rows' jobs would cost.

use std::sync::Arc;

use weir_plan::analysis::{Reason, reason};
use weir_plan::{Mode, Query, Result, Timestamp};

use super::Located;
use super::rows::{chunks, companion_query};
use crate::engine::parts::Asking;
use crate::engine::{Checked, Engine, Explanation};

impl Engine {
    /// How a query would be answered here; else why it would not, where that is worth saying.
    pub(in crate::engine) async fn try_out_locally(
        self: &Arc<Self>,
        query: &Query,
        now: Timestamp,
    ) -> Result<Checked, Option<Reason>> {
        let place = self.keeps(query, now)?;
        let located = Box::pin(self.located(query, place, Asking::Nothing, now)).await;
        let located = located.map_err(|no| self.refused(query, &no, now))?;
        let outcome = self.explain_rows(query, &located, now).await;
        Ok(Checked { sql: located.job.sql, outcome })
    }

    async fn explain_rows(self: &Arc<Self>, query: &Query, located: &Located, now: Timestamp) -> Result<Explanation> {
        let mut segments = vec![];
        for need in &located.needs {
            for chunk in chunks(&need.relation, need.days, now) {
                let (base, plan) = self.rows_plan(&need.relation, query, chunk, Asking::Nothing, now).await?;
                segments.extend(self.explain_segments(&base, &plan, now).await?);
            }
        }
        for id in self.companions_of(&located.reads) {
            let whole = companion_query(id, query);
            segments.extend(self.explain_segments(&whole, &self.whole_plan(&whole, now)?, now).await?);
        }
        Ok(self.explanation(Mode::Local, reason::LOCAL, segments))
    }
}
