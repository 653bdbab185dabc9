//! Amounts of money: whole nano-dollars, checked, with exact decimal text. No floating point.

use std::fmt;

/// An amount in nano-USD (1e-9 dollar). Range ±9.2 billion dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nanos(pub i64);

const PER_DOLLAR: i64 = 1_000_000_000;

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("an amount is a decimal number of dollars such as 5 or 0.25, without spaces, signs or exponents")]
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

    #[must_use]
    pub const fn saturating_sub(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(other.0))
    }

    /// Parses a non-negative decimal number of dollars, exactly. What could be meant in two ways, or was cut off, is none:
    /// digits, and a point with digits behind it; `$` may stand before them.
    pub fn parse_usd(text: &str) -> Result<Nanos, AmountError> {
        let text = text.strip_prefix('$').unwrap_or(text);
        if text.starts_with('-') {
            return Err(AmountError::Negative);
        }
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let ends = fraction.map_or(!whole.is_empty(), |fraction| !fraction.is_empty());
        let fraction = fraction.unwrap_or_default();
        if !ends || !digits(whole) || !digits(fraction) {
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

/// An amount as text.
#[derive(Clone, Copy)]
pub struct AmountText {
    /// Filled from its end.
    digits: [u8; AmountText::LEN],
    start: u8,
    end: u8,
}

impl AmountText {
    /// A sign, ten digits of dollars, a point and nine places.
    const LEN: usize = 21;

    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..usize::from(self.end)]
    }

    pub fn as_str(&self) -> &str {
        // Made of digits, a point and a sign alone.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Nanos {
    /// As it is shown, without a trip through the heap.
    pub fn text(self) -> AmountText {
        let n = self.0.unsigned_abs();
        let (mut whole, mut fraction) = (n / PER_DOLLAR as u64, n % PER_DOLLAR as u64);
        let mut digits = [b'0'; AmountText::LEN];
        let mut end = AmountText::LEN;
        if fraction == 0 {
            end -= 10;
        } else {
            for slot in digits[end - 9..].iter_mut().rev() {
                *slot = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
            digits[end - 10] = b'.';
        }
        let mut start = AmountText::LEN - 10;
        while digits[end - 1] == b'0' && end > start {
            end -= 1;
        }
        loop {
            start -= 1;
            digits[start] = b'0' + (whole % 10) as u8;
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        if self.0 < 0 {
            start -= 1;
            digits[start] = b'-';
        }
        AmountText { digits, start: start as u8, end: end as u8 }
    }
}

/// Exact dollars with no trailing zeros: `0.000045`, `5`, `-1.25`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
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

        /// What is taken is written in the one grammar; nothing else is, whatever it is made of.
        #[test]
        fn only_digits_and_one_point_are_an_amount(text in "[0-9.$eE+ ,_x−５-]{0,8}") {
            let body = text.strip_prefix('$').unwrap_or(&text);
            let (whole, fraction) = body.split_once('.').map_or((body, None), |(w, f)| (w, Some(f)));
            let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
            let good = digits(whole) && fraction.map_or(!whole.is_empty(), |f| !f.is_empty() && digits(f));
            prop_assert_eq!(Nanos::parse_usd(&text).is_ok(), good, "{}", text);
        }

        #[test]
        fn text_has_no_needless_digit(n: i64) {
            let text = Nanos(n).to_string();
            let (whole, fraction) = text.trim_start_matches('-').split_once('.').unwrap_or((&text, "1"));
            prop_assert!(whole == "0" || !whole.starts_with('0'), "{}", text);
            prop_assert!(!fraction.ends_with('0'), "{}", text);
            prop_assert_eq!(text.starts_with('-'), n < 0);
        }
    }

    #[test]
    fn amounts_as_text() {
        for (n, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (45_000, "0.000045"),
            (5_000_000_000, "5"),
            (10_000_000_000, "10"),
            (-1_250_000_000, "-1.25"),
            (i64::MAX, "9223372036.854775807"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(Nanos(n).to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_an_amount() {
        for (text, why) in [
            ("", AmountError::NotDecimal),
            ("NaN", AmountError::NotDecimal),
            ("1e400", AmountError::NotDecimal),
            ("5e3", AmountError::NotDecimal),
            (" 5", AmountError::NotDecimal),
            ("5 ", AmountError::NotDecimal),
            ("5\n", AmountError::NotDecimal),
            ("$ 5", AmountError::NotDecimal),
            ("$$5", AmountError::NotDecimal),
            ("5$", AmountError::NotDecimal),
            ("$", AmountError::NotDecimal),
            ("5.", AmountError::NotDecimal),
            (".", AmountError::NotDecimal),
            ("+5", AmountError::NotDecimal),
            ("1.+5", AmountError::NotDecimal),
            ("1.2.3", AmountError::NotDecimal),
            ("1,000", AmountError::NotDecimal),
            ("1_000", AmountError::NotDecimal),
            ("0x10", AmountError::NotDecimal),
            ("５", AmountError::NotDecimal),
            ("٥", AmountError::NotDecimal),
            ("5\u{a0}", AmountError::NotDecimal),
            ("−5", AmountError::NotDecimal),
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
