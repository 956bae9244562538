//! `GoogleSQL` text to one parsed query, with all identifiers in lower case.
//!
//! `GoogleSQL` ignores the case of column names and keeps their spelling; the engine does neither.
//! So words are folded before parsing, and their spellings remembered by place.

use std::collections::HashMap;

use sqlparser::ast::{Ident, Query, Statement};
use sqlparser::dialect::BigQueryDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use weir_plan::{Error, Result};

/// Depth of nested expressions and queries: the default of the parser, which the stack of a
/// blocking thread (2 MiB) holds.
const DEPTH: usize = 50;

/// A parsed query.
pub(super) struct Parsed {
    /// The tree, its identifiers in lower case.
    pub(super) query: Box<Query>,
    /// The words as they were written.
    pub(super) words: Words,
}

/// Spellings and places of a text's words.
#[derive(Default)]
pub(super) struct Words {
    by_place: HashMap<(u64, u64), String>,
    in_order: Vec<(String, Location)>,
    aliases: HashMap<String, String>,
}

impl Words {
    fn add(&mut self, folded: &str, written: String, place: Location, is_alias: bool) {
        self.in_order.push((folded.to_owned(), place));
        if folded != written {
            if is_alias {
                self.aliases.insert(folded.to_owned(), written.clone());
            }
            self.by_place.insert((place.line, place.column), written);
        }
    }

    /// The identifier as it was written.
    pub(super) fn written<'a>(&'a self, ident: &'a Ident) -> &'a str {
        let place = ident.span.start;
        self.by_place.get(&(place.line, place.column)).map_or(&ident.value, String::as_str)
    }

    /// Spellings of names after AS, by their folded form.
    pub(super) fn aliases(&self) -> &HashMap<String, String> {
        &self.aliases
    }

    /// ` at [line:column]` of the first such word, nothing if there is none.
    pub(super) fn place_of(&self, folded: &str) -> String {
        let found = self.in_order.iter().find(|(word, _)| word == folded);
        found.map_or_else(String::new, |(_, place)| at(*place))
    }
}

/// ` at [line:column]`, nothing for an unknown place.
pub(super) fn at(place: Location) -> String {
    if place.line == 0 { String::new() } else { format!(" at [{}:{}]", place.line, place.column) }
}

/// Parses the one query of a text.
///
/// # Errors
/// `InvalidQuery`: a syntax error with its place, no statement, several, or one that is no query.
pub(super) fn parse(sql: &str) -> Result<Parsed> {
    let mut tokens = Tokenizer::new(&BigQueryDialect, sql)
        .tokenize_with_location()
        .map_err(|error| Error::invalid(format!("Syntax error: {}{}", error.message, at(error.location))))?;
    refuse_other_statements(&tokens)?;
    let words = fold(&mut tokens);
    let mut parser = Parser::new(&BigQueryDialect).with_recursion_limit(DEPTH).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|error| syntax_error(&error))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(Parsed { query, words }),
        (Some(_), false) => {
            Err(Error::invalid("the text has several statements; only one SELECT (or WITH … SELECT) is run"))
        }
        (Some(other), true) => {
            let text = other.to_string();
            Err(not_a_query(text.split_whitespace().next().unwrap_or("the statement")))
        }
        (None, _) => Err(Error::invalid("Syntax error: Unexpected end of statement at [1:1]")),
    }
}

fn not_a_query(name: &str) -> Error {
    Error::invalid(format!("{} is not a query; only SELECT (or WITH … SELECT) is run", name.to_uppercase()))
}

/// Statements are refused by their first word: not all of them can be parsed.
fn refuse_other_statements(tokens: &[TokenWithSpan]) -> Result<()> {
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_) | Token::LParen));
    match first.map(|token| &token.token) {
        Some(Token::Word(word)) => match word.keyword {
            Keyword::SELECT | Keyword::WITH | Keyword::NoKeyword => Ok(()),
            Keyword::FROM => {
                Err(Error::invalid("the embedded engine does not support pipe syntax (a query that begins with FROM)"))
            }
            _ => Err(not_a_query(&word.value)),
        },
        _ => Ok(()),
    }
}

fn fold(tokens: &mut [TokenWithSpan]) -> Words {
    let mut words = Words::default();
    let mut after_as = false;
    for token in tokens {
        match &mut token.token {
            Token::Word(word) => {
                let folded = word.value.to_lowercase();
                let written = std::mem::replace(&mut word.value, folded);
                words.add(&word.value, written, token.span.start, after_as);
                after_as = word.keyword == Keyword::AS && word.quote_style.is_none();
            }
            Token::Whitespace(_) => {}
            _ => after_as = false,
        }
    }
    words
}

fn syntax_error(error: &ParserError) -> Error {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the query is nested too deeply",
    };
    let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((text, ""));
    let place =
        place.split_once(", Column: ").map_or_else(String::new, |(line, column)| format!(" at [{line}:{column}]"));
    Error::invalid(format!("Syntax error: {}{place}", message.replacen("Expected: ", "Expected ", 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_folded_and_their_spelling_kept() {
        let parsed = parse("SELECT Branch AS `Value`, 'Text' FROM `P.d.T`").unwrap();
        assert_eq!(parsed.query.to_string(), "SELECT branch AS `value`, 'Text' FROM `p`.`d`.`t`");
        assert_eq!(parsed.words.aliases()["value"], "Value");
        assert_eq!(parsed.words.place_of("branch"), " at [1:8]");
    }

    #[test]
    fn what_is_no_single_query_is_refused_by_name() {
        for (sql, expected) in [
            ("INSERT INTO t VALUES (1)", "INSERT is not a query"),
            ("  create materialized view v partition by x as select 1", "CREATE is not a query"),
            ("DECLARE x INT64; SELECT x", "DECLARE is not a query"),
            ("SELECT 1; SELECT 2", "several statements"),
            ("FROM t |> SELECT a", "pipe syntax"),
            ("", "Unexpected end of statement"),
            ("SELECT a FORM t WHERE", "Syntax error: Expected end of statement, found: t at [1:15]"),
            ("SELECT 'a", "Syntax error: Unterminated string literal at [1:"),
        ] {
            let error = parse(sql).map(|_| ()).unwrap_err();
            assert!(error.message().contains(expected), "{sql}: {error}");
        }
        assert!(parse("SELECT 1;").is_ok());
        assert!(parse("(SELECT 1)").is_ok());
    }
}
