//! Elements of arrays and fields of structs.

use sqlparser::ast::{AccessExpr, Expr, Subscript};
use weir_plan::Result;

use super::tree::{arguments, call, text};
use super::unsupported;

/// `array[OFFSET(0)].field` and its like, as calls.
pub(super) fn access(root: Expr, chain: Vec<AccessExpr>) -> Result<Expr> {
    let mut chain = chain.into_iter().peekable();
    let mut expr = root;
    if let Expr::Identifier(first) = &expr {
        let mut path = vec![first.clone()];
        while let Some(AccessExpr::Dot(Expr::Identifier(_))) = chain.peek() {
            if let Some(AccessExpr::Dot(Expr::Identifier(ident))) = chain.next() {
                path.push(ident);
            }
        }
        if path.len() > 1 {
            expr = Expr::CompoundIdentifier(path);
        }
    }
    for step in chain {
        expr = match step {
            AccessExpr::Dot(Expr::Identifier(field)) => call("get_field", [expr, text(field.value)]),
            AccessExpr::Subscript(Subscript::Index { index: Expr::Function(function) }) => {
                let base = function.name.to_string().replace('`', "");
                match arguments(&function).map(<[Expr; 1]>::try_from) {
                    Some(Ok([position])) => call("$element", [expr, position, text(base)]),
                    _ => return Err(unsupported(&format!("the subscript [{function}]"))),
                }
            }
            AccessExpr::Subscript(Subscript::Index { index }) => call("$element", [expr, index, text("offset")]),
            other => return Err(unsupported(&format!("the access {other}"))),
        };
    }
    Ok(expr)
}

/// `STRUCT(a)` names its field as `STRUCT(a AS a)` does.
pub(super) fn named(value: Expr) -> Expr {
    let name = match &value {
        Expr::Identifier(ident) => ident.clone(),
        Expr::CompoundIdentifier(path) => match path.last() {
            Some(last) => last.clone(),
            None => return value,
        },
        _ => return value,
    };
    Expr::Named { expr: Box::new(value), name }
}
