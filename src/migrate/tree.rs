//! A JSON or YAML document as a tree whose every node knows which bytes of the file it is. It does
//! not know what the document is about.

use std::ops::Range;

use weir_plan::{Error, Result};

/// Deepest nesting that is read; what is deeper is no document of Grafana's.
pub(super) const DEEPEST: usize = 128;

/// A value and its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Bytes of the value, with its quotes.
    pub(super) span: Range<usize>,
    /// What it holds.
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
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
pub(super) enum Style {
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
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether this is `null`, or YAML's other ways to say it.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Bare(bare) if matches!(bare.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether this is `true`.
    pub(super) fn is_true(&self) -> bool {
        matches!(&self.value, Value::Bare(bare) if bare.eq_ignore_ascii_case("true"))
    }

    /// A string, number or boolean as text.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text, _) | Value::Bare(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is a map.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// The elements of a list; nothing otherwise.
    pub(super) fn list(&self) -> &[Self] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The entries of a map; nothing otherwise.
    pub(super) fn entries(&self) -> &[(Self, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key: the last, where it comes twice, as JSON's readers do; a YAML merge (`<<`)
    /// gives what the map itself does not have.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
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
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Calls `visit` with this node and with every value below it.
    pub(super) fn each<'n>(&'n self, visit: &mut impl FnMut(&'n Self)) {
        visit(self);
        self.list().iter().for_each(|element| element.each(visit));
        self.entries().iter().for_each(|(_, value)| value.each(visit));
    }
}

/// Fails where `depth` is too deep.
pub(super) fn check_depth(depth: usize) -> Result<()> {
    if depth <= DEEPEST {
        return Ok(());
    }
    Err(Error::invalid(format!("the document is nested deeper than {DEEPEST} levels")))
}
