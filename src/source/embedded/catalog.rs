//! Tables and views by name, and a consistent view of them for each job.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use weir_plan::{Error, Result, TableId, Timestamp};

use super::table::TableRows;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Relation {
    /// Rows.
    Table(Arc<TableRows>),
    /// `GoogleSQL` text.
    View(Arc<View>),
}

impl Relation {
    /// `BigQuery`'s name of the kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "TABLE",
            Self::View(_) => "VIEW",
        }
    }
}

/// A view.
#[derive(Debug)]
pub(super) struct View {
    /// Its query.
    pub(super) sql: String,
    /// When it was made.
    pub(super) created: Timestamp,
}

/// All relations as of one moment.
pub(super) type Snapshot = Arc<HashMap<TableId, Relation>>;

/// The relations; changes leave snapshots as they are.
#[derive(Debug, Default)]
pub(super) struct Catalog(RwLock<Snapshot>);

impl Catalog {
    /// The relations of now.
    pub(super) fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.0.read())
    }

    /// Puts a relation in place of one of the same name.
    pub(super) fn put(&self, id: TableId, relation: Relation) {
        Arc::make_mut(&mut *self.0.write()).insert(id, relation);
    }

    /// Changes a table's rows; a failed change leaves them as they were.
    pub(super) fn change(&self, id: &TableId, change: impl FnOnce(&mut TableRows) -> Result<()>) -> Result<()> {
        match Arc::make_mut(&mut *self.0.write()).get_mut(id) {
            Some(Relation::Table(table)) => change(Arc::make_mut(table)),
            Some(Relation::View(_)) => Err(Error::invalid(format!("{id} is a view and holds no rows of its own"))),
            None => Err(not_found(id)),
        }
    }
}

/// `BigQuery`'s words for an unknown table.
pub(super) fn not_found(id: &TableId) -> Error {
    Error::not_found(format!(
        "Not found: Table {}:{}.{} was not found in location US",
        id.project, id.dataset, id.table
    ))
}
