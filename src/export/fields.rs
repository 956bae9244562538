//! The fields of a request, taken one by one; what nobody takes is an error.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Map, Value};
use weir_plan::{Error, Result};

use crate::nearest::nearest;

/// The fields of an object by name.
#[derive(Debug)]
pub(super) struct Fields {
    /// What stands before a name in messages: nothing, or `cache.`.
    prefix: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The fields of a JSON text, all of them among `known`.
    ///
    /// # Errors
    /// `InvalidQuery`: not JSON (with line and column), no object, an unknown field.
    pub(super) fn from_json(text: &[u8], known: &[&str]) -> Result<Self> {
        let value = serde_json::from_slice(text).map_err(|error| {
            Error::invalid(format!("the body is not JSON: {error}; send an object with the field sql"))
        })?;
        Self::of(value, "", known)
    }

    /// The fields of a query string: `cache.mode=off` stands for `{"cache": {"mode": "off"}}`.
    ///
    /// # Errors
    /// `InvalidQuery`: a field twice, an unknown field.
    pub(super) fn from_query_string(text: &str, known: &[&str]) -> Result<Self> {
        let mut map = Map::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let mut target = &mut map;
            let mut leaf = &*name;
            if let Some((outer, inner)) = name.split_once('.') {
                let nested = target.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                target = nested.as_object_mut().ok_or_else(|| Error::invalid(format!("{outer} is given twice")))?;
                leaf = inner;
            }
            if target.insert(leaf.to_owned(), Value::String(value.into_owned())).is_some() {
                return Err(Error::invalid(format!("{name} is given twice")));
            }
        }
        Self::of(Value::Object(map), "", known)
    }

    fn of(value: Value, prefix: &str, known: &[&str]) -> Result<Self> {
        let Value::Object(map) = value else {
            let what = if prefix.is_empty() { "the body" } else { prefix.trim_end_matches('.') };
            return Err(Error::invalid(format!("{what} is {}, not an object", article(&value))));
        };
        if let Some(unknown) = map.keys().find(|name| !known.contains(&name.as_str())) {
            let hint = match nearest(unknown, known) {
                Some(name) => format!("did you mean {prefix}{name}?"),
                None => format!("the fields are {}", known.join(", ")),
            };
            return Err(Error::invalid(format!("unknown field {prefix}{unknown}; {hint}")));
        }
        Ok(Self { prefix: prefix.to_owned(), map })
    }

    /// Takes a field; null counts as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// The error of a field: `from: …`.
    pub(super) fn wrong(&self, name: &str, message: impl Display) -> Error {
        Error::invalid(format!("{}{name}: {message}", self.prefix))
    }

    /// A text.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field, if it is anything else.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, format!("{} is not a text", article(&other)))),
        }
    }

    /// A text, or an integer in its decimal form.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field, if it is anything else.
    pub(super) fn text_or_integer(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
            Some(other) => Err(self.wrong(name, format!("{} is neither a text nor an integer", article(&other)))),
        }
    }

    /// A text or an integer, read by `parse`.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field; the message is that of `parse`.
    pub(super) fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
        let text = self.text_or_integer(name)?;
        text.map(|text| parse(&text).map_err(|error| self.wrong(name, error))).transpose()
    }

    /// An object of its own, all of its fields among `known`; empty if there is none.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field.
    pub(super) fn object(&mut self, name: &str, known: &[&str]) -> Result<Self> {
        let prefix = format!("{}{name}.", self.prefix);
        Self::of(self.take(name).unwrap_or_else(|| Value::Object(Map::new())), &prefix, known)
    }

    /// A map of objects, or a text that holds one in JSON.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field.
    pub(super) fn objects(&mut self, name: &str, known: &[&str]) -> Result<BTreeMap<String, Self>> {
        let value = match self.take(name) {
            None => return Ok(BTreeMap::new()),
            Some(Value::String(text)) => {
                serde_json::from_str(&text).map_err(|error| self.wrong(name, format!("not JSON: {error}")))?
            }
            Some(other) => other,
        };
        let Value::Object(map) = value else {
            return Err(self.wrong(name, format!("{} is not an object", article(&value))));
        };
        map.into_iter()
            .map(|(key, value)| {
                let prefix = format!("{}{name}.{key}.", self.prefix);
                Ok((key, Self::of(value, &prefix, known)?))
            })
            .collect()
    }

    /// A value of any kind, null included.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
