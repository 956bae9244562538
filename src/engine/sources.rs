//! How the source of a text is read: a table by itself or with bounds on its pruning column, a view
//! that a descriptor knows by its tables, any other view by its text in place of its name.

use std::collections::HashMap;
use std::sync::Arc;

use weir_plan::analysis::{self, Reason, reason};
use weir_plan::descriptor::History;
use weir_plan::plan::Template;
use weir_plan::view::{substituted, tables};
use weir_plan::{Analysis, Catalog, Descriptors, Query, SourceDescriptor, TableId, Timestamp, View, analyse};

use super::Engine;
use super::columns::type_of_time;
use super::parts::{Known, Text};
use crate::source::Table;

/// The most views and tables that are looked at for one text.
const MOST_TABLES: usize = 64;

/// The most views inside one another that are read by their texts.
const DEEPEST: usize = 8;

/// What is known of the tables of a text.
struct Tables<'e> {
    engine: &'e Engine,
    described: HashMap<TableId, Option<Arc<Table>>>,
    /// Whether one could not be described, so that what follows is not known for long.
    is_sure: bool,
}

impl Engine {
    /// Finds out how a text may be answered.
    pub(super) async fn analysed(&self, query: &Query, text: &Text, now: Timestamp) -> Known {
        let (_, described) = self.time_tables(query, now).await;
        let is_sure = !described.values().any(Option::is_none);
        let mut tables = Tables { engine: self, described, is_sure };
        let template = tables.template(query).await;
        let template = match template {
            Ok(template) => self.probed(query, template, now).await,
            Err(reason) => Err(reason),
        };
        if !tables.is_sure || template.as_ref().is_err_and(|reason| *reason == reason::NOT_PROBED) {
            self.parts.forget_soon(text, now);
        }
        let location = template
            .as_ref()
            .ok()
            .and_then(|template| tables.described.get(&template.descriptor().table)?.as_ref()?.location.clone());
        Known { template: template.map(Arc::new), location }
    }

    /// A template, if a filter on the time keeps partitions off the bill: asked of the source by dry
    /// runs over a day and over four weeks, unless nobody need ask.
    async fn probed(&self, query: &Query, template: Template, now: Timestamp) -> Result<Template, Reason> {
        if template.surely_prunes() {
            return Ok(template);
        }
        let [day, weeks] = self.probes(query, &template, now).await.ok_or(reason::NOT_PROBED)?;
        let least = crate::source::MINIMUM_BYTES_PER_TABLE;
        if day < weeks || weeks <= least { Ok(template) } else { Err(reason::NOT_PRUNED) }
    }
}

impl Tables<'_> {
    async fn template(&mut self, query: &Query) -> Result<Template, Reason> {
        let mut sql = query.sql.clone();
        for _ in 0..DEEPEST {
            let analysis = self.analysis(&sql, query);
            let source = match &analysis.mode {
                analysis::Mode::Delta(delta) => delta.source.clone(),
                analysis::Mode::Rows(rows) => rows.source.clone(),
                analysis::Mode::Whole | analysis::Mode::None => {
                    sql = self.without_view(&sql, query, analysis.reason).await.ok_or(analysis.reason)?;
                    continue;
                }
            };
            let descriptor = self.descriptor(&source).ok_or(reason::UNKNOWN_SOURCE)?;
            let view = self.view(&descriptor).await?;
            let view = view.map(|view| (view, names(&source, query)));
            return Template::new(&sql, &query.target, &analysis, descriptor, view);
        }
        Err(reason::TOO_COMPLEX)
    }

    fn analysis(&self, sql: &str, query: &Query) -> Analysis {
        let mut descriptors = Descriptors::clone(&self.engine.settings.descriptors);
        let found = self.described.keys().filter(|id| descriptors.get(id).is_none());
        let found: Vec<_> = found.filter_map(|id| self.descriptor(id)).collect();
        descriptors.extend(found);
        // Which project a name without one belongs to is the source's affair.
        analyse(sql, &Catalog { descriptors: &descriptors, project: None, dataset: query.default_dataset.as_deref() })
    }

    fn table(&self, id: &TableId) -> Option<&Arc<Table>> {
        self.described.get(id)?.as_ref()
    }

    fn descriptor(&self, id: &TableId) -> Option<SourceDescriptor> {
        let declared = self.engine.settings.descriptors.get(id).cloned();
        declared.or_else(|| discovered(self.table(id)?))
    }

    async fn describe(&mut self, id: &TableId) -> Option<Arc<Table>> {
        if !self.described.contains_key(id) {
            if self.described.len() >= MOST_TABLES {
                return None;
            }
            let found = self.engine.table(id).await.inspect_err(|error| {
                tracing::debug!(table = %id, ?error, "no description; answers are whole");
            });
            self.is_sure &= found.is_ok();
            self.described.insert(id.clone(), found.ok());
        }
        self.table(id).cloned()
    }

    /// How a source is read besides by its name.
    async fn view(&mut self, descriptor: &SourceDescriptor) -> Result<Option<View>, Reason> {
        if descriptor.branches.is_empty() {
            return Ok(View::of_table(descriptor));
        }
        let mut texts: HashMap<TableId, String> = HashMap::new();
        let mut open = vec![descriptor.table.clone()];
        while let Some(id) = open.pop() {
            let is_branch = descriptor.branches.iter().any(|branch| branch.table == id);
            if is_branch || texts.contains_key(&id) {
                continue;
            }
            let text = self.describe(&id).await.and_then(|table| table.view_sql.clone());
            let text = text.ok_or(reason::VIEW_UNKNOWN)?;
            open.extend(tables(&text).ok_or(reason::VIEW_UNKNOWN)?);
            texts.insert(id, text);
        }
        View::new(descriptor, |id| texts.get(id).map(String::as_str)).map(Some)
    }

    /// The text with one of its views, which no descriptor knows, in place of its name.
    async fn without_view(&mut self, sql: &str, query: &Query, reason: Reason) -> Option<String> {
        if reason != reason::UNKNOWN_SOURCE {
            return None;
        }
        let views: Vec<Arc<Table>> = self
            .described
            .values()
            .flatten()
            .filter(|table| table.kind == "VIEW" && self.engine.settings.descriptors.get(&table.id).is_none())
            .cloned()
            .collect();
        for view in views {
            let text = view.view_sql.as_deref()?.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
            let Some(replaced) = substituted(sql, &names(&view.id, query), text) else { continue };
            for id in tables(text)? {
                self.describe(&id).await;
            }
            return Some(replaced);
        }
        None
    }
}

/// What a text may call a table.
fn names(id: &TableId, query: &Query) -> Vec<Vec<String>> {
    let full = id.to_string().split('.').map(str::to_owned).collect();
    let dataset = format!("{}.{}", id.project, id.dataset);
    let is_default = query.default_dataset.as_ref() == Some(&dataset);
    [full].into_iter().chain(is_default.then(|| vec![id.table.clone()])).collect()
}

/// What is assumed of a table that is partitioned by a column of time: that a row depends on its own
/// partition alone, and arrives within the default lag.
fn discovered(table: &Table) -> Option<SourceDescriptor> {
    let partitioning = table.partitioning.as_ref().filter(|_| table.kind == "TABLE")?;
    let column = partitioning.column.as_ref()?;
    let field = table.schema.fields().iter().find(|field| field.name().eq_ignore_ascii_case(column))?;
    let time_type = type_of_time(field.data_type())?;
    Some(SourceDescriptor {
        time_column: Some(column.clone()),
        time_type,
        partition: Some(partitioning.unit),
        history: History::Local,
        clustered_by_time: table.clustering.first().is_some_and(|first| first.eq_ignore_ascii_case(column)),
        ..SourceDescriptor::new(table.id.clone())
    })
}
