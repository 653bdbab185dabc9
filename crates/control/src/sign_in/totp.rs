//! Time-based one-time codes (RFC 6238) as every authenticator counts them: SHA-1, six digits, thirty seconds.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const STEP_MS: i64 = 30_000;
/// Clocks of telephones go wrong by a step; more would only help those who guess.
const SLACK: i64 = 1;
const SECRET_LEN: usize = 20;

/// A new secret.
pub(crate) fn secret() -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0u8; SECRET_LEN]);
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// The step of time that a code is of, if it is a good one now and later than `used`.
pub(crate) fn step_of(secret: &[u8], code: &str, now_ms: i64, used: i64) -> Option<i64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let now = now_ms.div_euclid(STEP_MS);
    // All are compared, so that the time tells nothing.
    let fits = |step: i64| step > used && bool::from(code_at(secret, step).as_bytes().ct_eq(code.as_bytes()));
    (now - SLACK..=now + SLACK).filter(|step| fits(*step)).max()
}

fn code_at(secret: &[u8], step: i64) -> String {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else { return String::new() };
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// RFC 4648, without padding, as people type it.
pub(crate) fn base32(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 8 / 5 + 1));
    let (mut bits, mut held) = (0u32, 0);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(DIGITS[(bits >> held & 31) as usize]));
        }
    }
    if held > 0 {
        text.push(char::from(DIGITS[(bits << (5 - held) & 31) as usize]));
    }
    text
}

/// What an authenticator reads from a picture.
pub(crate) fn url(secret: &[u8], email: &str) -> Zeroizing<String> {
    let account: String = email.bytes().map(escaped).collect();
    Zeroizing::new(format!("otpauth://totp/anykey:{account}?secret={}&issuer=anykey", *base32(secret)))
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

const RECOVERY_CODES: usize = 10;

/// Codes for the day when the telephone is lost: 50 bits each.
pub(crate) fn recovery_codes() -> Option<Vec<String>> {
    (0..RECOVERY_CODES)
        .map(|_| {
            let mut bytes = Zeroizing::new([0u8; 7]);
            getrandom::fill(bytes.as_mut_slice()).ok()?;
            let text = base32(bytes.as_slice()).to_ascii_lowercase();
            Some(format!("{}-{}", &text[..5], &text[5..10]))
        })
        .collect()
}

/// As it was shown, whatever was typed around it. `None` is no recovery code.
pub(crate) fn recovery_code(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    (plain.len() == 10).then(|| format!("{}-{}", &plain[..5], &plain[5..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix B of RFC 6238, the last six of its eight digits.
    #[test]
    fn the_codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(secret, seconds / 30), code, "{seconds}");
            assert_eq!(step_of(secret, code, seconds * 1000, 0), Some(seconds / 30));
        }
    }

    #[test]
    fn a_code_is_good_for_a_step_around_and_once() {
        let secret = b"12345678901234567890";
        let now = 1_790_000_010_000;
        let step = now / STEP_MS;
        for around in [-1, 0, 1] {
            assert_eq!(step_of(secret, &code_at(secret, step + around), now, 0), Some(step + around));
        }
        for around in [-2, 2] {
            assert_eq!(step_of(secret, &code_at(secret, step + around), now, 0), None, "{around}");
        }
        let code = code_at(secret, step);
        assert_eq!(step_of(secret, &code, now, step), None, "used");
        assert_eq!(step_of(secret, &code, now, step - 1), Some(step));
        let spaced = format!(" {} {} ", &code[..3], &code[3..]);
        assert_eq!(step_of(secret, &spaced, now, 0), Some(step));
        for bad in ["", "12345", "1234567", "12345x", "١٢٣٤٥٦"] {
            assert_eq!(step_of(secret, bad, now, 0), None, "{bad}");
        }
    }

    /// The test vectors of RFC 4648.
    #[test]
    fn base32_is_that_of_the_standard() {
        for (plain, text) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(*base32(plain.as_bytes()), text);
        }
        let url = url(b"12345678901234567890", "ada+x@example.com");
        assert_eq!(
            *url,
            "otpauth://totp/anykey:ada%2Bx@example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=anykey"
        );
    }

    #[test]
    fn recovery_codes_differ_and_are_read_as_typed() {
        let codes = recovery_codes().unwrap();
        let unique: std::collections::BTreeSet<&String> = codes.iter().collect();
        assert_eq!(unique.len(), RECOVERY_CODES);
        for code in &codes {
            assert_eq!(recovery_code(code).as_ref(), Some(code));
            assert_eq!(recovery_code(&code.to_uppercase().replace('-', " ")).as_ref(), Some(code));
        }
        assert_eq!(recovery_code("123456"), None);
    }
}
