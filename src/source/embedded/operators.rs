//! Operators and type names with `GoogleSQL`'s meaning: literals take the type of what they are
//! compared with, other types are not mixed silently, `/` gives FLOAT64.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF, binary_expr, lit};
use sqlparser::ast::{self, BinaryOperator as Op};
use weir_plan::Error;
use weir_plan::extent::DAY;

use super::{functions, time_text, types};

/// Plans operators and type names.
#[derive(Debug)]
pub(super) struct Operators;

impl TypePlanner for Operators {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        match types::of_sql(sql_type) {
            Some(data_type) => Ok(Some(Arc::new(Field::new("", data_type, true)))),
            None => Err(invalid(format!("the embedded engine does not support the type {sql_type}"))),
        }
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        // Where a type is not known yet, the engine's own check reports the column.
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        match expr.op {
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => comparison(expr, &left, &right),
            Op::Plus | Op::Minus | Op::Multiply | Op::Divide => arithmetic(expr, &left, &right),
            Op::Modulo => Err(invalid("Syntax error: GoogleSQL has no operator %; use MOD(a, b)")),
            _ => Ok(PlannerResult::Original(expr)),
        }
    }
}

fn invalid(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid(message)))
}

fn mismatch(op: &Op, left: &DataType, right: &DataType) -> DataFusionError {
    invalid(format!(
        "No matching signature for operator {op} for argument types: {}, {}",
        types::name(left),
        types::name(right)
    ))
}

/// Types that compare with each other.
#[derive(PartialEq)]
enum Family {
    Any,
    Number,
    Text,
    Other(String),
}

fn family(data_type: &DataType) -> Family {
    match types::normal(data_type) {
        _ if data_type.is_null() => Family::Any,
        DataType::Int64 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..) => Family::Number,
        DataType::Utf8 => Family::Text,
        DataType::List(_) | DataType::Struct(_) => Family::Any,
        other => Family::Other(types::name(&other)),
    }
}

fn comparison(expr: RawBinaryExpr, left: &DataType, right: &DataType) -> Result<PlannerResult<RawBinaryExpr>> {
    let RawBinaryExpr { op, left: a, right: b } = expr;
    let (a, b) = (literal_as(a, right)?, literal_as(b, left)?);
    let types = (type_of(&a, left), type_of(&b, right));
    let (of_a, of_b) = (family(&types.0), family(&types.1));
    if of_a != Family::Any && of_b != Family::Any && of_a != of_b {
        return Err(mismatch(&op, left, right));
    }
    let operator = match op {
        Op::Eq => Operator::Eq,
        Op::NotEq => Operator::NotEq,
        Op::Lt => Operator::Lt,
        Op::LtEq => Operator::LtEq,
        Op::Gt => Operator::Gt,
        _ => Operator::GtEq,
    };
    Ok(PlannerResult::Planned(binary_expr(a, operator, b)))
}

fn type_of(expr: &Expr, known: &DataType) -> DataType {
    match expr {
        Expr::Literal(value, _) => value.data_type(),
        _ => known.clone(),
    }
}

/// A string literal as a value of the type of time that it is compared with.
pub(super) fn literal_as(expr: Expr, other: &DataType) -> Result<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &expr else { return Ok(expr) };
    let value = match other {
        DataType::Date32 => {
            let day = time_text::parse_date(text).and_then(|micros| i32::try_from(micros.div_euclid(DAY)).ok());
            day.map(|day| ScalarValue::Date32(Some(day)))
        }
        DataType::Timestamp(_, None) => {
            time_text::parse_datetime(text).map(|micros| ScalarValue::TimestampMicrosecond(Some(micros), None))
        }
        DataType::Timestamp(_, zone @ Some(_)) => time_text::parse_timestamp(text, None)
            .map(|micros| ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())),
        DataType::Time64(_) => time_text::parse_time(text).map(|micros| ScalarValue::Time64Microsecond(Some(micros))),
        _ => return Ok(expr),
    };
    value.map(lit).ok_or_else(|| invalid(format!("Could not cast literal \"{text}\" to type {}", types::name(other))))
}

fn arithmetic(expr: RawBinaryExpr, left: &DataType, right: &DataType) -> Result<PlannerResult<RawBinaryExpr>> {
    let is_number = |data_type| matches!(family(data_type), Family::Number | Family::Any);
    let is_decimal =
        |data_type: &DataType| matches!(types::normal(data_type), DataType::Decimal128(..) | DataType::Decimal256(..));
    match (&expr.op, left, right) {
        (Op::Plus | Op::Minus, DataType::Date32, number) if number.is_integer() => {
            let days = if expr.op == Op::Minus { Expr::Negative(Box::new(expr.right)) } else { expr.right };
            call("$add", vec![expr.left, days, lit("day")])
        }
        (Op::Plus, number, DataType::Date32) if number.is_integer() => {
            call("$add", vec![expr.right, expr.left, lit("day")])
        }
        (op, left, right) if !is_number(left) || !is_number(right) => Err(mismatch(op, left, right)),
        (Op::Plus | Op::Minus | Op::Multiply, left, right) if left.is_integer() && right.is_integer() => {
            let name = match expr.op {
                Op::Plus => "$plus",
                Op::Minus => "$minus",
                _ => "$times",
            };
            call(name, vec![expr.left, expr.right])
        }
        (Op::Divide, left, right) if !is_decimal(left) && !is_decimal(right) => {
            call("$divide", vec![expr.left, expr.right])
        }
        _ => Ok(PlannerResult::Original(expr)),
    }
}

fn call(name: &str, args: Vec<Expr>) -> Result<PlannerResult<RawBinaryExpr>> {
    let function: Option<Arc<ScalarUDF>> = functions::named(name);
    let function = function.ok_or_else(|| DataFusionError::Internal(format!("no function {name}")))?;
    Ok(PlannerResult::Planned(function.call(args)))
}
