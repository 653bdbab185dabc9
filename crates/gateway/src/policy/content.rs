//! Is the body of a kind that will be understood?

use super::Question;
use anykey_core::{Code, Refusal};
use anykey_dialect::multipart;

/// JSON, or nothing said; a form where the endpoint takes one. A body that is declared as something else would be read in two ways.
pub(super) fn check_type(question: &Question<'_>) -> Result<(), Refusal> {
    let endpoint = question.route.endpoint;
    let form = question.marks.content_type.is_some_and(multipart::is_form);
    if endpoint.takes_form() && form {
        return Ok(());
    }
    if endpoint.takes_only_form() {
        let message = "The body must be a form. Send `Content-Type: multipart/form-data`, with a boundary.";
        return Err(Refusal::new(Code::UnsupportedMediaType, message).param("content-type"));
    }
    let Some(value) = question.marks.content_type.filter(|_| !question.route.endpoint.is_read()) else { return Ok(()) };
    let media = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if media.eq_ignore_ascii_case(b"application/json") || media.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(Code::UnsupportedMediaType, "The body must be JSON. Send `Content-Type: application/json`.")
        .param("content-type"))
}

pub(super) fn check_encoding(question: &Question<'_>) -> Result<(), Refusal> {
    match question.marks.content_encoding {
        Some(value) if !value.trim_ascii().eq_ignore_ascii_case(b"identity") => Err(Refusal::new(
            Code::UnsupportedMediaType,
            "Compressed request bodies are not accepted. Send the body without Content-Encoding.",
        )
        .param("content-encoding")),
        _ => Ok(()),
    }
}
