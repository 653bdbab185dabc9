//! What names and texts may hold, whoever sends them.

use crate::error::{Result, StoreError};

/// One line that is not empty.
pub(crate) fn name(field: &'static str, text: &str, max: usize) -> Result<()> {
    if text.trim().is_empty() {
        return Err(StoreError::invalid(field, "is empty"));
    }
    if text.trim() != text {
        return Err(StoreError::invalid(field, "begins or ends with a space"));
    }
    if text.chars().any(char::is_control) {
        return Err(StoreError::invalid(field, "holds a control character"));
    }
    self::text(field, text, max)
}

/// Any text of a bounded length; line breaks and tabs are its only control characters.
pub(crate) fn text(field: &'static str, text: &str, max: usize) -> Result<()> {
    if text.chars().count() > max {
        return Err(StoreError::invalid(field, format!("is longer than {max} characters")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        return Err(StoreError::invalid(field, "holds a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_plain_line() {
        for bad in ["", " ", "a ", "a\nb", "a\0", "\u{1b}[31m", "aaaaaa"] {
            assert!(name("name", bad, 5).is_err(), "{bad:?}");
        }
        assert_eq!(name("name", "é b ü", 5), Ok(()));
        assert_eq!(text("note", "a\n\tb", 5), Ok(()));
        assert!(text("note", "a\0", 5).is_err());
    }
}
