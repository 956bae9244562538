//! What a migration wants to know of a query's text: its macros and where they stand, the variables
//! in it, whether arrays come out of it. It parses no SQL.

use weir_plan::sql::{Lexeme, lexemes};

/// A macro in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Macro<'a> {
    /// Its name after `$__`.
    pub(super) name: &'a str,
    /// Its arguments, trimmed; nothing without brackets.
    pub(super) arguments: Vec<&'a str>,
    /// What it stands in.
    pub(super) place: Lexeme,
}

/// Every `$__macro` of a text.
pub(super) fn macros(sql: &str) -> Vec<Macro<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    for (place, stretch) in lexemes(sql) {
        for (start, _) in stretch.match_indices("$__") {
            let rest = &sql[at + start + 3..];
            let name = &rest[..word_length(rest)];
            let arguments = rest[name.len()..].strip_prefix('(').map(arguments).unwrap_or_default();
            found.push(Macro { name, arguments, place });
        }
        at += stretch.len();
    }
    found
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The arguments of a call, from after its bracket.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut at) = (0, 0, 0);
    let mut found = Vec::new();
    for (place, stretch) in lexemes(text) {
        for (offset, c) in stretch.char_indices().filter(|_| place == Lexeme::Code) {
            match c {
                '(' => depth += 1,
                ')' if depth == 0 => {
                    found.push(text[start..at + offset].trim());
                    return found;
                }
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    found.push(text[start..at + offset].trim());
                    start = at + offset + 1;
                }
                _ => {}
            }
        }
        at += stretch.len();
    }
    found
}

/// The dashboard variables of a text, outside of its comments: `$v`, `${v}`, `[[v]]`.
pub(super) fn variables(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (_, stretch) in lexemes(sql).filter(|(place, _)| *place != Lexeme::Comment) {
        let after =
            |opening: &'static str| stretch.match_indices(opening).map(|(at, _)| &stretch[at + opening.len()..]);
        for rest in after("$").map(|rest| rest.strip_prefix('{').unwrap_or(rest)).chain(after("[[")) {
            let name = &rest[..word_length(rest)];
            if name.starts_with(|c: char| c.is_ascii_alphabetic()) && !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}

/// The code of a text in capitals, with a blank for everything else.
pub(super) fn code(sql: &str) -> String {
    lexemes(sql)
        .map(|(place, text)| if place == Lexeme::Code { text.to_ascii_uppercase() } else { " ".to_owned() })
        .collect()
}

/// Whether a text has a word, given in capitals, in its code.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    words(code).any(|found| found == word)
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$').filter(|word| !word.is_empty())
}

/// Whether code groups its rows or keeps only different ones.
pub(super) fn groups_rows(code: &str) -> bool {
    has_word(code, "GROUP") || has_word(code, "DISTINCT") || has_word(code, "QUALIFY")
}

/// Functions that give an array.
const GIVES_ARRAY: [&str; 7] = [
    "ARRAY",
    "ARRAY_AGG",
    "ARRAY_CONCAT",
    "GENERATE_ARRAY",
    "GENERATE_DATE_ARRAY",
    "GENERATE_TIMESTAMP_ARRAY",
    "REGEXP_EXTRACT_ALL",
];
/// Functions that make something else of an array.
const TAKES_ARRAY: [&str; 5] = ["UNNEST", "ARRAY_LENGTH", "ARRAY_TO_STRING", "TO_JSON_STRING", "OFFSET"];

/// Whether an array may come out of code (see [`code`]): one is made, and neither taken apart at once
/// nor subscripted.
pub(super) fn gives_array(code: &str) -> bool {
    let mut open: Vec<(bool, bool)> = Vec::new();
    let mut word = "";
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let length = word_length(rest);
        if length > 0 {
            (word, rest) = rest.split_at(length);
            continue;
        }
        let inside = open.last().is_some_and(|(inside, _)| *inside);
        rest = &rest[c.len_utf8()..];
        match c {
            '(' => open.push((inside || TAKES_ARRAY.contains(&word), GIVES_ARRAY.contains(&word))),
            // A bracket after a value is a subscript; after a keyword, a comma or another bracket it
            // begins an array.
            '[' => open.push((inside, matches!(word, "" | "SELECT" | "THEN" | "ELSE" | "AS"))),
            ')' | ']' => {
                let (inside, array) = open.pop().unwrap_or_default();
                if array && !inside && !rest.trim_start().starts_with('[') {
                    return true;
                }
                word = ")";
                continue;
            }
            c if c.is_whitespace() => continue,
            _ => {}
        }
        word = "";
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_found_with_their_place_and_arguments() {
        let sql = "SELECT $__timeGroup(f(a, b), '1m'), '$__interval' -- $__timeFilter(x)\nWHERE $__timeFilter( ts )";
        let found: Vec<_> = macros(sql).into_iter().map(|found| (found.name, found.arguments, found.place)).collect();
        assert_eq!(
            found,
            [
                ("timeGroup", vec!["f(a, b)", "'1m'"], Lexeme::Code),
                ("interval", vec![], Lexeme::Text),
                ("timeFilter", vec!["x"], Lexeme::Comment),
                ("timeFilter", vec!["ts"], Lexeme::Code),
            ]
        );
        assert_eq!(macros("$__timeFilter(x")[0].arguments, Vec::<&str>::new());
    }

    #[test]
    fn variables_are_those_of_the_dashboard() {
        assert_eq!(
            variables("WHERE a = '$exp' AND b IN (${branch:csv}) AND [[c]] AND $__from -- $no"),
            ["exp", "branch", "c"]
        );
        assert!(variables("REGEXP_CONTAINS(x, r'^a$') AND '$1'").is_empty());
    }

    #[test]
    fn arrays_that_come_out_are_told_from_those_that_do_not() {
        let check = |sql: &str, expected: bool| assert_eq!(gives_array(&code(sql)), expected, "{sql}");
        check("SELECT [1, 2] AS n", true);
        check("SELECT a, [b, c] FROM t", true);
        check("SELECT ARRAY_AGG(x) FROM t", true);
        check("SELECT ARRAY(SELECT 1)", true);
        check("SELECT GENERATE_ARRAY(1, 3)", true);
        check("SELECT x FROM UNNEST([1, 2]) AS x", false);
        check("SELECT x FROM UNNEST(GENERATE_DATE_ARRAY(a, b)) AS x", false);
        check("SELECT ARRAY_AGG(x ORDER BY t DESC LIMIT 1)[OFFSET(0)] FROM t", false);
        check("SELECT a[0], f(x)[SAFE_OFFSET(1)] FROM t", false);
        check("SELECT '[1]' -- [1]", false);
        check("SELECT ARRAY_LENGTH(ARRAY_AGG(x))", false);
        check("", false);
        check("]])) é", false);
    }
}
