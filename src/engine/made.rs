//! What a caller makes of answers' rows, made once for each content and kept under the store's cap.
//! It does not know what is made.

use std::any::Any;
use std::sync::Arc;

use weir_plan::{Error, Key, Result, Timestamp};

use super::answer::hull;
use super::{Answer, CONTENT_LIFE, Engine, Provenance, Status};
use crate::batches::Batches;

/// The rows of an answer that was made, and the name of their content.
struct Rows {
    batches: Batches,
    content_id: u64,
}

impl Engine {
    /// The engine's now.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What `make` makes of answers, and its size in bytes: made once for their contents and `name`,
    /// which holds everything else that it depends on.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn made<T: Any + Send + Sync>(
        &self,
        answers: &[Answer],
        name: &str,
        make: impl FnOnce() -> Result<(T, usize)>,
    ) -> Result<Arc<T>> {
        let contents: Vec<u64> = answers.iter().map(|answer| answer.content_id).collect();
        let key = Key::new(format!("made {contents:?} {name}"));
        if let Some((kept, _)) = self.shared.store.note::<T>(&key) {
            return Ok(kept);
        }
        let (figure, bytes) = make()?;
        let figure = Arc::new(figure);
        self.shared.store.keep_note(key, Arc::clone(&figure) as _, bytes, self.now(), CONTENT_LIFE);
        Ok(figure)
    }

    /// An answer with rows that `make` makes of others', under the same rules as [`Engine::made`].
    ///
    /// # Errors
    /// Those of `make`; `Internal` without answers.
    pub fn answer_of(&self, answers: &[Answer], name: &str, make: impl FnOnce() -> Result<Batches>) -> Result<Answer> {
        let provenance = Provenance::together(answers)?;
        let rows = self.made(answers, name, || {
            let batches = make()?;
            let bytes = batches.memory_size();
            Ok((Rows { batches, content_id: self.shared.store.content_id() }, bytes))
        })?;
        let texts: Vec<&str> = answers.iter().map(|answer| &*answer.executed_sql).collect();
        Ok(Answer {
            batches: rows.batches.clone(),
            provenance,
            executed_sql: texts.join(";\n").into(),
            content_id: rows.content_id,
            lifetime: answers.iter().map(|answer| answer.lifetime).min().unwrap_or_default(),
            step: None,
        })
    }
}

impl Provenance {
    /// How something that was made of several answers was come by: as old as the oldest, as dear as all.
    ///
    /// # Errors
    /// `Internal` without answers.
    pub fn together(answers: &[Answer]) -> Result<Self> {
        let mut all = answers.iter().map(|answer| &answer.provenance);
        let mut whole = all.next().cloned().ok_or_else(|| Error::internal("nothing was asked for"))?;
        for part in all {
            whole.add(part);
        }
        whole.job_ids.sort_unstable();
        whole.job_ids.dedup();
        Ok(whole)
    }

    fn add(&mut self, part: &Self) {
        let is_mixed = (self.status == Status::Hit) != (part.status == Status::Hit);
        self.status = match self.status.max(part.status) {
            Status::Miss if is_mixed => Status::Partial,
            status => status,
        };
        (self.mode, self.reason) = (self.mode, self.reason).max((part.mode, part.reason));
        let left = (self.fresh_for_s - self.age_s).min(part.fresh_for_s - part.age_s);
        self.age_s = self.age_s.max(part.age_s);
        self.fresh_for_s = self.age_s + left;
        self.fetched_at = self.fetched_at.min(part.fetched_at);
        self.range = self.range.into_iter().chain(part.range).reduce(hull);
        self.fetched = self.fetched.merge(&part.fetched);
        self.stale = self.stale.merge(&part.stale);
        self.stale_age_s = self.stale_age_s.into_iter().chain(part.stale_age_s).reduce(f64::max);
        self.bytes_processed += part.bytes_processed;
        self.bytes_billed += part.bytes_billed;
        self.bytes_saved += part.bytes_saved;
        self.cost.amount += part.cost.amount;
        self.cost_saved.amount += part.cost_saved.amount;
        self.savings.merge(&part.savings);
        self.slot_ms += part.slot_ms;
        self.derived |= part.derived;
        self.job_ids.extend(part.job_ids.iter().cloned());
    }
}
