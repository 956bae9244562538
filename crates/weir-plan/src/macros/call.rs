//! A macro as it stands in the text.

use crate::error::{Error, Result};
use crate::sql::{Lexeme, lexemes};

/// A macro as it stands in the text.
pub(super) struct Call<'a> {
    /// Its name without `$__`.
    pub(super) name: &'a str,
    /// Its arguments, untrimmed; `None` without brackets.
    pub(super) arguments: Option<Vec<&'a str>>,
    /// Bytes from `$` to the closing bracket.
    pub(super) length: usize,
}

impl<'a> Call<'a> {
    /// Reads the macro that `text` begins with. A bracket belongs to it only without white space.
    ///
    /// # Errors
    /// `InvalidQuery` for a bracket that is not closed.
    pub(super) fn read(text: &'a str) -> Result<Self> {
        const PREFIX: usize = "$__".len();
        let name_length =
            text[PREFIX..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len() - PREFIX);
        let name = &text[PREFIX..PREFIX + name_length];
        let open = PREFIX + name_length;
        let mut call = Self { name, arguments: None, length: open };
        if !text[open..].starts_with('(') {
            return Ok(call);
        }
        let mut arguments = Vec::new();
        let (mut at, mut begin, mut depth) = (open + 1, open + 1, 0_usize);
        for (lexeme, stretch) in lexemes(&text[open + 1..]) {
            if lexeme == Lexeme::Code {
                for (offset, c) in stretch.char_indices() {
                    match c {
                        '(' | '[' => depth += 1,
                        ')' if depth == 0 => {
                            arguments.push(&text[begin..at + offset]);
                            call.length = at + offset + 1;
                            call.arguments = Some(arguments);
                            return Ok(call);
                        }
                        ')' | ']' => depth = depth.saturating_sub(1),
                        ',' if depth == 0 => {
                            arguments.push(&text[begin..at + offset]);
                            begin = at + offset + 1;
                        }
                        _ => {}
                    }
                }
            }
            at += stretch.len();
        }
        Err(call.error("has an unclosed bracket"))
    }

    /// The only argument, trimmed; empty where there is none.
    ///
    /// # Errors
    /// `InvalidQuery` for several.
    pub(super) fn only_argument(&self, what: &str) -> Result<&'a str> {
        match self.arguments.as_deref() {
            None => Ok(""),
            Some([argument]) => Ok(argument.trim()),
            Some(_) => Err(self.error(&format!("takes one argument, {what}"))),
        }
    }

    /// # Errors
    /// `InvalidQuery` where there are arguments.
    pub(super) fn without_arguments(&self) -> Result<()> {
        match self.arguments.as_deref() {
            None => Ok(()),
            Some([nothing]) if nothing.trim().is_empty() => Ok(()),
            Some(_) => Err(self.error("takes no arguments")),
        }
    }

    /// An error that names the macro.
    pub(super) fn error(&self, what: &str) -> Error {
        Error::invalid(format!("macro $__{} {what}", self.name))
    }
}
