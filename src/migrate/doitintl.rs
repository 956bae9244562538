//! Habits of doitintl's plugin (`doitintl/bigquery-grafana`, `src/bigquery_query.ts` and
//! `src/datasource.ts`, 1.0.8 and 2.0.3) that queries may lean on.

use super::sql::{self, Macro};
use super::target::{Asker, Judgement, Target};
use crate::document::Node;

/// Judges a query of doitintl's plugin.
pub(super) fn judge(target: &Target<'_>, sql: &str, code: &str, macros: &[&Macro<'_>], judgement: &mut Judgement) {
    judge_time_column(target, macros, judgement);
    for found in macros {
        let interval = match found.name {
            "timeGroup" | "timeGroupAlias" => found.arguments.get(1),
            "timeShifting" => found.arguments.first(),
            _ => None,
        };
        judge_interval(found.name, interval.copied().unwrap_or_default(), target.version, judgement);
    }
    let is_generated = target.query.get("rawQuery").and_then(Node::scalar) == Some("false");
    let has_dates = sql.contains("_TABLE_SUFFIX BETWEEN '") || sql.contains("AND _PARTITIONTIME >= '");
    if has_dates && !is_generated {
        judgement.needs(
            "frozen-dates",
            "doitintl's plugin put the range's dates after _TABLE_SUFFIX and _PARTITIONTIME; in SQL that was written \
             by hand they stay as they are here: make them from $__timeFrom() and $__timeTo()",
        );
    }
    if let Some(left) = ["-- time --", "-- value --"].into_iter().find(|left| sql.contains(left)) {
        judgement.needs("unfinished", format!("{left:?} still stands for a column that was never chosen"));
    }
    let is_limited = sql::has_word(code, "LIMIT") || macros.iter().any(|found| found.name == "limitPosition");
    if matches!(target.asker, Asker::Panel | Asker::AlertingPanel) && !is_limited {
        judgement.differs("no-limit", "all rows come; doitintl's plugin cut them to the panel's data points");
    }
}

fn judge_interval(name: &str, interval: &str, version: Option<&str>, judgement: &mut Judgement) {
    let interval = interval.trim_matches(['\'', '"', '`', ' ']);
    let count = interval.strip_suffix('m').unwrap_or_default();
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return;
    }
    let was = match version.map(|version| version.split('.').next().unwrap_or_default()) {
        Some("1") => "was months in this board's version of doitintl's plugin",
        Some(_) => return,
        None => "was months in doitintl's plugin up to 1.0.8",
    };
    judgement.needs(
        "month-or-minute",
        format!("{interval} under $__{name} is minutes here and {was}; write {count}M for months, or leave it"),
    );
}

/// doitintl's filters named the target's time column, whatever their argument.
fn judge_time_column(target: &Target<'_>, macros: &[&Macro<'_>], judgement: &mut Judgement) {
    let Some(column) = target.query.text_of("timeColumn").filter(|column| !column.starts_with("--")) else { return };
    let plain = |name: &str| name.replace('`', "").to_ascii_lowercase();
    let own = plain(column);
    let is_other = |argument: &&str| {
        let argument = plain(argument);
        argument != own && !argument.ends_with(&format!(".{own}"))
    };
    let arguments =
        macros.iter().filter(|found| is_of_time(found)).filter_map(|found| found.arguments.first().copied());
    if let Some(argument) = arguments.filter(|argument| !argument.is_empty()).find(is_other) {
        judgement.differs(
            "time-column",
            format!("a macro names {argument}; the target's timeColumn {column} counts, as in doitintl's plugin"),
        );
    }
}

/// Whether a macro has a time column.
pub(super) fn is_of_time(found: &Macro<'_>) -> bool {
    matches!(found.name, "timeFilter" | "timeFrom" | "timeTo" | "timeGroup" | "timeGroupAlias")
}
