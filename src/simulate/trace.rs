//! A trace: which panels are asked, of which data, and when. One text file, a line for each fact.
//!
//! It knows no source and no engine. The form is described in the README.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};
use weir_plan::extent::{HOUR, SECOND};
use weir_plan::{Error, Result, Step, Timestamp};

/// The first line.
const HEAD: &str = "weir trace 1";

/// Viewers of a board, and the data they look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Seed of the generated data.
    pub seed: u64,
    /// The first moment.
    pub start: Timestamp,
    /// How long it goes on.
    pub hours: u32,
    /// Length of the range that every panel asks for, up to the moment of asking.
    pub range: Duration,
    /// What `$__interval` stands for.
    pub interval: Step,
    /// Live, ended and upcoming recipes at the start.
    pub recipes: [u32; 3],
    /// Days of data before the day of the start.
    pub history_days: u32,
    /// Days whose daily job is later than 03:00 after their end, and by how much.
    pub late: Vec<(NaiveDate, Duration)>,
    /// Experiments of which the exporter writes files.
    pub exported: u64,
    /// How often it does.
    pub export_every: Duration,
    /// What each refresh asks.
    pub panels: Vec<Panel>,
    /// Refreshes in order.
    pub refreshes: Vec<Refresh>,
}

/// A panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// What it shows.
    pub kind: Kind,
    /// Where its rows come from in the end.
    pub base: Base,
    /// Its title.
    pub title: String,
    /// Its SQL, with macros, on one line.
    pub sql: String,
}

/// What a panel shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What happened in each bucket.
    Flow,
    /// A running total, or what its view tells with running totals beside.
    Cumulative,
}

/// The tables that a panel's view reads in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// Enrollment events.
    Enrollment,
    /// Searches.
    Search,
    /// Crashes.
    Crash,
    /// Daily active clients.
    Active,
}

/// A viewer's refresh of all panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Milliseconds after the start.
    pub at_ms: u32,
    /// Whose.
    pub viewer: u32,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Flow, Self::Cumulative];

    /// As in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Cumulative => "cumulative",
        }
    }
}

impl Base {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Enrollment, Self::Search, Self::Crash, Self::Active];

    /// As in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrollment => "enrollment",
            Self::Search => "search",
            Self::Crash => "crash",
            Self::Active => "active",
        }
    }
}

impl Trace {
    /// The SHA-256 of its text, in hexadecimal.
    pub fn sha256(&self) -> String {
        format!("{:x}", Sha256::digest(self.to_string()))
    }

    /// The moment of a refresh.
    pub fn moment(&self, refresh: Refresh) -> Timestamp {
        self.start.plus(Duration::from_millis(refresh.at_ms.into()))
    }

    /// The last moment.
    pub fn end(&self) -> Timestamp {
        self.start.plus(Duration::from_hours(self.hours.into()))
    }

    /// Leaves out what comes after the first `hours`.
    pub fn cut(&mut self, hours: u32) {
        self.hours = self.hours.min(hours);
        let end = self.end();
        let start = self.start;
        self.refreshes.retain(|refresh| start.plus(Duration::from_millis(refresh.at_ms.into())) < end);
    }
}

/// The file's text.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\nseed {}\nstart {}\nhours {}", self.seed, self.start, self.hours)?;
        writeln!(f, "range {}\ninterval {}", step(self.range), self.interval)?;
        let [live, ended, upcoming] = self.recipes;
        writeln!(f, "recipes {live} {ended} {upcoming}\nhistory {}", self.history_days)?;
        for (day, delay) in &self.late {
            writeln!(f, "late {day} {}", step(*delay))?;
        }
        writeln!(f, "exporter {} {}", self.exported, step(self.export_every))?;
        for Panel { kind, base, title, sql } in &self.panels {
            writeln!(f, "panel {} {} {title} | {sql}", kind.as_str(), base.as_str())?;
        }
        for Refresh { at_ms, viewer } in &self.refreshes {
            writeln!(f, "at {at_ms} {viewer}")?;
        }
        Ok(())
    }
}

fn step(duration: Duration) -> Step {
    Step::Micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

impl FromStr for Trace {
    type Err = Error;

    /// Reads a trace.
    ///
    /// # Errors
    /// `InvalidQuery` that names the line and what to write there.
    fn from_str(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(HEAD) {
            return Err(Error::invalid(format!(
                "line 1: a trace begins with `{HEAD}`; write one with weir simulate --write-trace FILE"
            )));
        }
        let mut reading = Reading::default();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            reading.line(line).map_err(|error| error.context(format_args!("line {}", number + 1)))?;
        }
        reading.finish()
    }
}

/// A trace of which some lines are read.
#[derive(Default)]
struct Reading {
    seed: Option<u64>,
    start: Option<Timestamp>,
    hours: Option<u32>,
    range: Option<Duration>,
    interval: Option<Step>,
    recipes: Option<[u32; 3]>,
    history_days: Option<u32>,
    late: Vec<(NaiveDate, Duration)>,
    exporter: Option<(u64, Duration)>,
    panels: Vec<Panel>,
    refreshes: Vec<Refresh>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<()> {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "seed" => set(&mut self.seed, number(value)?, key),
            "start" => set(&mut self.start, Timestamp::parse(value, Timestamp::MIN)?, key),
            "hours" => set(&mut self.hours, number(value)?, key),
            "range" => set(&mut self.range, duration(value)?, key),
            "interval" => set(&mut self.interval, value.parse()?, key),
            "recipes" => set(&mut self.recipes, recipes(value)?, key),
            "history" => set(&mut self.history_days, number(value)?, key),
            "late" => {
                self.late.push(late(value)?);
                Ok(())
            }
            "exporter" => {
                let (count, every) = pair(value, "exporter EXPERIMENTS INTERVAL")?;
                set(&mut self.exporter, (number(count)?, duration(every)?), key)
            }
            "panel" => {
                self.panels.push(panel(value)?);
                Ok(())
            }
            "at" => self.refresh(value),
            _ => Err(Error::invalid(format!(
                "{key:?} is not known; a line begins with seed, start, hours, range, interval, recipes, history, late, \
                 exporter, panel, at or #"
            ))),
        }
    }

    fn refresh(&mut self, value: &str) -> Result<()> {
        let (at, viewer) = pair(value, "at MILLISECONDS VIEWER")?;
        let refresh = Refresh { at_ms: number(at)?, viewer: number(viewer)? };
        if self.refreshes.last().is_some_and(|last| last.at_ms > refresh.at_ms) {
            return Err(Error::invalid("a refresh is before the one above; put them in order of time"));
        }
        self.refreshes.push(refresh);
        Ok(())
    }

    fn finish(self) -> Result<Trace> {
        let missing = |name: &str| Error::invalid(format!("the trace has no line `{name} …`; add one"));
        let (exported, export_every) = self.exporter.ok_or_else(|| missing("exporter"))?;
        let trace = Trace {
            seed: self.seed.ok_or_else(|| missing("seed"))?,
            start: self.start.ok_or_else(|| missing("start"))?,
            hours: self.hours.ok_or_else(|| missing("hours"))?,
            range: self.range.ok_or_else(|| missing("range"))?,
            interval: self.interval.ok_or_else(|| missing("interval"))?,
            recipes: self.recipes.ok_or_else(|| missing("recipes"))?,
            history_days: self.history_days.ok_or_else(|| missing("history"))?,
            late: self.late,
            exported,
            export_every,
            panels: self.panels,
            refreshes: self.refreshes,
        };
        if trace.panels.is_empty() {
            return Err(missing("panel"));
        }
        match trace.refreshes.last() {
            None => Err(missing("at")),
            Some(last) if i64::from(last.at_ms) * (SECOND / 1000) >= i64::from(trace.hours) * HOUR => {
                Err(Error::invalid(format!(
                    "the refresh at {} ms is after the {} hours; raise hours",
                    last.at_ms, trace.hours
                )))
            }
            Some(_) => Ok(trace),
        }
    }
}

fn set<T>(place: &mut Option<T>, value: T, key: &str) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("a second line `{key} …`; leave one out"))),
    }
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::invalid(format!("{text:?} is not a whole number in range; write 8, for example")))
}

fn duration(text: &str) -> Result<Duration> {
    match text.parse()? {
        Step::Micros(micros) => Ok(Duration::from_micros(micros.unsigned_abs())),
        Step::Months(_) => Err(Error::invalid(format!("{text:?} has no fixed length; write 28d, for example"))),
    }
}

fn pair<'t>(text: &'t str, form: &str) -> Result<(&'t str, &'t str)> {
    text.split_once(' ').ok_or_else(|| Error::invalid(format!("write `{form}`")))
}

fn recipes(text: &str) -> Result<[u32; 3]> {
    let counts: Vec<u32> = text.split(' ').map(number).collect::<Result<_>>()?;
    counts.try_into().map_err(|_| Error::invalid("write `recipes LIVE ENDED UPCOMING`"))
}

fn late(text: &str) -> Result<(NaiveDate, Duration)> {
    let (day, delay) = pair(text, "late DAY DELAY")?;
    let day =
        day.parse().map_err(|_| Error::invalid(format!("{day:?} is not a day; write 2024-05-13, for example")))?;
    Ok((day, duration(delay)?))
}

fn panel(text: &str) -> Result<Panel> {
    let form = || Error::invalid("write `panel flow|cumulative enrollment|search|crash|active TITLE | SQL`");
    let (head, sql) = text.split_once(" | ").ok_or_else(form)?;
    let mut words = head.splitn(3, ' ');
    let mut word = || words.next().ok_or_else(form);
    let (kind, base, title) = (word()?, word()?, word()?);
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(form)?;
    let base = Base::ALL.into_iter().find(|known| known.as_str() == base).ok_or_else(form)?;
    Ok(Panel { kind, base, title: title.to_owned(), sql: sql.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::generate::Setting;
    use super::*;

    const SMALL: &str = "weir trace 1\nseed 3\nstart 2024-05-15T20:00:00Z\nhours 1\nrange 28d\ninterval 1h\n\
        recipes 4 1 1\nhistory 30\nlate 2024-05-13 47h\nexporter 160 5m\n\
        panel flow crash Crashes | SELECT 1\nat 17 0\nat 60017 1\n";

    #[test]
    fn a_trace_is_its_text() {
        let trace: Trace = SMALL.parse().unwrap();
        assert_eq!(trace.to_string(), SMALL);
        let commented = SMALL.replace("seed", "# what the data are made of\n\nseed");
        assert_eq!(commented.parse::<Trace>().unwrap(), trace);
        let generated = Trace::generate(Setting::default()).unwrap();
        assert_eq!(generated.to_string().parse::<Trace>().unwrap(), generated);
    }

    #[test]
    fn a_cut_trace_ends_earlier() {
        let mut trace: Trace = SMALL.parse().unwrap();
        trace.hours = 2;
        trace.refreshes.push(Refresh { at_ms: 3_600_000, viewer: 0 });
        trace.cut(1);
        assert_eq!(trace, SMALL.parse().unwrap());
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_remedy() {
        let check = |from: &str, to: &str, expected: &[&str]| {
            assert!(SMALL.contains(from), "{from}");
            let error = SMALL.replace(from, to).parse::<Trace>().unwrap_err();
            for part in expected {
                assert!(error.message().contains(part), "{to}: {error}");
            }
        };
        check("weir trace 1", "trace 2", &["line 1", "`weir trace 1`", "--write-trace"]);
        check("seed 3", "seed x", &["line 2", "\"x\"", "whole number"]);
        check("seed 3", "sed 3", &["line 2", "\"sed\"", "begins with seed"]);
        check("seed 3", "seed 3\nseed 4", &["line 3", "second line `seed …`", "leave one out"]);
        check("seed 3\n", "", &["no line `seed …`", "add one"]);
        check("start 2024-05-15T20:00:00Z", "start noon", &["line 3", "noon"]);
        check("range 28d", "range 1M", &["line 5", "28d"]);
        check("recipes 4 1 1", "recipes 4", &["line 7", "recipes LIVE ENDED UPCOMING"]);
        check("late 2024-05-13 47h", "late today 47h", &["line 9", "\"today\"", "2024-05-13"]);
        check("exporter 160 5m", "exporter 160", &["line 10", "exporter EXPERIMENTS INTERVAL"]);
        check("panel flow crash", "panel flow clash", &["line 11", "panel flow|cumulative"]);
        check("panel flow crash Crashes | SELECT 1\n", "", &["no line `panel …`"]);
        check("at 60017 1", "at 16 1", &["line 13", "in order of time"]);
        check("at 60017 1", "at 60017", &["line 13", "at MILLISECONDS VIEWER"]);
        check("at 60017 1", "at 3600000 1", &["3600000 ms", "raise hours"]);
    }
}
