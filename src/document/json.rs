//! Reads JSON into a located tree. `serde_json` says whether a text is JSON; this says where things
//! are.

use serde::de::IgnoredAny;
use weir_plan::{Error, Result};

use super::tree::{Node, Style, Value, check_depth};

/// The tree of a JSON text; a byte order mark before it is passed over.
///
/// # Errors
/// `InvalidQuery` saying where the text is not JSON.
pub(super) fn read(text: &str) -> Result<Node> {
    let start = text.len() - text.trim_start_matches('\u{feff}').len();
    serde_json::from_str::<IgnoredAny>(&text[start..])
        .map_err(|error| Error::invalid(format!("the file is not JSON: {error}")))?;
    let mut reader = Reader { text, at: start };
    reader.node(0)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn node(&mut self, depth: usize) -> Result<Node> {
        check_depth(depth)?;
        let start = self.skip_space();
        let value = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.string()?, Style::Json),
            Some(_) => Value::Bare(self.bare()?),
            None => return Err(self.lost()),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value> {
        let mut entries = Vec::new();
        self.at += 1;
        while !self.closes(b'}')? {
            let start = self.skip_space();
            let key = self.string()?;
            let key = Node { span: start..self.at, value: Value::Text(key, Style::Json) };
            self.skip_space();
            self.expect(b':')?;
            entries.push((key, self.node(depth + 1)?));
        }
        Ok(Value::Map(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        let mut elements = Vec::new();
        self.at += 1;
        while !self.closes(b']')? {
            elements.push(self.node(depth + 1)?);
        }
        Ok(Value::List(elements))
    }

    /// Passes a comma, or the bracket that ends the collection.
    fn closes(&mut self, bracket: u8) -> Result<bool> {
        self.skip_space();
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(true)
            }
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => Ok(false),
            None => Err(self.lost()),
        }
    }

    fn string(&mut self) -> Result<String> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.lost()),
            }
        }
        self.at += 1;
        let literal = self.text.get(start..self.at).ok_or_else(|| self.lost())?;
        serde_json::from_str(literal).map_err(|error| {
            let line = 1 + self.text[..start].matches('\n').count();
            Error::invalid(format!("the string in line {line} is not JSON: {error}"))
        })
    }

    fn bare(&mut self) -> Result<String> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
            self.at += 1;
        }
        if start == self.at { Err(self.lost()) } else { Ok(self.text[start..self.at].to_owned()) }
    }

    fn skip_space(&mut self) -> usize {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.at
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.lost());
        }
        self.at += 1;
        Ok(())
    }

    fn lost(&self) -> Error {
        Error::internal(format!("the reader lost its way at byte {}", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_bytes() {
        let text = "\u{feff}{\"a\" : [1e400, -0.10, true], \"é\\n\":\t\"x\\\"y\", \"a\": {}, \"n\":null}\n";
        let tree = read(text).unwrap();
        let at = |node: &Node| text[node.span.clone()].to_owned();
        let keys: Vec<_> = tree.entries().iter().map(|(key, _)| at(key)).collect();
        assert_eq!(keys, ["\"a\"", "\"é\\n\"", "\"a\"", "\"n\""]);
        let list = &tree.entries()[0].1;
        assert_eq!(list.list().iter().map(at).collect::<Vec<_>>(), ["1e400", "-0.10", "true"]);
        assert_eq!(tree.text_of("é\n"), Some("x\"y"));
        assert!(tree.get("a").unwrap().is_map(), "the last of two");
        assert!(tree.get("n").unwrap().is_null());
    }

    #[test]
    fn what_is_not_json_is_said_with_its_place() {
        let check = |text: &str, expected: &str| {
            let error = read(text).unwrap_err();
            assert!(error.message().contains(expected), "{text}: {error}");
        };
        check("{\"a\": 1,}", "not JSON: key must be a string at line 1");
        check("", "not JSON");
        check("{} x", "trailing characters");
        check("\"\\ud800\"", "not JSON");
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read(&deep(129)).is_ok());
        check(&deep(130), "nested deeper");
        check(&"[".repeat(130), "not JSON: EOF");
    }
}
