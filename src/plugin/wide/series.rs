//! The series of a long time series: which rows belong to which set of labels, and what each series
//! is called.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};

use super::{Columns, index};
use crate::plugin::model::Shape;

/// The series: every set of labels that occurs.
pub(super) struct Series {
    /// For each row its series.
    pub(super) of_row: Vec<u32>,
    /// For each series its labels' values, in the order of the columns.
    pub(super) labels: Vec<Vec<String>>,
    /// The labels' names.
    pub(super) names: Vec<String>,
    /// The label that stands for the name of the series.
    metric: Option<usize>,
}

impl Series {
    pub(super) fn of(long: &RecordBatch, columns: &Columns, shape: &Shape) -> Self {
        let mut of_row = vec![0; long.num_rows()];
        let mut labels: Vec<Vec<String>> = vec![vec![]];
        for column in &columns.labels {
            let texts = Texts::of(long.column(*column));
            let mut known: HashMap<(u32, &str), u32> = HashMap::new();
            let mut longer = Vec::new();
            for (row, series) in of_row.iter_mut().enumerate() {
                let text = texts.get(row);
                *series = *known.entry((*series, text)).or_insert_with(|| {
                    let mut values = labels[*series as usize].clone();
                    values.push(text.to_owned());
                    longer.push(values);
                    index(longer.len()) - 1
                });
            }
            labels = longer;
        }
        let names: Vec<_> =
            columns.labels.iter().map(|column| long.schema_ref().field(*column).name().clone()).collect();
        let metric = if shape.metric_names_series { names.iter().position(|name| name == "metric") } else { None };
        Self { of_row, labels, names, metric }
    }

    pub(super) fn count(&self) -> usize {
        self.labels.len()
    }

    /// The name and labels of a value's field in a series.
    pub(super) fn field(&self, series: usize, value: &str, is_only_value: bool) -> (String, BTreeMap<&str, &str>) {
        let mut labels: BTreeMap<_, _> =
            self.names.iter().zip(&self.labels[series]).map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let name = match self.metric.map(|metric| (labels.remove("metric"), &self.labels[series][metric])) {
            Some((_, metric)) if is_only_value => metric.clone(),
            Some((_, metric)) => format!("{metric} {value}"),
            None => value.to_owned(),
        };
        (name, labels)
    }
}

/// A label column as texts.
enum Texts<'a> {
    Text(&'a StringArray),
    Flag(&'a BooleanArray),
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.as_boolean_opt() {
            Some(flags) => Self::Flag(flags),
            None => Self::Text(column.as_string()),
        }
    }

    fn get(&self, row: usize) -> &'a str {
        match self {
            Self::Text(texts) if texts.is_valid(row) => texts.value(row),
            Self::Flag(flags) if flags.is_valid(row) => ["false", "true"][usize::from(flags.value(row))],
            _ => "",
        }
    }
}
