//! A JSON or YAML document as a tree whose every node knows which bytes of the file it is. It does
//! not know what the document is about.

use std::ops::Range;

use serde_json::{Map, Value as Json};
use weir_plan::{Error, Result};

/// Deepest nesting that is read; what is deeper is no document of Grafana's.
pub(crate) const DEEPEST: usize = 128;

/// A value and its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Bytes of the value, with its quotes.
    pub(crate) span: Range<usize>,
    /// What it holds.
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A string, decoded, and how it is written.
    Text(String, Style),
    /// A number, a boolean or a null, as it is written.
    Bare(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the file; a key may come twice.
    Map(Vec<(Node, Node)>),
}

/// How a string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In JSON.
    Json,
    /// YAML without quotes.
    Plain,
    /// YAML in single quotes.
    Single,
    /// YAML in double quotes.
    Double,
    /// YAML as an indented block.
    Block,
}

impl Node {
    /// The string, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether this is `null`, or YAML's other ways to say it.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Bare(bare) if matches!(bare.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value without its place; a number beyond doubles, which a browser reads as infinity, is null.
    pub(crate) fn json(&self) -> Json {
        match &self.value {
            Value::Text(text, _) => Json::from(text.as_str()),
            Value::Bare(_) if self.is_null() => Json::Null,
            Value::Bare(bare) if bare.eq_ignore_ascii_case("true") || bare.eq_ignore_ascii_case("false") => {
                Json::from(bare.eq_ignore_ascii_case("true"))
            }
            Value::Bare(bare) => match bare.parse::<f64>() {
                Ok(number) if !number.is_finite() => Json::Null,
                Ok(_) => serde_json::from_str(bare).unwrap_or_else(|_| Json::from(bare.as_str())),
                Err(_) => Json::from(bare.as_str()),
            },
            Value::List(elements) => elements.iter().map(Self::json).collect(),
            Value::Map(entries) => {
                let is_merge = |key: &Self| key.text() == Some("<<");
                let mut map = Map::new();
                for (key, value) in entries.iter().filter(|(key, _)| !is_merge(key)) {
                    map.insert(key.scalar().unwrap_or_default().to_owned(), value.json());
                }
                for (_, merged) in entries.iter().filter(|(key, _)| is_merge(key)) {
                    let maps = std::iter::once(merged).chain(merged.list());
                    for (key, value) in maps.flat_map(|map| map.json().as_object().cloned().unwrap_or_default()) {
                        map.entry(key).or_insert(value);
                    }
                }
                map.into()
            }
        }
    }

    /// Whether this is `true`.
    pub(crate) fn is_true(&self) -> bool {
        matches!(&self.value, Value::Bare(bare) if bare.eq_ignore_ascii_case("true"))
    }

    /// A string, number or boolean as text.
    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text, _) | Value::Bare(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is a map.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// The elements of a list; nothing otherwise.
    pub(crate) fn list(&self) -> &[Self] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The entries of a map; nothing otherwise.
    pub(crate) fn entries(&self) -> &[(Self, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key: the last, where it comes twice, as JSON's readers do; a YAML merge (`<<`)
    /// gives what the map itself does not have.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let of = |name: &str| self.entries().iter().rev().find(|(found, _)| found.text() == Some(name));
        if let Some((_, value)) = of(key) {
            return Some(value);
        }
        let (_, merged) = of("<<")?;
        match &merged.value {
            Value::List(maps) => maps.iter().find_map(|map| map.get(key)),
            _ => merged.get(key),
        }
    }

    /// The string of a key.
    pub(crate) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Calls `visit` with this node and with every value below it.
    pub(crate) fn each<'n>(&'n self, visit: &mut impl FnMut(&'n Self)) {
        visit(self);
        self.list().iter().for_each(|element| element.each(visit));
        self.entries().iter().for_each(|(_, value)| value.each(visit));
    }
}

/// Fails where `depth` is too deep.
pub(crate) fn check_depth(depth: usize) -> Result<()> {
    if depth <= DEEPEST {
        return Ok(());
    }
    Err(Error::invalid(format!("the document is nested deeper than {DEEPEST} levels")))
}
