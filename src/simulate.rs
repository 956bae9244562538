//! What would it save? A trace of a board's viewers is replayed over generated data with a clock that
//! is set by hand, and every way of answering is billed by the same bill.
//!
//! It knows no command line. Ways of answering without Weir are priced by dry runs; Weir's own row is
//! the real engine's.

mod exporter;
mod generate;
mod limit;
mod place;
mod prices;
mod replay;
mod report;
mod tally;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_plan::descriptor::open_slot;
use weir_plan::extent::{DAY, HOUR, MINUTE};
use weir_plan::{Error, Result, Target, Timestamp, macros};

use self::limit::{Reads, Tables};
use self::place::Place;
use self::prices::Prices;
use self::replay::{Asked, Replay};
use self::tally::Tally;
use crate::engine::LocalSettings;
use crate::source::{Job, Source as _};

pub use self::generate::Setting;
pub use self::report::{About, Checks, Part, Report, Row};
pub use self::trace::{Base, Kind, Panel, Refresh, Trace};

/// Minutes in which every viewer's every request is put to the engine: early, and after a midnight.
const CONFIRMED: [i64; 2] = [12, 252];

/// Replays a trace.
///
/// # Errors
/// Those of the generator, and of the panels' SQL; `Internal` if the jobs that were seen are not those
/// that the source billed.
pub async fn run(trace: &Trace) -> Result<Report> {
    let place = Place::make(trace).await?;
    let (rows, bytes) = place.size().await?;
    let mut simulation = Simulation::new(trace, &place);
    for (at, moment) in moments(trace) {
        place.clock.set(at);
        match moment {
            Moment::Price => simulation.price(at).await?,
            Moment::Tick => simulation.exports.refresh(at, false).await?,
            Moment::Refresh => {
                let minute = (at.micros() - trace.start.micros()) / MINUTE;
                let all = CONFIRMED.contains(&minute);
                simulation.views.refresh(at, all).await?;
                simulation.locals.refresh(at, all).await?;
            }
        }
    }
    let about = About {
        sha256: trace.sha256(),
        panels: trace.panels.len(),
        viewers: trace.refreshes.iter().map(|refresh| refresh.viewer).collect::<BTreeSet<_>>().len(),
        hours: trace.hours,
        recipes: trace.recipes[0],
        rows,
        bytes,
    };
    simulation.report(about)
}

/// What happens at a moment; in this order where several do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Price,
    Tick,
    Refresh,
}

/// Everything that happens, in order. Prices are asked for each hour, and on both sides of whatever
/// changes a bill otherwise than by growth: midnights and daily jobs.
fn moments(trace: &Trace) -> Vec<(Timestamp, Moment)> {
    let hours = (0..=trace.hours).map(|hour| trace.start.plus(Duration::from_hours(hour.into())));
    let midnights = hours.clone().map(|hour| hour.ceil(DAY)).filter(|midnight| *midnight < trace.end());
    let turns = midnights.chain(place::landings(trace).into_iter().map(|(_, at)| at));
    let sides = turns.flat_map(|turn| [turn.minus(Duration::from_millis(1)), turn]);
    let prices: BTreeSet<Timestamp> = hours.chain(sides).filter(|at| *at >= trace.start).collect();
    let mut moments: Vec<(Timestamp, Moment)> = prices.into_iter().map(|at| (at, Moment::Price)).collect();
    moments.extend(exporter::ticks(trace).into_iter().map(|at| (at, Moment::Tick)));
    moments.extend(trace.refreshes.iter().map(|refresh| (trace.moment(*refresh), Moment::Refresh)));
    moments.sort_unstable();
    moments
}

/// A replay under way.
struct Simulation<'t> {
    trace: &'t Trace,
    place: &'t Place,
    prices: Prices,
    reads: BTreeMap<Base, Reads>,
    /// Without local relations, and with them.
    views: Replay,
    locals: Replay,
    exports: Replay,
    executed: Executed,
}

/// Uncached requests that were run.
#[derive(Default)]
struct Executed {
    jobs: u64,
    bytes: u64,
}

impl<'t> Simulation<'t> {
    fn new(trace: &'t Trace, place: &'t Place) -> Self {
        let asked = trace.panels.iter().map(|panel| Asked {
            kind: panel.kind,
            sql: panel.sql.clone(),
            step: trace.interval,
            range: trace.range,
            max_stale: None,
        });
        let asked: Vec<Asked> = asked.collect();
        Self {
            trace,
            place,
            prices: Prices::default(),
            reads: BTreeMap::new(),
            views: Replay::new("views", place, asked.clone(), LocalSettings::default()),
            locals: Replay::new("locals", place, asked, LocalSettings::ready_made()),
            exports: Replay::new("exports", place, exporter::asked(), LocalSettings::ready_made()),
            executed: Executed::default(),
        }
    }

    /// Asks what all texts bill now, and how large the limit's partitions are.
    async fn price(&mut self, now: Timestamp) -> Result<()> {
        let range = prices::range(self.trace, now)?;
        let expand = |panel: &Panel| {
            let expanded = macros::expand(&panel.sql, Some(range), Some(self.trace.interval), &Target::default());
            expanded
                .map(|expansion| expansion.sql)
                .map_err(|error| error.context(format_args!("panel {:?}", panel.title)))
        };
        let mut texts: Vec<String> = self.trace.panels.iter().map(expand).collect::<Result<_>>()?;
        texts.extend(exporter::evaluations());
        let prices = prices::price(self.place, &texts).await?;
        if self.executed.jobs == 0 {
            texts.truncate(self.trace.panels.len());
            self.execute(&texts, &prices).await?;
        }
        self.prices.push(now, prices);
        for base in Base::ALL.into_iter().filter(|base| self.trace.panels.iter().any(|panel| panel.base == *base)) {
            let tables = Tables::new(base, self.place);
            let reads = self.reads.entry(base).or_default();
            if reads.first.is_empty() {
                reads.first = tables.all(self.place, now).await?;
            }
            let open = tables.open(self.place, now).await?;
            if !open.is_empty() {
                reads.open.insert(now, open);
            }
            if now > self.trace.start {
                reads.turns.insert(now, tables.turned(self.trace, self.place, now).await?);
            }
        }
        Ok(())
    }

    /// Runs the panels' texts, to see that dry runs tell the truth.
    async fn execute(&mut self, texts: &[String], prices: &[u64]) -> Result<()> {
        for ((text, price), panel) in texts.iter().zip(prices).zip(&self.trace.panels) {
            let job = Job::new(format!("sample_{}", self.executed.jobs), text);
            let billed = self.place.source.run(job).await?.bytes_billed;
            if billed != *price {
                let message = format!("panel {:?} bills {billed} bytes, its dry run said {price}", panel.title);
                return Err(Error::internal(message));
            }
            self.executed.jobs += 1;
            self.executed.bytes += billed;
        }
        Ok(())
    }

    fn report(self, trace: About) -> Result<Report> {
        self.check_bill()?;
        let slot = open_slot(self.trace.interval);
        let (uncached, priced_exactly) = prices::uncached(self.trace, &self.prices);
        let by_text = |lifetime| prices::by_text(self.trace, &self.prices, lifetime);
        let delta = &self.views.tally;
        let rows = vec![
            Row::new("uncached", &uncached),
            Row::new("ttl60", &by_text(Duration::from_mins(1))),
            Row::new("ttl-slot", &by_text(slot)),
            Row::new("delta", delta),
            Row::new("weir", &self.locals.tally),
            Row::new("limit", &self.least(slot)),
            Row::new("exporter-upstream", &exporter::upstream(self.trace, &self.prices, self.trace.panels.len())),
            Row::new("exporter-weir", &self.exports.tally),
        ];
        let [views, locals] = [self.views.confirmed, self.locals.confirmed];
        let confirmed = (views.0 + locals.0, views.1 + locals.1);
        Ok(Report {
            trace,
            rows,
            delta: Part::all(&self.views),
            weir: Part::all(&self.locals),
            exporter: Part::all(&self.exports),
            checks: Checks {
                priced_exactly,
                executed: self.executed.jobs,
                hits_confirmed: confirmed.0,
                hits_refuted: confirmed.1,
            },
        })
    }

    /// The least that all base sources together cost.
    fn least(&self, slot: Duration) -> Tally {
        let requests: Vec<Timestamp> = self.trace.refreshes.iter().map(|refresh| self.trace.moment(*refresh)).collect();
        let slot = i64::try_from(slot.as_micros()).unwrap_or(HOUR);
        let mut sum = Tally::default();
        for (base, reads) in &self.reads {
            let panels = self.trace.panels.iter().filter(|panel| panel.base == *base).count();
            sum.add(&reads.least(&requests, panels, slot));
        }
        sum
    }

    /// Every job that the source billed is in a row, or is a sample, and has a cause.
    fn check_bill(&self) -> Result<()> {
        let bill = self.place.source.bill();
        let rows = [&self.views, &self.locals, &self.exports];
        let jobs = rows.iter().map(|row| row.tally.jobs).sum::<u64>() + self.executed.jobs;
        let bytes = rows.iter().map(|row| row.tally.bytes).sum::<u64>() + self.executed.bytes;
        let caused = rows.iter().flat_map(|row| row.causes.values()).map(|(_, bytes)| bytes).sum::<u64>();
        if (jobs, bytes, caused) == (bill.jobs, bill.bytes_billed, bytes - self.executed.bytes) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the bill does not add up: {jobs} jobs and {bytes} bytes were seen, {caused} bytes with a cause, and {} jobs and \
             {} bytes billed",
            bill.jobs, bill.bytes_billed
        )))
    }
}
