//! Runs `GoogleSQL` over tables in memory, and bills for it as `BigQuery` would.
//!
//! The only module that knows `DataFusion`. Time comes from the clock it is given, once per job.

mod bill;
mod calendar;
mod catalog;
mod errors;
mod folder;
mod functions;
mod information;
mod jobs;
mod operators;
mod output;
mod partition;
mod planning;
mod provider;
mod pruning;
mod rewrite;
mod session;
mod sizes;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod time_text;
mod types;
mod wildcard;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::physical_plan::collect;
use weir_plan::extent::DAY;
use weir_plan::{Error, Extent, Kind, Result, TableId, Timestamp};

use self::catalog::{Catalog, Relation, View, not_found};
use self::jobs::Jobs;
use self::planning::Planned;
use self::session::Session;
use self::table::TableRows;
use super::{Estimate, Identity, Job, Listed, Outcome, Partitioning, Project, Source, Table};
use crate::batches::Batches;
use crate::clock::Clock;

/// A place in memory that runs `GoogleSQL`. Cloning gives another handle to the same tables.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
    feed: Option<Arc<dyn Feed>>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    identity: Identity,
    session: Session,
    catalog: Catalog,
    jobs: Jobs,
    runs: AtomicU64,
    bytes_processed: AtomicU64,
    bytes_billed: AtomicU64,
}

/// Declares a table.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Full name.
    pub id: TableId,
    /// Columns, in the types of [`crate::batches`].
    pub schema: SchemaRef,
    /// Partitioning by a TIMESTAMP, DATE or DATETIME column; partitions are pruned, and billed, by it alone.
    pub partitioning: Option<Partitioning>,
}

/// Something that adds rows as time goes by.
pub trait Feed: Send + Sync + 'static {
    /// Brings the tables to `now`; called before each query, cheap if nothing is due.
    ///
    /// # Errors
    /// Those of the tables' changes.
    fn advance(&self, tables: &Embedded, now: Timestamp) -> Result<()>;
}

/// What a job reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The whole days from the first to the last that it reads, by table; a table that it need not read is
    /// not there.
    pub days: BTreeMap<TableId, Extent>,
    /// Tables and views that its text reads, those of views included.
    pub relations: BTreeSet<TableId>,
}

/// What all jobs so far cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// Jobs that ran to their end; dry runs and joined jobs are free.
    pub jobs: u64,
    /// Bytes read.
    pub bytes_processed: u64,
    /// Bytes on the bill.
    pub bytes_billed: u64,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("project", &self.inner.identity.project)
            .field("tables", &self.tables().len())
            .finish_non_exhaustive()
    }
}

impl Embedded {
    /// An empty place whose jobs run in `project`.
    pub fn new(project: &str, clock: Arc<dyn Clock>) -> Self {
        // Each place has its own tables: its answers must not be taken for another one's.
        static PLACES: AtomicU64 = AtomicU64::new(1);
        Self::at(project, format!("memory:{}", PLACES.fetch_add(1, Ordering::Relaxed)), clock)
    }

    /// As [`Embedded::new`]; `endpoint` tells places of one project apart.
    fn at(project: &str, endpoint: String, clock: Arc<dyn Clock>) -> Self {
        let identity = Identity {
            kind: "embedded",
            project: project.to_owned(),
            principal: "embedded".to_owned(),
            endpoint: Some(endpoint),
            location: None,
        };
        let inner = Inner {
            clock,
            identity,
            session: Session::new(),
            catalog: Catalog::default(),
            jobs: Jobs::default(),
            runs: AtomicU64::new(0),
            bytes_processed: AtomicU64::new(0),
            bytes_billed: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner), feed: None }
    }

    /// Attaches the feed that is asked before each query.
    #[must_use]
    pub fn with_feed(mut self, feed: Arc<dyn Feed>) -> Self {
        self.feed = Some(feed);
        self
    }

    /// Makes an empty table, replacing one of the same name.
    ///
    /// # Errors
    /// `InvalidQuery` for a type that no `BigQuery` type is stored as, and for a column that cannot
    /// partition.
    pub fn create_table(&self, spec: TableSpec) -> Result<()> {
        let id = spec.id.clone();
        let table = TableRows::new(spec, self.inner.clock.now())?;
        self.inner.catalog.put(id, Relation::Table(Arc::new(table)));
        Ok(())
    }

    /// Makes a view of `GoogleSQL` text, replacing a relation of the same name. What it reads is
    /// looked up when it is read; two-part names in it belong to its own project.
    ///
    /// # Errors
    /// `InvalidQuery` for a text that is not one query.
    pub fn create_view(&self, id: TableId, sql: &str) -> Result<()> {
        syntax::parse(sql).map_err(|error| error.context(format!("view {id}")))?;
        let view = View { sql: sql.to_owned(), created: self.inner.clock.now() };
        self.inner.catalog.put(id, Relation::View(Arc::new(view)));
        Ok(())
    }

    /// Adds rows, each to the partition that its partitioning column names. Columns are matched by
    /// name.
    ///
    /// # Errors
    /// `NotFound`, and `InvalidQuery` for rows of other columns or types; no row is added then.
    pub fn append(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        let now = self.inner.clock.now();
        self.inner.catalog.change(table, |table| table.append(rows, now))
    }

    /// Replaces the rows of the partition that holds `partition`.
    ///
    /// # Errors
    /// As [`Embedded::append`], and `InvalidQuery` for rows of another partition or a table without
    /// partitions.
    pub fn replace_partition(&self, table: &TableId, partition: Timestamp, rows: &RecordBatch) -> Result<()> {
        let now = self.inner.clock.now();
        self.inner.catalog.change(table, |table| table.replace_partition(partition, rows, now))
    }

    /// Replaces all rows.
    ///
    /// # Errors
    /// As [`Embedded::append`].
    pub fn replace(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        let now = self.inner.clock.now();
        self.inner.catalog.change(table, |table| table.replace(rows, now))
    }

    /// Full names of all tables and views, sorted.
    pub fn tables(&self) -> Vec<TableId> {
        let mut names: Vec<TableId> = self.inner.catalog.snapshot().keys().cloned().collect();
        names.sort();
        names
    }

    /// What all jobs so far cost.
    pub fn bill(&self) -> Bill {
        Bill {
            jobs: self.inner.runs.load(Ordering::Relaxed),
            bytes_processed: self.inner.bytes_processed.load(Ordering::Relaxed),
            bytes_billed: self.inner.bytes_billed.load(Ordering::Relaxed),
        }
    }

    /// What a job would bill now, to the byte; a dry run tells what it would read. Free.
    ///
    /// # Errors
    /// Those of [`Source::dry_run`].
    pub async fn price(&self, job: &Job) -> Result<u64> {
        self.planned(job).await.map(|(planned, _)| planned.bytes.billed)
    }

    /// What a job would read, with days out of `range`.
    ///
    /// # Errors
    /// Those of [`Source::dry_run`].
    pub async fn reads(&self, job: &Job, range: Extent) -> Result<Reads> {
        let (planned, _) = self.planned(job).await?;
        let (start, end): (Timestamp, Timestamp) = (range.start().floor(DAY), range.end().ceil(DAY));
        let length = usize::try_from(DAY).unwrap_or(usize::MAX);
        let days: Vec<i64> = (start.micros()..end.micros()).step_by(length).collect();
        let read = bill::days(&planned.plan, &days).map_err(|error| errors::of(error, &planned.words))?;
        let extent = |(first, last): (i64, i64)| {
            Extent::new(Timestamp::saturating(first), Timestamp::saturating(last.saturating_add(DAY)))
        };
        let days = read.into_iter().map(|(table, days)| Ok((table, extent(days)?))).collect::<Result<_>>()?;
        Ok(Reads { days, relations: planned.referenced })
    }

    /// Plans off the async threads: views of many tables take tens of milliseconds.
    async fn planned(&self, job: &Job) -> Result<(Planned, Timestamp)> {
        let (embedded, job) = (self.clone(), job.clone());
        let planning = tokio::task::spawn_blocking(move || {
            let now = embedded.inner.clock.now();
            if let Some(feed) = &embedded.feed {
                feed.advance(&embedded, now)?;
            }
            let inner = &embedded.inner;
            let planned =
                planning::plan(&inner.session, &inner.catalog.snapshot(), &inner.identity.project, &job, now)?;
            Ok((planned, now))
        });
        planning.await.map_err(|error| Error::internal("planning broke off").with_source(error))?
    }

    async fn execute(&self, job: &Job) -> Result<Outcome> {
        let begun = Instant::now();
        let (planned, now) = self.planned(job).await?;
        let Planned { plan, schema, bytes, words, .. } = planned;
        if let Some(limit) = job.maximum_bytes_billed.filter(|limit| bytes.billed > *limit) {
            let message =
                format!("Query exceeded limit for bytes billed: {limit}. {} or higher required.", bytes.billed);
            return Err(Error::new(Kind::TooExpensive, message));
        }
        let state = self.inner.session.state();
        let physical = state
            .query_planner()
            .create_physical_plan(&plan, state)
            .await
            .map_err(|error| errors::of(error, &words))?;
        let rows = collect(physical, state.task_ctx()).await.map_err(|error| errors::of(error, &words))?;
        let rows = rows.iter().filter(|rows| rows.num_rows() > 0).map(|rows| output::batch(rows, &schema));
        let batches = Batches::new(Arc::clone(&schema), rows.collect::<Result<_>>()?)?;
        self.inner.runs.fetch_add(1, Ordering::Relaxed);
        self.inner.bytes_processed.fetch_add(bytes.processed, Ordering::Relaxed);
        self.inner.bytes_billed.fetch_add(bytes.billed, Ordering::Relaxed);
        Ok(Outcome {
            batches,
            job_id: job.id.clone(),
            bytes_processed: bytes.processed,
            bytes_billed: bytes.billed,
            slot_ms: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            cache_hit: false,
            started_at: Some(now),
            joined: false,
            ours: true,
        })
    }
}

#[async_trait]
impl Source for Embedded {
    fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        let (planned, _) = self.planned(job).await?;
        Ok(Estimate {
            bytes_processed: planned.bytes.processed,
            schema: planned.schema,
            statement_type: "SELECT".to_owned(),
            referenced_tables: planned.referenced.into_iter().collect(),
        })
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        self.inner.jobs.join(&job.id, self.execute(&job)).await
    }

    async fn table(&self, id: &TableId) -> Result<Table> {
        let now = self.inner.clock.now();
        if let Some(feed) = &self.feed {
            feed.advance(self, now)?;
        }
        let snapshot = self.inner.catalog.snapshot();
        let relation = snapshot.get(id).ok_or_else(|| not_found(id))?;
        match relation {
            Relation::Table(table) => Ok(Table {
                id: id.clone(),
                kind: relation.kind().to_owned(),
                schema: Arc::clone(table.declared()),
                partitioning: table.partitioning().cloned(),
                clustering: vec![],
                last_modified: table.last_modified(),
                view_sql: None,
                num_rows: table.num_rows(),
                num_bytes: table.num_bytes(),
                location: None,
            }),
            Relation::View(view) => Ok(Table {
                id: id.clone(),
                kind: relation.kind().to_owned(),
                schema: planning::view_schema(&self.inner.session, &snapshot, id, now)?,
                partitioning: None,
                clustering: vec![],
                last_modified: view.created,
                view_sql: Some(view.sql.clone()),
                num_rows: 0,
                num_bytes: 0,
                location: None,
            }),
        }
    }

    async fn list_projects(&self) -> Result<Vec<Project>> {
        let own = self.inner.identity.project.clone();
        let projects: BTreeSet<_> = self.tables().into_iter().map(|id| id.project).chain([own]).collect();
        Ok(projects.into_iter().map(|id| Project { name: id.clone(), id }).collect())
    }

    async fn list_datasets(&self, project: &str) -> Result<Vec<String>> {
        let ids = self.tables().into_iter().filter(|id| id.project == project);
        let datasets: BTreeSet<_> = ids.map(|id| id.dataset).collect();
        if datasets.is_empty() && project != self.inner.identity.project {
            return Err(Error::not_found(format!("Not found: Project {project}")));
        }
        Ok(datasets.into_iter().collect())
    }

    async fn list_tables(&self, project: &str, dataset: &str) -> Result<Vec<Listed>> {
        let snapshot = self.inner.catalog.snapshot();
        let relations = snapshot.iter().filter(|(id, _)| id.project == project && id.dataset == dataset);
        let listed: BTreeSet<_> = relations
            .map(|(id, relation)| Listed { name: id.table.clone(), kind: relation.kind().to_owned() })
            .collect();
        if listed.is_empty() {
            return Err(Error::not_found(format!("Not found: Dataset {project}:{dataset}")));
        }
        Ok(listed.into_iter().collect())
    }
}
