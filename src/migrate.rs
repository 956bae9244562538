//! `weir migrate`: boards and provisioning files of `grafana-bigquery-datasource` and
//! `doitintl-bigquery-datasource`, rewritten to Weir's data source in place.
//!
//! A file is changed as text, at the places that a tree of it knows, so that comments, key order,
//! numbers and layout stay; what comes out is read again and compared value by value. It knows
//! neither the engine nor BigQuery.

mod board;
mod doitintl;
mod edit;
mod files;
mod kind;
mod known;
mod provisioning;
mod report;
mod resource;
mod sql;
mod target;
#[cfg(test)]
mod tests;
mod walk;

use std::path::{Path, PathBuf};

use clap::Args;
use similar::TextDiff;
use weir_plan::{Error, Kind, Result};

use crate::document::Document;
use known::Known;
use walk::Walk;

pub use report::{FileReport, Finding, Item, Report, Status};

/// Options of `weir migrate`.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Boards (JSON, or resources as YAML), library panels, alert rules, data sources
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print the changes as a diff and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Uid of the Weir data source, for every reference that is rewritten [default: references keep theirs]
    #[arg(long)]
    pub uid: Option<String>,
    /// A data source that is one of the two plugins', where the files do not say so; `default` for
    /// Grafana's default one
    #[arg(long, value_name = "NAME_OR_UID")]
    pub datasource: Vec<String>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

impl Report {
    /// What is printed: the report for people, or as JSON.
    ///
    /// # Errors
    /// `Internal` if it cannot be written as JSON.
    pub fn print(&self, json: bool) -> Result<String> {
        if !json {
            return Ok(self.text());
        }
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal("cannot write the report").with_source(error))?;
        Ok(text + "\n")
    }
}

/// Migrates files. What one file says of a data source counts for all of them; a file that fails
/// does not keep the others.
pub fn run(options: &Options) -> Report {
    let read = |path: &PathBuf| Document::read(path, files::read(path)?);
    let documents: Vec<_> = options.files.iter().map(|path| (path, read(path))).collect();
    let mut known = Known::from_options(&options.datasource, options.uid.as_deref());
    let trees = documents.iter().filter_map(|(_, document)| document.as_ref().ok()).flat_map(|found| &found.trees);
    trees.for_each(|tree| known.learn(tree));
    let migrate = |(path, document): (&PathBuf, Result<Document>)| {
        let name = path.display().to_string();
        let report = document.and_then(|document| file(path, &document, &known, options));
        report.unwrap_or_else(|error| FileReport::failed(name, error.message().to_owned()))
    };
    Report { dry_run: options.dry_run, files: documents.into_iter().map(migrate).collect() }
}

fn file(path: &Path, document: &Document, known: &Known, options: &Options) -> Result<FileReport> {
    let (text, mut report) = migrate(document, known, options.uid.as_deref())?;
    report.file = path.display().to_string();
    if text == document.text {
        return Ok(report);
    }
    report.status = Status::Changed;
    if options.dry_run {
        report.diff = Some(diff(&report.file, document, &text));
    } else {
        // A file that was named twice, or changed by another meanwhile, is not written over.
        if files::read(path)? != document.text {
            return Err(Error::new(Kind::Unavailable, "the file changed after it was read; migrate it again"));
        }
        report.backup = Some(files::write(path, &text)?.display().to_string());
    }
    Ok(report)
}

/// A document's new text and the report on it.
///
/// # Errors
/// `Internal` if the new text were anything but the old one with the reported changes.
fn migrate(document: &Document, known: &Known, uid: Option<&str>) -> Result<(String, FileReport)> {
    let mut walk = Walk::new(document, known, uid);
    document.trees.iter().for_each(|tree| walk.any(tree, 0));
    walk.leftovers();
    let text = edit::apply(&document.text, &walk.edits)?;
    edit::verify(&document.trees, &Document::parse(document.format, &text)?, &walk.edits)?;
    let mut items = walk.items;
    items.sort_by_key(|item| item.line);
    let (file, notes) = (String::new(), walk.notes);
    Ok((text, FileReport { file, status: Status::Unchanged, backup: None, error: None, items, notes, diff: None }))
}

/// The changes of a file; lines round them are not shown where they may hold a secret.
fn diff(name: &str, document: &Document, text: &str) -> String {
    let context = if document.has_secrets() { 0 } else { 3 };
    let lines = TextDiff::from_lines(document.text.as_str(), text);
    lines.unified_diff().context_radius(context).header(name, name).to_string()
}
