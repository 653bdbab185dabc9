//! Amounts of money: whole nano-dollars, checked, with exact decimal text. No floating point.

use std::fmt;

/// An amount in nano-USD (1e-9 dollar). Range ±9.2 billion dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nanos(pub i64);

const PER_DOLLAR: i64 = 1_000_000_000;

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("an amount is a decimal number of dollars, such as 5 or 0.25")]
    NotDecimal,
    #[error("an amount has at most nine decimal places")]
    TooFine,
    #[error("the amount is too large")]
    TooLarge,
    #[error("an amount cannot be negative")]
    Negative,
}

impl Nanos {
    pub const ZERO: Nanos = Nanos(0);

    pub const fn dollars(whole: i64) -> Nanos {
        Nanos(whole * PER_DOLLAR)
    }

    pub const fn checked_add(self, other: Nanos) -> Option<Nanos> {
        match self.0.checked_add(other.0) {
            Some(n) => Some(Nanos(n)),
            None => None,
        }
    }

    pub const fn checked_sub(self, other: Nanos) -> Option<Nanos> {
        match self.0.checked_sub(other.0) {
            Some(n) => Some(Nanos(n)),
            None => None,
        }
    }

    /// For sums that are only shown: sticks at the ends instead of wrapping.
    #[must_use]
    pub const fn saturating_add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }

    /// Parses a non-negative decimal number of dollars, exactly.
    pub fn parse_usd(text: &str) -> Result<Nanos, AmountError> {
        let text = text.trim();
        let text = text.strip_prefix('$').unwrap_or(text);
        if text.starts_with('-') {
            return Err(AmountError::Negative);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return Err(AmountError::NotDecimal);
        }
        if fraction.len() > 9 {
            return Err(AmountError::TooFine);
        }
        let number = |s: &str| if s.is_empty() { Ok(0) } else { s.parse::<i64>().map_err(|_| AmountError::TooLarge) };
        let scale = 10_i64.pow(9 - fraction.len() as u32);
        number(whole)?
            .checked_mul(PER_DOLLAR)
            .and_then(|n| n.checked_add(number(fraction).ok()? * scale))
            .map(Nanos)
            .ok_or(AmountError::TooLarge)
    }
}

/// Exact dollars with no trailing zeros: `0.000045`, `5`, `-1.25`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0.unsigned_abs();
        let (whole, fraction) = (n / PER_DOLLAR as u64, n % PER_DOLLAR as u64);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{fraction:09}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_round_trips(n in 0i64..) {
            prop_assert_eq!(Nanos::parse_usd(&Nanos(n).to_string()), Ok(Nanos(n)));
        }
    }

    #[test]
    fn refuses_what_is_not_an_amount() {
        for (text, why) in [
            ("", AmountError::NotDecimal),
            ("NaN", AmountError::NotDecimal),
            ("1e400", AmountError::NotDecimal),
            ("-0", AmountError::Negative),
            ("-7", AmountError::Negative),
            ("0.0000000001", AmountError::TooFine),
            ("9223372036854775808", AmountError::TooLarge),
            ("9223372037", AmountError::TooLarge),
        ] {
            assert_eq!(Nanos::parse_usd(text), Err(why), "{text}");
        }
        assert_eq!(Nanos::parse_usd("$5"), Ok(Nanos::dollars(5)));
        assert_eq!(Nanos::parse_usd(".5"), Ok(Nanos(500_000_000)));
    }
}
