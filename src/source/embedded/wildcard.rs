//! `dataset.name_*`: the tables whose names begin so, as one view with their endings as a column.
//!
//! Source: <https://cloud.google.com/bigquery/docs/querying-wildcard-tables>.

use std::fmt::Write as _;
use std::sync::Arc;

use weir_plan::{Error, Result, TableId};

use super::catalog::{Relation, Snapshot};
use super::table::TableRows;

/// The pseudo-column that holds a table's ending; `*` does not stand for it.
pub(super) const SUFFIX: &str = "_TABLE_SUFFIX";

/// Whether a name stands for all tables that begin with it.
pub(super) fn is_wildcard(id: &TableId) -> bool {
    id.table.ends_with('*')
}

/// The tables that a name stands for, and the text of the view over them.
///
/// # Errors
/// `InvalidQuery` where it stands for none.
pub(super) fn view(id: &TableId, snapshot: &Snapshot) -> Result<(Vec<TableId>, String)> {
    let prefix = id.table.trim_end_matches('*');
    let is_meant =
        |other: &TableId| other.project == id.project && other.dataset == id.dataset && other.table.starts_with(prefix);
    let mut tables: Vec<&Arc<TableRows>> = snapshot
        .iter()
        .filter_map(|(other, relation)| match relation {
            Relation::Table(table) if is_meant(other) => Some(table),
            _ => None,
        })
        .collect();
    tables.sort_unstable_by_key(|table| table.id());
    // The youngest table says which columns there are; of tables by day that is the last.
    let Some(last) = tables.last() else {
        return Err(Error::invalid(format!("{}:{}.{} does not match any table.", id.project, id.dataset, id.table)));
    };
    let mut text = String::new();
    for table in &tables {
        text.push_str(if text.is_empty() { "SELECT " } else { " UNION ALL SELECT " });
        for field in last.declared().fields() {
            let name = field.name();
            let null = if table.declared().index_of(name).is_ok() { "" } else { "NULL AS " };
            let _ = write!(text, "{null}`{name}`, ");
        }
        let _ = write!(text, "'{}' AS {SUFFIX} FROM `{}`", &table.id().table[prefix.len()..], table.id());
    }
    Ok((tables.iter().map(|table| table.id().clone()).collect(), text))
}
