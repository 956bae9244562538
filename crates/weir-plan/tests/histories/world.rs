//! A source's tables in one history, and the runner of the SQL that the planner writes. What it reads is
//! taken from that SQL's literals, not from what the planner says of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_plan::descriptor::Comparison;
use weir_plan::extent::DAY;
use weir_plan::{Extent, Key, Step, Timestamp};

use crate::source::{Source, land};
use crate::tables::{Row, Table};

/// A line of an answer: bucket (or time), group, and two numbers.
pub(crate) type Line = (Timestamp, u8, i64, i64);

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Buckets(Step),
    Raw,
}

/// The source in one history.
#[derive(Debug)]
pub(crate) struct World<'s> {
    pub(crate) source: &'s Source,
    pub(crate) live: Table,
    pub(crate) daily: Table,
    /// Bytes on the bill, and the jobs that were run, by their ids.
    pub(crate) billed: u64,
    jobs: HashMap<(Key, i64), Outcome>,
}

/// What came of a job.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) lines: Vec<Line>,
    pub(crate) began: Timestamp,
    /// Zero where the job was there already.
    pub(crate) billed: u64,
    pub(crate) joined: bool,
}

impl<'s> World<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        let (live, daily) = source.start.clone();
        Self { source, live, daily, billed: 0, jobs: HashMap::new() }
    }

    /// How many jobs were run.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// The table whose partitions are listed.
    pub(crate) fn listed(&self) -> &Table {
        if self.source.kind.has_daily() { &self.daily } else { &self.live }
    }

    /// A row arrives.
    pub(crate) fn arrive(&mut self, time: Timestamp, value: i64, now: Timestamp) {
        let group = u8::try_from(value.rem_euclid(3)).unwrap();
        self.live.append(Row { time: time.floor(self.source.kind.grain()), group, value }, now);
    }

    /// A day is written anew by whoever writes it.
    pub(crate) fn rewrite(&mut self, day: Timestamp, salt: i64, now: Timestamp) {
        let kind = self.source.kind;
        if kind.has_daily() {
            return land(kind, &self.live, &mut self.daily, day, now, salt);
        }
        let partition = self.live.partition(day);
        let row = Row { time: partition, group: 0, value: salt };
        self.live.set(partition, now, Some(vec![row]));
    }

    /// A partition is taken away. One that was there for less than the life of a listing is left: that
    /// it was there at all cannot be known.
    pub(crate) fn delete(&mut self, day: Timestamp, now: Timestamp) {
        let table = if self.source.kind.has_daily() { &mut self.daily } else { &mut self.live };
        let partition = table.partition(day);
        if table.rests_since(partition, now.minus(crate::engine::LISTING)) {
            table.set(partition, now, None);
        }
    }

    /// Runs a job, unless one of that id was run.
    pub(crate) fn run(&mut self, id: (Key, i64), sql: &str, shape: Shape, groups: u8, now: Timestamp) -> Outcome {
        if let Some(outcome) = self.jobs.get(&id) {
            return Outcome { billed: 0, joined: true, ..outcome.clone() };
        }
        let (rows, billed) = self.read(sql, now);
        self.billed += billed;
        let lines = lines(rows.into_iter().filter(|row| row.group < groups), shape);
        let outcome = Outcome { lines, began: now, billed, joined: false };
        self.jobs.insert(id, outcome.clone());
        outcome
    }

    /// The rows that a text reads, and what that bills.
    pub(crate) fn read(&self, sql: &str, now: Timestamp) -> (Vec<Row>, u64) {
        let asked = bounds(sql, "ts").unwrap();
        let inside = |row: &Row| asked.start() <= row.time && row.time < asked.end();
        let Some(comparison) = self.source.kind.comparison() else {
            let table = self.listed();
            return (table.rows(asked, now).collect(), table.bill(asked, now));
        };
        let (mut rows, mut billed) = (vec![], 0);
        for (table, name) in [(&self.live, "live"), (&self.daily, "daily")] {
            let Some((_, arm)) = sql.split_once(&format!("FROM `p.d.{name}` WHERE ")) else { continue };
            let read = bounds(arm, "`day`").or_else(|| bounds(arm, "`ts`")).unwrap();
            let (_, today) = arm.split_once("DATE_SUB(").unwrap();
            let today = literal(today.trim_start()).unwrap();
            let is_live = |row: &Row| is_live(comparison, row.time, today) == (name == "live");
            rows.extend(table.rows(read, now).filter(inside).filter(is_live));
            billed += table.bill(read, now);
        }
        (rows, billed)
    }
}

/// On which side of the flip a row's time is, on the day that begins at `today`.
pub(crate) fn is_live(comparison: Comparison, time: Timestamp, today: Timestamp) -> bool {
    let cut = today.micros() - 2 * DAY;
    match comparison {
        Comparison::AfterInstant => time.micros() > cut,
        Comparison::ByDate => time.micros().div_euclid(DAY) * DAY > cut,
    }
}

/// The range that a text compares a column with.
fn bounds(sql: &str, column: &str) -> Option<Extent> {
    let bound = |comparison: &str| {
        let name = format!("{column} {comparison} ");
        let place =
            sql.match_indices(&name).map(|(place, _)| place).find(|place| !sql[..*place].ends_with(['`', '.']))?;
        literal(&sql[place + name.len()..])
    };
    Extent::new(bound(">=")?, bound("<")?).ok()
}

fn literal(text: &str) -> Option<Timestamp> {
    let text = text.strip_prefix("TIMESTAMP '").or_else(|| text.strip_prefix("DATE '"))?;
    Timestamp::parse(text.split_once('\'')?.0, Timestamp::MIN).ok()
}

/// The answer that rows make.
pub(crate) fn lines(rows: impl Iterator<Item = Row>, shape: Shape) -> Vec<Line> {
    let mut lines: Vec<Line> = match shape {
        Shape::Raw => rows.map(|row| (row.time, row.group, row.value, 0)).collect(),
        Shape::Buckets(step) => {
            let mut buckets = BTreeMap::<(Timestamp, u8), (BTreeSet<i64>, i64)>::new();
            for row in rows {
                let (values, sum) = buckets.entry((crate::oracle::bucket(step, row.time), row.group)).or_default();
                values.insert(row.value);
                *sum += row.value;
            }
            let count = |values: BTreeSet<i64>| i64::try_from(values.len()).unwrap();
            buckets.into_iter().map(|((time, group), (values, sum))| (time, group, count(values), sum)).collect()
        }
    };
    lines.sort_unstable();
    lines
}
