//! Brings tables from one moment to the next. It draws nothing.

use std::collections::BTreeMap;
use std::thread;

use arrow::array::RecordBatch;
use chrono::{Days, NaiveDate};
use weir_plan::extent::MINUTE;
use weir_plan::{Error, Result, Timestamp};

use super::apps::App;
use super::block::{self, Block, Day};
use super::config::{Landed, start_of};
use super::curve::WINDOWS;
use super::draw::real_count;
use super::sink::Sink;
use super::tables::{self, Fact};
use super::{Progress, Synthetic, experiments, views};

/// The list of experiments is written this often.
const REWRITE: i64 = 10 * MINUTE;
/// Live tables keep two days for the union view, and the day before for late rows.
const FEWEST_LIVE_DAYS: u32 = 3;

/// Where the tables are.
pub(super) enum State {
    /// Not made yet.
    Idle,
    /// True at a time.
    Running(Running),
    /// Left half changed.
    Failed(Error),
}

/// What is known of tables that are true at `now`.
pub(super) struct Running {
    now: Timestamp,
    /// Rows that have not arrived, by the window in which they will.
    pending: BTreeMap<i64, Vec<Late>>,
}

struct Late {
    fact: Fact,
    app: App,
    day: NaiveDate,
    rows: RecordBatch,
}

impl Synthetic {
    pub(super) fn install_into(
        &self,
        sink: &dyn Sink,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let mut state = self.state.lock();
        *state = State::Idle;
        for spec in tables::all() {
            sink.create_table(spec)?;
        }
        for (id, sql) in views::all() {
            sink.create_view(id, &sql)?;
        }
        self.write_experiments(sink, now)?;
        let mut running = Running { now, pending: BTreeMap::new() };
        let days: Vec<NaiveDate> = self.first_day().iter_days().take_while(|day| *day <= now.date()).collect();
        self.fill_days(sink, &days, now, &mut running, progress)?;
        *state = State::Running(running);
        progress(Progress { fraction: 1.0, what: "ready".into() });
        Ok(())
    }

    pub(super) fn advance_into(&self, sink: &dyn Sink, now: Timestamp) -> Result<()> {
        let mut state = self.state.lock();
        let running = match &mut *state {
            State::Idle => return Ok(()),
            State::Failed(error) => return Err(error.clone()),
            State::Running(running) if now <= running.now => return Ok(()),
            State::Running(running) => running,
        };
        match self.step(sink, running, now) {
            Ok(()) => {
                running.now = now;
                Ok(())
            }
            Err(error) => {
                let error = error.context("the generated tables are no longer consistent, start again");
                *state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    fn step(&self, sink: &dyn Sink, running: &mut Running, now: Timestamp) -> Result<()> {
        let before = running.now;
        if block::tick(before) < block::tick(now) {
            self.append_windows(sink, running, now)?;
            self.append_late(sink, running, now)?;
        }
        self.drop_old_days(sink, before, now)?;
        for day in self.first_day().iter_days().take_while(|day| *day <= now.date()) {
            if self.config.daily_job.runs_between(day, before, now) {
                self.land_into(sink, day, self.config.daily_job.landed(day, now))?;
            }
        }
        if before.floor(REWRITE) < now.floor(REWRITE) {
            self.write_experiments(sink, now)?;
        }
        Ok(())
    }

    /// First day of the daily tables.
    fn first_day(&self) -> NaiveDate {
        days_before(self.config.end.date(), self.config.history_days)
    }

    /// First day that live tables keep at `now`.
    fn first_live_day(&self, now: Timestamp) -> NaiveDate {
        days_before(now.date(), self.config.live_days.max(FEWEST_LIVE_DAYS) - 1).max(self.first_day())
    }

    /// Puts days into empty tables, while threads draw the next ones.
    fn fill_days(
        &self,
        sink: &dyn Sink,
        days: &[NaiveDate],
        now: Timestamp,
        running: &mut Running,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
        let mut done = 0;
        thread::scope(|scope| {
            let draw = |days: &[NaiveDate]| -> Vec<_> {
                days.iter().copied().map(|day| (day, scope.spawn(move || self.draw_ended(day, now)))).collect()
            };
            let mut chunks = days.chunks(threads);
            let mut drawing = chunks.next().map(draw);
            while let Some(chunk) = drawing {
                drawing = chunks.next().map(draw);
                for (day, thread) in chunk {
                    let what = format!("events of {day}");
                    progress(Progress { fraction: real_count(done) / real_count(days.len()), what });
                    let drawn =
                        thread.join().map_err(|_| Error::internal(format!("drawing the rows of {day} failed")))?;
                    self.fill(sink, day, &drawn?, now, running)?;
                    done += 1;
                }
            }
            Ok(())
        })
    }

    /// Draws the windows of a day that have ended.
    fn draw_ended(&self, day: NaiveDate, now: Timestamp) -> Result<Day> {
        let ended = block::tick(now) - block::tick(start_of(day));
        self.windows.day(day, 0..ended.clamp(0, WINDOWS))
    }

    /// Puts a day into empty tables.
    fn fill(&self, sink: &dyn Sink, day: NaiveDate, drawn: &Day, now: Timestamp, running: &mut Running) -> Result<()> {
        if day >= self.first_live_day(now) {
            for block in drawn.blocks() {
                append_live(sink, block, day, block::tick(now), running)?;
            }
        }
        match self.config.daily_job.landed(day, now) {
            Landed::No => Ok(()),
            landed => self.land_drawn(sink, day, drawn, landed),
        }
    }

    /// Windows that ended after `running.now`.
    fn append_windows(&self, sink: &dyn Sink, running: &mut Running, now: Timestamp) -> Result<()> {
        let (from, to) = (block::tick(running.now), block::tick(now));
        let first = running.now.date().max(self.first_live_day(now));
        for day in first.iter_days().take_while(|day| *day <= now.date()) {
            let midnight = block::tick(start_of(day));
            let windows = (from - midnight).clamp(0, WINDOWS)..(to - midnight).clamp(0, WINDOWS);
            if windows.is_empty() {
                continue;
            }
            for block in self.windows.day(day, windows)?.blocks() {
                append_live(sink, block, day, to, running)?;
            }
        }
        Ok(())
    }

    /// Late rows that have arrived by `now`, in one batch for each table and partition.
    fn append_late(&self, sink: &dyn Sink, running: &mut Running, now: Timestamp) -> Result<()> {
        let still_pending = running.pending.split_off(&(block::tick(now) + 1));
        let arrived = std::mem::replace(&mut running.pending, still_pending);
        let first_day = self.first_live_day(now);
        let mut tables: BTreeMap<(Fact, App, NaiveDate), Vec<RecordBatch>> = BTreeMap::new();
        for late in arrived.into_values().flatten().filter(|late| late.day >= first_day) {
            tables.entry((late.fact, late.app, late.day)).or_default().push(late.rows);
        }
        for ((fact, app, _), rows) in tables {
            sink.append(&fact.live_table(app), &block::concat(fact, &rows)?)?;
        }
        Ok(())
    }

    fn drop_old_days(&self, sink: &dyn Sink, before: Timestamp, now: Timestamp) -> Result<()> {
        let (from, to) = (self.first_live_day(before), self.first_live_day(now));
        for day in from.iter_days().take_while(|day| *day < to && *day <= before.date()) {
            for fact in Fact::ALL {
                let nothing = RecordBatch::new_empty(fact.live_schema());
                for app in fact.apps() {
                    sink.replace_partition(&fact.live_table(app), start_of(day), &nothing)?;
                }
            }
        }
        Ok(())
    }

    /// Runs the daily job for one day.
    pub(super) fn land_into(&self, sink: &dyn Sink, day: NaiveDate, landed: Landed) -> Result<()> {
        self.land_drawn(sink, day, &self.windows.day(day, 0..WINDOWS)?, landed)
    }

    fn land_drawn(&self, sink: &dyn Sink, day: NaiveDate, drawn: &Day, landed: Landed) -> Result<()> {
        let midnight = start_of(day);
        for block in drawn.blocks() {
            let rows = match landed {
                Landed::No => return Ok(()),
                Landed::Until(until) => block.rows_until(until)?,
                Landed::Complete => block.rows.clone(),
            };
            sink.replace_partition(&block.fact.daily_table(), midnight, &rows)?;
        }
        sink.replace_partition(&tables::active_clients().id, midnight, &self.active_clients(day)?)
    }

    fn write_experiments(&self, sink: &dyn Sink, now: Timestamp) -> Result<()> {
        sink.replace(&tables::experiments().id, &experiments::experiments(self.recipes(), now.floor(REWRITE))?)
    }
}

/// Appends what has arrived by `tick` and keeps the rest.
fn append_live(sink: &dyn Sink, block: &Block, day: NaiveDate, tick: i64, running: &mut Running) -> Result<()> {
    for arrivals in block.arrivals(tick)? {
        let (fact, app, rows) = (block.fact, arrivals.app, arrivals.rows);
        match arrivals.tick {
            None => sink.append(&fact.live_table(app), &rows)?,
            Some(at) => running.pending.entry(at).or_default().push(Late { fact, app, day, rows }),
        }
    }
    Ok(())
}

fn days_before(day: NaiveDate, days: u32) -> NaiveDate {
    day.checked_sub_days(Days::new(u64::from(days))).unwrap_or(NaiveDate::MIN)
}
