//! Decimal numbers of a price list as exact integers: read from their text, never through a floating-point number.

/// Why a number is not a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("not a number")]
    NotNumber,
    #[error("negative")]
    Negative,
    #[error("too large")]
    TooLarge,
}

/// A non-negative decimal: `digits` x 10^`exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: u128,
    exponent: i32,
}

/// More digits than any price has, yet few enough to be exact in 128 bits.
const MAX_DIGITS: usize = 30;

impl Decimal {
    /// Reads a JSON number.
    pub fn parse(text: &str) -> Result<Decimal, DecimalError> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = text.split_once(['e', 'E']).map_or((text, None), |(m, p)| (m, Some(p)));
        let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let is_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !fraction.is_none_or(is_digits) {
            return Err(DecimalError::NotNumber);
        }
        let fraction = fraction.unwrap_or("");
        let significant = whole.trim_start_matches('0').len() + fraction.len();
        if significant > MAX_DIGITS {
            return Err(DecimalError::TooLarge);
        }
        let digits = whole.bytes().chain(fraction.bytes()).fold(0, |n: u128, b| n * 10 + u128::from(b - b'0'));
        if negative && digits > 0 {
            return Err(DecimalError::Negative);
        }
        let exponent = parse_power(power)? - fraction.len() as i32;
        Ok(Decimal { digits, exponent })
    }

    /// The number x 10^`power` / `divisor`, rounded half up to a whole one.
    pub fn scaled(self, power: i32, divisor: u64) -> Result<i64, DecimalError> {
        if self.digits == 0 {
            return Ok(0);
        }
        let power = self.exponent + power;
        let ten = |n: i32| 10_u128.checked_pow(n.unsigned_abs());
        let divisor = u128::from(divisor.max(1));
        let (numerator, divisor) = if power >= 0 {
            let numerator = ten(power).and_then(|ten| self.digits.checked_mul(ten)).ok_or(DecimalError::TooLarge)?;
            (numerator, divisor)
        } else {
            // A divisor that is out of range leaves nothing of at most 30 digits.
            let Some(divisor) = ten(power).and_then(|ten| ten.checked_mul(divisor)) else { return Ok(0) };
            (self.digits, divisor)
        };
        let rounded = numerator / divisor + u128::from(numerator % divisor >= divisor.div_ceil(2));
        i64::try_from(rounded).map_err(|_| DecimalError::TooLarge)
    }
}

fn parse_power(power: Option<&str>) -> Result<i32, DecimalError> {
    let Some(power) = power else { return Ok(0) };
    let (sign, digits) = match power.as_bytes() {
        [b'-', ..] => (-1, &power[1..]),
        [b'+', ..] => (1, &power[1..]),
        _ => (1, power),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::NotNumber);
    }
    // Four digits are beyond every price in either direction, and far within the range of the sums made with it.
    let magnitude = digits.trim_start_matches('0');
    if magnitude.len() > 4 { Err(DecimalError::TooLarge) } else { Ok(sign * magnitude.parse::<i32>().unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pico(text: &str) -> Result<i64, DecimalError> {
        Decimal::parse(text)?.scaled(6, 1)
    }

    #[test]
    fn reads_prices_exactly() {
        for (text, rate) in [
            ("0.15", 150_000),
            ("2.5", 2_500_000),
            ("10", 10_000_000),
            ("0.0375", 37_500),
            ("0.18000000000000002", 180_000),
            ("0.08333333333333333", 83_333),
            ("0.0000005", 1),
            ("0.00000049", 0),
            ("1.5e-1", 150_000),
            ("2E+1", 20_000_000),
            ("0", 0),
            ("-0.0", 0),
            ("0e9999", 0),
            ("1e-9999", 0),
        ] {
            assert_eq!(pico(text), Ok(rate), "{text}");
        }
        assert_eq!(Decimal::parse("0.36").and_then(|d| d.scaled(12, 3600)), Ok(100_000_000));
    }

    #[test]
    fn refuses_what_is_not_a_price() {
        for (text, why) in [
            ("-1", DecimalError::Negative),
            ("-1e-300", DecimalError::Negative),
            ("1e308", DecimalError::TooLarge),
            ("1e99999999999", DecimalError::TooLarge),
            ("99999999999999999999999999999999", DecimalError::TooLarge),
            ("9223372036855", DecimalError::TooLarge),
            ("NaN", DecimalError::NotNumber),
            ("null", DecimalError::NotNumber),
            ("\"1\"", DecimalError::NotNumber),
            ("", DecimalError::NotNumber),
            ("1.", DecimalError::NotNumber),
            (".5", DecimalError::NotNumber),
            ("1e", DecimalError::NotNumber),
            ("1e+", DecimalError::NotNumber),
            ("0x10", DecimalError::NotNumber),
            ("1_000", DecimalError::NotNumber),
        ] {
            assert_eq!(pico(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn six_decimals_are_never_rounded(micros in 0_i64..10_000_000_000) {
            let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            prop_assert_eq!(pico(&text), Ok(micros));
        }

        #[test]
        fn noise_never_panics(text in "[-+0-9.eE]{0,40}") {
            let _ = Decimal::parse(&text).map(|d| d.scaled(12, 3600));
        }
    }
}
