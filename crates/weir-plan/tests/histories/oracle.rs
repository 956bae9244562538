//! What an answer should be, from the rows alone: no planner's arithmetic is used here.

use chrono::{Datelike, NaiveDate};
use weir_plan::extent::DAY;
use weir_plan::{Extent, Step, Timestamp};

use crate::world::{Line, Shape, World, is_live, lines};

/// The moments as of which tables are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsOf {
    pub(crate) live: Timestamp,
    pub(crate) daily: Timestamp,
    /// The day that decides sides.
    pub(crate) today: Timestamp,
}

/// The answer for a range of whole buckets, or of rows.
pub(crate) fn truth(world: &World<'_>, extent: Extent, shape: Shape, groups: u8, as_of: AsOf) -> Vec<Line> {
    let today = Timestamp::saturating(as_of.today.micros().div_euclid(DAY) * DAY);
    let kind = world.source.kind;
    let of_side = |time, live| match kind.comparison() {
        Some(comparison) => is_live(comparison, time, today) == live,
        None => live != kind.has_daily(),
    };
    let live = world.live.rows(extent, as_of.live).filter(|row| of_side(row.time, true));
    let daily = world.daily.rows(extent, as_of.daily).filter(|row| of_side(row.time, false));
    lines(live.chain(daily).filter(|row| row.group < groups), shape)
}

/// The start of a bucket, and that of the next one.
fn bucket_and_next(step: Step, time: Timestamp) -> (Timestamp, Timestamp) {
    match step {
        Step::Micros(length) => {
            let start = time.micros().div_euclid(length) * length;
            (Timestamp::saturating(start), Timestamp::saturating(start + length))
        }
        Step::Months(1) => {
            let date = time.datetime().date_naive();
            let (year, month) = (date.year(), date.month());
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            (first_of(year, month), first_of(next_year, next_month))
        }
        Step::Months(_) => unreachable!("no history asks for it"),
    }
}

fn first_of(year: i32, month: u32) -> Timestamp {
    let midnight = NaiveDate::from_ymd_opt(year, month, 1).and_then(|date| date.and_hms_opt(0, 0, 0));
    Timestamp::saturating(midnight.unwrap().and_utc().timestamp_micros())
}

/// The start of the bucket that holds a time.
pub(crate) fn bucket(step: Step, time: Timestamp) -> Timestamp {
    bucket_and_next(step, time).0
}

/// The whole buckets that hold a range.
pub(crate) fn widened(step: Step, range: Extent) -> Extent {
    let (last, next) = bucket_and_next(step, range.end());
    let end = if last == range.end() { last } else { next };
    Extent::new(bucket(step, range.start()), end).unwrap()
}
