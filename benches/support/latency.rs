//! Latencies of two things that are done in turn, and a line about them: median and 99th percentile of
//! both, and how they compare. Criterion tells no percentiles.

use std::time::{Duration, Instant};

use super::ratio::time;
use super::say;

/// The latencies of one of the two.
#[derive(Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    async fn take(&mut self, work: impl Future) {
        let begin = Instant::now();
        work.await;
        self.0.push(begin.elapsed());
    }

    /// The latency that a share of all do not exceed, in nanoseconds; of sorted ones.
    fn quantile(&self, share: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let place = (share * (self.0.len() - 1) as f64).round() as usize;
        self.0[place].as_secs_f64() * 1e9
    }
}

/// Does both `count` times in turn, after a tenth as often unmeasured, so that what disturbs one disturbs
/// the other.
pub(crate) async fn compare<A: Future, B: Future>(
    name: &str,
    count: usize,
    (baseline, theirs): (&str, impl Fn() -> A),
    (ours, own): (&str, impl Fn() -> B),
) {
    for _ in 0..count.div_ceil(10) {
        theirs().await;
        own().await;
    }
    let [mut baselines, mut owns] = [Latencies::default(), Latencies::default()];
    for _ in 0..count {
        baselines.take(theirs()).await;
        owns.take(own()).await;
    }
    baselines.0.sort();
    owns.0.sort();
    for (what, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (one, other) = (baselines.quantile(share), owns.quantile(share));
        say(&format!("{name} {what}: {baseline} {}, {ours} {}, ratio {:.2}", time(one), time(other), other / one));
    }
    say("");
}
