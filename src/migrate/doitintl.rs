//! Habits of doitintl's plugin (`doitintl/bigquery-grafana`, `src/bigquery_query.ts` and
//! `src/datasource.ts`, 1.0.8 and 2.0.3) that queries may lean on.

use super::sql::{self, Macro};
use super::target::{Asker, Judgement, Target};

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
    if sql.contains("_TABLE_SUFFIX BETWEEN '") || sql.contains("AND _PARTITIONTIME >= '") {
        judgement.needs(
            "frozen-dates",
            "doitintl's editor put the range's dates into the SQL anew for each query; here they stay as saved: \
             compare _TABLE_SUFFIX or _PARTITIONTIME with $__timeFrom() and $__timeTo()",
        );
    }
    if matches!(target.asker, Asker::Panel | Asker::AlertingPanel) && !sql::has_word(code, "LIMIT") {
        judgement.differs("no-limit", "all rows come; doitintl's plugin cut them to the panel's data points");
    }
}

fn judge_interval(name: &str, interval: &str, version: Option<&str>, judgement: &mut Judgement) {
    let interval = interval.trim_matches(['\'', '"', '`', ' ']);
    let count = interval.strip_suffix('m').unwrap_or_default();
    if interval == "auto" {
        judgement
            .needs("auto-interval", format!("the interval auto of $__{name} is not known here; write $__interval"));
    }
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
    let plain = |name: &str| name.replace('`', "");
    let other = macros
        .iter()
        .filter(|found| matches!(found.name, "timeFilter" | "timeFrom" | "timeTo" | "timeGroup"))
        .find_map(|found| found.arguments.first().filter(|argument| plain(argument) != plain(column)));
    if let Some(argument) = other {
        judgement.differs(
            "time-column",
            format!("a macro names {argument}, and the target's timeColumn, which doitintl's plugin used, is {column}"),
        );
    }
}
