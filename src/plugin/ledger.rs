//! Queries of the type `ledger`, and the route `ledger`: what the data source billed and saved, without
//! a job. `{"queryType": "ledger", "by": "day,board", "format": …}`.

use serde_json::{Map, Value};
use weir_plan::{Error, Extent, Result, Timestamp};

use super::keys::Keys;
use super::model::{self, Format, Shape};
use crate::ledger::Dimension;

/// What a query asks of the ledger.
#[derive(Debug)]
pub(super) struct Asked {
    /// What lines are added up by.
    pub(super) by: Vec<Dimension>,
    /// The form of the answer.
    pub(super) shape: Shape,
}

impl Asked {
    /// Reads the JSON of a panel's query; `None` if it is of another type, or none.
    ///
    /// # Errors
    /// `InvalidQuery` naming the key.
    pub(super) fn read(json: &[u8]) -> Result<Option<Self>> {
        let Ok(Value::Object(object)) = serde_json::from_slice(json) else { return Ok(None) };
        match Keys::new(&object, "").value("queryType").and_then(Value::as_str) {
            Some("ledger") => Self::of(&object).map(Some),
            _ => Ok(None),
        }
    }

    fn of(object: &Map<String, Value>) -> Result<Self> {
        let by = by(object)?;
        let mut shape = model::shape(object, false)?;
        // Sums of no day have no axis.
        if Keys::new(object, "").value("format").is_none() && !by.contains(&Dimension::Day) {
            shape.format = Format::Table;
        }
        Ok(Self { by, shape })
    }
}

/// The dimensions of a query: names in a list, or with commas between; days where it says nothing.
///
/// # Errors
/// `InvalidQuery` naming the key and the dimensions there are.
pub(super) fn by(object: &Map<String, Value>) -> Result<Vec<Dimension>> {
    let keys = Keys::new(object, "");
    let text = match keys.value("by") {
        Some(Value::Array(names)) => {
            let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
            names.ok_or_else(|| Error::invalid("by: give names, such as [\"day\", \"board\"]"))?.join(",")
        }
        _ => keys.text("by")?.unwrap_or("day").to_owned(),
    };
    Dimension::list(&text).map_err(|error| error.context("by"))
}

/// The range of a request, which is of whole days.
///
/// # Errors
/// `InvalidQuery` naming the key.
pub(super) fn range(arguments: &Map<String, Value>, now: Timestamp) -> Result<Option<Extent>> {
    let keys = Keys::new(arguments, "");
    let bound = |key: &str| {
        let text = keys.text(key)?;
        text.map(|text| Timestamp::parse(text, now).map_err(|error| error.context(key))).transpose()
    };
    match (bound("from")?, bound("to")?) {
        (None, None) => Ok(None),
        (from, to) => {
            let (from, to) = (from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX));
            Extent::new(from, to).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Option<Asked>> {
        Asked::read(value.to_string().as_bytes())
    }

    #[test]
    fn a_query_says_by_what_and_takes_the_form_that_fits() {
        let check = |value: Value, by: &[Dimension], format: Format| {
            let asked = read(&value).unwrap().unwrap();
            assert_eq!((&*asked.by, asked.shape.format), (by, format), "{value}");
        };
        check(json!({"queryType": "ledger"}), &[Dimension::Day], Format::TimeSeries);
        check(json!({"queryType": "ledger", "by": "board"}), &[Dimension::Board], Format::Table);
        let days = [Dimension::Day, Dimension::Cause];
        check(json!({"queryType": "ledger", "by": ["day", "cause"], "format": 1}), &days, Format::Table);
    }

    #[test]
    fn other_queries_are_not_its_and_mistakes_are_named() {
        for value in [json!({"rawSql": "SELECT 1"}), json!({"queryType": "sql"}), json!([])] {
            assert!(read(&value).unwrap().is_none(), "{value}");
        }
        let check = |value: Value, expected: &str| {
            let error = read(&value).unwrap_err();
            assert!(error.message().contains(expected), "{value}: {error}");
        };
        check(json!({"queryType": "ledger", "by": "week"}), "by: \"week\" is none of source");
        check(json!({"queryType": "ledger", "by": [1]}), "by: give names");
        check(json!({"queryType": "ledger", "format": "pie"}), "format \"pie\"");
    }

    #[test]
    fn a_range_may_be_open_on_either_side() {
        let read = |value: Value| range(value.as_object().unwrap(), Timestamp::saturating(0));
        assert_eq!(read(json!({})).unwrap(), None);
        let from = Timestamp::parse("2024-01-01", Timestamp::MIN).unwrap();
        assert_eq!(read(json!({"from": "2024-01-01"})).unwrap().unwrap().start(), from);
        assert_eq!(read(json!({"to": "2024-01-01"})).unwrap().unwrap().end(), from);
        assert!(read(json!({"from": "someday"})).unwrap_err().message().contains("from: "));
    }
}
