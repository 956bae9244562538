//! Every query of a board, explained as if a person opened the board.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use weir_plan::{Error, Extent, Query, Result, Step, Timestamp};

use super::report::{Entry, Outcome, Report};
use crate::board::{Board, Item, Target, Variables};
use crate::engine::Engine;
use crate::plugin;

/// Dry runs at a time.
const AT_A_TIME: usize = 8;

/// Points of a panel where neither the board nor the caller says: about the pixels of a wide one.
const POINTS: f64 = 1_000.0;

/// How the board is opened.
pub(super) struct Asking {
    /// The variables' values.
    pub(super) variables: Variables,
    /// The range, in place of the board's.
    pub(super) range: Option<Extent>,
    /// The interval, in place of the panels'.
    pub(super) step: Option<Step>,
    /// Dataset of table names without one, where a query has none.
    pub(super) dataset: Option<String>,
    /// The present.
    pub(super) now: Timestamp,
}

/// Explains every query of a board that is for `BigQuery`, and says of the others why not.
///
/// # Errors
/// `InvalidQuery` for a board whose own range cannot be read.
pub(super) async fn explain(engine: &Arc<Engine>, board: &Board, asking: &Asking) -> Result<Report> {
    let range = match (asking.range, board.range()) {
        (Some(range), _) => Some(range),
        (None, Some((from, to))) => Some(board_range(from, to, asking.now)?),
        (None, None) => None,
    };
    let items = board.items();
    let entries = futures::stream::iter(&items).map(|item| entry(engine, item, asking, range)).buffered(AT_A_TIME);
    Ok(Report::new(board.title(), entries.collect().await))
}

fn board_range(from: &str, to: &str, now: Timestamp) -> Result<Extent> {
    let at = |text: &str| Timestamp::parse(text, now);
    at(from).and_then(|from| Extent::new(from, at(to)?)).map_err(|error| {
        error.context(format_args!("the board opens with the range {from} to {to}; give --from and --to"))
    })
}

async fn entry(engine: &Arc<Engine>, item: &Item<'_>, asking: &Asking, range: Option<Extent>) -> Entry {
    let target = match item {
        Item::Library { panel, name } => {
            let reason = format!("library panel {name:?} is not in the file; export the board with its library panels");
            return Entry { outcome: Outcome::Skipped(reason), ..Entry::of(panel, "") };
        }
        Item::Target(target) => target,
    };
    let outcome = match skipped(target) {
        Some(reason) => Outcome::Skipped(reason),
        None => match asked(target, asking, range) {
            Ok(query) => match engine.explain(&query).await {
                Ok(explanation) => Outcome::Explained(explanation),
                Err(error) => Outcome::Failed(error),
            },
            Err(error) => Outcome::Failed(error),
        },
    };
    let data_source = target.data_source.name.or(target.data_source.plugin).map(str::to_owned);
    Entry { data_source, hidden: target.hidden, outcome, ..Entry::of(target.panel, target.ref_id) }
}

/// Why a target is not for us.
fn skipped(target: &Target<'_>) -> Option<String> {
    if target.model.get("queryType").and_then(Value::as_str) == Some("ledger") {
        return Some("it asks Weir's own ledger, which runs no job".to_owned());
    }
    let has_sql = target.model.get("rawSql").and_then(Value::as_str).is_some_and(|sql| !sql.trim().is_empty());
    match (target.data_source.is_bigquery(), target.data_source.plugin) {
        (Some(true), _) => None,
        (_, Some(plugin)) => Some(format!("the data source {plugin} is not BigQuery")),
        (_, None) if has_sql => None,
        (_, None) => Some("the query has no SQL, and the file does not name its data source's type".to_owned()),
    }
}

/// The question that Grafana would ask for a target.
fn asked(target: &Target<'_>, asking: &Asking, range: Option<Extent>) -> Result<Query> {
    let range = match (target.seconds_ago, asking.range) {
        (Some((from, to)), None) => Some(seconds_ago(from, to, asking.now)?),
        _ => range.map(|range| overridden(target, range, asking)).transpose()?,
    };
    let mut model = target.model.clone();
    for value in model.values_mut() {
        if let Value::String(text) = value {
            *text = asking.variables.replace(text)?;
        }
    }
    let mut query = plugin::query_of_target(&model, range, interval_ms(target, range, asking))?;
    if asking.step.is_some() {
        query.step = asking.step;
    }
    if query.default_dataset.is_none() {
        query.default_dataset.clone_from(&asking.dataset);
    }
    Ok(query)
}

/// The range that an alert rule asks about.
fn seconds_ago(from: i64, to: i64, now: Timestamp) -> Result<Extent> {
    let at = |seconds: i64| now.minus(Duration::from_secs(seconds.unsigned_abs()));
    Extent::new(at(from), at(to)).map_err(|error| error.context("the rule's relativeTimeRange"))
}

/// The range after the panel's own `timeFrom` and `timeShift`.
fn overridden(target: &Target<'_>, range: Extent, asking: &Asking) -> Result<Extent> {
    let before = |name: &str, time: Timestamp| match target.option(name) {
        None => Ok(time),
        Some(text) => Timestamp::parse(&format!("now-{}", text.trim_start_matches('-')), time).map_err(|_| {
            Error::invalid(format!("the panel's {name} is {text:?}, which is not an interval such as 1d; mend it"))
        }),
    };
    let range = match target.option("timeFrom") {
        None => range,
        Some(_) => Extent::new(before("timeFrom", asking.now)?, asking.now)?,
    };
    Extent::new(before("timeShift", range.start())?, before("timeShift", range.end())?)
}

/// The interval that Grafana suggests: the range's share of a point, not less than the panel's minimum.
fn interval_ms(target: &Target<'_>, range: Option<Extent>, asking: &Asking) -> i64 {
    let points = target.options.get("maxDataPoints").and_then(Value::as_f64).filter(|points| *points >= 1.0);
    let span = range.map_or(Duration::ZERO, |range| range.end().since(range.start()));
    let share = Duration::try_from_secs_f64(span.as_secs_f64() / points.unwrap_or(POINTS)).unwrap_or_default();
    let least = target.option("interval").and_then(|text| {
        let text = asking.variables.replace(text).ok()?;
        match text.trim_start_matches(['>', ' ']).parse().ok()? {
            Step::Micros(micros) => Some(Duration::from_micros(micros.unsigned_abs())),
            Step::Months(_) => None,
        }
    });
    i64::try_from(share.max(least.unwrap_or_default()).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
