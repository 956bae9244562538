//! What a migration did and found, for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// Something found about a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A word that stays the same from version to version.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

/// A place in a file: a target, a panel, a variable, an annotation, a rule, a data source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Where it is, in the words of the document.
    pub place: String,
    /// Line of the file, from 1.
    pub line: usize,
    /// The plugin that it belonged to.
    pub plugin: &'static str,
    /// Keys that were rewritten or added.
    pub changes: Vec<String>,
    /// What behaves differently from the plugin it belonged to.
    pub differs: Vec<Finding>,
    /// What could not be translated.
    pub needs_person: Vec<Finding>,
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing was to be changed.
    Unchanged,
    /// It was rewritten, or would be without `--dry-run`.
    Changed,
    /// It could not be read or written; it is as it was.
    Failed,
}

/// The report on a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Its path.
    pub file: String,
    /// How it ended.
    pub status: Status,
    /// Where the text before is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its places, in the order of the file.
    pub items: Vec<Item>,
    /// What is to be known of the file as a whole.
    pub notes: Vec<String>,
    /// The changes as a unified diff, in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// The report on all files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Its files, in the order of the command line.
    pub files: Vec<FileReport>,
}

impl FileReport {
    /// A file that failed.
    pub(super) fn failed(file: String, error: String) -> Self {
        Self {
            file,
            status: Status::Failed,
            backup: None,
            error: Some(error),
            items: Vec::new(),
            notes: Vec::new(),
            diff: None,
        }
    }

    /// How many things need a person.
    pub fn needs_person(&self) -> usize {
        self.items.iter().map(|item| item.needs_person.len()).sum()
    }
}

impl Report {
    /// The program's exit code: 0 all is done, 1 a file failed, 2 something needs a person.
    pub fn exit_code(&self) -> u8 {
        if self.files.iter().any(|file| file.status == Status::Failed) {
            1
        } else if self.files.iter().any(|file| file.needs_person() > 0) {
            2
        } else {
            0
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.files.iter().for_each(|file| write_file(&mut out, file, self.dry_run));
        let count = |status: &Status| self.files.iter().filter(|file| file.status == *status).count();
        let needs: usize = self.files.iter().map(FileReport::needs_person).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{} {}, {} as before, {} failed; {needs} {} a person",
            count(&Status::Changed),
            if self.dry_run { "would change" } else { "changed" },
            count(&Status::Unchanged),
            count(&Status::Failed),
            if needs == 1 { "thing needs" } else { "things need" },
        );
        out
    }
}

fn write_file(out: &mut String, file: &FileReport, dry_run: bool) {
    out.push_str(file.diff.as_deref().unwrap_or_default());
    let ending = match (&file.status, &file.backup) {
        (Status::Failed, _) => format!("failed: {}", file.error.as_deref().unwrap_or_default()),
        (Status::Unchanged, _) => "nothing to change".to_owned(),
        (Status::Changed, _) if dry_run => "would change".to_owned(),
        (Status::Changed, None) => "changed".to_owned(),
        (Status::Changed, Some(backup)) => format!("changed; the text before is in {backup}"),
    };
    let _ = writeln!(out, "{}: {ending}", file.file);
    for item in file.items.iter().filter(|item| !item.changes.is_empty()) {
        let _ = writeln!(out, "  changed  {}, line {}: {}", item.place, item.line, item.changes.join(", "));
    }
    let each =
        |of: fn(&Item) -> &[Finding]| file.items.iter().flat_map(move |item| of(item).iter().map(move |f| (item, f)));
    for (message, places) in grouped(each(|item| &item.differs)) {
        let _ = writeln!(out, "  differs  {message}: {places}");
    }
    for (message, places) in grouped(each(|item| &item.needs_person)) {
        let _ = writeln!(out, "  NEEDS A PERSON  {message}: {places}");
    }
    for note in &file.notes {
        let _ = writeln!(out, "  note  {note}");
    }
}

/// Each sentence once, with all the places that it is said of.
fn grouped<'a>(findings: impl Iterator<Item = (&'a Item, &'a Finding)>) -> Vec<(&'a str, String)> {
    let mut groups: Vec<(&str, String)> = Vec::new();
    for (item, finding) in findings {
        let place = format!("{} (line {})", item.place, item.line);
        match groups.iter_mut().find(|(message, _)| *message == finding.message) {
            Some((_, places)) => *places = format!("{places}, {place}"),
            None => groups.push((&finding.message, place)),
        }
    }
    groups
}
