//! A job's text to an optimised plan, its schema and its bill. Views are planned on the way, each
//! once per job, with the job's one present.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use sqlparser::ast::Statement;
use weir_plan::{Error, Parameter, Result, TableId, Timestamp};

use super::bill::{self, Bytes};
use super::catalog::{Relation, Snapshot, not_found};
use super::provider::Provider;
use super::rewrite::{Surroundings, rewrite};
use super::session::Session;
use super::syntax::{self, Words};
use super::{errors, information, output, wildcard};
use crate::source::Job;

/// A job ready to run.
pub(super) struct Planned {
    /// The optimised plan.
    pub(super) plan: LogicalPlan,
    /// The answer's columns.
    pub(super) schema: SchemaRef,
    /// What it bills.
    pub(super) bytes: Bytes,
    /// Tables and views that it reads, those of views included.
    pub(super) referenced: BTreeSet<TableId>,
    /// Words of its text, for errors that come up while it runs.
    pub(super) words: Words,
}

/// Plans a job over a snapshot.
///
/// # Errors
/// `InvalidQuery` and `NotFound` in `BigQuery`'s words.
pub(super) fn plan(
    session: &Session,
    snapshot: &Snapshot,
    project: &str,
    job: &Job,
    now: Timestamp,
) -> Result<Planned> {
    let default = job.default_dataset.as_deref().map(|name| name.rsplit_once('.').unwrap_or((project, name)));
    let mut planning = Planning::new(session, snapshot, now);
    let planned = planning.query(&job.sql, &job.parameters, project, default)?;
    let plan = session.state().optimize(&planned.plan).map_err(|error| errors::of(error, &planned.words))?;
    let schema = output::schema(plan.schema().as_arrow(), planned.names, &planned.spellings)?;
    let tables = planning.sources.iter().filter(|(_, source)| source.is_table).map(|(id, _)| id.clone()).collect();
    let bytes = bill::bytes(&plan, &tables, &planning.shards).map_err(|error| errors::of(error, &planned.words))?;
    let referenced = planning.sources.into_keys().collect();
    Ok(Planned { plan, schema, bytes, referenced, words: planned.words })
}

/// The columns of a view.
pub(super) fn view_schema(session: &Session, snapshot: &Snapshot, id: &TableId, now: Timestamp) -> Result<SchemaRef> {
    let Some(Relation::View(view)) = snapshot.get(id) else { return Err(not_found(id)) };
    let mut planning = Planning::new(session, snapshot, now);
    let planned = planning.view(id, &view.sql)?;
    // A column's type is known once the branches of a UNION have theirs.
    let plan = session.analyze(planned.plan).map_err(|error| errors::of(error, &planned.words))?;
    output::schema(plan.schema().as_arrow(), planned.names, &planned.spellings)
}

struct Planning<'a> {
    session: &'a Session,
    snapshot: &'a Snapshot,
    now: Timestamp,
    sources: BTreeMap<TableId, Known>,
    open: Vec<TableId>,
    /// Tables that are read as one of those that a wildcard stands for.
    shards: BTreeSet<TableId>,
}

/// A relation that the job reads.
struct Known {
    source: Arc<dyn TableSource>,
    schema: SchemaRef,
    is_table: bool,
}

/// A plan whose types are not final, and how its columns are written.
struct PlannedQuery {
    plan: LogicalPlan,
    names: Option<Vec<String>>,
    spellings: HashMap<String, String>,
    words: Words,
}

impl<'a> Planning<'a> {
    fn new(session: &'a Session, snapshot: &'a Snapshot, now: Timestamp) -> Self {
        Self { session, snapshot, now, sources: BTreeMap::new(), open: Vec::new(), shards: BTreeSet::new() }
    }

    fn query(
        &mut self,
        sql: &str,
        parameters: &BTreeMap<String, Parameter>,
        project: &str,
        default_dataset: Option<(&str, &str)>,
    ) -> Result<PlannedQuery> {
        let syntax::Parsed { mut query, words } = syntax::parse(sql)?;
        let now = self.now;
        let mut columns = |id: &TableId| {
            self.source(id)?;
            let known = self.sources.get(id).ok_or_else(|| not_found(id))?;
            Ok(known.schema.fields().iter().map(|field| field.name().to_lowercase()).collect())
        };
        let surroundings = Surroundings { now, parameters, project, default_dataset, columns: &mut columns };
        let tables = rewrite(&mut query, &words, surroundings)?;
        let names = output::written_names(&query, &words);
        let mut spellings = HashMap::new();
        let mut sources = HashMap::new();
        for (id, known) in tables.iter().filter_map(|id| self.sources.get_key_value(id)) {
            output::spellings(&known.schema, &mut spellings);
            sources.insert(id.to_string(), Arc::clone(&known.source));
        }
        spellings.extend(words.aliases().clone());
        let plan = self.session.plan(Statement::Query(query), &sources).map_err(|error| errors::of(error, &words))?;
        Ok(PlannedQuery { plan, names, spellings, words })
    }

    fn view(&mut self, id: &TableId, sql: &str) -> Result<PlannedQuery> {
        if self.open.contains(id) {
            return Err(Error::invalid(format!("view {id} reads itself; views cannot be recursive")));
        }
        self.open.push(id.clone());
        let planned = self.query(sql, &BTreeMap::new(), &id.project, None);
        self.open.pop();
        planned.map_err(|error| error.context(format!("in view {id}")))
    }

    /// Makes a relation known.
    fn source(&mut self, id: &TableId) -> Result<()> {
        if self.sources.contains_key(id) {
            return Ok(());
        }
        let known = match self.snapshot.get(id) {
            None if information::is_view(id) => {
                let rows = information::rows(id, self.snapshot, self.now)?;
                let schema = Arc::clone(rows.declared());
                Known { source: provider_as_source(Arc::new(Provider(Arc::new(rows)))), schema, is_table: true }
            }
            Some(Relation::Table(table)) => Known {
                source: provider_as_source(Arc::new(Provider(Arc::clone(table)))),
                schema: Arc::clone(table.declared()),
                is_table: true,
            },
            Some(Relation::View(view)) => self.known_view(id, &view.sql)?,
            None if wildcard::is_wildcard(id) => {
                let (tables, sql) = wildcard::view(id, self.snapshot)?;
                self.shards.extend(tables);
                self.known_view(id, &sql)?
            }
            None => return Err(self.missing(id)),
        };
        self.sources.insert(id.clone(), known);
        Ok(())
    }

    fn known_view(&mut self, id: &TableId, sql: &str) -> Result<Known> {
        let planned = self.view(id, sql)?;
        let schema = output::schema(planned.plan.schema().as_arrow(), planned.names, &planned.spellings)?;
        let source = provider_as_source(Arc::new(ViewTable::new(planned.plan, None)));
        Ok(Known { source, schema, is_table: false })
    }

    fn missing(&self, id: &TableId) -> Error {
        let has_dataset = self.snapshot.keys().any(|other| other.project == id.project && other.dataset == id.dataset);
        if has_dataset {
            return not_found(id);
        }
        Error::not_found(format!("Not found: Dataset {}:{} was not found in location US", id.project, id.dataset))
    }
}
