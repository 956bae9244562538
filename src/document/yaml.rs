//! Reads YAML into located trees, one for each document of the file. Only this module knows
//! granit-parser.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use weir_plan::{Error, Result};

use super::tree::{Node, Style, Value, check_depth};

/// Values that aliases may add to a file: more is a file that unfolds without end.
const MOST_FROM_ALIASES: usize = 100_000;

/// The trees of a YAML text. An alias stands as a copy of its anchor's node, with the anchor's
/// bytes.
///
/// # Errors
/// `InvalidQuery` saying where the text is not YAML.
pub(super) fn read(text: &str) -> Result<Vec<Node>> {
    let mut build = Build::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Error::invalid(format!("the file is not YAML: {error}")))?;
        build.event(event, span)?;
    }
    Ok(build.documents)
}

#[derive(Default)]
struct Build {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    from_aliases: usize,
}

struct Open {
    start: usize,
    anchor: usize,
    children: Vec<Node>,
    is_map: bool,
}

impl Build {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<()> {
        let bytes = span.byte_range().ok_or_else(|| Error::internal("a place in the file is unknown"))?;
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = scalar(text.into_owned(), style);
                self.close(Node { span: bytes, value }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.open(bytes.start, anchor, false)?,
            Event::MappingStart(_, anchor, _) => self.open(bytes.start, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(&bytes)?,
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| Error::invalid("the file has an alias inside its own anchor"))?;
                node.each(&mut |_| self.from_aliases += 1);
                if self.from_aliases > MOST_FROM_ALIASES {
                    return Err(Error::invalid("the file's aliases unfold into too many values"));
                }
                self.close(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, start: usize, anchor: usize, is_map: bool) -> Result<()> {
        self.open.push(Open { start, anchor, children: Vec::new(), is_map });
        check_depth(self.open.len())
    }

    fn end(&mut self, bytes: &Range<usize>) -> Result<()> {
        let open = self.open.pop().ok_or_else(|| Error::internal("a collection ends that did not begin"))?;
        let value = if open.is_map { Value::Map(pairs(open.children)) } else { Value::List(open.children) };
        self.close(Node { span: open.start..bytes.end.max(open.start), value }, open.anchor);
        Ok(())
    }

    fn close(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(node),
            None => self.documents.push(node),
        }
    }
}

fn pairs(children: Vec<Node>) -> Vec<(Node, Node)> {
    let mut children = children.into_iter();
    std::iter::from_fn(|| Some((children.next()?, children.next()?))).collect()
}

fn scalar(text: String, style: ScalarStyle) -> Value {
    match style {
        ScalarStyle::Plain if is_bare(&text) => Value::Bare(text),
        ScalarStyle::Plain => Value::Text(text, Style::Plain),
        ScalarStyle::SingleQuoted => Value::Text(text, Style::Single),
        ScalarStyle::DoubleQuoted => Value::Text(text, Style::Double),
        ScalarStyle::Literal | ScalarStyle::Folded => Value::Text(text, Style::Block),
    }
}

/// Whether a scalar without quotes is something else than a string, in YAML 1.2's core schema or in
/// Grafana's reader, which is one of YAML 1.1.
pub(crate) fn is_bare(text: &str) -> bool {
    const WORDS: [&str; 10] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", ".nan"];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
        || text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
            && text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '+' | '-' | '.' | '_' | ':' | 'x' | 'o'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_bytes() {
        let text = "é: plain é # note\nq: 'it''s'\nd: \"a\\tb\"\nb: |\n  x\n  y\nl:\n  - 1\n  - {k: v}\nn:\n";
        let tree = &read(text).unwrap()[0];
        let at = |node: &Node| text[node.span.clone()].to_owned();
        assert_eq!(tree.text_of("é"), Some("plain é"));
        assert_eq!(at(tree.get("é").unwrap()), "plain é");
        assert_eq!(at(tree.get("q").unwrap()), "'it''s'");
        assert_eq!(tree.text_of("q"), Some("it's"));
        assert_eq!(at(tree.get("d").unwrap()), "\"a\\tb\"");
        assert_eq!(tree.text_of("b"), Some("x\ny\n"));
        assert_eq!(tree.get("l").unwrap().list()[1].text_of("k"), Some("v"));
        assert!(tree.get("n").unwrap().is_null());
        assert_eq!(read("a: 1\n---\nb: 2\n").unwrap().len(), 2);
    }

    #[test]
    fn an_alias_has_the_bytes_of_its_anchor_and_a_merge_is_looked_through() {
        let text = "base: &b {type: t}\none: *b\ntwo:\n  <<: *b\n  uid: u\n";
        let tree = &read(text).unwrap()[0];
        assert_eq!(tree.get("one"), tree.get("base"));
        assert_eq!(tree.get("two").unwrap().text_of("type"), Some("t"));
        assert_eq!(tree.get("two").unwrap().text_of("uid"), Some("u"));
    }

    #[test]
    fn what_is_not_a_string_is_bare() {
        for bare in ["", "~", "Null", "true", "12", "-1.5", "0x1F", "1e3", "12:30:45", "No"] {
            assert!(is_bare(bare), "{bare}");
        }
        for text in ["abc", "P4169E866C3094E38", "-- Mixed --", "a-1", "nullable"] {
            assert!(!is_bare(text), "{text}");
        }
    }

    #[test]
    fn files_that_unfold_without_end_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..8 {
            let below = format!("*a{}", level - 1);
            let elements = vec![below; 10].join(", ");
            bomb = format!("{bomb}a{level}: &a{level} [{elements}]\n");
        }
        assert!(read(&bomb).unwrap_err().message().contains("unfold"));
        assert!(read("a: &a [*a]").is_err());
        assert!(read(&"[".repeat(200)).is_err());
        assert!(read("a: b: c").unwrap_err().message().contains("not YAML"));
    }
}
