//! The ledger's lines as a table.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use weir_plan::{Error, Result, Timestamp};

use super::{Account, Cause, Day, Ledger, Line, OTHER, day};
use crate::batches::Batches;

/// What lines are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Data sources.
    Source,
    /// Boards.
    Board,
    /// Panels of boards.
    Panel,
    /// Who asked.
    Principal,
    /// Days in UTC.
    Day,
    /// Why jobs ran, and why bytes were not billed.
    Cause,
}

impl Dimension {
    const ALL: [Self; 6] = [Self::Source, Self::Board, Self::Panel, Self::Principal, Self::Day, Self::Cause];

    const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Board => "board",
            Self::Panel => "panel",
            Self::Principal => "principal",
            Self::Day => "day",
            Self::Cause => "cause",
        }
    }

    /// Reads names with commas between; none is one sum of all.
    ///
    /// # Errors
    /// `InvalidQuery` for a name that is unknown or given twice.
    pub fn list(text: &str) -> Result<Vec<Self>> {
        let mut dimensions: Vec<Self> = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let dimension = name.parse()?;
            if dimensions.contains(&dimension) {
                return Err(Error::invalid(format!("{name} is given twice")));
            }
            dimensions.push(dimension);
        }
        // A panel's number says nothing without its board.
        if let Some(place) = dimensions.iter().position(|it| *it == Self::Panel)
            && !dimensions.contains(&Self::Board)
        {
            dimensions.insert(place, Self::Board);
        }
        Ok(dimensions)
    }

    fn text(self, account: Option<&Account>, cause: Cause) -> Arc<str> {
        match (self, account) {
            (Self::Cause, _) => cause.as_str().into(),
            (_, None) => OTHER.into(),
            (Self::Source, Some(account)) => Arc::clone(&account.source),
            (Self::Board, Some(account)) => Arc::clone(&account.board),
            (Self::Panel, Some(account)) => Arc::clone(&account.panel),
            (Self::Principal, Some(account)) => Arc::clone(&account.principal),
            (Self::Day, Some(_)) => "".into(),
        }
    }
}

impl FromStr for Dimension {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|dimension| dimension.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| Error::invalid(format!("{text:?} is none of {}", Self::ALL.map(Self::name).join(", "))))
    }
}

/// Which lines count. Where it says anything, those called `other` do not: of them it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this data source.
    pub source: Option<String>,
    /// Of the day of this instant and later ones.
    pub from: Option<Timestamp>,
    /// Of days that begin before this instant.
    pub to: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, place: Option<(Day, &Account)>) -> bool {
        let Some((on, account)) = place else { return *self == Self::default() };
        self.source.as_deref().is_none_or(|source| source == &*account.source)
            && self.from.is_none_or(|from| on >= day(from))
            && self.to.is_none_or(|to| Timestamp::saturating(on.saturating_mul(weir_plan::extent::DAY)) < to)
    }
}

/// What a row is of; days come first, so that rows are in their order.
type Group = (Option<Day>, Vec<Arc<str>>);

impl Ledger {
    /// Sums by some dimensions: a column for each (a day is a DATE, the rest are STRING), and one for
    /// each amount.
    ///
    /// # Errors
    /// `Internal` if they make no table.
    pub fn report(&self, filter: &Filter, by: &[Dimension]) -> Result<Batches> {
        let mut groups: BTreeMap<Group, Line> = BTreeMap::new();
        let by_day = by.contains(&Dimension::Day);
        self.books.lock().each(|place, cause, line| {
            if filter.takes(place) {
                let account = place.map(|(_, account)| account);
                let texts = by.iter().map(|dimension| dimension.text(account, cause)).collect();
                let on = place.map(|(on, _)| on).filter(|_| by_day);
                groups.entry((on, texts)).or_default().add(line);
            }
        });
        table(&groups, by)
    }
}

type Amount = fn(&Line) -> u64;

const AMOUNTS: [(&str, Amount); 8] = [
    ("jobs", |line| line.jobs),
    ("jobs_failed", |line| line.jobs_failed),
    ("bytes_billed", |line| line.bytes_billed),
    ("slot_ms", |line| line.slot_ms),
    ("answers", |line| line.answers),
    ("bytes_uncached", |line| line.bytes_uncached),
    ("bytes_saved", |line| line.bytes_saved),
    ("bytes_overhead", |line| line.bytes_overhead),
];

fn table(groups: &BTreeMap<Group, Line>, by: &[Dimension]) -> Result<Batches> {
    let dimensions = by.iter().enumerate().map(|(place, dimension)| {
        let days = || groups.keys().map(|(on, _)| on.and_then(|on| i32::try_from(on).ok()));
        let texts = || groups.keys().map(|(_, texts)| texts.get(place).map(|text| &**text));
        let column: ArrayRef = match dimension {
            Dimension::Day => Arc::new(days().collect::<Date32Array>()),
            _ => Arc::new(texts().collect::<StringArray>()),
        };
        (dimension.name(), column)
    });
    let amounts = AMOUNTS.into_iter().map(|(name, amount)| {
        let numbers = groups.values().map(|line| i64::try_from(amount(line)).unwrap_or(i64::MAX));
        (name, Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef)
    });
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = dimensions
        .chain(amounts)
        .map(|(name, column)| (Field::new(name, column.data_type().clone(), nullable(column.data_type())), column))
        .unzip();
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| Error::internal("the ledger makes no table").with_source(error))?;
    Batches::new(schema, vec![rows])
}

/// Only the day is unknown of what is called `other`.
fn nullable(data_type: &DataType) -> bool {
    *data_type == DataType::Date32
}
