//! Whether a query is valid, by dry run: what it would read and cost, or where it is wrong.

use serde_json::{Map, Value, json};
use weir_plan::{Error, Kind, Result, Retry};

use super::Editor;
use crate::engine::Explanation;
use crate::plugin::keys::Keys;
use crate::plugin::resource;

/// What `$__interval` stands for where the editor does not say: it does not know the panel's width.
const INTERVAL_MS: i64 = 60_000;

/// Answers `{"query": {…}, "range": {"from", "to"}, "location"}` with `{"isValid", "isError", "error",
/// "statistics": {"TotalBytesProcessed"}, "query"}` as the official data source does, and with
/// `bytesBilled`, `price` and `position` beside it.
///
/// # Errors
/// `InvalidQuery` where there is no query; those that say nothing of the query, such as `Unavailable`.
pub(super) async fn validate(editor: &Editor<'_>, keys: Keys<'_>) -> Result<Value> {
    let mut model = keys.object("query")?.ok_or_else(|| Error::invalid("query is missing; give the query"))?.clone();
    if let (None, Some(location)) = (Keys::new(&model, "query.").text("location")?, keys.text("location")?) {
        model.insert("location".to_owned(), location.into());
    }
    let nowhen = Map::new();
    let range = keys.object("range")?.unwrap_or(&nowhen);
    let interval_ms = if model.contains_key("intervalMs") { 0 } else { INTERVAL_MS };
    let written = model.get("rawSql").and_then(Value::as_str).unwrap_or_default();
    let checked = match resource::read(&model, range, interval_ms, editor.headers, editor.now) {
        Ok(query) => editor.engine.try_out(&query).await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(checked) => match checked.outcome {
            Ok(explanation) => Ok(valid(&checked.sql, &explanation)),
            Err(error) => invalid(&checked.sql, error),
        },
        Err(error) => invalid(written, error),
    }
}

fn valid(sql: &str, explanation: &Explanation) -> Value {
    json!({
        "isValid": true,
        "isError": false,
        "error": "",
        "statistics": {"TotalBytesProcessed": explanation.bytes_processed},
        "query": sql,
        "bytesBilled": explanation.bytes_billed,
        "price": explanation.cost,
    })
}

/// # Errors
/// The error itself, where it says nothing of the query.
fn invalid(sql: &str, error: Error) -> Result<Value> {
    if error.kind() == Kind::Internal || error.kind().row().retry != Retry::No {
        return Err(error);
    }
    let message = error.public_message();
    let mut answer = json!({
        "isValid": false,
        "isError": true,
        "error": message,
        "statistics": null,
        "query": sql,
    });
    if let Some((line, column)) = position(message) {
        answer["position"] = json!({"line": line, "column": column});
    }
    Ok(answer)
}

/// Line and column in the SQL, which `BigQuery` writes at the end of its message: `… at [1:8]`.
fn position(message: &str) -> Option<(u64, u64)> {
    let (_, rest) = message.rsplit_once("at [")?;
    let (line, column) = rest.split_once(']')?.0.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_the_last_of_the_message() {
        let check = |message: &str, expected| assert_eq!(position(message), expected, "{message}");
        check("Syntax error: Unexpected identifier \"FORM\" at [3:17]", Some((3, 17)));
        check("x at [1:2]; also at [4:5].", Some((4, 5)));
        check("Unrecognized name: a", None);
        check("array[1] at [offset]", None);
    }

    #[test]
    fn an_error_that_says_nothing_of_the_query_stays_one() {
        for kind in [Kind::Unavailable, Kind::QuotaExceeded, Kind::Timeout, Kind::Internal] {
            assert_eq!(invalid("SELECT 1", Error::new(kind, "no")).unwrap_err().kind(), kind);
        }
        let answer = invalid("SELECT 1", Error::new(Kind::PermissionDenied, "Access Denied: Table t")).unwrap();
        assert_eq!((&answer["isError"], &answer["error"]), (&json!(true), &json!("Access Denied: Table t")));
        assert_eq!(answer.get("position"), None);
    }
}
