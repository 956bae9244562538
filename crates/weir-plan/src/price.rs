//! What bytes on the bill cost: a price for each TiB, in a currency.
//!
//! It knows neither discounts nor reservations: where a project pays by slots, the price is what the
//! same job would cost on demand.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, Result};

/// Bytes of a TiB.
const TIB: f64 = 1_099_511_627_776.0;

/// Parts of a unit of money in which a price is kept, so that equal prices are equal.
const MILLION: f64 = 1e6;

/// The price of a TiB.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    millionths_per_tib: u64,
    currency: String,
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// How much.
    pub amount: f64,
    /// The currency's code, for example `USD`.
    pub currency: String,
}

impl Price {
    /// A price of `per_tib` in a currency, whose code is three letters.
    ///
    /// # Errors
    /// `InvalidQuery` for a price that is negative or no number, and for a code of another form.
    pub fn new(per_tib: f64, currency: &str) -> Result<Self> {
        let millionths = (per_tib * MILLION).round();
        if !(0.0..1e15).contains(&millionths) {
            return Err(Error::invalid(format!("{per_tib} is not a price; give a number from zero, such as 6.25")));
        }
        if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_alphabetic()) {
            return Err(Error::invalid(format!("{currency:?} is not a currency; give its code, such as USD or EUR")));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        let millionths_per_tib = millionths as u64;
        Ok(Self { millionths_per_tib, currency: currency.to_ascii_uppercase() })
    }

    /// What `bytes` on the bill cost.
    #[expect(clippy::cast_precision_loss, reason = "for display; bytes are exact up to 8 PiB")]
    pub fn of(&self, bytes: u64) -> Cost {
        let per_tib = self.millionths_per_tib as f64 / MILLION;
        Cost { amount: bytes as f64 / TIB * per_tib, currency: self.currency.clone() }
    }
}

impl Default for Price {
    /// The on-demand price of a TiB in the US multi-region, 6.25 USD.
    /// Source: <https://cloud.google.com/bigquery/pricing#on_demand_pricing>, 2026.
    fn default() -> Self {
        Self { millionths_per_tib: 6_250_000, currency: "USD".to_owned() }
    }
}

impl FromStr for Price {
    type Err = Error;

    /// Reads `6.25`, which is in USD, or `5.75 EUR`.
    fn from_str(text: &str) -> Result<Self> {
        let (number, currency) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), "USD"));
        let number: f64 = number
            .parse()
            .map_err(|_| Error::invalid(format!("{text:?} is not a price; write 6.25 or \"5.75 EUR\", for example")))?;
        Self::new(number, currency.trim())
    }
}

impl fmt::Display for Cost {
    /// Small amounts keep two digits that say something: `0.000057 USD`, `12.50 USD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_zero = |place: &i32| self.amount > 0.0 && self.amount * 10_f64.powi(*place) < 1.0;
        let digits = 2 + (1..12).take_while(is_zero).count();
        write!(f, "{:.digits$} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    #[test]
    fn prices_are_numbers_in_dollars_or_have_a_currency() {
        let check = |text: &str, expected: f64, currency: &str| {
            let cost = text.parse::<Price>().unwrap().of(TIB);
            assert_eq!(cost, Cost { amount: expected, currency: currency.to_owned() }, "{text}");
        };
        check("6.25", 6.25, "USD");
        check(" 5.75 eur ", 5.75, "EUR");
        check("0", 0.0, "USD");
        assert_eq!("6.25".parse::<Price>().unwrap(), Price::default());
        for text in ["", "cheap", "-1", "NaN", "inf", "6.25 dollars", "6,25", "USD 6"] {
            assert!(text.parse::<Price>().is_err(), "{text}");
        }
    }

    #[test]
    fn costs_are_shown_with_digits_that_say_something() {
        let check = |amount: f64, expected: &str| {
            assert_eq!(Cost { amount, currency: "USD".to_owned() }.to_string(), expected);
        };
        check(0.0, "0.00 USD");
        check(12.5, "12.50 USD");
        check(0.25, "0.25 USD");
        check(0.1, "0.10 USD");
        check(0.059_604, "0.060 USD");
        check(0.01, "0.010 USD");
        check(0.000_059_604, "0.000060 USD");
        check(1e-15, "0.0000000000000 USD");
    }

    #[test]
    fn bytes_cost_their_share_of_a_tib() {
        assert!((Price::default().of(TIB / 2).amount - 3.125).abs() < 1e-12);
        assert!(Price::default().of(0).amount.abs() < 1e-12);
    }
}
