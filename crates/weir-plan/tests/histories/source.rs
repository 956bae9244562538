//! The kinds of sources: their descriptors, the texts over them, and the rows that they begin with.

use std::sync::Arc;
use std::time::Duration;

use weir_plan::analysis::Catalog;
use weir_plan::descriptor::{Branch, Comparison, Flip, History, Pruning, Side};
use weir_plan::extent::{DAY, MINUTE};
use weir_plan::plan::Template;
use weir_plan::{
    Descriptors, Extent, PartitionUnit, SourceDescriptor, TableId, Target, TimeType, Timestamp, View, analyse,
};

use crate::tables::{Row, Table};

/// The kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A table of hours.
    Hours,
    /// A table of days.
    Days,
    /// A table of days by a DATE.
    Dates,
    /// A table that a daily job fills.
    Daily,
    /// A view that is live after an instant, of buckets of 5 minutes or of any times.
    AfterInstant { grain: bool },
    /// A view that is live after a date, by a TIMESTAMP or a DATE.
    ByDate { dates: bool },
}

/// What does not change in a history: made once for each kind.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) kind: Kind,
    pub(crate) buckets: Arc<Template>,
    pub(crate) raw: Arc<Template>,
    pub(crate) start: (Table, Table),
}

/// The moment at which histories begin.
pub(crate) fn beginning() -> Timestamp {
    Timestamp::parse("2024-03-10T10:00:00Z", Timestamp::MIN).unwrap()
}

fn table(name: &str) -> TableId {
    TableId::new("p", "d", name)
}

fn pruning(column: &str, time_type: TimeType, truncated: i64) -> Pruning {
    let truncated = Duration::from_micros(truncated.unsigned_abs());
    let nothing = Duration::ZERO;
    Pruning { column: column.into(), time_type, hidden: column != "ts", truncated, behind: nothing, slack: nothing }
}

impl Kind {
    pub(crate) fn time_type(self) -> TimeType {
        match self {
            Self::Dates | Self::ByDate { dates: true } => TimeType::Date,
            _ => TimeType::Timestamp,
        }
    }

    pub(crate) fn comparison(self) -> Option<Comparison> {
        match self {
            Self::AfterInstant { .. } => Some(Comparison::AfterInstant),
            Self::ByDate { .. } => Some(Comparison::ByDate),
            _ => None,
        }
    }

    /// Rows' times are multiples of this.
    pub(crate) fn grain(self) -> i64 {
        match (self, self.time_type()) {
            (_, TimeType::Date) => DAY,
            (Self::AfterInstant { grain: true } | Self::ByDate { .. } | Self::Daily, _) => 5 * MINUTE,
            _ => 1,
        }
    }

    /// Whether its settled past is that of a daily table.
    pub(crate) fn has_daily(self) -> bool {
        self == Self::Daily || self.comparison().is_some()
    }

    fn descriptor(self) -> SourceDescriptor {
        let name = match self {
            Self::Daily => "daily",
            _ if self.comparison().is_some() => "v",
            _ => "live",
        };
        let live = match self.time_type() {
            TimeType::Date => pruning("ts", TimeType::Date, 0),
            _ => pruning("day", TimeType::Timestamp, DAY),
        };
        let branch = |name, side, pruning| Branch { table: table(name), side, pruning: Some(pruning) };
        let branches =
            [branch("live", Side::Live, live), branch("daily", Side::Daily, pruning("ts", self.time_type(), 0))];
        SourceDescriptor {
            time_column: Some("ts".into()),
            time_type: self.time_type(),
            partition: Some(if self == Self::Hours { PartitionUnit::Hour } else { PartitionUnit::Day }),
            grain: Duration::from_micros(if self.grain() == 1 { 0 } else { self.grain().unsigned_abs() }),
            flip: self.comparison().map(|comparison| Flip { days: 2, comparison }),
            daily_table: self.has_daily().then(|| table("daily")),
            history: History::Local,
            branches: self.comparison().map_or_else(Vec::new, |_| branches.into()),
            ..SourceDescriptor::new(table(name))
        }
    }

    /// A text over the source, which is the view of that text if there is one.
    pub(crate) fn template(self, sql: &str, view: Option<&str>) -> Template {
        let descriptor = self.descriptor();
        let descriptors: Descriptors = [descriptor.clone()].into_iter().collect();
        let analysis = analyse(sql, &Catalog { descriptors: &descriptors, project: None, dataset: None });
        let target = Target { column_types: [("ts".to_owned(), self.time_type())].into(), ..Target::default() };
        let names = descriptor.table.to_string().split('.').map(str::to_owned).collect();
        let view = view.map(|text| {
            let of = |id: &TableId| Some(text).filter(|_| *id == descriptor.table);
            (View::new(&descriptor, of).unwrap(), vec![names])
        });
        Template::new(sql, &target, &analysis, descriptor, view).unwrap()
    }

    pub(crate) fn view_text(self) -> Option<String> {
        let (time, cut) = match self.comparison()? {
            Comparison::AfterInstant => ("ts", "TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))"),
            Comparison::ByDate if self.time_type() == TimeType::Date => {
                ("ts", "DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)")
            }
            Comparison::ByDate => ("DATE(ts)", "DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)"),
        };
        let arm = |name: &str, is: &str| format!("SELECT ts, g, v FROM `p.d.{name}` WHERE {time} {is} {cut}");
        Some(format!("{}\nUNION ALL\n{}", arm("live", ">"), arm("daily", "<=")))
    }
}

impl Source {
    pub(crate) fn new(kind: Kind) -> Self {
        let name = kind.descriptor().table.to_string();
        let template = |sql: String| Arc::new(kind.template(&sql, kind.view_text().as_deref()));
        let buckets = format!(
            "SELECT $__timeGroup(ts, $__interval) AS time, g, COUNT(DISTINCT v) AS c, SUM(v) AS s FROM `{name}` \
             WHERE $__timeFilter(ts) GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let raw = format!("SELECT ts, g, v FROM `{name}` WHERE $__timeFilter(ts) ORDER BY ts");
        Self { kind, buckets: template(buckets), raw: template(raw), start: tables(kind) }
    }
}

/// Six weeks of rows that came in time, and of daily partitions that landed at four in the morning.
fn tables(kind: Kind) -> (Table, Table) {
    let unit = if kind == Kind::Hours { PartitionUnit::Hour } else { PartitionUnit::Day };
    let (mut live, mut daily) = (Table::new(unit), Table::new(unit));
    let today = beginning().floor(DAY);
    for day in (0..45).map(|days| today.minus(Duration::from_hours(24 * days))).rev() {
        for (number, hours) in (0..).zip([0, 9, 23]) {
            let time = day.plus(Duration::from_hours(hours)).floor(kind.grain());
            if time <= beginning() {
                live.append(Row { time, group: number, value: i64::from(number) }, time.plus(Duration::from_mins(1)));
            }
        }
        let landed = day.plus(Duration::from_hours(28));
        if landed <= beginning() {
            land(kind, &live, &mut daily, day, landed, 0);
        }
    }
    (live, daily)
}

/// The daily job: the day's live rows, each made another, so that sides can be told apart.
pub(crate) fn land(kind: Kind, live: &Table, daily: &mut Table, day: Timestamp, now: Timestamp, salt: i64) {
    let extent = Extent::new(day, day.plus(Duration::from_hours(24))).unwrap();
    let rows = live.rows(extent, now).map(|row| Row { value: row.value + 1000 + salt, ..row }).collect();
    if kind.has_daily() {
        daily.set(day, now, Some(rows));
    }
}
