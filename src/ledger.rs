//! What jobs billed and what answers saved, by day, data source, principal, board, panel and cause;
//! and the day's budgets, which are kept by the same figures.
//!
//! Bounded: over a number of lines the oldest day's are added into the lines called `other`, so that
//! sums always hold. It knows neither engines nor protocols, and is told the time. A restart empties it.

mod budget;
mod report;
mod savings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use weir_plan::Timestamp;
use weir_plan::extent::DAY;

pub use self::budget::{Budget, OverBudget, Share};
use self::budget::{Claim, Today};
pub use self::report::{Dimension, Filter};
pub use self::savings::{Part, Savings};

/// What is put down for whom: the name of all that has made way, and of whom nobody says.
const OTHER: &str = "other";

/// Characters of a name that are kept.
const NAME_LENGTH: usize = 100;

/// Why a job ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Errand {
    /// Somebody waited for its rows.
    Answer,
    /// A stale answer was served meanwhile.
    Refresh,
    /// It listed partitions.
    Listing,
    /// It checked an answer in parts.
    Audit,
}

/// Why bytes were not billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Saving {
    /// Another caller's job, or another process's, brought the rows.
    Coalesced,
    /// They were kept, and fresh.
    Fresh,
    /// They were kept, and do not change any more.
    Final,
    /// They were kept, and older than fresh.
    Stale,
    /// They were kept of a segment that has closed, while its last state is awaited.
    Delta,
    /// Finer rows that were kept add up to them.
    Derived,
    /// All that was read is kept here.
    Local,
}

impl Saving {
    /// The cause's name in metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coalesced => "coalesced",
            Self::Fresh => "fresh",
            Self::Final => "final",
            Self::Stale => "stale",
            Self::Delta => "delta",
            Self::Derived => "derived",
            Self::Local => "local",
        }
    }
}

/// What a line is of: jobs, or bytes that no job billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Job(Errand),
    Saved(Saving),
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Job(Errand::Answer) => "answer",
            Self::Job(Errand::Refresh) => "refresh",
            Self::Job(Errand::Listing) => "listing",
            Self::Job(Errand::Audit) => "audit",
            Self::Saved(saving) => saving.as_str(),
        }
    }
}

/// Whom an amount is put down to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    source: Arc<str>,
    principal: Arc<str>,
    board: Arc<str>,
    panel: Arc<str>,
}

impl Account {
    /// The principal of callers whom nobody names.
    pub const ANONYMOUS: &str = "anonymous";
    /// The board and panel of a query that is of none.
    pub const NONE: &str = "none";

    /// An account; only the beginning of a very long name counts.
    pub fn new(source: &str, principal: Option<&str>, board: Option<&str>, panel: Option<&str>) -> Self {
        let name = |name: &str| -> Arc<str> {
            let end = name.char_indices().nth(NAME_LENGTH).map_or(name.len(), |(end, _)| end);
            name[..end].into()
        };
        Self {
            source: name(source),
            principal: name(principal.unwrap_or(Self::ANONYMOUS)),
            board: name(board.unwrap_or(Self::NONE)),
            panel: name(panel.unwrap_or(Self::NONE)),
        }
    }
}

/// Sums of jobs and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Jobs that ended well.
    pub jobs: u64,
    /// Jobs that failed or were left, whose bill nobody said.
    pub jobs_failed: u64,
    /// Bytes on the bill of jobs.
    pub bytes_billed: u64,
    /// Slot time of jobs in milliseconds.
    pub slot_ms: u64,
    /// Answers.
    pub answers: u64,
    /// Bytes that the same answers would have billed without us, each by one job.
    pub bytes_uncached: u64,
    /// Bytes that answers did not bill.
    pub bytes_saved: u64,
    /// Bytes that answers billed over what one job for each would have: several jobs have several minimums.
    pub bytes_overhead: u64,
}

impl Line {
    fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.jobs_failed += other.jobs_failed;
        self.bytes_billed += other.bytes_billed;
        self.slot_ms += other.slot_ms;
        self.answers += other.answers;
        self.bytes_uncached += other.bytes_uncached;
        self.bytes_saved += other.bytes_saved;
        self.bytes_overhead += other.bytes_overhead;
    }
}

/// Days since the epoch, in UTC.
type Day = i64;

fn day(at: Timestamp) -> Day {
    at.micros().div_euclid(DAY)
}

/// The ledger of a process.
pub struct Ledger {
    capacity: usize,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// By day first, so that the oldest come first.
    lines: BTreeMap<(Day, Account, Cause), Line>,
    /// What made way.
    other: BTreeMap<Cause, Line>,
    today: Today,
}

impl Ledger {
    /// Lines that are kept one by one: of about 300 bytes each, 10 MB.
    pub const CAPACITY: usize = 32_768;

    /// An empty ledger of at most `capacity` lines besides those called `other`.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, books: Mutex::default() })
    }

    /// Opens the entry of a job that is about to run: its estimate is reserved until its bill is known.
    ///
    /// # Errors
    /// The budget that the job would break.
    pub fn open(
        self: &Arc<Self>,
        account: Account,
        errand: Errand,
        estimate: u64,
        budget: &Budget,
        now: Timestamp,
    ) -> Result<Booking, OverBudget> {
        let claim = self.books.lock().today.claim(&account, errand, estimate, budget, now, self.capacity)?;
        Ok(Booking { ledger: Arc::clone(self), account, errand, day: day(now), claim: Some(claim) })
    }

    /// Puts an answer down.
    pub fn answer(&self, account: &Account, savings: &Savings, now: Timestamp) {
        let line = Line {
            answers: 1,
            bytes_uncached: savings.bytes_uncached,
            bytes_overhead: savings.bytes_overhead,
            ..Line::default()
        };
        let mut books = self.books.lock();
        books.add(self.capacity, day(now), account, Cause::Job(Errand::Answer), line);
        for (saving, bytes) in savings.by_cause() {
            let line = Line { bytes_saved: bytes, ..Line::default() };
            books.add(self.capacity, day(now), account, Cause::Saved(saving), line);
        }
    }

    /// The sum of everything.
    pub fn total(&self) -> Line {
        let mut total = Line::default();
        self.books.lock().each(|_, _, line| total.add(line));
        total
    }
}

impl Books {
    fn add(&mut self, capacity: usize, day: Day, account: &Account, cause: Cause, line: Line) {
        let key = (day, account.clone(), cause);
        if let Some(known) = self.lines.get_mut(&key) {
            return known.add(line);
        }
        // An older day makes way; within a day the first to come stay.
        while self.lines.len() >= capacity {
            match self.lines.first_entry() {
                Some(oldest) if oldest.key().0 < day => {
                    let cause = oldest.key().2;
                    let oldest = oldest.remove();
                    self.other.entry(cause).or_default().add(oldest);
                }
                _ => return self.other.entry(cause).or_default().add(line),
            }
        }
        self.lines.insert(key, line);
    }

    /// Every line; those without day and account are called `other`.
    fn each(&self, mut visit: impl FnMut(Option<(Day, &Account)>, Cause, Line)) {
        for ((day, account, cause), line) in &self.lines {
            visit(Some((*day, account)), *cause, *line);
        }
        for (cause, line) in &self.other {
            visit(None, *cause, *line);
        }
    }
}

/// The entry of a job that runs. Dropping it puts a failed job down.
pub struct Booking {
    ledger: Arc<Ledger>,
    account: Account,
    errand: Errand,
    day: Day,
    claim: Option<Claim>,
}

impl Booking {
    /// Puts the job's bill down.
    pub fn billed(mut self, bytes_billed: u64, slot_ms: u64) {
        self.close(Some(Line { jobs: 1, bytes_billed, slot_ms, ..Line::default() }));
    }

    /// The job had run before, and is put down where it was sent.
    pub fn not_ours(mut self) {
        self.close(None);
    }

    fn close(&mut self, line: Option<Line>) {
        let Some(claim) = self.claim.take() else { return };
        let mut books = self.ledger.books.lock();
        books.today.release(claim, line.map_or(0, |line| line.bytes_billed));
        if let Some(line) = line {
            books.add(self.ledger.capacity, self.day, &self.account, Cause::Job(self.errand), line);
        }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.close(Some(Line { jobs_failed: 1, ..Line::default() }));
    }
}
