//! Secrets in the settings file: never the secret itself, but where it is. A text of the form `${NAME}` names a variable
//! of the environment; `{ file = "..." }` names a file.

use secrecy::SecretString;
use std::path::Path;

/// Reads `${NAME}`, or takes the text as it stands.
pub fn from_text(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, String> {
    let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return if text.is_empty() { Err("is empty".into()) } else { Ok(text.into()) };
    };
    match env(name) {
        Some(value) if !value.trim().is_empty() => Ok(value.trim().into()),
        _ => Err(format!("names the variable {name}, which is not set")),
    }
}

/// Reads a file; a relative path is relative to the settings file.
pub fn from_file(folder: &Path, path: &str) -> Result<SecretString, String> {
    match std::fs::read_to_string(folder.join(path)) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().into()),
        Ok(_) => Err("names a file that is empty".into()),
        Err(error) => Err(format!("names a file that cannot be read: {error}")),
    }
}
