//! A token is fetched once and kept until shortly before it expires, by one caller at a time. It does
//! not know where tokens come from.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;
use weir_plan::extent::MINUTE;
use weir_plan::{Error, Result, Timestamp};

use super::{Forwarded, Tokens, Whose};
use crate::clock::Clock;
use crate::config::Secret;

/// A token is not used in its last minute: a call takes time, and clocks differ.
const MARGIN_MICROS: i64 = MINUTE;

/// A way to a new token.
#[async_trait]
pub(super) trait Fetch: Send + Sync + Sized + 'static {
    /// Fetches a token; `asked_at` is the present.
    ///
    /// # Errors
    /// Those of [`Tokens::token`].
    async fn fetch(&self, asked_at: Timestamp) -> Result<Fetched>;

    /// As [`Tokens::whose`].
    fn whose(&self) -> Whose {
        Whose::Ours
    }

    /// As [`Tokens::on_behalf`].
    fn on_behalf(&self, _: &Arc<Forwarded>) -> Option<Self> {
        None
    }

    /// Tokens of this way, each kept for its life.
    fn cached(self, clock: &Arc<dyn Clock>) -> Cached<Self> {
        Cached { fetch: self, clock: Arc::clone(clock), kept: tokio::sync::Mutex::default(), refused: Mutex::default() }
    }
}

/// A new token.
pub(super) struct Fetched {
    pub(super) token: Secret,
    pub(super) expires_at: Timestamp,
}

impl Fetched {
    /// A token that lives for so many seconds from `asked_at`.
    pub(super) fn living(token: String, asked_at: Timestamp, seconds: i64) -> Self {
        let micros = seconds.saturating_mul(1_000_000).saturating_add(asked_at.micros());
        Self { token: Secret(token), expires_at: Timestamp::saturating(micros) }
    }
}

/// Keeps the token of a [`Fetch`].
pub(super) struct Cached<F> {
    fetch: F,
    clock: Arc<dyn Clock>,
    kept: tokio::sync::Mutex<Kept>,
    /// The latest token that `BigQuery` did not take.
    refused: Mutex<Option<Secret>>,
}

#[derive(Default)]
struct Kept {
    fetched: Option<Fetched>,
    /// The end of the latest try, where it failed.
    failed: Option<(Instant, Error)>,
}

impl<F: Fetch> Cached<F> {
    fn is_good(&self, fetched: &Fetched, now: Timestamp) -> bool {
        now.micros() < fetched.expires_at.micros().saturating_sub(MARGIN_MICROS)
            && self.refused.lock().as_ref() != Some(&fetched.token)
    }
}

#[async_trait]
impl<F: Fetch> Tokens for Cached<F> {
    async fn token(&self) -> Result<Secret> {
        let asked = Instant::now();
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if let Some(fetched) = kept.fetched.as_ref().filter(|fetched| self.is_good(fetched, now)) {
            return Ok(fetched.token.clone());
        }
        // Whoever waited while a try failed has had that try: a queue of callers before an endpoint that
        // hangs would else wait for it one after the other.
        if let Some((ended, error)) = &kept.failed
            && *ended > asked
        {
            return Err(error.clone());
        }
        match self.fetch.fetch(now).await {
            Ok(fetched) => {
                let token = fetched.token.clone();
                *kept = Kept { fetched: Some(fetched), failed: None };
                Ok(token)
            }
            Err(error) => {
                kept.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn refused(&self, token: &Secret) {
        *self.refused.lock() = Some(token.clone());
    }

    fn whose(&self) -> Whose {
        self.fetch.whose()
    }

    fn on_behalf(&self, caller: &Arc<Forwarded>) -> Option<Arc<dyn Tokens>> {
        Some(Arc::new(self.fetch.on_behalf(caller)?.cached(&self.clock)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use crate::clock::ManualClock;
    use futures::future::join_all;
    use weir_plan::Kind;

    /// Gives the tokens 1, 2, 3 …, each after a second and for an hour; fails while told to.
    #[derive(Default)]
    struct Counting {
        fetched: AtomicUsize,
        failing: AtomicUsize,
    }

    #[async_trait]
    impl Fetch for Arc<Counting> {
        async fn fetch(&self, asked_at: Timestamp) -> Result<Fetched> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let number = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
            if number <= self.failing.load(Ordering::SeqCst) {
                return Err(Error::new(Kind::Unavailable, format!("try {number}")));
            }
            Ok(Fetched::living(number.to_string(), asked_at, 3600))
        }
    }

    struct Bench {
        counting: Arc<Counting>,
        clock: Arc<ManualClock>,
        cached: Arc<Cached<Arc<Counting>>>,
    }

    impl Bench {
        fn new() -> Self {
            let (counting, clock) = (Arc::<Counting>::default(), Arc::new(ManualClock::new(at(0))));
            let told: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
            let cached = Arc::new(Arc::clone(&counting).cached(&told));
            Self { counting, clock, cached }
        }

        async fn token(&self) -> String {
            self.cached.token().await.unwrap().0
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::saturating(seconds * 1_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_a_minute_before_its_end() {
        let bench = Bench::new();
        for (seconds, expected) in [(0, "1"), (3539, "1"), (3540, "2"), (7079, "2"), (9000, "3")] {
            bench.clock.set(at(seconds));
            assert_eq!(bench.token().await, expected, "after {seconds} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_one_fetch() {
        let bench = Bench::new();
        let tokens = join_all((0..50).map(|_| bench.token())).await;
        assert!(tokens.iter().all(|token| token == "1"));
        bench.clock.set(at(3600));
        let tokens = join_all((0..50).map(|_| bench.token())).await;
        assert!(tokens.iter().all(|token| token == "2"));
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_one_failure_and_the_next_one_tries_again() {
        let bench = Bench::new();
        bench.counting.failing.store(1, Ordering::SeqCst);
        let errors = join_all((0..50).map(|_| bench.cached.token())).await;
        assert!(errors.iter().all(|error| error.as_ref().unwrap_err().message() == "try 1"));
        assert_eq!(bench.token().await, "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_not_given_out_again() {
        let bench = Bench::new();
        let first = bench.cached.token().await.unwrap();
        bench.cached.refused(&first);
        assert_eq!(bench.token().await, "2");
        bench.cached.refused(&first);
        assert_eq!(bench.token().await, "2", "a late refusal of an older token changes nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_in_the_middle_holds_nobody_up() {
        let bench = Bench::new();
        assert!(tokio::time::timeout(Duration::from_millis(500), bench.cached.token()).await.is_err());
        assert_eq!(bench.token().await, "1");
    }
}
