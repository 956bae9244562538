//! Aggregates in the engine's terms.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    HavingBound, HavingBoundKind, NullTreatment, ObjectName, OrderByExpr, OrderByOptions,
};
use weir_plan::{Error, Result};

use super::functions::{find, name_of};
use super::tree::{arguments, call, case, ident, int, text};

/// Aggregates under their own or another name, without more ado.
const AGGREGATES: &[(&str, &str)] = &[
    ("avg", "avg"),
    ("bit_and", "bit_and"),
    ("bit_or", "bit_or"),
    ("bit_xor", "bit_xor"),
    ("corr", "corr"),
    ("count", "count"),
    ("covar_pop", "covar_pop"),
    ("covar_samp", "covar_samp"),
    ("grouping", "grouping"),
    ("logical_and", "bool_and"),
    ("logical_or", "bool_or"),
    ("max", "max"),
    ("min", "min"),
    ("stddev", "stddev"),
    ("stddev_pop", "stddev_pop"),
    ("stddev_samp", "stddev"),
    ("sum", "sum"),
    ("var_pop", "var_pop"),
    ("var_samp", "var"),
    ("variance", "var"),
];

/// Names of [`AGGREGATES`] and others that only this module gives.
const ENGINE_AGGREGATES: &[&str] = &["array_agg", "bool_and", "bool_or", "first_value", "string_agg", "var"];

/// Whether a rewritten call aggregates rows.
pub(super) fn is_aggregate(function: &Function) -> bool {
    let name = name_of(function);
    AGGREGATES.iter().any(|(_, engine)| *engine == name) || ENGINE_AGGREGATES.contains(&name.as_str())
}

/// Rewrites a call that aggregates; `None` for another function.
pub(super) fn rewritten(name: &str, function: &mut Function) -> Result<Option<Expr>> {
    if let Some(engine) = find(AGGREGATES, name) {
        rename(function, engine);
        return Ok(Some(Expr::Function(function.clone())));
    }
    aggregate(name, function)
}

fn rename(function: &mut Function, name: &str) {
    let span = function.name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span);
    let mut ident = ident(name);
    if let Some(span) = span {
        ident.span = span;
    }
    function.name = ObjectName::from(ident);
}

/// Aggregates of another name and shape.
fn aggregate(name: &str, function: &mut Function) -> Result<Option<Expr>> {
    let clauses = match &mut function.args {
        FunctionArguments::List(list) => std::mem::take(&mut list.clauses),
        _ => vec![],
    };
    let args = arguments(function);
    let first = args.as_ref().and_then(|args| args.first().cloned());
    let second = args.as_ref().and_then(|args| args.get(1).cloned());
    match (name, first, second) {
        ("countif", Some(condition), None) => {
            put(function, vec![case(condition, int(1), None)], vec![]);
            rename(function, "count");
        }
        ("approx_count_distinct", Some(value), None) => {
            put(function, vec![value], vec![]);
            rename(function, "count");
            if let FunctionArguments::List(list) = &mut function.args {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
        }
        ("any_value", Some(value), None) => {
            let order = clauses.into_iter().find_map(|clause| match clause {
                FunctionArgumentClause::Having(HavingBound(kind, by)) => {
                    Some((by, matches!(kind, HavingBoundKind::Max)))
                }
                _ => None,
            });
            pick(function, value, order);
        }
        ("max_by" | "min_by", Some(value), Some(by)) => pick(function, value, Some((by, name == "max_by"))),
        ("string_agg", Some(value), separator) => {
            put(function, vec![value, separator.unwrap_or_else(|| text(","))], clauses);
            rename(function, "string_agg");
        }
        ("array_agg", Some(value), None) => return array_agg(function, value, clauses).map(Some),
        ("approx_quantiles", Some(value), Some(count)) => {
            put(function, vec![value.clone()], vec![]);
            rename(function, "array_agg");
            function.filter = Some(Box::new(Expr::IsNotNull(Box::new(value))));
            return Ok(Some(call("$quantiles", [Expr::Function(function.clone()), count])));
        }
        _ => {
            if let FunctionArguments::List(list) = &mut function.args {
                list.clauses = clauses;
            }
            return Ok(None);
        }
    }
    Ok(Some(Expr::Function(function.clone())))
}

fn put(function: &mut Function, args: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
        list.clauses = clauses;
    }
}

/// The first value that is not NULL, in the order of another one.
fn pick(function: &mut Function, value: Expr, order: Option<(Expr, bool)>) {
    let clauses = order.map(|(expr, descending)| {
        let options = OrderByOptions { asc: Some(!descending), nulls_first: Some(false) };
        FunctionArgumentClause::OrderBy(vec![OrderByExpr { expr, options, with_fill: None }])
    });
    put(function, vec![value], clauses.into_iter().collect());
    rename(function, "first_value");
    function.null_treatment = Some(NullTreatment::IgnoreNulls);
}

fn array_agg(function: &mut Function, value: Expr, clauses: Vec<FunctionArgumentClause>) -> Result<Expr> {
    let mut kept = vec![];
    let mut limit = None;
    let ignored = function.null_treatment.take();
    let mut ignores_nulls = matches!(ignored, Some(NullTreatment::IgnoreNulls));
    for clause in clauses {
        match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => {
                ignores_nulls = treatment == NullTreatment::IgnoreNulls;
            }
            FunctionArgumentClause::Limit(count) => limit = Some(count),
            FunctionArgumentClause::OrderBy(order) => kept.push(FunctionArgumentClause::OrderBy(order)),
            other => {
                return Err(Error::invalid(format!("the embedded engine does not support ARRAY_AGG with {other}")));
            }
        }
    }
    if ignores_nulls {
        function.filter = Some(Box::new(Expr::IsNotNull(Box::new(value.clone()))));
    }
    put(function, vec![value], kept);
    rename(function, "array_agg");
    let array = Expr::Function(function.clone());
    Ok(match limit {
        Some(limit) => call("array_slice", [array, int(1), limit]),
        None => array,
    })
}
