//! Questions whose job was billed for an answer that was then too large: its like is not sent again for a
//! while. By the question and not by the segment, since a range that slides has new segments every slot.

use std::sync::Arc;
use std::time::Duration;

use weir_plan::{Error, Extent, Key, Query, Segment, Timestamp};

use super::Engine;
use super::budget::is_same;

/// How long no such job is sent again: a board that is refreshed each minute would pay for each.
const LIFETIME: Duration = Duration::from_mins(10);

/// A job that was billed in vain.
struct TooLarge {
    error: Error,
    extent: Option<Extent>,
}

impl Engine {
    /// The error of the last such job of the same question, where that was lately.
    pub(super) fn was_too_large(&self, query: &Query, segment: &Segment, now: Timestamp) -> Option<Error> {
        let (kept, at) = self.shared.store.note::<TooLarge>(&self.oversize_key(query, segment))?;
        let is_like = at.holds_at(now, LIFETIME) && is_same(kept.extent, segment.extent, now.since(at));
        is_like.then(|| kept.error.clone())
    }

    /// Remembers a job that was billed in vain.
    pub(super) fn keep_too_large(&self, query: &Query, segment: &Segment, error: &Error, now: Timestamp) {
        let kept = TooLarge { error: error.clone(), extent: segment.extent };
        let bytes = size_of::<TooLarge>() + error.message().len();
        self.shared.store.keep_note(self.oversize_key(query, segment), Arc::new(kept), bytes, now, LIFETIME);
    }

    fn oversize_key(&self, query: &Query, segment: &Segment) -> Key {
        let length = segment.extent.map(Extent::micros);
        Key::new(format!("too large {length:?} {}", self.question_key(query).preimage()))
    }
}
