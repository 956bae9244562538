//! Cases as data: the files in `cases/`, and `cannot.toml`, the list of what an implementation cannot do.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use weir_plan::{Extent, Parameter, Timestamp};

use super::google_type::Column;

/// One question and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// A sentence in snake case.
    pub(crate) name: String,
    /// `GoogleSQL`, macros allowed where there is a range.
    pub(crate) sql: String,
    /// The answer's columns, `name TYPE` each.
    #[serde(default)]
    columns: Vec<String>,
    /// The answer's rows, a JSON array each; absent where the embedded source's answer is the measure.
    #[serde(default)]
    rows: Option<Vec<String>>,
    /// The number of rows, where the rows themselves are not written out.
    #[serde(default)]
    pub(crate) count: Option<usize>,
    /// Whether the order of rows counts.
    #[serde(default)]
    pub(crate) ordered: bool,
    /// Query parameters, a JSON object of `{type, value}`.
    #[serde(default)]
    parameters: Option<String>,
    /// `dataset` or `project.dataset` of unqualified names.
    #[serde(default)]
    pub(crate) default_dataset: Option<String>,
    /// The range of the text's macros.
    #[serde(default)]
    range: Option<[String; 2]>,
    /// What `$__interval` stands for.
    #[serde(default)]
    pub(crate) step: Option<String>,
    /// The code of the error's kind, where the answer is an error.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// Whether the error depends on rows, so that a dry run need not find it.
    #[serde(default)]
    pub(crate) only_when_run: bool,
    /// What the error's message names, whatever its case.
    #[serde(default)]
    pub(crate) names: Vec<String>,
}

impl Case {
    /// The answer's columns.
    pub(crate) fn columns(&self) -> Vec<Column> {
        self.columns.iter().map(|column| Column::parse(column)).collect()
    }

    /// The answer's rows, where they are written out.
    pub(crate) fn rows(&self) -> Option<Vec<Value>> {
        let rows = self.rows.as_ref()?;
        Some(rows.iter().map(|row| self.json(row)).collect())
    }

    /// Query parameters.
    pub(crate) fn parameters(&self) -> BTreeMap<String, Parameter> {
        self.parameters.as_ref().map(|text| self.json(text)).unwrap_or_default()
    }

    /// The range of macros.
    pub(crate) fn range(&self) -> Option<Extent> {
        let [start, end] = self.range.as_ref()?;
        let time = |text: &str| Timestamp::parse(text, Timestamp::MIN).unwrap();
        Some(Extent::new(time(start), time(end)).unwrap())
    }

    fn json<T: serde::de::DeserializeOwned>(&self, text: &str) -> T {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("case {}: {text}: {error}", self.name))
    }
}

/// Something that an implementation cannot do. The suite checks that it still cannot.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cannot {
    /// Names of cases.
    pub(crate) cases: Vec<String>,
    /// Names of implementations.
    pub(crate) implementations: Vec<String>,
    /// Which questions about them.
    #[serde(default)]
    pub(crate) what: Questions,
    /// What the difference says, in part: one of these; an error of another cause is no exception.
    pub(crate) shows: Vec<String>,
    /// Why.
    pub(crate) why: String,
}

/// A question about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Does running it give the columns and rows, or the error, of the case?
    Answer,
    /// Does a dry run give the columns, or the error, of the case?
    DryRun,
}

/// Some of the questions.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Questions {
    #[default]
    Answer,
    DryRun,
    Both,
}

impl Questions {
    /// Whether `question` is among them.
    pub(crate) fn contain(self, question: Question) -> bool {
        match self {
            Self::Answer => question == Question::Answer,
            Self::DryRun => question == Question::DryRun,
            Self::Both => true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CannotFile {
    #[serde(default)]
    cannot: Vec<Cannot>,
}

/// Every case, file by file.
pub(crate) fn cases() -> Vec<Case> {
    let files = [
        ("types", include_str!("cases/types.toml")),
        ("functions", include_str!("cases/functions.toml")),
        ("times", include_str!("cases/times.toml")),
        ("relations", include_str!("cases/relations.toml")),
        ("parameters", include_str!("cases/parameters.toml")),
        ("errors", include_str!("cases/errors.toml")),
        ("monitoring", include_str!("cases/monitoring.toml")),
        ("panels", include_str!("cases/panels.toml")),
    ];
    let parse = |(name, text)| {
        toml::from_str::<CaseFile>(text).unwrap_or_else(|error| panic!("cases/{name}.toml: {error}")).case
    };
    files.into_iter().flat_map(parse).collect()
}

/// Everything that some implementation cannot do.
pub(crate) fn cannot() -> Vec<Cannot> {
    toml::from_str::<CannotFile>(include_str!("cannot.toml"))
        .unwrap_or_else(|error| panic!("cannot.toml: {error}"))
        .cannot
}

#[test]
fn every_case_is_well_formed_and_every_exception_is_of_a_case() {
    let cases = cases();
    let mut names: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    names.sort_unstable();
    names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "two cases of one name"));
    for case in &cases {
        let columns = case.columns();
        case.parameters();
        case.range();
        if case.error.is_some() {
            assert!(columns.is_empty() && case.rows.is_none(), "case {}: an error and an answer", case.name);
            continue;
        }
        assert!(!columns.is_empty(), "case {} has no columns", case.name);
        assert_ne!(case.rows.is_some(), case.count.is_some(), "case {}: either rows or a count of them", case.name);
        for row in case.rows().unwrap_or_default() {
            assert_eq!(row.as_array().map(Vec::len), Some(columns.len()), "case {}: {row}", case.name);
        }
    }
    for exception in cannot() {
        for case in &exception.cases {
            assert!(names.binary_search(case).is_ok(), "cannot.toml: no case is named {case:?}");
        }
        for implementation in &exception.implementations {
            assert!(
                super::IMPLEMENTATIONS.contains(&&**implementation),
                "cannot.toml: no implementation {implementation:?}"
            );
        }
        assert!(!exception.why.is_empty() && !exception.shows.is_empty());
    }
}
