//! The lexical shape of `GoogleSQL`: where code ends and strings, comments and quoted names begin,
//! and what kind of statement a text is. It parses no expressions.
//!
//! Source of the rules: <https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical>.

mod paths;

use sqlparser::ast::SetExpr;
use sqlparser::dialect::BigQueryDialect;
use sqlparser::parser::Parser;

use crate::error::{Error, Result};
pub(crate) use paths::{Path, paths};

/// What a stretch of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lexeme {
    /// Keywords, names, numbers, operators, white space.
    Code,
    /// A string or bytes literal with its quotes; a prefix such as `r` counts as code.
    Text,
    /// A comment, up to its line's end for `--` and `#`.
    Comment,
    /// A name in backticks.
    Name,
}

/// Splits `sql` into stretches that together are the whole text. A literal or comment that is not
/// closed reaches to the end.
pub fn lexemes(sql: &str) -> impl Iterator<Item = (Lexeme, &str)> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (lexeme, length) = match opening(rest) {
            Some((lexeme, length)) => (lexeme, length),
            None => (Lexeme::Code, code_length(rest)),
        };
        let (stretch, after) = rest.split_at(length);
        rest = after;
        Some((lexeme, stretch))
    })
}

/// Bytes of code before the next literal, name or comment; at least one character.
fn code_length(text: &str) -> usize {
    let next = text
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '\'' | '"' | '`' | '-' | '#' | '/') && opening(&text[*at..]).is_some());
    next.map_or(text.len(), |(at, _)| at)
}

/// The literal, name or comment that `text` begins with, and its length in bytes.
fn opening(text: &str) -> Option<(Lexeme, usize)> {
    let until = |from: usize, end: &str| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    let line = || text.find(['\n', '\r']).unwrap_or(text.len());
    if text.starts_with("--") || text.starts_with('#') {
        return Some((Lexeme::Comment, line()));
    }
    if text.starts_with("/*") {
        return Some((Lexeme::Comment, until(2, "*/")));
    }
    for quote in ["'''", "\"\"\"", "'", "\"", "`"] {
        if text.starts_with(quote) {
            let lexeme = if quote == "`" { Lexeme::Name } else { Lexeme::Text };
            return Some((lexeme, quoted_length(text, quote)));
        }
    }
    None
}

/// Length of a quoted stretch; a backslash protects the next character, in raw literals too.
fn quoted_length(text: &str, quote: &str) -> usize {
    let mut rest = quote.len();
    while let Some(c) = text[rest..].chars().next() {
        if text[rest..].starts_with(quote) {
            return rest + quote.len();
        }
        rest += c.len_utf8();
        if c == '\\' {
            rest += text[rest..].chars().next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}

/// The first keyword of a statement, in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement(String);

impl Statement {
    /// The keyword.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it begins a query.
    pub fn is_query(&self) -> bool {
        matches!(self.0.as_str(), "SELECT" | "WITH" | "FROM")
    }
}

/// Finds what statement `sql` is.
///
/// # Errors
/// `InvalidQuery` for an empty text and for more than one statement.
pub fn statement(sql: &str) -> Result<Statement> {
    let mut first = None;
    let mut ended = false;
    for (lexeme, text) in lexemes(sql) {
        if lexeme == Lexeme::Comment {
            continue;
        }
        for (at, piece) in text.split(';').enumerate() {
            ended |= at > 0 && lexeme == Lexeme::Code && first.is_some();
            let piece = piece.trim().trim_start_matches('(').trim_start();
            if piece.is_empty() {
                continue;
            }
            if ended {
                return Err(Error::invalid("the text holds several statements; only one query is run"));
            }
            if first.is_none() {
                let word = piece.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
                first = Some(Statement(if word.is_empty() {
                    piece.chars().take(20).collect()
                } else {
                    word.to_ascii_uppercase()
                }));
            }
            if lexeme != Lexeme::Code {
                break;
            }
        }
    }
    first.ok_or_else(|| Error::invalid("the query is empty; write a SELECT"))
}

/// Whether a parser that knows nothing of [`lexemes`] reads `sql` as exactly one query. It does not
/// know all of `GoogleSQL`, so that a query may fail here; what passes is neither a script nor DML.
pub fn parses_as_query(sql: &str) -> bool {
    match Parser::parse_sql(&BigQueryDialect {}, sql).as_deref() {
        Ok([sqlparser::ast::Statement::Query(query)]) => only_selects(&query.body),
        _ => false,
    }
}

/// Whether a query's body is made of SELECTs: the parser takes `WITH … INSERT` for a query too.
fn only_selects(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(_) => true,
        SetExpr::Query(query) => only_selects(&query.body),
        SetExpr::SetOperation { left, right, .. } => only_selects(left) && only_selects(right),
        _ => false,
    }
}

/// Functions whose answer differs from one run to the next, so that no answer may live long.
const VOLATILE: [&str; 9] = [
    "RAND",
    "GENERATE_UUID",
    "SESSION_USER",
    "CURRENT_DATE",
    "CURRENT_DATETIME",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "TABLESAMPLE",
];

/// The words of the code of `sql`, empty ones between signs too.
pub(crate) fn words(sql: &str) -> impl Iterator<Item = &str> {
    let code = lexemes(sql).filter(|(lexeme, _)| *lexeme == Lexeme::Code);
    code.flat_map(|(_, code)| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
}

/// Whether the code of `sql` has a word, in any case.
pub(crate) fn has_word(sql: &str, word: &str) -> bool {
    words(sql).any(|found| found.eq_ignore_ascii_case(word))
}

/// The first volatile function that the code of `sql` names, in capitals.
pub fn volatile_function(sql: &str) -> Option<&'static str> {
    words(sql).find_map(|word| VOLATILE.into_iter().find(|name| name.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::Lexeme::{Code, Comment, Name, Text};
    use super::*;

    #[test]
    fn literals_names_and_comments_are_told_from_code() {
        let check = |sql: &str, expected: &[(Lexeme, &str)]| {
            assert_eq!(lexemes(sql).collect::<Vec<_>>(), expected, "{sql}");
        };
        check("SELECT 'a' , \"b\"", &[(Code, "SELECT "), (Text, "'a'"), (Code, " , "), (Text, "\"b\"")]);
        check(r"'it\'s' x", &[(Text, r"'it\'s'"), (Code, " x")]);
        check(r"r'\' x'", &[(Code, "r"), (Text, r"'\' x'")]);
        check("'''a'b''' c", &[(Text, "'''a'b'''"), (Code, " c")]);
        check("\"\"\"a\"\"b\"\"\"", &[(Text, "\"\"\"a\"\"b\"\"\"")]);
        check("a -- 'x'\nb", &[(Code, "a "), (Comment, "-- 'x'"), (Code, "\nb")]);
        check("a --x\r; b", &[(Code, "a "), (Comment, "--x"), (Code, "\r; b")]);
        check("a # `x\nb", &[(Code, "a "), (Comment, "# `x"), (Code, "\nb")]);
        check("a /* ' */ b", &[(Code, "a "), (Comment, "/* ' */"), (Code, " b")]);
        check("`p-x.d.t` - 1 / 2", &[(Name, "`p-x.d.t`"), (Code, " - 1 / 2")]);
        check("'open", &[(Text, "'open")]);
        check("/* open", &[(Comment, "/* open")]);
        check("é'é\\", &[(Code, "é"), (Text, "'é\\")]);
        check("", &[]);
    }

    #[test]
    fn a_parser_of_its_own_tells_one_query_from_all_else() {
        let check = |sql: &str, expected: bool| assert_eq!(parses_as_query(sql), expected, "{sql}");
        check("SELECT a, COUNT(*) FROM `p.d.t` WHERE ts >= TIMESTAMP '2024-01-01T00:00:00Z' GROUP BY a", true);
        check("WITH a AS (SELECT 1) (SELECT * FROM a) UNION ALL SELECT 2;", true);
        check("SELECT 1; SELECT 2", false);
        check("SELECT 1; DROP TABLE t", false);
        check("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", false);
        check("DELETE FROM t WHERE true", false);
        check("BEGIN SELECT 1; END", false);
        check("FROM t |> WHERE a > 1 |> AGGREGATE COUNT(*)", false);
        check("SELECT 1 UNION ALL VALUES (2)", false);
        check("VALUES (1) UNION ALL SELECT 2", false);
        check("SELECT 'open", false);
        check("", false);
    }

    #[test]
    fn statements_are_named_by_their_first_keyword() {
        let check = |sql: &str, expected: &str| assert_eq!(statement(sql).unwrap().name(), expected, "{sql}");
        check("select 1", "SELECT");
        check("-- note\n (WITH a AS (SELECT 1) SELECT * FROM a)", "WITH");
        check("SELECT ';' ; ", "SELECT");
        check("DELETE FROM t WHERE true", "DELETE");
        check("'x'", "'x'");
        assert!(statement("SELECT 1; SELECT 2").unwrap_err().message().contains("several statements"));
        assert!(statement("SELECT 1; DROP TABLE t").is_err());
        assert!(statement(" /* x */ ").unwrap_err().message().contains("empty"));
        assert!(statement(";").is_err());
        assert!(!statement("DECLARE x INT64").unwrap().is_query());
    }

    #[test]
    fn volatile_functions_count_only_in_code() {
        assert_eq!(volatile_function("SELECT current_date()"), Some("CURRENT_DATE"));
        assert_eq!(volatile_function("SELECT 'RAND()' -- RAND()"), None);
        assert_eq!(volatile_function("SELECT brand FROM t"), None);
    }
}
