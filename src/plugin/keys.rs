//! Typed reading of a JSON object that others wrote: null and empty count as absent, and an error
//! names the key. It never shows a value's text unless it is the value that is at fault.

use serde_json::{Map, Value};
use weir_plan::{Error, Result};

/// A JSON object and what to call it in errors.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    object: &'a Map<String, Value>,
    /// Put before a key: empty, or `jsonData.`.
    place: &'static str,
}

impl<'a> Keys<'a> {
    /// The keys of `object`; `place` goes before them in errors.
    pub(super) fn new(object: &'a Map<String, Value>, place: &'static str) -> Self {
        Self { object, place }
    }

    /// The value under `key`, unless it is null.
    pub(super) fn value(self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A text that is not empty.
    pub(super) fn text(self, key: &str) -> Result<Option<&'a str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.mistyped(key, "a text", other)),
        }
    }

    /// A whole number from zero, also written as a text or a float.
    pub(super) fn natural(self, key: &str) -> Result<Option<u64>> {
        let number = match self.value(key) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match (number, self.value(key)) {
            (Some(number), _) => Ok(Some(number)),
            (None, Some(value)) => Err(Error::invalid(format!("{}{key}: {value} is not a whole number", self.place))),
            (None, None) => Ok(None),
        }
    }

    /// A yes or no; absent is no.
    pub(super) fn flag(self, key: &str) -> Result<bool> {
        match self.value(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.mistyped(key, "true or false", other)),
        }
    }

    /// An object.
    pub(super) fn object(self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(self.mistyped(key, "an object", other)),
        }
    }

    fn mistyped(self, key: &str, expected: &str, found: &Value) -> Error {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Error::invalid(format!("{}{key} is {found}; give {expected}", self.place))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..9.0e18).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_are_read_as_they_are_written_by_people_and_forms() {
        let check = |value: Value, expected: Option<u64>| {
            let object = json!({ "n": value });
            assert_eq!(Keys::new(object.as_object().unwrap(), "").natural("n").unwrap(), expected, "{object}");
        };
        check(json!(null), None);
        check(json!(""), None);
        check(json!(0), Some(0));
        check(json!(12.0), Some(12));
        check(json!("5242880"), Some(5_242_880));
        check(json!(u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn errors_name_the_key_and_its_place() {
        let object = json!({"n": -1, "m": "many", "t": 3, "f": "yes", "o": []});
        let keys = Keys::new(object.as_object().unwrap(), "jsonData.");
        assert_eq!(keys.natural("n").unwrap_err().message(), "jsonData.n: -1 is not a whole number");
        assert_eq!(keys.natural("m").unwrap_err().message(), "jsonData.m: \"many\" is not a whole number");
        assert_eq!(keys.text("t").unwrap_err().message(), "jsonData.t is a number; give a text");
        assert_eq!(keys.flag("f").unwrap_err().message(), "jsonData.f is a text; give true or false");
        assert_eq!(keys.object("o").unwrap_err().message(), "jsonData.o is an array; give an object");
    }
}
