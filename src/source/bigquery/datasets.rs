//! Which datasets may be read, beyond what `BigQuery` itself allows: those of the projects that the
//! login can list, and some by name. A free dry run tells what a query reads, through views too,
//! before its job runs; lists leave out the others, and their tables are not described.
//!
//! As in Grafana's own data source, whose settings these are; it fails closed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use weir_plan::sql::{Lexeme, lexemes};
use weir_plan::{Error, Kind, Result, TableId};

use super::configuration::Defaults;
use super::jobs::Jobs;
use super::listing;
use super::login::Whose;
use crate::source::{Estimate, Job, Project};

/// What is known of texts and projects is asked for again after this: views change, and so do grants.
const LIFE: Duration = Duration::from_mins(5);

/// Texts that are remembered; a board has some dozens.
const MOST_TEXTS: usize = 1_000;

/// `BigQuery` tells so many referenced tables at most.
/// Source: `referencedTables` in <https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobStatistics2>.
const MOST_TOLD_TABLES: usize = 50;

/// The datasets that queries may read.
pub(super) struct AllowedDatasets {
    /// Projects that count as accessible whatever the list says: those of the jobs and of the data.
    own: [String; 2],
    /// `project.dataset`.
    named: BTreeSet<String>,
    /// A caller's token is for `BigQuery` alone and the caller's business: of its projects only the
    /// data source's own count.
    lists_projects: bool,
    projects: tokio::sync::Mutex<Option<(Instant, Arc<BTreeSet<String>>)>>,
    texts: Mutex<HashMap<Text, (Instant, Arc<References>)>>,
}

/// Texts that read the same datasets: they differ in their literals alone, as a panel's do from one
/// refresh to the next. No literal of a single query names a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text {
    sql: String,
    default_dataset: Option<String>,
    location: Option<String>,
}

impl Text {
    fn of(job: &Job) -> Self {
        let sql = lexemes(&job.sql).map(|(lexeme, text)| match lexeme {
            Lexeme::Text => "''",
            Lexeme::Comment => " ",
            Lexeme::Code | Lexeme::Name => text,
        });
        let sql = sql.collect();
        Self { sql, default_dataset: job.default_dataset.clone(), location: job.location.clone() }
    }
}

/// What a text reads.
#[derive(Debug, PartialEq, Eq)]
struct References {
    statement_type: String,
    tables: Vec<TableId>,
}

impl References {
    fn of(estimate: &Estimate) -> Self {
        Self { statement_type: estimate.statement_type.clone(), tables: estimate.referenced_tables.clone() }
    }

    /// Whether the tables told are all there are.
    fn complete(&self) -> Result<()> {
        let refuse = |why: String| {
            let message = format!("{why}, and this data source restricts which datasets are read");
            Err(Error::new(Kind::PermissionDenied, message))
        };
        if self.statement_type != "SELECT" {
            return refuse(format!("what a {} reads cannot be told beforehand", self.statement_type));
        }
        if self.tables.len() >= MOST_TOLD_TABLES {
            return refuse(format!(
                "the query reads {MOST_TOLD_TABLES} tables or more, of which BigQuery names no more"
            ));
        }
        Ok(())
    }
}

impl AllowedDatasets {
    /// The datasets `named`, each `project.dataset` or `dataset` of the data project, and those of the
    /// accessible projects.
    ///
    /// # Errors
    /// `InvalidQuery` naming a dataset that is not of that form.
    pub(super) fn new(named: &[String], defaults: &Defaults, whose: Whose) -> Result<Self> {
        let named = named.iter().map(|name| {
            let (project, dataset) = name.trim().rsplit_once('.').unwrap_or((&defaults.data_project, name.trim()));
            if project.is_empty() || dataset.is_empty() || name.contains(['`', ' ', '*']) {
                return Err(Error::invalid(format!(
                    "allowed dataset {name:?} is not of the form project.dataset or dataset"
                )));
            }
            Ok(format!("{project}.{dataset}"))
        });
        Ok(Self {
            own: [defaults.project.clone(), defaults.data_project.clone()],
            named: named.collect::<Result<_>>()?,
            lists_projects: whose == Whose::Ours,
            projects: tokio::sync::Mutex::default(),
            texts: Mutex::default(),
        })
    }

    /// Checks a job that is about to run, by a dry run unless the text is known.
    ///
    /// # Errors
    /// `PermissionDenied` naming the table; those of the dry run and of the list of projects.
    pub(super) async fn check(&self, jobs: &Jobs, job: &Job) -> Result<()> {
        let text = Text::of(job);
        let known = self.known(&text);
        let references = match known {
            Some(references) => references,
            None => self.remember(text, References::of(&jobs.dry_run(job).await?)),
        };
        self.judge(jobs, &references).await
    }

    /// Checks a job of which a dry run has just told.
    ///
    /// # Errors
    /// As [`AllowedDatasets::check`].
    pub(super) async fn check_estimate(&self, jobs: &Jobs, job: &Job, estimate: &Estimate) -> Result<()> {
        let references = self.remember(Text::of(job), References::of(estimate));
        self.judge(jobs, &references).await
    }

    fn known(&self, text: &Text) -> Option<Arc<References>> {
        let texts = self.texts.lock();
        let (told, references) = texts.get(text)?;
        (told.elapsed() < LIFE).then(|| Arc::clone(references))
    }

    fn remember(&self, text: Text, references: References) -> Arc<References> {
        let references = Arc::new(references);
        let mut texts = self.texts.lock();
        if texts.len() >= MOST_TEXTS {
            texts.retain(|_, (told, _)| told.elapsed() < LIFE);
        }
        if texts.len() >= MOST_TEXTS {
            texts.clear();
        }
        texts.insert(text, (Instant::now(), Arc::clone(&references)));
        references
    }

    async fn judge(&self, jobs: &Jobs, references: &References) -> Result<()> {
        references.complete()?;
        for table in &references.tables {
            let checked = self.check_dataset(jobs, &table.project, &table.dataset).await;
            checked.map_err(|error| error.context(format_args!("the query reads table {table}")))?;
        }
        Ok(())
    }

    /// Checks a dataset.
    ///
    /// # Errors
    /// `PermissionDenied` naming it; those of the list of projects.
    pub(super) async fn check_dataset(&self, jobs: &Jobs, project: &str, dataset: &str) -> Result<()> {
        if self.is_named(project, dataset) || self.projects(jobs).await?.contains(project) {
            return Ok(());
        }
        Err(Error::new(
            Kind::PermissionDenied,
            format!(
                "dataset {project}.{dataset} is in none of the projects of this data source; its administrator can \
                 add it to the additional allowed datasets"
            ),
        ))
    }

    /// The datasets of a project that may be read; `None` is all of them.
    ///
    /// # Errors
    /// `PermissionDenied` where there are none; those of the list of projects.
    pub(super) async fn of_project<'a>(&'a self, jobs: &Jobs, project: &'a str) -> Result<Option<BTreeSet<&'a str>>> {
        if self.is_own(project) || self.projects(jobs).await?.contains(project) {
            return Ok(None);
        }
        let named: BTreeSet<&str> = self.named_of(project).collect();
        if named.is_empty() {
            let message = format!("project {project} is none of this data source's, nor is a dataset of it allowed");
            return Err(Error::new(Kind::PermissionDenied, message));
        }
        Ok(Some(named))
    }

    /// Those of the listed projects of which something may be read.
    pub(super) fn of_list(&self, mut projects: Vec<Project>) -> Vec<Project> {
        let is_shown = |id: &str| self.lists_projects || self.is_own(id) || self.named_of(id).next().is_some();
        projects.retain(|project| is_shown(&project.id));
        projects
    }

    fn named_of<'a>(&'a self, project: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.named.iter().filter_map(|named| named.rsplit_once('.'));
        named.filter(move |(of, _)| *of == project).map(|(_, dataset)| dataset)
    }

    fn is_own(&self, project: &str) -> bool {
        self.own.iter().any(|own| own == project)
    }

    /// Whether a dataset is allowed whatever projects there are.
    fn is_named(&self, project: &str, dataset: &str) -> bool {
        self.is_own(project) || self.named.contains(&format!("{project}.{dataset}"))
    }

    async fn projects(&self, jobs: &Jobs) -> Result<Arc<BTreeSet<String>>> {
        if !self.lists_projects {
            return Ok(Arc::default());
        }
        let mut kept = self.projects.lock().await;
        if let Some((_, projects)) = kept.as_ref().filter(|(listed, _)| listed.elapsed() < LIFE) {
            return Ok(Arc::clone(projects));
        }
        let listed = listing::projects(&jobs.rest).await;
        let listed = listed.map_err(|error| error.context("cannot tell which projects may be read"))?;
        let projects: Arc<BTreeSet<String>> = Arc::new(listed.into_iter().map(|project| project.id).collect());
        *kept = Some((Instant::now(), Arc::clone(&projects)));
        Ok(projects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BigQueryConfig;
    use crate::source::bigquery::tests::server_config;

    fn allowed(named: &[&str]) -> Result<AllowedDatasets> {
        let named: Vec<_> = named.iter().map(|name| (*name).to_owned()).collect();
        let config = BigQueryConfig { data_project: Some("data".to_owned()), ..server_config() };
        AllowedDatasets::new(&named, &Defaults::new(&config, "p"), Whose::Ours)
    }

    #[test]
    fn a_dataset_without_a_project_is_one_of_the_data_project_only() {
        let check = |named: &str, table: &str, expected: bool| {
            let id: TableId = table.parse().unwrap();
            assert_eq!(allowed(&[named]).unwrap().is_named(&id.project, &id.dataset), expected, "{named}: {table}");
        };
        check("sales", "data.other.t", true);
        check("sales", "p.other.t", true);
        check("sales", "public.sales.t", false);
        check("public.samples", "public.samples.t", true);
        check("public.samples", "public.crypto.t", false);
        check("public.Samples", "public.samples.t", false);
        check("example.com:public.samples", "example.com:public.samples.t", true);
        for wrong in ["", "public.", ".samples", "`public.samples`", "public.*", "a b"] {
            assert!(allowed(&[wrong]).err().unwrap().message().contains(&format!("{wrong:?}")));
        }
    }

    #[test]
    fn texts_that_differ_in_literals_and_comments_are_one() {
        let text = |sql: &str| Text::of(&Job::new("id", sql));
        let panel = |day: &str| text(&format!("SELECT a FROM `p.d.t` WHERE t >= TIMESTAMP '{day}' -- {day}"));
        assert_eq!(panel("2024-01-01"), panel("2024-01-02"));
        for other in ["SELECT a FROM `p.e.t`", "SELECT a FROM p.d1.t", "SELECT a FROM p.d2.t", "SELECT a FROM x-1.d.t"]
        {
            assert_ne!(text("SELECT a FROM `p.d.t`"), text(other));
        }
        let mut job = Job::new("id", "SELECT a FROM t");
        let plain = Text::of(&job);
        job.default_dataset = Some("d".to_owned());
        assert_ne!(plain, Text::of(&job));
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let references = |statement: &str, tables: usize| References {
            statement_type: statement.to_owned(),
            tables: vec![TableId::new("p", "d", "t"); tables],
        };
        assert!(references("SELECT", 49).complete().is_ok());
        for (references, expected) in [
            (references("SELECT", 50), "50 tables or more"),
            (references("SCRIPT", 0), "a SCRIPT reads"),
            (references("CALL", 1), "a CALL reads"),
        ] {
            let error = references.complete().unwrap_err();
            assert_eq!(error.kind(), Kind::PermissionDenied);
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
