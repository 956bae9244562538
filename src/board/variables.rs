//! Variables of a board, put into a text as Grafana's front end does before it asks: in strings and
//! comments too, since it reads no SQL.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_plan::{Error, Result};

/// Variables by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, Variable>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Variable {
    values: Vec<String>,
    /// Whether it may have several values: then they are quoted.
    is_many: bool,
    /// The text that stands for "all", which is taken as it is.
    all: Option<String>,
}

/// The value that stands for all others.
const ALL: &str = "$__all";

impl Variables {
    /// Gives a variable one value.
    pub fn set(&mut self, name: &str, value: &str) {
        let variable = self.0.entry(name.to_owned()).or_default();
        variable.values = vec![value.to_owned()];
        variable.all = None;
    }

    /// Replaces `$name`, `${name}`, `${name:format}`, `[[name]]` and `[[name:format]]`. A name that is
    /// no variable of the board stays, as do Grafana's own (`$__interval`).
    ///
    /// # Errors
    /// `InvalidQuery` for a variable without a saved value, and for an unknown format.
    pub fn replace(&self, text: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['$', '[']) {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let Some(mention) = Mention::at(from) else {
                out.push_str(&from[..1]);
                rest = &from[1..];
                continue;
            };
            match self.0.get(mention.name) {
                Some(variable) => out.push_str(&variable.written(mention.name, mention.format)?),
                None => out.push_str(&from[..mention.length]),
            }
            rest = &from[mention.length..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl<'a> FromIterator<&'a Value> for Variables {
    /// Reads the entries of a board's list; the last one of a name counts.
    fn from_iter<I: IntoIterator<Item = &'a Value>>(entries: I) -> Self {
        let read = |entry: &Value| Some((entry["name"].as_str()?.to_owned(), Variable::read(entry)));
        Self(entries.into_iter().filter_map(read).collect())
    }
}

/// A place in a text that names a variable.
struct Mention<'a> {
    name: &'a str,
    format: Option<&'a str>,
    length: usize,
}

impl<'a> Mention<'a> {
    /// The mention that `text` begins with.
    fn at(text: &'a str) -> Option<Self> {
        for (open, close) in [("${", "}"), ("[[", "]]")] {
            if let Some(inner) = text.strip_prefix(open) {
                let inner = &inner[..inner.find(close)?];
                let (name, format) = inner.split_once(':').map_or((inner, None), |(name, format)| (name, Some(format)));
                let is_name = !name.is_empty() && name.chars().all(is_word);
                return is_name.then_some(Self { name, format, length: open.len() + inner.len() + close.len() });
            }
        }
        let name = text.strip_prefix('$')?;
        let name = &name[..name.find(|letter| !is_word(letter)).unwrap_or(name.len())];
        (!name.is_empty()).then_some(Self { name, format: None, length: 1 + name.len() })
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

impl Variable {
    fn read(entry: &Value) -> Self {
        let is = |key: &str| entry[key].as_bool().unwrap_or_default();
        let current = texts(&entry["current"]["value"]);
        let mut variable = Self { values: current, is_many: is("multi") || is("includeAll"), all: None };
        if variable.values.iter().any(|value| value == ALL) {
            let options = entry["options"].as_array().into_iter().flatten();
            variable.values = options.flat_map(|option| texts(&option["value"])).filter(|value| value != ALL).collect();
            variable.all = entry["allValue"].as_str().filter(|all| !all.is_empty()).map(str::to_owned);
        }
        // A constant and a text box keep their value in the query too.
        if variable.values.is_empty() && !variable.is_many && entry["options"].as_array().is_none_or(Vec::is_empty) {
            let is_plain = matches!(entry["type"].as_str(), Some("constant" | "textbox"));
            variable.values.extend(entry["query"].as_str().filter(|_| is_plain).map(str::to_owned));
        }
        // An interval that Grafana chooses.
        for value in &mut variable.values {
            if value.starts_with("$__auto") {
                "$__interval".clone_into(value);
            }
        }
        variable
    }

    fn written(&self, name: &str, format: Option<&str>) -> Result<String> {
        if let Some(all) = &self.all {
            return Ok(all.clone());
        }
        if self.values.is_empty() {
            return Err(Error::invalid(format!("variable {name} has no saved value; give --var {name}=VALUE")));
        }
        let joined = |separator: &str, written: fn(&str) -> String| {
            self.values.iter().map(|value| written(value)).collect::<Vec<_>>().join(separator)
        };
        Ok(match format {
            None if self.is_many => joined(",", literal),
            None | Some("csv" | "raw" | "text") => joined(",", str::to_owned),
            Some("singlequote") => joined(",", literal),
            Some("sqlstring") => joined(",", |value| format!("'{}'", value.replace('\'', "''"))),
            Some("doublequote") => joined(",", |value| format!("\"{}\"", value.replace('"', "\\\""))),
            Some("pipe") => joined("|", str::to_owned),
            Some("json") => Value::from(self.values.clone()).to_string(),
            Some(format) => {
                return Err(Error::invalid(format!("variable {name} has the format {format:?}, which is not known")));
            }
        })
    }
}

/// A string literal of `GoogleSQL`.
fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => vec![],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variables() -> Variables {
        let entries = [
            json!({"name": "slug", "type": "query", "current": {"value": "it's"}}),
            json!({"name": "branches", "multi": true, "current": {"value": ["a", "b'c"]}}),
            json!({"name": "one", "includeAll": true, "current": {"value": "a"}}),
            json!({"name": "all", "multi": true, "current": {"value": ["$__all"]},
                "options": [{"value": "$__all"}, {"value": "x"}, {"value": "y"}]}),
            json!({"name": "any", "current": {"value": "$__all"}, "allValue": ".*"}),
            json!({"name": "unknown", "multi": true, "current": {"value": ["$__all"]}, "options": []}),
            json!({"name": "constant", "type": "constant", "query": "c"}),
            json!({"name": "step", "type": "interval", "current": {"value": "$__auto_interval_step"}}),
            json!({"name": "n", "current": {"value": 7}}),
        ];
        entries.iter().collect()
    }

    #[test]
    fn variables_are_written_as_the_front_end_writes_them() {
        let check = |text: &str, expected: &str| assert_eq!(variables().replace(text).unwrap(), expected, "{text}");
        check("x = $n AND y = ${n} OR [[n]]", "x = 7 AND y = 7 OR 7");
        check("'$slug'", "'it's'");
        check("IN ($branches)", r"IN ('a','b\'c')");
        check("IN ($one)", "IN ('a')");
        check("IN ($all)", "IN ('x','y')");
        check("REGEXP '$any'", "REGEXP '.*'");
        check("${branches:csv} ${branches:pipe} ${branches:raw}", "a,b'c a|b'c a,b'c");
        check("${branches:sqlstring} ${branches:doublequote}", "'a','b''c' \"a\",\"b'c\"");
        check("${branches:json} [[slug:singlequote]]", r#"["a","b'c"] 'it\'s'"#);
        check("$constant$step", "c$__interval");
        check("$nn $other ${other} $__interval $1 [1] [[x] $ é$n", "$nn $other ${other} $__interval $1 [1] [[x] $ é7");
        check("a[OFFSET(0)] ${n", "a[OFFSET(0)] ${n");
    }

    #[test]
    fn a_variable_without_a_value_is_an_error_that_names_it() {
        let error = variables().replace("IN ($unknown)").unwrap_err();
        assert_eq!(error.message(), "variable unknown has no saved value; give --var unknown=VALUE");
        let error = variables().replace("${n:glob}").unwrap_err();
        assert!(error.message().contains("variable n") && error.message().contains("glob"), "{error}");
    }

    #[test]
    fn a_value_that_is_given_beats_the_saved_one() {
        let mut variables = variables();
        for (name, value) in [("any", "z"), ("branches", "q"), ("new", "v")] {
            variables.set(name, value);
        }
        assert_eq!(variables.replace("$any $branches $new").unwrap(), "z 'q' v");
    }
}
