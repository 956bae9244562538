//! NUMERIC and BIGNUMERIC cells beyond what Arrow's own functions take: BIGNUMERIC has up to 39 digits
//! before its point and 38 after it, one more than the 76 of Arrow's Decimal256, whose 256 bits hold
//! them all the same. Arrow's text and parser of such a value are wrong, so these are ours.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};

/// Digits of BIGNUMERIC after the point.
const SCALE: usize = 38;

/// The value of a BIGNUMERIC text.
pub(crate) fn big_numeric(text: &str) -> Option<i256> {
    parse_decimal::<Decimal256Type>(text, 76, 38).ok().or_else(|| widest(text))
}

/// A text of 39 digits before the point.
fn widest(text: &str) -> Option<i256> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() != 39 || fraction.len() > SCALE || !is_digits(digits) || !is_digits(fraction) {
        return None;
    }
    i256::from_string(&format!("{whole}{fraction:0<SCALE$}"))
}

/// A decimal's text without the zeros that its scale adds: `-0.25`, `7`.
pub(crate) fn text(value: i256, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = value.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

/// A decimal column as the doubles nearest to its values; `None` for another column.
pub(crate) fn doubles(column: &dyn Array) -> Option<ArrayRef> {
    let doubles: Float64Array = match column.data_type() {
        DataType::Decimal128(_, scale) => {
            let values = column.as_primitive::<Decimal128Type>();
            values.iter().map(|value| value.map(|value| double(i256::from_i128(value), *scale))).collect()
        }
        DataType::Decimal256(_, scale) => {
            let values = column.as_primitive::<Decimal256Type>();
            values.iter().map(|value| value.map(|value| double(value, *scale))).collect()
        }
        _ => return None,
    };
    Some(Arc::new(doubles))
}

/// The double nearest to a decimal. Where value and power of ten are exact, so is their quotient but
/// for one rounding; elsewhere the text is parsed.
#[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
fn double(value: i256, scale: i8) -> f64 {
    /// Doubles hold every integer up to here, and every power of ten up to the next.
    const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    const EXACT_POWER: i8 = 22;
    match value.to_i128().filter(|value| value.unsigned_abs() <= u128::from(EXACT)) {
        Some(small) if (0..=EXACT_POWER).contains(&scale) => small as f64 / 10_f64.powi(scale.into()),
        _ => text(value, scale).parse().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Decimal256Array};
    use arrow::datatypes::Float64Type;

    /// Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types>.
    const GREATEST: &str = "578960446186580977117854925043439539266.34992332820282019728792003956564819967";
    const LEAST: &str = "-578960446186580977117854925043439539266.34992332820282019728792003956564819968";

    #[test]
    fn the_extremes_of_bignumeric_are_read_and_written() {
        for extreme in [GREATEST, LEAST, "100000000000000000000000000000000000000", "0", "-0.25", "7"] {
            assert_eq!(text(big_numeric(extreme).unwrap(), 38), extreme);
        }
        assert_eq!(big_numeric(GREATEST).unwrap(), i256::MAX);
        assert_eq!(big_numeric(LEAST).unwrap(), i256::MIN);
        assert_eq!(big_numeric("1e3").map(|value| text(value, 38)).as_deref(), Some("1000"));
        let over = GREATEST.replace("967", "968");
        for bad in ["", "-", "x", ".", "5789604461865809771178549250434395392661", "", &over] {
            assert_eq!(big_numeric(bad), None, "{bad}");
        }
    }

    #[test]
    fn doubles_are_the_nearest_ones() {
        let check = |column: ArrayRef, expected: Option<f64>| {
            let doubles = doubles(&column).unwrap();
            let doubles = doubles.as_primitive::<Float64Type>();
            assert_eq!(doubles.is_valid(0).then(|| doubles.value(0)), expected);
        };
        let numeric = |value: Option<i128>| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(38, 9).unwrap())
        };
        check(numeric(Some(100_000_000)), Some(0.1));
        check(numeric(Some(123_456_789_012_345_678_901_234_567_890)), Some(123_456_789_012_345_678_901.234_567_89));
        check(numeric(None), None);
        let big = |text: &str| -> ArrayRef {
            let value = Decimal256Array::from(vec![big_numeric(text)]);
            Arc::new(value.with_precision_and_scale(76, 38).unwrap())
        };
        check(big("0.1"), Some(0.1));
        check(big(GREATEST), Some(5.789_604_461_865_809_6e38));
        assert!(super::doubles(&Float64Array::from(vec![1.0])).is_none());
    }
}
