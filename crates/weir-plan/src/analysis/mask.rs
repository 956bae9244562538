//! Makes a template parseable without expanding it: macros become calls of reserved functions,
//! literals become numbered ones, comments go. What would not survive that is refused.

use super::BucketStep;
use super::Reason;
use super::reason;
use crate::macros::{self, Piece};
use crate::sql::{self, Lexeme};

/// What reserved names begin with.
pub(super) const RESERVED: &str = "weir__";
/// Stands for `$__timeFilter(c)`; takes the column.
pub(super) const FILTER: &str = "weir__time_filter";
/// Stands for `$__timeGroup(c, i)`; takes the column and the number of the step.
pub(super) const GROUP: &str = "weir__time_group";
/// Stands for `$__interval_ms`.
const INTERVAL_MS: &str = "weir__interval_ms";

/// The longest text, in bytes, and the most operators that are analysed: syntax trees are walked,
/// compared and dropped recursively, and a chain of operators is as deep as it is long.
const LONGEST: usize = 256 * 1024;
const MOST_OPERATORS: usize = 400;

/// Arrays of all points of a range.
const GAP_FILL: [&str; 3] = ["GENERATE_TIMESTAMP_ARRAY", "GENERATE_DATE_ARRAY", "GAP_FILL"];

/// Words that make an expression or a set of queries deeper.
const OPERATORS: [&str; 12] =
    ["AND", "OR", "NOT", "IS", "LIKE", "IN", "BETWEEN", "COLLATE", "AT", "UNION", "INTERSECT", "EXCEPT"];

/// A template that can be parsed.
pub(super) struct Masked {
    /// SQL without macros.
    pub(super) sql: String,
    /// The steps of its buckets, by number.
    pub(super) steps: Vec<BucketStep>,
    /// The literals with their quotes, by number.
    pub(super) texts: Vec<String>,
    /// Whether the step is used outside of buckets.
    pub(super) uses_step: bool,
}

/// Masks a template.
pub(super) fn mask(template: &str) -> Result<Masked, Reason> {
    if template.len() > LONGEST {
        return Err(reason::TOO_COMPLEX);
    }
    if template.to_ascii_lowercase().contains(RESERVED) {
        return Err(reason::RESERVED_NAME);
    }
    let words = || sql::words(template);
    let is_one_of = |names: &[&str], word: &str| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    if words().any(|word| is_one_of(&GAP_FILL, word)) {
        return Err(reason::GAP_FILL);
    }
    match sql::volatile_function(template) {
        Some("TABLESAMPLE") => return Err(reason::TABLESAMPLE),
        Some(_) => return Err(reason::VOLATILE_FUNCTION),
        None => {}
    }
    let mut masked = Masked { sql: String::new(), steps: Vec::new(), texts: Vec::new(), uses_step: false };
    masked.push(template)?;
    let symbols = masked.sql.bytes().filter(|byte| b"+-*/|&^<>=!~:.".contains(byte)).count();
    if symbols + words().filter(|word| is_one_of(&OPERATORS, word)).count() > MOST_OPERATORS {
        return Err(reason::TOO_COMPLEX);
    }
    Ok(masked)
}

impl Masked {
    fn push(&mut self, template: &str) -> Result<(), Reason> {
        let mut after_quoted = false;
        for piece in macros::pieces(template).map_err(|_| reason::ODD_MACRO)? {
            let quoted = matches!(piece, Piece::Stretch(Lexeme::Text | Lexeme::Name, _));
            if quoted && after_quoted {
                self.sql.push(' ');
            }
            after_quoted = quoted;
            match piece {
                Piece::Stretch(Lexeme::Code, code) => self.code(code)?,
                Piece::Stretch(Lexeme::Comment, _) => self.sql.push(' '),
                Piece::Stretch(Lexeme::Text, text) => self.text(text)?,
                Piece::Stretch(Lexeme::Name, name) if name.contains(['\\', '\n']) => {
                    return Err(reason::ODD_CHARACTER);
                }
                Piece::Stretch(Lexeme::Name, name) => self.sql.push_str(name),
                Piece::Variable("interval_ms") => self.interval_ms()?,
                Piece::Variable("interval") => return Err(reason::INTERVAL_TEXT),
                Piece::Variable(name) => {
                    let name = name.split(':').next().unwrap_or_default();
                    let range = ["from", "to", "range", "range_s", "range_ms"].contains(&name);
                    return Err(if range { reason::RANGE_MACRO } else { reason::ODD_MACRO });
                }
                Piece::Unreplaced => return Err(reason::UNEXPANDED_VARIABLE),
                Piece::Call(name, arguments) => self.call(name, arguments.as_deref())?,
            }
        }
        Ok(())
    }

    fn code(&mut self, code: &str) -> Result<(), Reason> {
        if code.contains("|>") {
            return Err(reason::PIPE_SYNTAX);
        }
        if code.contains('$') {
            return Err(reason::UNEXPANDED_VARIABLE);
        }
        let odd = |c: char| !c.is_ascii() || c.is_ascii_control() && !c.is_ascii_whitespace() || "\\{}".contains(c);
        if code.contains(odd) || code.contains("@@") {
            return Err(reason::ODD_CHARACTER);
        }
        self.sql.push_str(&code.replace(';', " "));
        Ok(())
    }

    /// Literals keep their identity and lose their content, so that no escape can be misread.
    fn text(&mut self, text: &str) -> Result<(), Reason> {
        if text.contains("${__") {
            return Err(reason::RANGE_MACRO);
        }
        let number = number_of(&mut self.texts, text.to_owned());
        self.sql.extend(["'s", &number.to_string(), "'"]);
        Ok(())
    }

    fn call(&mut self, name: &str, arguments: Option<&[&str]>) -> Result<(), Reason> {
        match (name, arguments) {
            ("timeFilter", Some([column])) => {
                self.open(FILTER)?;
                self.column(column)?;
                self.sql.push(')');
            }
            ("timeGroup" | "timeGroupAlias", Some([column, interval])) => {
                let interval = interval.trim().trim_matches(['\'', '"']).trim();
                let step = match interval {
                    "$__interval" => BucketStep::Suggested,
                    text => BucketStep::Written(text.parse().map_err(|_| reason::ODD_MACRO)?),
                };
                let number = number_of(&mut self.steps, step);
                self.open(GROUP)?;
                self.column(column)?;
                self.sql.extend([", ", &number.to_string(), ")"]);
                if name == "timeGroupAlias" {
                    self.sql.push_str(" AS time");
                }
            }
            ("timeGroup" | "timeGroupAlias", Some([_, _, ..])) => return Err(reason::BUCKET_ARGUMENTS),
            ("interval_ms", None) => self.interval_ms()?,
            ("interval", None) => return Err(reason::INTERVAL_TEXT),
            (
                "timeFrom" | "timeTo" | "millisTimeFrom" | "millisTimeTo" | "from" | "to" | "range" | "range_s"
                | "range_ms",
                _,
            ) => return Err(reason::RANGE_MACRO),
            ("unixEpochFilter" | "unixEpochGroup", _) => return Err(reason::UNIX_EPOCH),
            _ => return Err(reason::ODD_MACRO),
        }
        Ok(())
    }

    /// An argument, which expansion repeats: a comment in it would swallow what follows.
    fn column(&mut self, column: &str) -> Result<(), Reason> {
        if sql::lexemes(column).any(|(lexeme, _)| lexeme == Lexeme::Comment) {
            return Err(reason::ODD_MACRO);
        }
        self.push(column)
    }

    fn interval_ms(&mut self) -> Result<(), Reason> {
        self.uses_step = true;
        self.open(INTERVAL_MS)?;
        self.sql.push(')');
        Ok(())
    }

    /// Begins a call, which expansion would glue to a word before it.
    fn open(&mut self, function: &str) -> Result<(), Reason> {
        if self.sql.ends_with(|c: char| c.is_ascii_alphanumeric() || "_.@'`".contains(c)) {
            return Err(reason::ODD_MACRO);
        }
        self.sql.push_str(function);
        self.sql.push('(');
        Ok(())
    }
}

fn number_of<T: PartialEq>(all: &mut Vec<T>, value: T) -> usize {
    all.iter().position(|other| *other == value).unwrap_or_else(|| {
        all.push(value);
        all.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_become_calls_and_literals_numbers() {
        let check = |template: &str, expected: &str| {
            assert_eq!(mask(template).map(|masked| masked.sql), Ok(expected.to_owned()), "{template}");
        };
        check("$__timeFilter( ts )", "weir__time_filter( ts )");
        check("$__timeGroup(ts, '5m')", "weir__time_group(ts, 0)");
        check("$__timeGroupAlias(ts,$__interval)", "weir__time_group(ts, 0) AS time");
        check("$__timeGroup(a, 60s) $__timeGroup(b, 1m)", "weir__time_group(a, 0) weir__time_group(b, 0)");
        check("x/$__interval_ms -- $__from\n;", "x/weir__interval_ms()  \n ");
        check("'a' 'b' r'a' '$__from'", "'s0' 's1' r's0' 's2'");
        check("'a''b'`c``d`", "'s0' 's1' `c` `d`");
        check("$__timeFilter(CAST(`a` AS TIMESTAMP))", "weir__time_filter(CAST(`a` AS TIMESTAMP))");
    }

    #[test]
    fn what_cannot_be_masked_is_refused() {
        let check = |template: &str, expected: Reason| assert_eq!(mask(template).err(), Some(expected), "{template}");
        check("weir__time_filter(x)", reason::RESERVED_NAME);
        check("`WEIR__x`", reason::RESERVED_NAME);
        check("x$__interval_ms", reason::ODD_MACRO);
        check("1.$__interval_ms", reason::ODD_MACRO);
        check("$__nope(x)", reason::ODD_MACRO);
        check("$__timeFilter(x", reason::ODD_MACRO);
        check("$__timeFilter(x -- y\n)", reason::ODD_MACRO);
        check("$__timeGroup(x /* y */, 5m)", reason::ODD_MACRO);
        check("$__timeFilter", reason::ODD_MACRO);
        check("$__timeGroup(x, 5q)", reason::ODD_MACRO);
        check("$__timeGroup(x, 5m, NULL)", reason::BUCKET_ARGUMENTS);
        check("x > '${__from:date}'", reason::RANGE_MACRO);
        check("${__to}", reason::RANGE_MACRO);
        check("${nope}", reason::UNEXPANDED_VARIABLE);
        check("$branch", reason::UNEXPANDED_VARIABLE);
        check("bin(x, $__interval)", reason::INTERVAL_TEXT);
        check("a |> b", reason::PIPE_SYNTAX);
        check("a\u{a0}b", reason::ODD_CHARACTER);
        check("`a\\`b`", reason::ODD_CHARACTER);
        check("@@time_zone", reason::ODD_CHARACTER);
        check(&"a+".repeat(401), reason::TOO_COMPLEX);
        check(&"a IS NULL ".repeat(401), reason::TOO_COMPLEX);
        check(&" ".repeat(LONGEST + 1), reason::TOO_COMPLEX);
        assert!(mask(&" ".repeat(LONGEST)).is_ok());
        assert_eq!(LONGEST, 262_144);
    }
}
