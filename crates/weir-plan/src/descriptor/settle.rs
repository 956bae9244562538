//! When a segment's rows are settled: which side of the flip it is on, and how long an answer for
//! it holds. Everything is a function of the segment, one `now` and the generation.

use std::time::Duration;

use serde::Serialize;

use super::{Comparison, DAY, Extent, Flip, HOUR, SourceDescriptor, Step, Timestamp};

/// The least and the greatest length of an open slot.
pub const OPEN_SLOT: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(5));

/// How long after it closed a live segment is looked at once more, for rows later than the lag.
const DRIFT_CHECK: Duration = Duration::from_hours(1);

/// How long an answer holds while its daily partition is awaited.
const PENDING: Duration = Duration::from_mins(5);

/// The slot of open segments: a quarter of the step, between 15 seconds and 5 minutes; an hour above a
/// day, since an open bucket of several days is read as a whole.
pub fn open_slot(step: Step) -> Duration {
    if step.millis().saturating_mul(1000) > DAY {
        return Duration::from_hours(1);
    }
    let quarter = step.millis().saturating_mul(1000) / 4;
    Duration::from_micros(quarter.unsigned_abs()).clamp(OPEN_SLOT.0, OPEN_SLOT.1)
}

/// Whether what a job answered may be stored: it began on the UTC date it was planned for, so that
/// no view's cut moved in between.
pub fn stays_on_its_day(planned: Timestamp, began: Timestamp) -> bool {
    planned.floor(DAY) == began.floor(DAY)
}

/// The side of the flip that a segment's rows come from; part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Regime {
    /// The source has one side, without a daily job.
    Single,
    /// Live tables.
    Live,
    /// The daily table.
    Daily,
    /// Both, with the cut inside; it is another segment after the next UTC midnight.
    Seam(Timestamp),
}

/// The times of a segment that each side of the flip has rows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// Those of live tables.
    pub live: Option<Extent>,
    /// Those of the daily table.
    pub daily: Option<Extent>,
}

/// How settled a segment is; what may change sooner is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Rows still arrive.
    Open,
    /// All rows that respect the lag are there, on the live side.
    Live,
    /// The daily partition is awaited, or may still be rewritten.
    Pending,
    /// It does not change within its generation.
    Final,
}

impl State {
    /// The state's name, as in metrics and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Live => "live",
            Self::Pending => "pending",
            Self::Final => "final",
        }
    }
}

/// What a stored answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Served as it is.
    Fresh,
    /// Served with its age shown while a new one is fetched; not to alerts.
    Stale,
    /// Not served.
    Expired,
}

/// The state of a segment at one `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settling {
    /// The side of the flip.
    pub regime: Regime,
    /// How settled it is.
    pub state: State,
    /// The midnight at which its regime changes; until then at most it is kept.
    pub ends: Option<Timestamp>,
    /// Whether nothing that it reads has changed since its table was last looked at.
    pub is_unchanged: bool,
    fresh_from: Timestamp,
    stale_from: Timestamp,
    empty_from: Timestamp,
}

impl Settling {
    /// A state whose answers are fresh if they were fetched at `fresh_from` or later.
    #[cfg(test)]
    pub(crate) fn sample(state: State, fresh_from: Timestamp) -> Self {
        let (stale_from, empty_from) = (fresh_from, Timestamp::MIN);
        Self { regime: Regime::Single, state, ends: None, is_unchanged: false, fresh_from, stale_from, empty_from }
    }

    /// As of `now`, where the daily table has not changed since `modified`: what was read of it alone
    /// after that is as good as new, and what is read of live tables beside it is looked at as a live day is.
    #[must_use]
    pub fn unchanged_since(self, modified: Timestamp, now: Timestamp) -> Self {
        let fresh_from = match self.regime {
            Regime::Daily if self.state != State::Final => modified,
            Regime::Seam(_) if self.state == State::Pending => modified.max(now.minus(DRIFT_CHECK)),
            _ => return self,
        };
        let is_unchanged = self.regime == Regime::Daily;
        Self { fresh_from: self.fresh_from.min(fresh_from), is_unchanged, ..self }
    }

    /// What an answer is worth whose job was done at `fetched`, under the same regime and
    /// generation. An empty one that was fetched before the segment was final is worth nothing then.
    pub fn judge(&self, fetched: Timestamp, empty: bool) -> Verdict {
        if empty && fetched < self.empty_from {
            Verdict::Expired
        } else if fetched >= self.fresh_from {
            Verdict::Fresh
        } else if fetched >= self.stale_from {
            Verdict::Stale
        } else {
            Verdict::Expired
        }
    }
}

impl Flip {
    /// The first midnight that is not, or not wholly, on the daily side as of `now`.
    fn cut(self, now: Timestamp) -> Timestamp {
        let days = match self.comparison {
            Comparison::AfterInstant => self.days,
            Comparison::ByDate => self.days.saturating_sub(1),
        };
        now.floor(DAY).minus(days_long(days))
    }

    /// The midnight at which a segment that begins at `start` leaves the live side.
    fn leaves_live(self, start: Timestamp) -> Timestamp {
        match self.comparison {
            Comparison::AfterInstant => start.plus(days_long(self.days)).ceil(DAY),
            Comparison::ByDate => start.floor(DAY).plus(days_long(self.days)),
        }
    }
}

fn days_long(days: u16) -> Duration {
    Duration::from_hours(24) * u32::from(days)
}

impl SourceDescriptor {
    /// The times of `segment` that each side has rows of as of `now`.
    pub fn sides(&self, segment: Extent, now: Timestamp) -> Sides {
        let Some(flip) = self.flip else { return Sides { live: Some(segment), daily: Some(segment) } };
        let cut = flip.cut(now);
        let (first_live, last_daily) = match flip.comparison {
            // The instant of the cut is daily, and so is all up to the next multiple of the grain.
            Comparison::AfterInstant => {
                let instant = Duration::from_micros(1);
                (cut.plus(instant), cut.plus(self.grain.max(instant)))
            }
            Comparison::ByDate => (cut, cut),
        };
        let (start, end) = (segment.start(), segment.end());
        let is_daily = end <= last_daily || start < first_live;
        Sides {
            live: Extent::new(start.max(cut), end).ok().filter(|_| end > last_daily),
            daily: Extent::new(start, end.min(last_daily)).ok().filter(|_| is_daily),
        }
    }

    /// The side of the flip that rows of `segment` come from as of `now`.
    pub fn regime(&self, segment: Extent, now: Timestamp) -> Regime {
        let Some(flip) = self.flip else {
            return if self.daily_table.is_some() { Regime::Daily } else { Regime::Single };
        };
        match self.sides(segment, now) {
            Sides { live: None, .. } => Regime::Daily,
            Sides { daily: None, .. } => Regime::Live,
            Sides { .. } => Regime::Seam(flip.cut(now)),
        }
    }

    /// The state of `segment` as of `now`. `slot` is that of open segments (see [`open_slot`]);
    /// `generation` is the youngest last-modified stamp of the daily partitions it reads, `None`
    /// where one of them does not exist.
    pub fn settle(&self, segment: Extent, slot: Duration, now: Timestamp, generation: Option<Timestamp>) -> Settling {
        let regime = self.regime(segment, now);
        let ends = match (regime, self.flip) {
            (Regime::Live, Some(flip)) => Some(flip.leaves_live(segment.start())),
            (Regime::Seam(_), _) => Some(now.floor(DAY).plus(days_long(1))),
            _ => None,
        };
        let settled = segment.end().plus(self.lag);
        let fresh_from = now.minus(slot);
        let settling = |state, fresh_from, stale_from| Settling {
            regime,
            state,
            ends,
            is_unchanged: false,
            fresh_from,
            stale_from,
            empty_from: Timestamp::MIN,
        };
        let stale_from = fresh_from.minus(stale_cap(slot));
        if now < settled {
            return settling(State::Open, fresh_from, stale_from);
        }
        let landed = generation.map(|modified| modified.plus(self.landing_grace)).filter(|landed| *landed <= now);
        let awaited = settling(State::Pending, now.minus(PENDING), now.minus(PENDING));
        match (regime, landed) {
            (Regime::Single, _) => settling(State::Final, settled, settled),
            (Regime::Daily | Regime::Seam(_), None) => awaited,
            (Regime::Live | Regime::Seam(_), _) => {
                let check = settled.plus(DRIFT_CHECK);
                let fresh_from = if now < check { settled } else { check };
                settling(State::Live, fresh_from, stale_from.min(settled))
            }
            (Regime::Daily, Some(landed)) => {
                let calendar = segment.end().plus(days_long(self.final_days.saturating_sub(1))).ceil(DAY);
                if now < calendar {
                    return awaited;
                }
                let empty_from = landed.max(calendar);
                Settling { empty_from, ..settling(State::Final, Timestamp::MIN, Timestamp::MIN) }
            }
        }
    }
}

/// How long after its slot an open answer may be served stale.
pub(crate) fn stale_cap(slot: Duration) -> Duration {
    slot.saturating_mul(10).clamp(Duration::from_mins(1), Duration::from_micros(HOUR.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::History;
    use super::*;
    use crate::extent::{MINUTE, PartitionUnit, segments};
    use crate::query::TableId;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    fn extent(from: &str, to: &str) -> Extent {
        Extent::new(at(from), at(to)).unwrap()
    }

    fn day(text: &str) -> Extent {
        Extent::new(at(text), at(text).plus(days_long(1))).unwrap()
    }

    const SLOT: Duration = Duration::from_secs(75);

    fn table(name: &str) -> TableId {
        TableId::new("p", "d", name)
    }

    /// Two days live, 5-minute windows, 10 minutes of lag, 2 hours of grace.
    fn flipping(comparison: Comparison) -> SourceDescriptor {
        SourceDescriptor {
            time_column: Some("ts".into()),
            grain: Duration::from_mins(5),
            flip: Some(Flip { days: 2, comparison }),
            daily_table: Some(table("daily")),
            partition: Some(PartitionUnit::Day),
            history: History::Local,
            ..SourceDescriptor::new(table("live"))
        }
    }

    fn plain() -> SourceDescriptor {
        SourceDescriptor {
            time_column: Some("ts".into()),
            partition: Some(PartitionUnit::Day),
            history: History::Local,
            ..SourceDescriptor::new(table("plain"))
        }
    }

    #[test]
    fn the_two_comparisons_differ_for_the_second_day_back() {
        use Comparison::{AfterInstant, ByDate};
        use Regime::{Daily, Live, Seam};
        let now = at("2024-03-10T12:00:00Z");
        let cut = at("2024-03-08");
        let check = |comparison, segment: Extent, expected: Regime| {
            assert_eq!(flipping(comparison).regime(segment, now), expected, "{comparison:?} {segment}");
        };
        for comparison in [AfterInstant, ByDate] {
            check(comparison, day("2024-03-10"), Live);
            check(comparison, day("2024-03-09"), Live);
            check(comparison, day("2024-03-07"), Daily);
        }
        check(AfterInstant, day("2024-03-08"), Seam(cut));
        check(ByDate, day("2024-03-08"), Daily);
        check(AfterInstant, extent("2024-03-08", "2024-03-08T00:05:00Z"), Daily);
        check(AfterInstant, extent("2024-03-08", "2024-03-08T00:10:00Z"), Seam(cut));
        check(AfterInstant, extent("2024-03-08T00:05:00Z", "2024-03-09"), Live);
        check(AfterInstant, extent("2024-03-01", "2024-04-01"), Seam(cut));
        check(ByDate, extent("2024-03-01", "2024-04-01"), Seam(at("2024-03-09")));
        check(ByDate, extent("2024-03-07", "2024-03-14"), Seam(at("2024-03-09")));
    }

    #[test]
    fn without_a_grain_only_the_instant_of_the_cut_is_daily() {
        let exact = SourceDescriptor { grain: Duration::ZERO, ..flipping(Comparison::AfterInstant) };
        let now = at("2024-03-10T12:00:00Z");
        let after = Timestamp::saturating(at("2024-03-08").micros() + 1);
        assert_eq!(exact.regime(Extent::new(at("2024-03-07"), after).unwrap(), now), Regime::Daily);
        assert_eq!(exact.regime(Extent::new(after, at("2024-03-09")).unwrap(), now), Regime::Live);
    }

    #[test]
    fn a_source_without_flip_has_one_side() {
        let now = at("2024-03-10");
        assert_eq!(plain().regime(day("2024-03-09"), now), Regime::Single);
        let daily = SourceDescriptor { daily_table: Some(table("daily")), ..plain() };
        assert_eq!(daily.regime(day("2024-03-09"), now), Regime::Daily);
    }

    #[test]
    fn states_follow_each_other_over_midnights() {
        use State::{Final, Live, Open, Pending};
        let source = flipping(Comparison::ByDate);
        let segment = day("2024-03-08");
        let landed = Some(at("2024-03-09T04:00:00Z"));
        let check = |now: &str, generation, expected: State| {
            let settling = source.settle(segment, SLOT, at(now), generation);
            assert_eq!(settling.state, expected, "{now} {generation:?}");
        };
        check("2024-03-08T12:00:00Z", None, Open);
        check("2024-03-09T00:09:59Z", None, Open);
        check("2024-03-09T00:10:00Z", None, Live);
        check("2024-03-09T23:59:59Z", landed, Live);
        check("2024-03-10T00:00:00Z", None, Pending);
        check("2024-03-10T00:00:00Z", Some(at("2024-03-09T23:00:00Z")), Pending);
        check("2024-03-10T12:00:00Z", landed, Pending);
        check("2024-03-11T00:00:00Z", landed, Final);
        check("2024-03-11T00:00:00Z", None, Pending);
        check("2024-03-11T00:00:00Z", Some(at("2024-03-10T22:00:01Z")), Pending);
        check("2024-03-11T00:00:01Z", Some(at("2024-03-10T22:00:01Z")), Final);
    }

    #[test]
    fn a_source_without_flip_is_final_after_its_lag() {
        let settling = |now: &str| plain().settle(day("2024-03-08"), SLOT, at(now), None);
        assert_eq!(settling("2024-03-09T00:09:59Z").state, State::Open);
        let settled = settling("2024-03-09T00:10:00Z");
        assert_eq!((settled.state, settled.ends), (State::Final, None));
        assert_eq!(settled.judge(at("2024-03-09T00:09:59Z"), false), Verdict::Expired, "rows may have come since");
        assert_eq!(settled.judge(at("2024-03-09T00:10:00Z"), true), Verdict::Fresh, "an empty final day is kept");
    }

    #[test]
    fn an_open_answer_is_fresh_for_its_slot_and_then_stale_up_to_a_cap() {
        let settling = plain().settle(day("2024-03-08"), SLOT, at("2024-03-08T12:00:00Z"), None);
        let check = |fetched: &str, expected| assert_eq!(settling.judge(at(fetched), false), expected, "{fetched}");
        check("2024-03-08T11:58:45Z", Verdict::Fresh);
        check("2024-03-08T11:58:44Z", Verdict::Stale);
        check("2024-03-08T11:46:15Z", Verdict::Stale);
        check("2024-03-08T11:46:14Z", Verdict::Expired);
    }

    #[test]
    fn what_was_read_after_its_table_changed_last_is_as_good_as_new() {
        let source = flipping(Comparison::ByDate);
        let (now, stamp) = (at("2024-03-10T12:00:00Z"), Some(at("2024-03-10T11:00:00Z")));
        let (modified, before) = (at("2024-03-10T11:02:00Z"), at("2024-03-10T11:01:59Z"));
        let settled = |day_of: &str, stamp| source.settle(day(day_of), SLOT, now, stamp);
        let awaited = settled("2024-03-05", stamp);
        assert_eq!((awaited.regime, awaited.state), (Regime::Daily, State::Pending));
        assert_eq!(awaited.judge(modified, false), Verdict::Expired);
        let unchanged = awaited.unchanged_since(modified, now);
        assert!(unchanged.is_unchanged && !awaited.is_unchanged);
        assert_eq!(
            (unchanged.judge(modified, false), unchanged.judge(before, false)),
            (Verdict::Fresh, Verdict::Expired)
        );
        // A change that came after the look is awaited as before.
        assert_eq!(awaited.unchanged_since(at("2024-03-10T13:00:00Z"), now).judge(now, false), Verdict::Fresh);
        // Live rows do not come from that table; final ones are named by it.
        let last = Some(at("2024-03-06"));
        for other in [settled("2024-03-09", stamp), settled("2024-03-05", last)] {
            assert!(matches!((other.regime, other.state), (Regime::Live, _) | (_, State::Final)));
            assert_eq!(other.unchanged_since(modified, now), other);
        }
        // A seam has both sides: its live one is looked at once an hour.
        let month = extent("2024-03-01", "2024-04-01");
        let seam = source.settle(month, SLOT, at("2024-04-01T12:00:00Z"), None);
        assert_eq!((seam.regime, seam.state), (Regime::Seam(at("2024-03-31")), State::Pending));
        let now = at("2024-04-01T12:00:00Z");
        let seam = seam.unchanged_since(at("2024-04-01T03:00:00Z"), now);
        assert!(!seam.is_unchanged);
        assert_eq!(seam.judge(at("2024-04-01T11:00:00Z"), false), Verdict::Fresh);
        assert_eq!(seam.judge(at("2024-04-01T10:59:59Z"), false), Verdict::Expired);
    }

    #[test]
    fn states_have_their_names_in_text_and_in_json() {
        for (state, name) in
            [(State::Open, "open"), (State::Live, "live"), (State::Pending, "pending"), (State::Final, "final")]
        {
            assert_eq!((state.as_str(), serde_json::to_value(state).unwrap()), (name, name.into()));
        }
    }

    #[test]
    fn the_open_slot_is_a_quarter_of_the_step_within_bounds() {
        let seconds = |text: &str| open_slot(text.parse().unwrap()).as_secs();
        assert_eq!(["1s", "5m", "10m", "1h", "1d"].map(seconds), [15, 75, 150, 300, 300]);
        assert_eq!(["2d", "1w", "1M"].map(seconds), [3600, 3600, 3600]);
    }

    #[test]
    fn a_live_answer_is_checked_once_for_drift_and_dies_at_its_flip() {
        let source = flipping(Comparison::ByDate);
        let settling = |now: &str| source.settle(day("2024-03-08"), SLOT, at(now), None);
        let early = settling("2024-03-09T00:30:00Z");
        assert_eq!(early.ends, Some(at("2024-03-10")));
        assert_eq!(early.judge(at("2024-03-09T00:10:00Z"), false), Verdict::Fresh);
        assert_eq!(early.judge(at("2024-03-09T00:20:00Z"), true), Verdict::Fresh);
        assert_eq!(early.judge(at("2024-03-08T23:00:00Z"), false), Verdict::Expired);
        let later = settling("2024-03-09T01:10:00Z");
        assert_eq!(later.judge(at("2024-03-09T00:20:00Z"), false), Verdict::Stale);
        assert_eq!(later.judge(at("2024-03-09T01:10:00Z"), false), Verdict::Fresh);
        let evening = settling("2024-03-09T23:00:00Z");
        assert_eq!(evening.judge(at("2024-03-09T01:10:00Z"), false), Verdict::Fresh, "one check is enough");
    }

    #[test]
    fn an_empty_pending_answer_is_never_promoted() {
        let source = flipping(Comparison::ByDate);
        let landed = Some(at("2024-03-10T06:00:00Z"));
        let pending = source.settle(day("2024-03-08"), SLOT, at("2024-03-10T07:00:00Z"), landed);
        assert_eq!(pending.state, State::Pending);
        assert_eq!(pending.judge(at("2024-03-10T06:56:00Z"), true), Verdict::Fresh);
        assert_eq!(pending.judge(at("2024-03-10T06:54:00Z"), true), Verdict::Expired);
        let done = source.settle(day("2024-03-08"), SLOT, at("2024-03-11T09:00:00Z"), landed);
        assert_eq!(done.state, State::Final);
        assert_eq!(done.judge(at("2024-03-10T06:56:00Z"), true), Verdict::Expired);
        assert_eq!(done.judge(at("2024-03-10T06:56:00Z"), false), Verdict::Fresh, "of the same generation");
        assert_eq!(done.judge(at("2024-03-11T00:00:00Z"), true), Verdict::Fresh);
    }

    #[test]
    fn a_missing_daily_partition_keeps_a_seam_pending_and_a_seam_dies_at_midnight() {
        let source = flipping(Comparison::AfterInstant);
        let now = at("2024-03-10T12:00:00Z");
        let seam = |generation| source.settle(day("2024-03-08"), SLOT, now, generation);
        assert_eq!(seam(None).state, State::Pending);
        let landed = seam(Some(at("2024-03-09T04:00:00Z")));
        assert_eq!((landed.state, landed.regime), (State::Live, Regime::Seam(at("2024-03-08"))));
        assert_eq!(landed.ends, Some(at("2024-03-11")));
        let month = source.settle(extent("2024-03-01", "2024-04-01"), SLOT, now, None);
        assert_eq!((month.state, month.ends), (State::Open, Some(at("2024-03-11"))));
    }

    #[test]
    fn a_daily_table_of_its_own_waits_for_its_partition() {
        let daily = SourceDescriptor { daily_table: Some(table("daily")), ..plain() };
        let state = |now: &str, generation| daily.settle(day("2024-03-08"), SLOT, at(now), generation).state;
        assert_eq!(state("2024-03-09T03:00:00Z", None), State::Pending);
        assert_eq!(state("2024-03-10T12:00:00Z", Some(at("2024-03-09T04:00:00Z"))), State::Pending);
        assert_eq!(state("2024-03-11T00:00:00Z", Some(at("2024-03-09T04:00:00Z"))), State::Final);
    }

    #[test]
    fn a_job_planned_before_midnight_and_begun_after_it_is_not_stored() {
        assert!(!stays_on_its_day(at("2024-03-08T23:59:59Z"), at("2024-03-09T00:00:01Z")));
        assert!(stays_on_its_day(at("2024-03-09T00:00:00Z"), at("2024-03-09T23:59:59Z")));
    }

    #[test]
    fn a_day_asked_for_just_after_midnight_and_at_noon_is_open_both_times() {
        let source = plain();
        let today = segments(extent("2024-03-08", "2024-03-08T00:10:00Z"), Step::Micros(DAY), PartitionUnit::Day)[0];
        let noon = source.settle(today, SLOT, at("2024-03-08T12:00:00Z"), None);
        assert_eq!(noon.judge(at("2024-03-08T00:10:00Z"), false), Verdict::Expired, "fetched again");
    }

    proptest! {
        #[test]
        fn a_segment_changes_its_regime_exactly_at_its_announced_midnight(
            start in 0..400_i64, length in 1..100_i64, hours in 0..240_i64, by_date in any::<bool>(), days in 1..4_u16
        ) {
            let comparison = if by_date { Comparison::ByDate } else { Comparison::AfterInstant };
            let mut source = flipping(comparison);
            source.flip = Some(Flip { days, comparison });
            let point = |hours: i64| Timestamp::saturating(1_000 * DAY + hours * HOUR);
            let segment = Extent::new(point(start), point(start + length)).unwrap();
            let now = point(start + hours);
            let settling = source.settle(segment, SLOT, now, None);
            if let Some(ends) = settling.ends {
                prop_assert_eq!(ends.floor(DAY), ends);
                prop_assert!(ends > now);
                let before = Timestamp::saturating(ends.micros() - 1);
                prop_assert_eq!(source.regime(segment, before), settling.regime);
                prop_assert_ne!(source.regime(segment, ends), settling.regime);
            } else {
                prop_assert_eq!(settling.regime, Regime::Daily);
                prop_assert_eq!(source.regime(segment, now.plus(days_long(9))), Regime::Daily);
            }
        }

        #[test]
        fn a_later_answer_is_never_worth_less(
            first in 0..5_000_i64, later in 0..5_000_i64, now in 0..6_000_i64, landed in 0..5_000_i64, empty in any::<bool>()
        ) {
            let minute = |minutes: i64| Timestamp::saturating(1_000 * DAY + minutes * MINUTE);
            let segment = Extent::new(minute(0), minute(1440)).unwrap();
            let settling =
                flipping(Comparison::ByDate).settle(segment, SLOT, minute(now), Some(minute(landed)));
            let worth = |fetched: i64| match settling.judge(minute(fetched), empty) {
                Verdict::Fresh => 2,
                Verdict::Stale => 1,
                Verdict::Expired => 0,
            };
            prop_assert!(worth(first.min(later)) <= worth(first.max(later)));
            prop_assert_eq!(worth(now.max(4_320 + landed)), 2);
        }
    }
}
