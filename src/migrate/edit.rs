//! Changes to a text at known places, and the proof that nothing else changed.

use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize as _;
use weir_plan::{Error, Result};

use crate::document::{Node, Style, Value, is_bare};

/// A change of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edit {
    /// Bytes that go; empty where something is only added.
    span: Range<usize>,
    /// What comes in their place.
    new: String,
    /// The string that this is then read as, where it is one.
    means: Option<String>,
    /// For an addition: where the map begins that gets the key, and the key.
    added: Option<(usize, String)>,
}

impl Edit {
    /// Puts another string, written as this one is, in place of `node`. There is none for YAML blocks
    /// and for values that are left out.
    pub(super) fn text(node: &Node, new: &str, json: bool) -> Option<Self> {
        if node.span.is_empty() {
            return None;
        }
        let spelled = match &node.value {
            Value::Text(_, Style::Block) | Value::List(_) | Value::Map(_) => return None,
            Value::Text(_, Style::Single) => format!("'{}'", new.replace('\'', "''")),
            Value::Text(_, Style::Plain) if is_plain(new) => new.to_owned(),
            Value::Bare(_) if !json && is_plain(new) => new.to_owned(),
            _ => serde_json::Value::from(new).to_string(),
        };
        Some(Self { span: node.span.clone(), new: spelled, means: Some(new.to_owned()), added: None })
    }

    /// Puts a JSON value in place of `node`, laid out as the file is.
    pub(super) fn json(text: &str, node: &Node, new: &serde_json::Value) -> Option<Self> {
        Some(Self { span: node.span.clone(), new: laid_out(text, node.span.start, new)?, means: None, added: None })
    }

    /// Adds a key after the last one of a JSON map.
    pub(super) fn add(text: &str, map: &Node, key: &str, value: &serde_json::Value) -> Option<Self> {
        let (last, end) = map.entries().last().map(|(key, value)| (key.span.start, value.span.end))?;
        let before = &text[..last];
        let gap = &before[before.trim_end().len()..];
        let value = laid_out(text, last, value)?;
        let new = format!(",{gap}{}: {value}", serde_json::Value::from(key));
        Some(Self { span: end..end, new, means: None, added: Some((map.span.start, key.to_owned())) })
    }

    /// Where it begins.
    pub(super) fn start(&self) -> usize {
        self.span.start
    }
}

/// Whether YAML reads `text` without quotes as just that string, in block and in flow style.
fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !is_bare(text)
}

/// JSON with the file's own indentation, as it stands in the line of `at`; on one line in a file of
/// one line.
fn laid_out(text: &str, at: usize, value: &serde_json::Value) -> Option<String> {
    let indent = |line: &str| line[..line.len() - line.trim_start_matches([' ', '\t']).len()].to_owned();
    let Some(unit) = text.lines().map(indent).find(|indent| !indent.is_empty()) else {
        return serde_json::to_string(value).ok();
    };
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = if text[..at].ends_with("\r\n") || text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(unit.as_bytes());
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter)).ok()?;
    let pretty = String::from_utf8(out).ok()?;
    Some(pretty.replace('\n', &format!("{end}{}", indent(&text[line_start..]))))
}

/// The text with its edits; equal ones count once.
///
/// # Errors
/// `Internal` if two differ about the same bytes.
pub(super) fn apply(text: &str, edits: &[Edit]) -> Result<String> {
    let mut edits = edits.to_vec();
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    edits.dedup();
    let mut out = String::with_capacity(text.len() + 64 * edits.len());
    let mut at = 0;
    for edit in &edits {
        let kept = text.get(at..edit.span.start);
        out.push_str(kept.ok_or_else(|| Error::internal(format!("two changes meet at byte {}", edit.span.start)))?);
        out.push_str(&edit.new);
        at = edit.span.end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// Checks that `after` is `before` with these edits and nothing else: every other value is the same,
/// in the same order, under the same key.
///
/// # Errors
/// `Internal` naming the place.
pub(super) fn verify(before: &[Node], after: &[Node], edits: &[Edit]) -> Result<()> {
    let replaced = edits.iter().filter(|edit| edit.added.is_none());
    let replaced = replaced.map(|edit| (edit.span.start, edit.means.as_deref())).collect();
    let mut added: HashMap<usize, Vec<&str>> = HashMap::new();
    for (map, key) in edits.iter().filter_map(|edit| edit.added.as_ref()) {
        added.entry(*map).or_default().push(key);
    }
    let check = Check { replaced, added };
    if before.len() != after.len() {
        return Err(Error::internal("the changed file has other documents"));
    }
    before.iter().zip(after).try_for_each(|(before, after)| check.same(before, after))
}

struct Check<'a> {
    replaced: HashMap<usize, Option<&'a str>>,
    added: HashMap<usize, Vec<&'a str>>,
}

impl Check<'_> {
    fn same(&self, before: &Node, after: &Node) -> Result<()> {
        let strayed = || Error::internal(format!("the change at byte {} would not stay there", before.span.start));
        if let Some(means) = self.replaced.get(&before.span.start).filter(|_| !before.span.is_empty()) {
            return if means.is_none() || after.text() == *means { Ok(()) } else { Err(strayed()) };
        }
        match (&before.value, &after.value) {
            (Value::List(old), Value::List(new)) if old.len() == new.len() => {
                old.iter().zip(new).try_for_each(|(old, new)| self.same(old, new))
            }
            (Value::Map(old), Value::Map(new)) => {
                let added = self.added.get(&before.span.start).map_or(&[][..], Vec::as_slice);
                let (kept, fresh) = new.split_at_checked(old.len()).ok_or_else(strayed)?;
                let mut names: Vec<_> = fresh.iter().filter_map(|(key, _)| key.text()).collect();
                let mut expected = added.to_vec();
                names.sort_unstable();
                expected.sort_unstable();
                if fresh.len() != added.len() || names != expected {
                    return Err(strayed());
                }
                old.iter().zip(kept).try_for_each(|((old_key, old), (new_key, new))| {
                    self.same(old_key, new_key)?;
                    self.same(old, new)
                })
            }
            (Value::Text(old, _), Value::Text(new, _)) | (Value::Bare(old), Value::Bare(new)) if old == new => Ok(()),
            _ => Err(strayed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Format};

    fn json(text: &str) -> Vec<Node> {
        Document::parse(Format::Json, text).unwrap()
    }

    fn yaml(text: &str) -> Vec<Node> {
        Document::parse(Format::Yaml, text).unwrap()
    }

    #[test]
    fn a_string_is_written_as_the_one_before() {
        let check = |text: &str, new: &str, expected: &str| {
            let tree = &yaml(text)[0];
            let edit = Edit::text(tree.get("k").unwrap(), new, false).unwrap();
            let after = apply(text, std::slice::from_ref(&edit)).unwrap();
            assert_eq!(after, expected);
            verify(std::slice::from_ref(tree), &yaml(&after), &[edit]).unwrap();
        };
        check("k: old # note\n", "new-id", "k: new-id # note\n");
        check("k: old\n", "a: b", "k: \"a: b\"\n");
        check("k: old\n", "123", "k: \"123\"\n");
        check("k: 'old'\n", "it's", "k: 'it''s'\n");
        check("{\"k\": \"old\"}", "new", "{\"k\": \"new\"}");
        check("k: null\n", "uid", "k: uid\n");
        let block = &yaml("k: |\n  old\n")[0];
        assert_eq!(Edit::text(block.get("k").unwrap(), "new", false), None);
        let absent = &yaml("k:\n")[0];
        assert_eq!(Edit::text(absent.get("k").unwrap(), "new", false), None);
    }

    #[test]
    fn what_is_added_has_the_layout_of_the_file() {
        let check = |text: &str, expected: &str| {
            let trees = json(text);
            let map = trees[0].get("m").unwrap();
            let edit = Edit::add(text, map, "b", &serde_json::json!({"c": [1]})).unwrap();
            let after = apply(text, std::slice::from_ref(&edit)).unwrap();
            assert_eq!(after, expected);
            verify(&trees, &json(&after), &[edit]).unwrap();
        };
        check("{\"m\":{\"a\":1}}", "{\"m\":{\"a\":1,\"b\": {\"c\":[1]}}}");
        check(
            "{\n\t\"m\": {\n\t\t\"a\": 1\n\t}\n}\n",
            "{\n\t\"m\": {\n\t\t\"a\": 1,\n\t\t\"b\": {\n\t\t\t\"c\": [\n\t\t\t\t1\n\t\t\t]\n\t\t}\n\t}\n}\n",
        );
    }

    #[test]
    fn a_change_that_is_not_an_edit_is_found() {
        let check = |before: &str, after: &str| verify(&json(before), &json(after), &[]).is_err();
        assert!(check("{\"a\": 1}", "{\"a\": 1.0}"));
        assert!(check("{\"a\": 1, \"b\": 2}", "{\"b\": 2, \"a\": 1}"));
        assert!(check("{\"a\": 1}", "{\"a\": 1, \"b\": 2}"));
        assert!(check("[1, 2]", "[1]"));
        assert!(!check("{\"a\": 1}", "{ \"a\" :1}"));
    }
}
