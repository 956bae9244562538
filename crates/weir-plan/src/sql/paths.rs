//! Dotted names in a text and where they stand: those of tables, columns and functions, and keywords
//! too. What a name means is its reader's business.

use std::ops::Range;

use super::{Lexeme, lexemes};

/// A name: its parts, without backticks, and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) parts: Vec<String>,
    pub(crate) place: Range<usize>,
}

impl Path {
    /// Whether it is this one word, in any case.
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(&*self.parts, [only] if only.eq_ignore_ascii_case(word))
    }
}

/// All names of a text, in order. Dots inside backticks divide parts as those outside do; a part
/// outside may hold dashes, as those of projects do.
pub(crate) fn paths(sql: &str) -> Vec<Path> {
    let mut scan = Scan { found: vec![], open: false, dotted: false };
    let mut at = 0;
    for (lexeme, text) in lexemes(sql) {
        match lexeme {
            Lexeme::Name => scan.parts(text.trim_matches('`').split('.'), at..at + text.len()),
            Lexeme::Code => scan.code(text, at),
            Lexeme::Text | Lexeme::Comment => scan.close(),
        }
        at += text.len();
    }
    scan.found
}

struct Scan {
    found: Vec<Path>,
    /// Whether the last path may go on.
    open: bool,
    /// Whether it ends in a dot.
    dotted: bool,
}

impl Scan {
    fn close(&mut self) {
        (self.open, self.dotted) = (false, false);
    }

    fn parts<'a>(&mut self, parts: impl Iterator<Item = &'a str>, place: Range<usize>) {
        let parts = parts.map(str::to_owned);
        match self.found.last_mut().filter(|_| self.open && self.dotted) {
            Some(path) => {
                path.parts.extend(parts);
                path.place.end = place.end;
            }
            None => self.found.push(Path { parts: parts.collect(), place }),
        }
        (self.open, self.dotted) = (true, false);
    }

    fn code(&mut self, code: &str, at: usize) {
        let mut rest = code;
        while let Some(first) = rest.chars().next() {
            let from = at + code.len() - rest.len();
            if first.is_ascii_alphanumeric() || first == '_' {
                let length = word_length(rest);
                self.parts(std::iter::once(&rest[..length]), from..from + length);
                rest = &rest[length..];
                continue;
            }
            match first {
                '.' if self.open && !self.dotted => self.dotted = true,
                _ => self.close(),
            }
            rest = &rest[first.len_utf8()..];
        }
    }
}

/// Bytes of the word that a text begins with.
fn word_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let goes_on = |at: usize| is_word(bytes[at]) || bytes[at] == b'-' && bytes.get(at + 1).is_some_and(|b| is_word(*b));
    (0..bytes.len()).find(|at| !goes_on(*at)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_places() {
        let check = |sql: &str, expected: &[(&str, &str)]| {
            let found = paths(sql);
            let found: Vec<_> = found.iter().map(|path| (path.parts.join("/"), &sql[path.place.clone()])).collect();
            let expected: Vec<_> = expected.iter().map(|(parts, text)| ((*parts).to_owned(), *text)).collect();
            assert_eq!(found, expected, "{sql}");
        };
        check("FROM `a-b.c.d` AS x", &[("FROM", "FROM"), ("a-b/c/d", "`a-b.c.d`"), ("AS", "AS"), ("x", "x")]);
        check("`a`.b.`c`,d", &[("a/b/c", "`a`.b.`c`"), ("d", "d")]);
        check("a-b.c-1.d-", &[("a-b/c-1/d", "a-b.c-1.d")]);
        check("'a.b' -- c.d\ne .f", &[("e", "e"), ("f", "f")]);
        check("a.'b'", &[("a", "a")]);
        check("a..b", &[("a", "a"), ("b", "b")]);
        check("f(x.y)+1", &[("f", "f"), ("x/y", "x.y"), ("1", "1")]);
        check("é.a", &[("a", "a")]);
        check("", &[]);
    }
}
