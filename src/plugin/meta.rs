//! What a frame says about itself: the executed SQL, our provenance, the inspector's numbers, and
//! a notice when data are stale.

use std::collections::HashMap;

use arrow::datatypes::Schema;
use serde_json::{Value, json};
use weir_plan::{Cost, Error, Result};

use super::model::Format;
use crate::engine::{Answer, OVER_BUDGET, Status};

/// The metadata of a frame's schema.
///
/// # Errors
/// `Internal` if it cannot be written as JSON.
pub(super) fn metadata(answer: &Answer, format: Format, ref_id: &str) -> Result<HashMap<String, String>> {
    pairs(&meta(answer, format), ref_id)
}

/// The metadata of the other frames of an answer, whose first says the rest.
///
/// # Errors
/// As [`metadata`].
pub(super) fn short(format: Format, ref_id: &str) -> Result<HashMap<String, String>> {
    pairs(&form(format, None), ref_id)
}

fn pairs(meta: &Value, ref_id: &str) -> Result<HashMap<String, String>> {
    let meta = serde_json::to_string(meta)
        .map_err(|error| Error::internal("cannot write a frame's meta").with_source(error))?;
    let pairs = [("name", String::new()), ("refId", ref_id.to_owned()), ("meta", meta)];
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// What form a frame has, for whoever draws it. Rows with the columns `timestamp` and `body` are
/// Grafana's own form of logs, in which it knows `severity`, `id` and `labels` too; for others it
/// guesses from their types.
/// Source: <https://grafana.com/developers/dataplane/logs>.
fn form(format: Format, schema: Option<&Schema>) -> Value {
    let has = |name: &str| schema.is_some_and(|schema| schema.column_with_name(name).is_some());
    let (kind, visualisation) = match format {
        Format::TimeSeries => (Some("timeseries-wide"), "graph"),
        Format::Multi => (Some("timeseries-multi"), "graph"),
        Format::Table => (Some("table"), "table"),
        Format::Logs if has("timestamp") && has("body") => (Some("log-lines"), "logs"),
        Format::Logs => (None, "logs"),
        Format::Traces => (None, "trace"),
    };
    let mut form = json!({
        "typeVersion": [0, i32::from(kind.is_some())],
        "preferredVisualisationType": visualisation,
    });
    if let Some(kind) = kind {
        form["type"] = kind.into();
    }
    form
}

fn meta(answer: &Answer, format: Format) -> Value {
    let provenance = &answer.provenance;
    let mut meta = form(format, Some(answer.batches.schema()));
    meta["executedQueryString"] = json!(&*answer.executed_sql);
    meta["custom"] = json!(provenance);
    meta["stats"] = json!([
        stat("Bytes processed", "bytes", float(provenance.bytes_processed)),
        stat("Bytes billed", "bytes", float(provenance.bytes_billed)),
        stat("Bytes saved by the cache", "bytes", float(provenance.bytes_saved)),
        stat("Price", &currency(&provenance.cost), provenance.cost.amount),
        stat("Price saved by the cache", &currency(&provenance.cost_saved), provenance.cost_saved.amount),
        stat("Age", "s", provenance.age_s),
    ]);
    if provenance.status == Status::Stale {
        let age = age(provenance.stale_age_s.unwrap_or(provenance.age_s));
        let text = match provenance.reason {
            OVER_BUDGET => format!("The budget of today is used up until midnight UTC; these data are {age} old."),
            _ => format!("These data are {age} old; newer ones are on their way."),
        };
        meta["notices"] = json!([{"severity": "info", "text": text}]);
    }
    meta
}

fn stat(name: &str, unit: &str, value: f64) -> Value {
    json!({"displayName": name, "unit": unit, "value": value})
}

/// Grafana's unit for an amount of money: its own where it has the currency's sign, else the code.
/// Source: `packages/grafana-data/src/valueFormats/categories.ts` of grafana/grafana.
fn currency(cost: &Cost) -> String {
    match cost.currency.as_str() {
        code @ ("USD" | "GBP" | "EUR" | "JPY" | "CHF" | "SEK" | "DKK" | "NOK" | "PLN" | "CZK" | "INR" | "BRL") => {
            format!("currency{code}")
        }
        code => format!("currency:{code}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for display; exact up to 8 PiB")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

fn age(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::every_type;
    use crate::plugin::scripted::answer;
    use weir_plan::Price;

    #[test]
    fn a_frame_says_where_its_rows_came_from() {
        let mut answer = answer(every_type());
        answer.provenance.bytes_billed = 1_099_511_627_776;
        answer.provenance.cost = Price::default().of(1_099_511_627_776);
        let metadata = metadata(&answer, Format::TimeSeries, "B").unwrap();
        assert_eq!((metadata["refId"].as_str(), metadata["name"].as_str()), ("B", ""));
        let meta: Value = serde_json::from_str(&metadata["meta"]).unwrap();
        assert_eq!(meta["type"], "timeseries-wide");
        assert_eq!(meta["typeVersion"], json!([0, 1]));
        assert_eq!(meta["executedQueryString"], "SELECT 1");
        assert_eq!(meta["custom"]["mode"], "whole");
        assert_eq!(meta["custom"]["bytes_billed"], 1_099_511_627_776_u64);
        assert_eq!(meta["custom"]["cost"], json!({"amount": 6.25, "currency": "USD"}));
        let stat = |name: &str, unit: &str, value: f64| json!({"displayName": name, "unit": unit, "value": value});
        let expected = [
            stat("Bytes processed", "bytes", 0.0),
            stat("Bytes billed", "bytes", 1_099_511_627_776.0),
            stat("Bytes saved by the cache", "bytes", 0.0),
            stat("Price", "currencyUSD", 6.25),
            stat("Price saved by the cache", "currencyUSD", 0.0),
            stat("Age", "s", 1.0),
        ];
        assert_eq!(meta["stats"], json!(expected));
        assert_eq!(meta.get("notices"), None);
    }

    #[test]
    fn money_has_grafanas_unit_or_its_code() {
        let unit = |code: &str| currency(&Price::new(1.0, code).unwrap().of(1));
        assert_eq!((unit("EUR").as_str(), unit("XAF").as_str()), ("currencyEUR", "currency:XAF"));
    }

    #[test]
    fn stale_data_carry_a_notice() {
        let mut answer = answer(every_type());
        answer.provenance.status = Status::Stale;
        answer.provenance.age_s = 20.0;
        answer.provenance.stale_age_s = Some(300.0);
        let meta = meta(&answer, Format::Table);
        assert_eq!(meta["notices"][0]["text"], "These data are 5 min old; newer ones are on their way.");
        assert_eq!((&meta["custom"]["stale_age_s"], &meta["custom"]["age_s"]), (&json!(300.0), &json!(20.0)));
        assert_eq!(meta["type"], "table");
        answer.provenance.reason = OVER_BUDGET;
        let text = "The budget of today is used up until midnight UTC; these data are 5 min old.";
        assert_eq!(super::meta(&answer, Format::Table)["notices"][0]["text"], text);
    }
}
