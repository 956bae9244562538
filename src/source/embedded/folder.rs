//! Tables from files: each `project.dataset.table.parquet`, `.csv` or `.arrow` of a folder becomes
//! a table.
//!
//! Partitioning comes from a sidecar `project.dataset.table.toml`, else it is guessed from the
//! columns. It reads files once, blocking; it does not watch them.

mod csv;
mod files;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields, Schema};
use serde::Deserialize;
use weir_plan::{Error, Result, TableId};

use super::{Embedded, TableSpec, types};
use crate::clock::Clock;
use crate::source::{PartitionUnit, Partitioning};

/// Names by which tables are partitioned where no sidecar says so, the likeliest first.
const LIKELY_COLUMNS: &[&str] =
    &["partition_date", "submission_date", "submission_timestamp", "window_start", "date", "day", "timestamp", "time"];

/// A sidecar's content.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    partition_column: String,
    #[serde(default = "by_day")]
    partition_unit: PartitionUnit,
}

fn by_day() -> PartitionUnit {
    PartitionUnit::Day
}

impl Embedded {
    /// A place of a folder's tables, see [`Embedded::open_folder`]; jobs run in the first one's
    /// project.
    ///
    /// # Errors
    /// As [`Embedded::open_folder`], and `InvalidQuery` for a folder without data files.
    pub fn of_folder(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let first = paths(dir)?.into_iter().find(|path| is_data(path));
        let Some(first) = first else {
            let dir = dir.display();
            return Err(Error::invalid(format!(
                "folder {dir} holds no table; put project.dataset.table.parquet into it"
            )));
        };
        let embedded = Self::at(&table_id(&first)?.project, dir.display().to_string(), clock);
        embedded.open_folder(dir)?;
        Ok(embedded)
    }

    /// Makes a table of each data file in a folder and names them, sorted. Other files are named in
    /// a warning. Blocks while it reads.
    ///
    /// # Errors
    /// `InvalidQuery` naming the first file that cannot be read or whose name is not
    /// `project.dataset.table`, and what to do about it.
    pub fn open_folder(&self, dir: &Path) -> Result<Vec<TableId>> {
        let paths = paths(dir)?;
        let mut tables = Vec::new();
        for path in &paths {
            match extension(path).as_deref() {
                _ if is_data(path) => tables.push(self.open_file(path)?),
                Some("toml") if paths.iter().any(|data| is_data_of(path, data)) => {}
                _ => {
                    tracing::warn!(file = %path.display(), "not a table: only .parquet, .csv and .arrow files are read");
                }
            }
        }
        tables.sort();
        if let Some(twice) = tables.iter().zip(tables.iter().skip(1)).find_map(|(a, b)| (a == b).then_some(a)) {
            let dir = dir.display();
            return Err(Error::invalid(format!("{dir} holds two files of the table {twice}; remove one")));
        }
        Ok(tables)
    }

    fn open_file(&self, path: &Path) -> Result<TableId> {
        let id = table_id(path)?;
        let batches = match extension(path).as_deref() {
            Some("csv") => csv::read(path)?,
            Some("parquet") => files::parquet(path)?,
            _ => files::arrow(path)?,
        };
        let Some(first) = batches.first() else {
            return Err(Error::invalid(format!("{} has no columns; write a file with a schema", path.display())));
        };
        let schema = normal(&first.schema());
        let partitioning = partitioning(path, &schema)?;
        self.create_table(TableSpec { id: id.clone(), schema: Arc::clone(&schema), partitioning })
            .map_err(|error| error.context(path.display()))?;
        for rows in &batches {
            let rows = normalised(rows, &schema).map_err(|error| error.context(path.display()))?;
            self.append(&id, &rows).map_err(|error| error.context(path.display()))?;
        }
        Ok(id)
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("cannot read {}: {error}; check that it is there, whole and readable", path.display()))
}

fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|error| unreadable(dir, &error))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| unreadable(dir, &error))?;
    paths.sort();
    Ok(paths)
}

fn table_id(path: &Path) -> Result<TableId> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.parse().map_err(|error: Error| {
        let extension = extension(path).unwrap_or_default();
        error.context(format!("{}: name the file project.dataset.table.{extension}", path.display()))
    })
}

fn is_data(path: &Path) -> bool {
    matches!(extension(path).as_deref(), Some("parquet" | "csv" | "arrow"))
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase)
}

fn is_data_of(sidecar: &Path, data: &Path) -> bool {
    data.file_stem() == sidecar.file_stem() && is_data(data)
}

fn normal(schema: &Schema) -> Arc<Schema> {
    let fields: Fields = schema.fields().iter().map(|field| types::normal_field(field, field.name())).collect();
    Arc::new(Schema::new(fields))
}

fn normalised(rows: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch> {
    let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| {
        cast(column, field.data_type()).map_err(|error| {
            Error::invalid(format!("column {} cannot become {}: {error}", field.name(), types::name(field.data_type())))
        })
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)
        .map_err(|error| Error::internal("columns do not fit their own schema").with_source(error))
}

fn partitioning(path: &Path, schema: &Schema) -> Result<Option<Partitioning>> {
    let sidecar = path.with_extension("toml");
    if !sidecar.exists() {
        return Ok(guess(schema));
    }
    let text = fs::read_to_string(&sidecar).map_err(|error| unreadable(&sidecar, &error))?;
    let Sidecar { partition_column, partition_unit } = toml::from_str(&text).map_err(|error| {
        let example = "partition_column = \"day\" and partition_unit = \"DAY\"";
        Error::invalid(format!("{}: {error}; write {example}", sidecar.display()))
    })?;
    Ok(Some(Partitioning { column: Some(partition_column), unit: partition_unit }))
}

/// A well-known column, or the only one of its type, DATE before TIMESTAMP.
fn guess(schema: &Schema) -> Option<Partitioning> {
    let named = |name: &&str| {
        schema.fields().iter().find(|field| field.name().eq_ignore_ascii_case(name) && is_day(field.data_type()))
    };
    let only = |is_type: fn(&DataType) -> bool| {
        let mut fields = schema.fields().iter().filter(|field| is_type(field.data_type()));
        fields.next().filter(|_| fields.next().is_none())
    };
    let is_date = |data_type: &DataType| *data_type == DataType::Date32;
    let is_timestamp = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
    let field = LIKELY_COLUMNS.iter().find_map(named).or_else(|| only(is_date)).or_else(|| only(is_timestamp))?;
    Some(Partitioning { column: Some(field.name().clone()), unit: PartitionUnit::Day })
}

fn is_day(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(_, Some(_)))
}
