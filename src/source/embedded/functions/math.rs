//! Functions of numbers. Division by zero and overflow are errors, as in `GoogleSQL`.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Args, fail, scalar};

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        scalar("$plus", both, |args| checked(args, "+", i64::checked_add, |a, b| a + b)),
        scalar("$minus", both, |args| checked(args, "-", i64::checked_sub, |a, b| a - b)),
        scalar("$times", both, |args| checked(args, "*", i64::checked_mul, |a, b| a * b)),
        scalar("$divide", |_| floats(2), |args| divide(args, Zero::Fails)),
        scalar("safe_divide", |_| floats(2), |args| divide(args, Zero::IsNull)),
        scalar("ieee_divide", |_| floats(2), |args| divide(args, Zero::IsIeee)),
        scalar("div", |_| ints(2), |args| integers(args, "DIV", i64::checked_div)),
        scalar("mod", |_| ints(2), |args| integers(args, "MOD", i64::checked_rem)),
        scalar("abs", number, |args| numeric(args, i64::checked_abs, f64::abs)),
        scalar("sign", number, |args| numeric(args, |n| Some(n.signum()), |x| if x == 0.0 { 0.0 } else { x.signum() })),
        scalar("floor", |_| floats(1), |args| float(args, f64::floor)),
        scalar("ceil", |_| floats(1), |args| float(args, f64::ceil)),
        scalar("round", digits, |args| at_digits(args, f64::round)),
        scalar("trunc", digits, |args| at_digits(args, f64::trunc)),
        scalar("sqrt", |_| floats(1), |args| defined(args, "SQRT", |x| (x >= 0.0).then(|| x.sqrt()))),
        scalar("exp", |_| floats(1), |args| float(args, f64::exp)),
        scalar("ln", |_| floats(1), |args| defined(args, "LN", |x| (x > 0.0).then(|| x.ln()))),
        scalar("log10", |_| floats(1), |args| defined(args, "LOG10", |x| (x > 0.0).then(|| x.log10()))),
        scalar("log", |types| floats(if types.len() == 2 { 2 } else { 1 }), logarithm),
        scalar(
            "pow",
            |_| floats(2),
            |args| {
                let (base, exponent) = (args.floats(0), args.floats(1));
                args.to_floats(|row| Ok(base(row).zip(exponent(row)).map(|(base, exponent)| base.powf(exponent))))
            },
        ),
        scalar(
            "is_nan",
            |_| Some((vec![DataType::Float64], DataType::Boolean)),
            |args| {
                let value = args.floats(0);
                args.to_bools(|row| Ok(value(row).map(f64::is_nan)))
            },
        ),
        scalar(
            "is_inf",
            |_| Some((vec![DataType::Float64], DataType::Boolean)),
            |args| {
                let value = args.floats(0);
                args.to_bools(|row| Ok(value(row).map(f64::is_infinite)))
            },
        ),
    ]
}

type Types = Option<(Vec<DataType>, DataType)>;

#[expect(clippy::unnecessary_wraps, reason = "the shape of a rule")]
fn floats(count: usize) -> Types {
    Some((vec![DataType::Float64; count], DataType::Float64))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a rule")]
fn ints(count: usize) -> Types {
    Some((vec![DataType::Int64; count], DataType::Int64))
}

fn number(types: &[DataType]) -> Types {
    let whole = types.first()?.is_integer();
    if whole { ints(1) } else { floats(1) }
}

fn digits(types: &[DataType]) -> Types {
    match types.len() {
        1 => floats(1),
        2 => Some((vec![DataType::Float64, DataType::Int64], DataType::Float64)),
        _ => None,
    }
}

/// INT64 unless, the branches of a UNION once known, one is FLOAT64.
fn both(types: &[DataType]) -> Types {
    if types.iter().all(|given| given.is_integer() || given.is_null()) { ints(2) } else { floats(2) }
}

fn checked(args: &Args, sign: &str, whole: fn(i64, i64) -> Option<i64>, real: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    if args.returns == DataType::Float64 {
        let (left, right) = (args.floats(0), args.floats(1));
        return args.to_floats(|row| Ok(left(row).zip(right(row)).map(|(left, right)| real(left, right))));
    }
    let (left, right) = (args.ints(0), args.ints(1));
    args.to_ints(|row| {
        let Some((left, right)) = left(row).zip(right(row)) else { return Ok(None) };
        whole(left, right).map(Some).ok_or_else(|| fail(format!("int64 overflow: {left} {sign} {right}")))
    })
}

/// What a division by zero gives.
#[derive(Clone, Copy, PartialEq)]
enum Zero {
    Fails,
    IsNull,
    IsIeee,
}

fn divide(args: &Args, zero: Zero) -> Result<ArrayRef> {
    let (dividend, divisor) = (args.floats(0), args.floats(1));
    args.to_floats(|row| {
        let Some((dividend, divisor)) = dividend(row).zip(divisor(row)) else { return Ok(None) };
        match zero {
            Zero::Fails if divisor == 0.0 => Err(fail(format!("division by zero: {dividend} / {divisor}"))),
            Zero::IsNull if divisor == 0.0 => Ok(None),
            _ => Ok(Some(dividend / divisor)),
        }
    })
}

fn integers(args: &Args, name: &str, apply: fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let (dividend, divisor) = (args.ints(0), args.ints(1));
    args.to_ints(|row| {
        let Some((dividend, divisor)) = dividend(row).zip(divisor(row)) else { return Ok(None) };
        let reason = if divisor == 0 { "division by zero" } else { "INT64 overflow" };
        apply(dividend, divisor).map(Some).ok_or_else(|| fail(format!("{reason}: {name}({dividend}, {divisor})")))
    })
}

fn numeric(args: &Args, whole: fn(i64) -> Option<i64>, real: fn(f64) -> f64) -> Result<ArrayRef> {
    if args.returns == DataType::Float64 {
        return float(args, real);
    }
    let value = args.ints(0);
    args.to_ints(|row| {
        let Some(value) = value(row) else { return Ok(None) };
        whole(value).map(Some).ok_or_else(|| fail(format!("INT64 overflow at {value}")))
    })
}

fn float(args: &Args, apply: fn(f64) -> f64) -> Result<ArrayRef> {
    let value = args.floats(0);
    args.to_floats(|row| Ok(value(row).map(apply)))
}

fn defined(args: &Args, name: &str, apply: fn(f64) -> Option<f64>) -> Result<ArrayRef> {
    let value = args.floats(0);
    args.to_floats(|row| {
        let Some(value) = value(row) else { return Ok(None) };
        apply(value).map(Some).ok_or_else(|| fail(format!("{name} is not defined for {value}")))
    })
}

fn logarithm(args: &Args) -> Result<ArrayRef> {
    if args.len() == 1 {
        return defined(args, "LOG", |x| (x > 0.0).then(|| x.ln()));
    }
    let (value, base) = (args.floats(0), args.floats(1));
    args.to_floats(|row| {
        let Some((value, base)) = value(row).zip(base(row)) else { return Ok(None) };
        if value <= 0.0 || base <= 0.0 || (base - 1.0).abs() < f64::EPSILON {
            return Err(fail(format!("LOG is not defined for ({value}, {base})")));
        }
        Ok(Some(value.ln() / base.ln()))
    })
}

fn at_digits(args: &Args, apply: fn(f64) -> f64) -> Result<ArrayRef> {
    if args.len() == 1 {
        return float(args, apply);
    }
    let (value, digits) = (args.floats(0), args.ints(1));
    args.to_floats(|row| {
        Ok(value(row).zip(digits(row)).map(|(value, digits)| {
            let scale = 10_f64.powi(i32::try_from(digits).unwrap_or(0));
            let scaled = value * scale;
            if scaled.is_finite() && scale != 0.0 { apply(scaled) / scale } else { value }
        }))
    })
}
