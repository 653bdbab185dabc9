//! How the admin API says no: a closed list of codes, each answer an `application/problem+json` (RFC 9457).

use anykey_core::{Code, Refusal};
use anykey_store::StoreError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

macro_rules! own_codes {
    ($($variant:ident $status:literal $name:literal,)*) => {
        /// What only the admin API can say; the rest is [`anykey_core::Code`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Own { $($variant,)* }

        impl Own {
            const fn parts(self) -> (u16, &'static str) {
                match self { $(Own::$variant => ($status, $name),)* }
            }
        }
    };
}

own_codes! {
    DestinationForbidden 400 "destination_forbidden",
    SignInRefused 401 "sign_in_refused",
    SecondFactorRequired 401 "second_factor_required",
    SessionOver 401 "session_over",
    CrossSiteRequest 403 "cross_site_request",
    Conflict 409 "conflict",
    IdempotencyConflict 409 "idempotency_conflict",
    IdempotencyInProgress 409 "idempotency_in_progress",
    LinkUsed 410 "link_used",
    SignInOver 410 "sign_in_over",
    VersionMismatch 412 "version_mismatch",
    ProviderTestFailed 422 "provider_test_failed",
    CatalogueInvalid 422 "catalogue_invalid",
    IssuerInvalid 502 "issuer_invalid",
    IssuerUnavailable 503 "issuer_unavailable",
    DatabaseUnavailable 503 "database_unavailable",
    SecretUnavailable 503 "secret_unavailable",
}

/// The kind of a problem: its status and its machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub status: u16,
    pub code: &'static str,
}

impl From<Code> for Kind {
    fn from(code: Code) -> Self {
        Kind { status: code.status(), code: code.name() }
    }
}

impl From<Own> for Kind {
    fn from(own: Own) -> Self {
        let (status, code) = own.parts();
        Kind { status, code }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// The field of the body, or the parameter.
    #[schema(value_type = String)]
    pub field: Cow<'static, str>,
    pub message: String,
}

/// A refusal on its way out. [`crate::envelope`] writes it, since only it knows the request id.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub kind: Kind,
    pub detail: Cow<'static, str>,
    pub errors: Vec<FieldError>,
    /// Whole seconds.
    pub retry_after: Option<u32>,
}

pub(crate) type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub fn new(kind: impl Into<Kind>, detail: impl Into<Cow<'static, str>>) -> Self {
        let kind = kind.into();
        let retry_after = (kind.status == 503).then_some(2);
        Problem { kind, detail: detail.into(), errors: Vec::new(), retry_after }
    }

    pub fn not_found(what: &str) -> Self {
        Problem::new(Code::NotFound, format!("There is no such {what}."))
    }

    /// One field is wrong.
    pub fn field(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), message: message.into() };
        let detail = format!("`{}` {}.", error.field, error.message);
        Problem { errors: vec![error], ..Problem::new(Code::InvalidParameter, detail) }
    }

    /// What a status says where a layer below gave nothing but a status.
    pub fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status.as_u16() {
            404 => (Code::NotFound, "There is nothing at this path."),
            405 => (Code::MethodNotAllowed, "This path does not take that method; `Allow` names those it takes."),
            413 => (Code::BodyTooLarge, "The body is too large."),
            415 => (Code::UnsupportedMediaType, "The body must be sent as application/json."),
            400..=499 => (Code::InvalidParameter, "The request is not one that this path takes."),
            _ => (Code::InternalError, "Something went wrong here; the server's log says more under this request id."),
        };
        Problem::new(code, detail)
    }

    pub fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            r#type: format!("/docs/errors/{}", self.kind.code),
            title: title(self.kind.code),
            status: self.kind.status,
            code: self.kind.code,
            detail: self.detail.to_string(),
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        }
    }
}

/// `version_mismatch` becomes `Version mismatch`.
fn title(code: &str) -> String {
    let mut text = code.replace('_', " ");
    text[..1].make_ascii_uppercase();
    text.replace("api key", "API key").replace("json", "JSON").replace("ip ", "IP ")
}

/// An error, as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// A page about the code.
    r#type: String,
    title: String,
    status: u16,
    /// The machine code; one of a closed list.
    code: &'static str,
    /// What happened, to what, and what to do next.
    detail: String,
    request_id: String,
    /// Every field that is at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response =
            StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What the data plane says too is said in its words.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let retry_after = refusal.retry_after;
        Problem { retry_after, ..Problem::new(refusal.code, refusal.message) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Problem::not_found(what),
            StoreError::Conflict(text) => Problem::new(Own::Conflict, sentence(&text)),
            StoreError::VersionMismatch { what, expected, found } => Problem::new(
                Own::VersionMismatch,
                format!(
                    "The {what} was changed since you read it: its version is {found}, not {expected}. Read it again and \
                     decide anew."
                ),
            ),
            StoreError::Invalid { field, message } => Problem::field(field, message),
            StoreError::SecretUnavailable(what) => Problem::new(
                Own::SecretUnavailable,
                format!("The stored {what} cannot be opened with this installation's key. Set it again."),
            ),
            StoreError::Unavailable(why) => {
                tracing::warn!(why, "the database is not available");
                Problem::new(Own::DatabaseUnavailable, "The database cannot be asked now. Try again in a moment.")
            }
            other => {
                tracing::error!(error = %other, "the store failed");
                Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

/// A capital first letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let mut sentence: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_code_has_a_title() {
        for code in Code::ALL {
            assert!(title(code.name()).starts_with(|c: char| c.is_ascii_uppercase()));
        }
        assert_eq!(title("invalid_api_key"), "Invalid API key");
        assert_eq!(title("invalid_json"), "Invalid JSON");
    }

    #[test]
    fn a_store_that_cannot_be_asked_tells_nothing_of_itself() {
        let problem = Problem::from(StoreError::Unavailable("postgres://user:hunter2@db refused".into()));
        assert_eq!((problem.kind.status, problem.retry_after), (503, Some(2)));
        assert!(!problem.detail.contains("hunter2"));
        let problem = Problem::from(StoreError::Corrupt("page 7".into()));
        assert_eq!(problem.kind.status, 500);
        assert!(!problem.detail.contains("page 7"));
    }
}
