//! Grafana's variables that arrive unexpanded: the global ones are replaced here too, any other is
//! known to the browser only and is an error.

use crate::error::{Error, Result};
use crate::extent::{Extent, SECOND, Step, Timestamp};

/// Global variables that a backend can replace, without `__`.
const GLOBAL: [&str; 7] = ["from", "to", "interval", "interval_ms", "range", "range_s", "range_ms"];

/// Something in code that is not SQL.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// `$__name`, with or without arguments.
    Macro,
    /// `${name}`, `${name:format}` or `[[name]]`: what is inside, and the length of the whole.
    Variable(&'a str, usize),
    /// `$name`.
    Bare(&'a str),
    /// `${` without an end.
    Unclosed,
}

/// The first macro or variable of `code`, and where it begins.
pub(super) fn find(code: &str) -> Option<(usize, Found<'_>)> {
    code.match_indices(['$', '[']).find_map(|(at, _)| Some((at, read(&code[at..])?)))
}

fn read(text: &str) -> Option<Found<'_>> {
    if text.starts_with("$__") {
        return Some(Found::Macro);
    }
    if let Some(inside) = text.strip_prefix("${") {
        return Some(
            inside.find('}').map_or(Found::Unclosed, |end| Found::Variable(&inside[..end], end + "${}".len())),
        );
    }
    if let Some(inside) = text.strip_prefix("[[") {
        let (inside, _) = inside.split_once("]]")?;
        let is_name = inside.starts_with(is_first) && inside.chars().all(|c| is_rest(c) || c == ':');
        return is_name.then_some(Found::Variable(inside, inside.len() + "[[]]".len()));
    }
    let name = text.strip_prefix('$').filter(|name| name.starts_with(is_first))?;
    Some(Found::Bare(&name[..name.find(|c| !is_rest(c)).unwrap_or(name.len())]))
}

fn is_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_rest(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The error for a variable that only a browser can replace; `written` is as it stands in the text.
pub(super) fn unreplaced(written: &str) -> Error {
    Error::invalid(format!(
        "variable {written} arrived without its value: only a browser knows a dashboard's variables, so alert \
         rules, public dashboards and the API cannot use them; write the value in its place"
    ))
}

/// Replaces the global variables in a literal or a name, as Grafana's front end does:
/// `'${__from:date}'`. Whatever else stands in it is text.
///
/// # Errors
/// Those of `value`.
pub(super) fn replaced(text: &str, mut value: impl FnMut(&str) -> Result<String>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${__") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest["${__".len()..].split_once('}').filter(|(variable, _)| {
            let name = variable.split(':').next().unwrap_or_default();
            GLOBAL.contains(&name)
        });
        if let Some((variable, after)) = known {
            out.push_str(&value(variable)?);
            rest = after;
        } else {
            out.push_str("${__");
            rest = &rest["${__".len()..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The value of a global variable, given without its `__`, and whether it depends on the range.
/// Source: <https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/#global-variables>.
///
/// # Errors
/// `InvalidQuery` naming the variable: unknown, of an unknown format, or without what it needs.
pub(super) fn value(variable: &str, range: Option<Extent>, step: Option<Step>) -> Result<(String, bool)> {
    let (name, format) = variable.split_once(':').unwrap_or((variable, ""));
    let error = |what: &str| Error::invalid(format!("variable ${{__{variable}}} {what}"));
    let step = || step.ok_or_else(|| error("needs an interval; give a step, for example 5m"));
    let range = || range.ok_or_else(|| error("needs a time range; give from and to"));
    let point = |point: Timestamp| match format {
        "" => Ok(point.millis().to_string()),
        "date" | "date:iso" => Ok(point.iso_millis()),
        "date:seconds" => Ok(point.seconds().to_string()),
        _ => Err(error("has a format that the backend does not know; date, date:iso and date:seconds are")),
    };
    match (name, format) {
        ("from", _) => Ok((point(range()?.start())?, true)),
        ("to", _) => Ok((point(range()?.end())?, true)),
        ("interval", "") => Ok((step()?.to_string(), false)),
        ("interval_ms", "") => Ok((step()?.millis().to_string(), false)),
        ("range", "") => Ok((format!("{}s", range()?.micros() / SECOND), true)),
        ("range_s", "") => Ok(((range()?.micros() / SECOND).to_string(), true)),
        ("range_ms", "") => Ok(((range()?.micros() / 1000).to_string(), true)),
        _ => Err(error("is not known to the backend; write its value in its place")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_other_brackets_are_not() {
        let check = |code: &str, expected: Option<(usize, Found<'_>)>| assert_eq!(find(code), expected, "{code}");
        check("a $__x(1)", Some((2, Found::Macro)));
        check("${env:csv} b", Some((0, Found::Variable("env:csv", 10))));
        check("x[[env]]", Some((1, Found::Variable("env", 7))));
        check("x = $env_1.y", Some((4, Found::Bare("env_1"))));
        check("${env", Some((0, Found::Unclosed)));
        for plain in ["", "$", "$1", "a[0]", "[[1, 2]]", "[[a + b]]", "x[y[0]]", "[[", "$ {x}", "[[]]"] {
            check(plain, None);
        }
    }
}
