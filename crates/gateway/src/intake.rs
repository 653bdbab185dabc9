//! Reads the body once: what the call acts on is taken from it here, and nothing is parsed twice.

use anykey_core::endpoint::Route;
use anykey_core::{Code, Dialect, Endpoint, Refusal};
use anykey_dialect::head::{self, Head};
use bytes::Bytes;

/// A call as the caller made it: one parse, one immutable decision.
pub(crate) struct Call {
    pub route: Route,
    pub model: String,
    pub stream: bool,
    pub head: Head,
    pub body: Bytes,
}

pub(crate) fn read(route: Route, body: Bytes) -> Result<Call, Refusal> {
    let head = head::scan(route.endpoint, &body)?;
    let model = match (&route.subject, &head.model_name) {
        (Some(in_path), _) => {
            check_same(in_path, head.body_model.as_deref())?;
            in_path.clone()
        }
        (None, Some(name)) => name.clone(),
        (None, None) => {
            return Err(Refusal::new(Code::InvalidParameter, "The field `model` is missing: name the model to call.")
                .param("model"));
        }
    };
    let stream = head.stream || route.endpoint == Endpoint::StreamGenerateContent;
    Ok(Call { model, stream, head, body, route })
}

/// Gemini's bodies may name the model that the path has named already; they must not name another.
fn check_same(in_path: &str, in_body: Option<&str>) -> Result<(), Refusal> {
    let plain = |name: &str| name.strip_prefix("models/").unwrap_or(name).to_owned();
    match in_body {
        Some(name) if plain(name) != plain(in_path) => Err(Refusal::new(
            Code::ConflictingModel,
            "The body names another model than the path. Name the same model in both.",
        )
        .param("model")),
        _ => Ok(()),
    }
}

impl Call {
    pub fn dialect(&self) -> Dialect {
        self.route.dialect
    }
}
