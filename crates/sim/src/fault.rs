//! Refusals and failures before they have a shape; each dialect renders them in its own.

use crate::control::Control;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The request is wrong; `param` names the field where the dialect has a place for it.
    Invalid {
        param: Option<String>,
        code: Option<&'static str>,
    },
    MissingKey,
    BadKey,
    Unauthorized,
    Forbidden,
    NotFound,
    ModelNotFound,
    MethodNotAllowed,
    TooLarge,
    RateLimited {
        retry_after: u64,
    },
    ServerError,
    Overloaded,
    Redirect(String),
    /// A status that was asked for by number.
    Status(u16),
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub kind: FaultKind,
    pub message: String,
    /// Delays, cuts and shredding apply to refusals too.
    pub control: Box<Control>,
    pub model: Option<String>,
    pub stream: bool,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), control: Box::default(), model: None, stream: false }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid { param: None, code: None }, message)
    }

    pub(crate) fn invalid_param(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid { param: Some(param.into()), code: None }, message)
    }

    /// The kind that a provider's status number stands for.
    pub(crate) fn of_status(status: u16, retry_after: u64) -> FaultKind {
        match status {
            400 => FaultKind::Invalid { param: None, code: None },
            401 => FaultKind::Unauthorized,
            403 => FaultKind::Forbidden,
            404 => FaultKind::NotFound,
            405 => FaultKind::MethodNotAllowed,
            413 => FaultKind::TooLarge,
            429 => FaultKind::RateLimited { retry_after },
            500 => FaultKind::ServerError,
            other => FaultKind::Status(other),
        }
    }
}
