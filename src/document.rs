//! Grafana's files, JSON or YAML, as trees that know where in the text each value is.
//!
//! It knows nothing of boards.

mod json;
mod tree;
mod yaml;

use std::path::Path;

use weir_plan::Result;

pub(crate) use tree::{Node, Style, Value};
pub(crate) use yaml::is_bare;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Its text.
    pub(crate) text: String,
    /// How it is written.
    pub(crate) format: Format,
    /// Its documents: one, but for YAML.
    pub(crate) trees: Vec<Node>,
}

impl Document {
    /// Reads a text; the file's name says whether it is YAML, else its first character does.
    ///
    /// # Errors
    /// `InvalidQuery` if it is neither JSON nor YAML.
    pub(crate) fn read(path: &Path, text: String) -> Result<Self> {
        let named =
            path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"));
        let is_yaml = named
            || !text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[', '"'])
                && !path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
        let format = if is_yaml { Format::Yaml } else { Format::Json };
        let trees = Self::parse(format, &text)?;
        Ok(Self { text, format, trees })
    }

    /// The trees of a text.
    ///
    /// # Errors
    /// `InvalidQuery` saying where it is not of that format.
    pub(crate) fn parse(format: Format, text: &str) -> Result<Vec<Node>> {
        match format {
            Format::Json => Ok(vec![json::read(text)?]),
            Format::Yaml => yaml::read(text),
        }
    }

    /// Whether it may hold secrets, which are not to be shown.
    pub(crate) fn has_secrets(&self) -> bool {
        self.text.contains("secureJsonData") || self.text.contains("privateKey")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_hold_the_same_values() {
        let check = |name: &str, text: &str, expected: serde_json::Value| {
            let document = Document::read(Path::new(name), text.to_owned()).unwrap();
            assert_eq!(document.trees[0].json(), expected, "{text}");
        };
        let text = r#"{"b": [1, -0.5, 1E400, true, null], "a": {"s": "1"}, "a": 2}"#;
        check("b.json", text, json!({"b": [1, -0.5, null, true, null], "a": 2}));
        check("-", text, json!({"b": [1, -0.5, null, true, null], "a": 2}));
        check(
            "b.yaml",
            "b: [1, .5, 1e400, True, ~, yes]\na: {s: '1'}\n",
            json!({"b": [1, ".5", null, true, null, "yes"], "a": {"s": "1"}}),
        );
        check(
            "b.yml",
            "x: &x {k: 1, l: 2}\ny: {<<: *x, l: 3}\n",
            json!({"x": {"k": 1, "l": 2}, "y": {"l": 3, "k": 1}}),
        );
        check("-", "1: one\n", json!({"1": "one"}));
    }
}
