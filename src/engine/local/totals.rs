//! Running totals by day: what came before a day, by group, and the day's rows with their totals.
//!
//! Windows are grouped before they are summed up, so that rows that tie count once. A NULL adds
//! nothing, and a total over NULLs alone is NULL, as in SQL.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use weir_plan::local::{RunningTotal, TIME};
use weir_plan::{Error, Result, Timestamp};

use crate::batches::Batches;

/// The totals of each group, by its number and column.
type Values = Arc<Vec<Vec<Option<i64>>>>;

/// The sums of the measures by window and group.
type Windows = BTreeMap<(i64, usize), Vec<Option<i64>>>;

/// A number for everything that the rows of a day depend on.
type Chain = u64;

/// The running totals of a relation.
pub(super) struct Totals {
    spec: RunningTotal,
    schema: SchemaRef,
    converter: RowConverter,
    groups: HashMap<OwnedRow, usize>,
    rows: Vec<OwnedRow>,
    /// What came before each day, and what that depends on.
    before: BTreeMap<Timestamp, (Chain, Values)>,
    /// What the rows of days were made of.
    made: BTreeMap<Timestamp, Chain>,
}

/// The rows of a day.
pub(super) struct Day<'a> {
    /// When it begins.
    pub(super) start: Timestamp,
    /// A number that is another one for other rows.
    pub(super) content: u64,
    /// The length of its windows in µs.
    pub(super) step: i64,
    /// The relation's rows.
    pub(super) batches: &'a Batches,
}

/// A column of TIMESTAMP.
pub(super) fn timestamp(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

impl Totals {
    /// No totals of rows of `base` yet.
    pub(super) fn new(spec: &RunningTotal, base: &Schema) -> Result<Self> {
        let field = |name: &String| {
            let found = base.fields().iter().find(|field| field.name().eq_ignore_ascii_case(name));
            found.cloned().ok_or_else(|| Error::internal(format!("the rows lack the column {name}")))
        };
        let dimensions = spec.dimensions.iter().map(field).collect::<Result<Vec<_>>>()?;
        let sorted = dimensions.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(sorted).map_err(odd)?;
        let mut fields = vec![Arc::new(timestamp(&spec.time_column))];
        fields.extend(spec.end_column.iter().map(|name| Arc::new(timestamp(name))));
        fields.extend(dimensions);
        let columns = spec.measures.iter().chain(spec.column.iter().map(|total| &total.name));
        fields.extend(columns.map(|name| Arc::new(Field::new(name, DataType::Int64, true))));
        Ok(Self {
            spec: spec.clone(),
            schema: Arc::new(Schema::new(fields)),
            converter,
            groups: HashMap::new(),
            rows: vec![],
            before: BTreeMap::new(),
            made: BTreeMap::new(),
        })
    }

    /// What is declared of them.
    pub(super) const fn spec(&self) -> &RunningTotal {
        &self.spec
    }

    /// The columns of their rows.
    pub(super) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Follows `days`, all of them from the first of the source on, in order; returns the rows of those
    /// from `wanted` on that are not as they were returned last.
    pub(super) fn follow(&mut self, days: &[Day<'_>], wanted: Timestamp) -> Result<Vec<(Timestamp, RecordBatch)>> {
        let Some(first) = days.first() else { return Ok(vec![]) };
        self.before.entry(first.start).or_insert_with(|| (0, Arc::default()));
        let (mut chain, mut values) = self.before[&first.start].clone();
        let mut changed = vec![];
        for (place, day) in days.iter().enumerate() {
            let after = link(chain, day.content);
            let next = days.get(place + 1).map(|day| day.start);
            let known = next.and_then(|next| self.before.get(&next)).filter(|(known, _)| *known == after).cloned();
            let is_wanted = day.start >= wanted && self.made.get(&day.start) != Some(&after);
            values = match known {
                Some((_, known)) if !is_wanted => known,
                _ => {
                    let (rows, totals) = self.day(day, &values, is_wanted)?;
                    if let Some(rows) = rows {
                        self.made.insert(day.start, after);
                        changed.push((day.start, rows));
                    }
                    totals
                }
            };
            chain = after;
            if let Some(next) = next {
                self.before.insert(next, (chain, Arc::clone(&values)));
            }
        }
        Ok(changed)
    }

    /// The totals after a day, and its rows where they are wanted.
    fn day(&mut self, day: &Day<'_>, before: &Values, is_wanted: bool) -> Result<(Option<RecordBatch>, Values)> {
        let windows = self.windows(day.batches)?;
        let measures = self.measures();
        let sources: Vec<[Vec<usize>; 2]> = self
            .spec
            .column
            .iter()
            .map(|total| [&total.plus, &total.minus].map(|names| places(&measures, names)))
            .collect();
        let mut totals = Vec::clone(before);
        totals.resize_with(self.rows.len(), || vec![None; sources.len()]);
        let mut out = Rows::default();
        for ((time, group), sums) in windows {
            let total = &mut totals[group];
            for (value, [plus, minus]) in total.iter_mut().zip(&sources) {
                if let Some(change) = change(&sums, plus, minus)? {
                    *value = Some(value.unwrap_or_default().checked_add(change).ok_or_else(overflow)?);
                }
            }
            if is_wanted {
                out.times.push(time);
                out.groups.push(group);
                let shown = places(&measures, &self.spec.measures).into_iter().map(|place| sums[place]);
                out.values.push(shown.chain(total.iter().copied()).collect());
            }
        }
        let rows = is_wanted.then(|| self.batch(&out, day.step)).transpose()?;
        Ok((rows, Arc::new(totals)))
    }

    /// All measures that are needed, each once.
    fn measures(&self) -> Vec<String> {
        let sums = self.spec.column.iter().flat_map(|total| total.plus.iter().chain(&total.minus));
        let mut measures: Vec<String> = self.spec.measures.iter().chain(sums).cloned().collect();
        measures.sort();
        measures.dedup();
        measures
    }

    /// The sums of the measures by window and group, in order of time.
    fn windows(&mut self, batches: &Batches) -> Result<Windows> {
        let measures = self.measures();
        let mut windows = Windows::new();
        for batch in batches {
            let column = |name: &str| {
                let fields = batch.schema_ref().fields();
                let found = fields.iter().position(|field| field.name().eq_ignore_ascii_case(name));
                found.map(|place| batch.column(place)).ok_or_else(|| Error::internal(format!("no column {name}")))
            };
            let times = column(TIME)?.as_primitive_opt::<TimestampMicrosecondType>();
            let times = times.ok_or_else(|| Error::internal("the time of a relation's rows is no TIMESTAMP"))?;
            let dimensions: Vec<ArrayRef> =
                self.spec.dimensions.iter().map(|name| column(name).cloned()).collect::<Result<_>>()?;
            let groups = self.converter.convert_columns(&dimensions).map_err(odd)?;
            let columns: Vec<ArrayRef> = measures
                .iter()
                .map(|name| cast(column(name)?, &DataType::Int64).map_err(odd))
                .collect::<Result<_>>()?;
            let columns: Vec<&Int64Array> =
                columns.iter().map(arrow::array::AsArray::as_primitive::<Int64Type>).collect();
            for row in 0..batch.num_rows() {
                let group = groups.row(row).owned();
                let number = *self.groups.entry(group).or_insert_with_key(|group| {
                    self.rows.push(group.clone());
                    self.rows.len() - 1
                });
                let sums = windows.entry((times.value(row), number)).or_insert_with(|| vec![None; columns.len()]);
                for (sum, column) in sums.iter_mut().zip(&columns) {
                    if arrow::array::Array::is_valid(column, row) {
                        let value = column.value(row);
                        *sum = Some(sum.unwrap_or_default().checked_add(value).ok_or_else(overflow)?);
                    }
                }
            }
        }
        Ok(windows)
    }

    fn batch(&self, rows: &Rows, step: i64) -> Result<RecordBatch> {
        let time = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef;
        let mut columns = vec![time(rows.times.clone())];
        if self.spec.end_column.is_some() {
            columns.push(time(rows.times.iter().map(|start| start + step).collect()));
        }
        let groups = rows.groups.iter().map(|group| self.rows[*group].row());
        columns.extend(self.converter.convert_rows(groups).map_err(odd)?);
        for place in 0..self.spec.measures.len() + self.spec.column.len() {
            columns.push(Arc::new(rows.values.iter().map(|values| values[place]).collect::<Int64Array>()));
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(odd)
    }
}

/// The rows of a day, by column.
#[derive(Default)]
struct Rows {
    times: Vec<i64>,
    groups: Vec<usize>,
    values: Vec<Vec<Option<i64>>>,
}

/// What a window adds to a total: NULL where one of its sums is, as `a - b` is.
fn change(sums: &[Option<i64>], plus: &[usize], minus: &[usize]) -> Result<Option<i64>> {
    let all = plus.iter().map(|place| (place, true)).chain(minus.iter().map(|place| (place, false)));
    let mut change = 0_i64;
    for (place, is_added) in all {
        let Some(sum) = sums[*place] else { return Ok(None) };
        let changed = if is_added { change.checked_add(sum) } else { change.checked_sub(sum) };
        change = changed.ok_or_else(overflow)?;
    }
    Ok(Some(change))
}

fn places(measures: &[String], names: &[String]) -> Vec<usize> {
    names.iter().filter_map(|name| measures.iter().position(|measure| measure == name)).collect()
}

/// FNV-1a over both numbers: another day before, or another content, is another chain.
fn link(chain: Chain, content: u64) -> Chain {
    let bytes = chain.to_le_bytes().into_iter().chain(content.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn overflow() -> Error {
    Error::invalid("a running total is beyond INT64")
}

fn odd(error: arrow::error::ArrowError) -> Error {
    Error::internal("running totals cannot be made").with_source(error)
}

#[cfg(test)]
mod tests;
