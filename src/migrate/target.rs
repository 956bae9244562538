//! What becomes of one query: which of its habits differ here and which cannot be translated. It
//! changes nothing.

use std::borrow::Cow;

use weir_plan::sql::{Lexeme, statement};

use super::doitintl;
use super::known::Plugin;
use super::report::Finding;
use super::sql::{self, Macro};
use crate::document::Node;

/// Keys by which the backend tells a target of doitintl's (`plugin/target.rs`).
const OF_DOITINTL: [&str; 5] = ["timeColumn", "timeColumnType", "metricColumn", "orderByCol", "orderBySort"];
/// Keys that only targets of the two plugins have, of all that have `rawSql`.
const OF_BIGQUERY: [&str; 9] = [
    "location",
    "project",
    "sharded",
    "partitioned",
    "partitionedField",
    "convertToUTC",
    "connectionArgs",
    "orderByCol",
    "enableStorageAPI",
];
/// Macros that the backend expands.
const MACROS: [&str; 15] = [
    "timeFilter",
    "timeFrom",
    "timeTo",
    "millisTimeFrom",
    "millisTimeTo",
    "timeGroup",
    "timeGroupAlias",
    "timeShifting",
    "limitPosition",
    "unixEpochFilter",
    "unixEpochGroup",
    "interval",
    "interval_ms",
    "table",
    "column",
];
/// Grafana's own variables, which are replaced in strings too.
const GLOBALS: [&str; 12] = [
    "from",
    "to",
    "range",
    "range_s",
    "range_ms",
    "dashboard",
    "user",
    "org",
    "name",
    "rate_interval",
    "timezone",
    "searchFilter",
];

/// What asks a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A panel.
    Panel,
    /// A panel and its alert, for which no front end replaces variables.
    AlertingPanel,
    /// An alert rule, likewise.
    Rule,
    /// A variable or an annotation, which take rows as they are.
    Rows,
}

/// A query and where it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Its JSON.
    pub(super) query: &'a Node,
    /// Its SQL, where that is not the JSON's `rawSql`.
    pub(super) sql: Option<&'a str>,
    /// The plugin that it was written for.
    pub(super) plugin: Plugin,
    /// What asks it.
    pub(super) asker: Asker,
    /// Whether `$$` is read as `$`, as in Grafana's provisioning files.
    pub(super) escaped: bool,
    /// The version of doitintl's plugin, where the file has it.
    pub(super) version: Option<&'a str>,
}

/// What a query's differences are.
#[derive(Clone, Debug, Default)]
pub(super) struct Judgement {
    /// What behaves differently.
    pub(super) differs: Vec<Finding>,
    /// What could not be translated.
    pub(super) needs_person: Vec<Finding>,
}

impl Judgement {
    /// Says what behaves differently.
    pub(super) fn differs(&mut self, code: &'static str, message: impl Into<String>) {
        self.differs.push(Finding { code, message: message.into() });
    }

    /// Says what could not be translated.
    pub(super) fn needs(&mut self, code: &'static str, message: impl Into<String>) {
        self.needs_person.push(Finding { code, message: message.into() });
    }
}

/// Whether a target of an unknown data source can only be one of `BigQuery`'s.
pub(super) fn looks_like_bigquery(query: &Node) -> bool {
    match query.text_of("rawSql") {
        Some(sql) => names_a_table(sql) || OF_BIGQUERY.iter().any(|key| query.get(key).is_some()),
        None => false,
    }
}

/// Whether a text has a `project.dataset.table` in backticks.
pub(super) fn names_a_table(sql: &str) -> bool {
    sql.split('`').skip(1).step_by(2).any(|name| name.matches('.').count() == 2)
}

/// Whether the backend can tell that a target is of doitintl's shape.
pub(super) fn has_doitintl_shape(query: &Node) -> bool {
    OF_DOITINTL.iter().any(|key| query.get(key).is_some())
}

/// Judges a query that becomes Weir's.
pub(super) fn judge(target: &Target<'_>) -> Judgement {
    let mut judgement = Judgement::default();
    let doitintl = target.is_doitintl();
    judge_format(target, &mut judgement);
    judge_utc(target, &mut judgement);
    let sql = target.sql.or_else(|| target.query.text_of("rawSql")).unwrap_or_default();
    let sql = if target.escaped { Cow::Owned(sql.replace("$$", "$")) } else { Cow::Borrowed(sql) };
    if sql.trim().is_empty() {
        if doitintl {
            judgement.needs(
                "no-sql",
                "the file holds no SQL for it; save the panel once more in the old plugin, or write it",
            );
        }
        return judgement;
    }
    if let Err(reason) = runs(&sql) {
        judgement.needs("not-a-query", reason);
        return judgement;
    }
    let macros = sql::macros(&sql);
    let code = sql::code(&sql);
    judge_places(&macros, &mut judgement);
    let in_code: Vec<_> = macros.iter().filter(|found| found.place == Lexeme::Code).collect();
    judge_range(&in_code, &mut judgement);
    if doitintl {
        doitintl::judge(target, &sql, &code, &in_code, &mut judgement);
    } else {
        judge_official(target, &code, &in_code, &mut judgement);
    }
    if target.is_time_series() && !sql::groups_rows(&code) {
        judgement.differs(
            "duplicate-time",
            "two rows of the same time and series are an error that names them; the old plugin drew what came last",
        );
    }
    if matches!(target.asker, Asker::AlertingPanel | Asker::Rule) {
        for name in sql::variables(&sql) {
            judgement.needs("variable-in-alert", format!("nothing replaces the variable {name} in an alert rule"));
        }
    }
    judgement
}

impl Target<'_> {
    fn is_doitintl(&self) -> bool {
        match self.plugin {
            Plugin::Doitintl => true,
            Plugin::Official => false,
            _ => has_doitintl_shape(self.query),
        }
    }

    fn format(&self) -> String {
        self.query.get("format").and_then(Node::scalar).unwrap_or_default().trim().to_ascii_lowercase()
    }

    fn is_time_series(&self) -> bool {
        self.asker != Asker::Rows && matches!(self.format().as_str(), "" | "0" | "time_series" | "timeseries")
    }
}

/// `convertToUTC` is only ever doitintl's, but says nothing of the macros beside it.
fn judge_utc(target: &Target<'_>, judgement: &mut Judgement) {
    let Some(set) = target.query.get("convertToUTC") else { return };
    if set.is_true() || set.text().is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        judgement
            .needs("convert-to-utc", "convertToUTC shifted the range by the viewer's time zone; here times are UTC");
    }
    if !target.is_doitintl() && target.plugin != Plugin::Official {
        judgement.needs(
            "whose-query",
            "only convertToUTC hints that the query is doitintl's, and it is taken for the official plugin's; if it is \
             not, add \"metricColumn\": \"none\"",
        );
    }
}

fn judge_format(target: &Target<'_>, judgement: &mut Judgement) {
    let format = target.format();
    let known = ["", "timeseries", "time_series", "table", "logs", "traces", "multi", "0", "1", "2", "3", "4"];
    if !known.contains(&format.as_str()) {
        judgement.needs(
            "unknown-format",
            format!("the format {format:?} is none of time_series, table, logs, traces, multi"),
        );
    }
}

/// Why a text is not run: only one query is. A text that begins with a variable may be one.
fn runs(sql: &str) -> Result<(), String> {
    match statement(sql) {
        Ok(statement) if statement.is_query() || statement.name().starts_with(['$', '[']) => Ok(()),
        Ok(statement) => Err(format!("{} is not run here, only a SELECT", statement.name())),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// Macros in strings and comments, and those that nobody knows.
fn judge_places(macros: &[Macro<'_>], judgement: &mut Judgement) {
    let mut in_comment = false;
    for found in macros {
        let name = found.name;
        let is_macro = MACROS.contains(&name);
        match found.place {
            Lexeme::Comment => in_comment |= is_macro,
            Lexeme::Text if is_macro => judgement.needs(
                "macro-in-string",
                format!("$__{name} stands in a string, where it is no longer expanded; join the text from parts"),
            ),
            Lexeme::Code if !is_macro && !GLOBALS.contains(&name) && !name.starts_with("auto") => {
                judgement.needs("unknown-macro", format!("$__{name} is not a macro of Weir's"));
            }
            _ => {}
        }
    }
    if in_comment {
        judgement.differs("macro-in-comment", "a macro in a comment is no longer expanded");
    }
}

fn judge_official(target: &Target<'_>, code: &str, macros: &[&Macro<'_>], judgement: &mut Judgement) {
    if sql::gives_array(code) {
        judgement.differs(
            "array-as-json",
            "an array becomes JSON text; \"arrays\": \"comma\" in the query joins it with commas, as the official plugin did",
        );
    }
    let key = OF_DOITINTL.iter().find(|key| target.query.get(key).is_some());
    if let (Some(key), true) = (key, macros.iter().any(|found| doitintl::is_of_time(found))) {
        judgement.needs(
            "keys-of-doitintl",
            format!(
                "by its key {key} the query counts as doitintl's, whose macros mean something else; take such keys out"
            ),
        );
    }
}

fn judge_range(macros: &[&Macro<'_>], judgement: &mut Judgement) {
    if macros.iter().any(|found| matches!(found.name, "timeFilter" | "timeTo" | "timeFrom")) {
        judgement.differs(
            "half-open-range",
            "the range is half-open: a row at its very start counts, one at its very end does not",
        );
    }
}
