//! What there is to query, remembered for minutes: editors ask for it with every click.
//!
//! A purge leaves it behind like every stored answer: its keys hold the generation.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use weir_plan::{Key, Result, TableId};

use super::Engine;
use crate::source::{Listed, Project, Table};

/// How long a list or a description is remembered: long enough for an editor's session of clicks,
/// short enough that a new table shows while its maker still looks for it.
const LIFETIME: Duration = Duration::from_mins(5);

/// Bytes of a name or a column in memory beside its text, roughly.
const ENTRY: usize = 64;

impl Engine {
    /// The projects that the login sees.
    ///
    /// # Errors
    /// Those of [`Source::list_projects`](crate::source::Source::list_projects).
    pub async fn projects(&self) -> Result<Arc<Vec<Project>>> {
        let bytes = |all: &Vec<Project>| all.iter().map(|project| 2 * ENTRY + project.name.len()).sum();
        self.remembered(&["projects"], self.source.list_projects(), bytes).await
    }

    /// The datasets of a project.
    ///
    /// # Errors
    /// Those of [`Source::list_datasets`](crate::source::Source::list_datasets).
    pub async fn datasets(&self, project: &str) -> Result<Arc<Vec<String>>> {
        let bytes = |all: &Vec<String>| all.iter().map(|dataset| ENTRY + dataset.len()).sum();
        self.remembered(&["datasets", project], self.source.list_datasets(project), bytes).await
    }

    /// The tables and views of a dataset.
    ///
    /// # Errors
    /// Those of [`Source::list_tables`](crate::source::Source::list_tables).
    pub async fn tables(&self, project: &str, dataset: &str) -> Result<Arc<Vec<Listed>>> {
        let bytes = |all: &Vec<Listed>| all.iter().map(|table| 2 * ENTRY + table.name.len()).sum();
        self.remembered(&["tables", project, dataset], self.source.list_tables(project, dataset), bytes).await
    }

    /// The description of a table or view.
    ///
    /// # Errors
    /// Those of [`Source::table`](crate::source::Source::table).
    pub async fn table(&self, id: &TableId) -> Result<Arc<Table>> {
        let bytes = |table: &Table| {
            let columns =
                table.schema.flattened_fields().iter().map(|field| 4 * ENTRY + field.name().len()).sum::<usize>();
            columns + table.view_sql.as_ref().map_or(0, String::len)
        };
        self.remembered(&["table", &id.project, &id.dataset, &id.table], self.source.table(id), bytes).await
    }

    /// What was asked, from the store while it is young; `bytes` is its size in memory.
    async fn remembered<T: Any + Send + Sync>(
        &self,
        asked: &[&str],
        fetch: impl Future<Output = Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<Arc<T>> {
        let store = &self.shared.store;
        let now = self.shared.clock.now();
        let scope = (&self.identity, &self.settings.scope, store.generation(&self.identity));
        let key = Key::new(format!("catalog {:?}", (scope, asked)));
        if let Some((known, noted_at)) = store.note::<T>(&key)
            && noted_at.holds_at(now, LIFETIME)
        {
            return Ok(known);
        }
        let fetched = Arc::new(fetch.await?);
        let bytes = bytes(&fetched);
        store.keep_note(key, Arc::clone(&fetched) as _, bytes, now, LIFETIME);
        Ok(fetched)
    }
}
