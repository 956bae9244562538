//! Datasets as a configuration file describes them.

use serde::Deserialize;
use weir_plan::{Error, Result, TableId};

use super::super::granularity::Granularity;
use super::{Base, Dataset, DatasetKind, Split, Term};

/// A dataset of a file: the columns of a table or view of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Its name.
    pub name: String,
    #[serde(default)]
    title: String,
    view: String,
    kind: String,
    #[serde(default = "time")]
    time: String,
    #[serde(default = "experiment")]
    experiment: String,
    #[serde(default = "value")]
    value: String,
    #[serde(default)]
    splits: Vec<WrittenSplit>,
    #[serde(default = "grain")]
    grain: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSplit {
    name: String,
    column: String,
}

fn time() -> String {
    "time".into()
}

fn experiment() -> String {
    "experiment".into()
}

fn value() -> String {
    "value".into()
}

fn grain() -> String {
    "5m".into()
}

impl Written {
    /// The dataset, and its rows at place `base`.
    ///
    /// # Errors
    /// `InvalidQuery` naming the dataset and the key.
    pub(super) fn read(self, base: usize) -> Result<(Base, Dataset)> {
        let wrong = |key: &'static str| {
            let name = self.name.clone();
            move |error: Error| error.context(format_args!("dataset {name:?}: {key}"))
        };
        let is_plain =
            |name: &str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let columns = [&self.time, &self.experiment, &self.value].into_iter();
        let columns = columns.chain(self.splits.iter().flat_map(|split| [&split.column, &split.name]));
        if let Some(odd) = columns.chain([&self.name]).find(|name| !is_plain(name)) {
            let message = format!("{odd:?} is not a name of letters, digits and underscores");
            return Err(wrong("names")(Error::invalid(message)));
        }
        let table: TableId = self.view.parse().map_err(wrong("view"))?;
        if self.view.contains(['`', '\\', '\n']) {
            return Err(wrong("view")(Error::invalid(format!("{:?} is no table's name", self.view))));
        }
        let kind = match self.kind.as_str() {
            "flow" => DatasetKind::Flow,
            "cumulative" => DatasetKind::Cumulative,
            "level" => DatasetKind::Level,
            other => {
                return Err(wrong("kind")(Error::invalid(format!("{other:?} is none of flow, cumulative, level"))));
            }
        };
        let grain = self.grain.parse::<Granularity>().map_err(wrong("grain"))?;
        let splits = self.splits.iter();
        let base_rows = Base {
            table: table.clone(),
            time: self.time.clone(),
            experiment: self.experiment.clone(),
            splits: splits
                .map(|split| Split { name: split.name.as_str().into(), column: split.column.clone() })
                .collect(),
            measures: vec![self.value.clone()],
            grain,
            is_level: kind == DatasetKind::Level,
        };
        let terms = vec![Term { measure: 0, sign: 1, event: None }];
        let title = if self.title.is_empty() { self.name.clone() } else { self.title.clone() };
        Ok((base_rows, Dataset { name: self.name.as_str().into(), title, view: table, kind, base, terms }))
    }
}
