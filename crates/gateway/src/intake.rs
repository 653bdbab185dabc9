//! Reads the body once: what the call acts on is taken from it here, and nothing is parsed twice.

use crate::measure::Measured;
use anykey_core::endpoint::Route;
use anykey_core::{Code, Dialect, Endpoint, Refusal};
use anykey_dialect::embed::Shape;
use anykey_dialect::head::{self, Head};
use anykey_dialect::multipart;
use anykey_dialect::translate::{Api, Reply};
use bytes::{Bytes, BytesMut};
use std::rc::Rc;

/// A call as the caller made it: one parse, one immutable decision.
pub(crate) struct Call {
    pub route: Route,
    pub model: String,
    pub stream: bool,
    /// What the provider is asked; where that is translated, so is this.
    pub head: Head,
    pub body: Bytes,
    /// Whether the caller said how long the answer may become.
    pub bounded: bool,
    /// The bound that was set for them, since money allows no more.
    pub most_output: Option<u64>,
    /// Where the provider speaks another dialect than the caller.
    pub translation: Option<Box<Translation>>,
    /// Where tokens are not all that it is measured by.
    pub measured: Option<Rc<Measured>>,
}

/// A call on its way to a provider who is asked in other words.
pub(crate) struct Translation {
    pub api: Api,
    /// Where at the provider the call goes.
    pub endpoint: Endpoint,
    pub reply: Reply,
    /// The names of what could not be carried over, as the header has them.
    pub dropped: String,
    /// Where the answer is vectors.
    pub vectors: Option<Vectors>,
}

/// How vectors come, and how the caller wants them.
#[derive(Clone, Copy)]
pub(crate) struct Vectors {
    pub shape: Shape,
    pub base64: bool,
}

pub(crate) fn read(route: Route, body: Bytes, content_type: Option<&[u8]>) -> Result<Call, Refusal> {
    let head = match content_type {
        Some(form) if route.endpoint.takes_form() && multipart::is_form(form) => {
            head::scan_form(route.endpoint, &body, form)?
        }
        _ => head::scan(route.endpoint, &body)?,
    };
    let (head, body) = match route.endpoint.default_model() {
        Some(model) if head.model.is_none() => with_model(route.endpoint, model, &body)?,
        _ => (head, body),
    };
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
    let bounded = head.max_tokens.is_some();
    Ok(Call { model, stream, head, body, route, bounded, most_output: None, translation: None, measured: None })
}

/// A body that leaves its model open, with the one that is meant: what is checked, priced and sent stays one name.
fn with_model(endpoint: Endpoint, model: &str, body: &Bytes) -> Result<(Head, Bytes), Refusal> {
    let inside = body.iter().position(|b| *b == b'{').map_or(0, |at| at + 1);
    let (before, after) = body.split_at(inside);
    let is_empty = after.trim_ascii_start().starts_with(b"}");
    let mut named = BytesMut::with_capacity(body.len() + model.len() + 16);
    named.extend_from_slice(before);
    named.extend_from_slice(format!("\"model\":\"{model}\"{}", if is_empty { "" } else { "," }).as_bytes());
    named.extend_from_slice(after);
    let named = named.freeze();
    Ok((head::scan(endpoint, &named)?, named))
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
    /// The same with a bound on its output, as `body` has it.
    pub fn capped(self, most_output: u64, body: Bytes) -> Result<Call, Refusal> {
        let head = head::scan(self.endpoint_there(), &body)?;
        Ok(Call { head, body, most_output: Some(most_output), ..self })
    }

    /// What the caller speaks.
    pub fn dialect(&self) -> Dialect {
        self.route.dialect
    }

    /// Where at the provider the call goes.
    pub fn endpoint_there(&self) -> Endpoint {
        match &self.translation {
            None => self.route.endpoint,
            Some(translation) => translation.endpoint,
        }
    }

    /// What the provider speaks.
    pub fn dialect_there(&self) -> Dialect {
        self.translation.as_ref().map_or(self.route.dialect, |translation| translation.api.dialect())
    }
}
