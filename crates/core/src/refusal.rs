//! The closed list of refusals: every way in which anykey says no, with its status and its machine code.

use crate::find::without_keys;
use crate::token::MAX_LEN;
use std::borrow::Cow;

macro_rules! codes {
    ($($variant:ident $status:literal $name:literal,)*) => {
        /// A machine code of the public contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($variant,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The HTTP status that goes with the code.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }
        }
    };
}

codes! {
    InvalidJson 400 "invalid_json",
    DuplicateJsonKey 400 "duplicate_json_key",
    InvalidParameter 400 "invalid_parameter",
    ConflictingCredentials 400 "conflicting_credentials",
    ConflictingModel 400 "conflicting_model",
    KeyInQueryForbidden 400 "key_in_query_forbidden",
    MissingAnthropicVersion 400 "missing_anthropic_version",
    ModelUnpriced 400 "model_unpriced",
    UnboundedCost 400 "unbounded_cost",
    AmbiguousFraming 400 "ambiguous_framing",
    MissingApiKey 401 "missing_api_key",
    InvalidApiKey 401 "invalid_api_key",
    KeyExpired 401 "key_expired",
    KeyDisabled 401 "key_disabled",
    KeyRevoked 401 "key_revoked",
    SubscriptionExpired 401 "subscription_expired",
    InsufficientBalance 402 "insufficient_balance",
    SpendLimitReached 402 "spend_limit_reached",
    AllowanceUsedUp 402 "allowance_used_up",
    ScopeMissing 403 "scope_missing",
    EndpointNotAllowed 403 "endpoint_not_allowed",
    ModelNotAllowed 403 "model_not_allowed",
    IpNotAllowed 403 "ip_not_allowed",
    BrowserUseForbidden 403 "browser_use_forbidden",
    RoleForbidden 403 "role_forbidden",
    NotFound 404 "not_found",
    ModelNotFound 404 "model_not_found",
    MethodNotAllowed 405 "method_not_allowed",
    RequestTimeout 408 "request_timeout",
    BodyTooLarge 413 "body_too_large",
    UriTooLong 414 "uri_too_long",
    UnsupportedMediaType 415 "unsupported_media_type",
    RateLimited 429 "rate_limited",
    HeadersTooLarge 431 "headers_too_large",
    InternalError 500 "internal_error",
    UpstreamError 502 "upstream_error",
    UpstreamUnavailable 503 "upstream_unavailable",
    AuthUnavailable 503 "auth_unavailable",
    LedgerUnavailable 503 "ledger_unavailable",
    StorageFull 503 "storage_full",
    ShuttingDown 503 "shutting_down",
    UpstreamTimeout 504 "upstream_timeout",
}

impl Code {
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name() == name)
    }
}

/// At most this much of a caller's own input is repeated to them.
pub const ECHO_LIMIT: usize = 64;

/// Cuts a caller's input for a message: at most 64 bytes, no control characters, and no key that was put where something
/// else belongs.
pub fn echo(input: &str) -> String {
    let mut text = String::with_capacity(ECHO_LIMIT);
    // What begins beyond this is not shown, and what begins before it ends in time to be known for a key.
    let window = input.get(..input.floor_char_boundary(ECHO_LIMIT + MAX_LEN)).unwrap_or_default();
    for c in without_keys(window).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }) {
        if text.len() + c.len_utf8() > ECHO_LIMIT {
            break;
        }
        text.push(c);
    }
    text
}

/// A "no" on its way to the caller: what happened, to what, and what to do next.
///
/// The message never holds a secret, a path, SQL or an upstream's host, and at most [`ECHO_LIMIT`] bytes of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// The field of the request that is at fault.
    pub param: Option<Cow<'static, str>>,
    /// Whole seconds for `Retry-After`.
    pub retry_after: Option<u32>,
    /// The same request can never succeed, whatever its status says to those who repeat by status.
    pub hopeless: bool,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { code, message: message.into(), param: None, retry_after: None, hopeless: false }
    }

    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Tells clients that repeat by themselves not to.
    #[must_use]
    pub fn hopeless(mut self) -> Self {
        self.hopeless = true;
        self
    }

    pub const fn status(&self) -> u16 {
        self.code.status()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(*code));
        }
    }

    #[test]
    fn an_echo_is_short_and_plain() {
        assert_eq!(echo("a\r\n\u{1b}b"), "a\u{fffd}\u{fffd}\u{fffd}b");
        assert!(echo(&"é".repeat(100)).len() <= ECHO_LIMIT);
        let key = crate::Token::mint("abcdefghijklmnop", crate::KeyKind::Custom).expect("random bytes");
        for before in 0..=ECHO_LIMIT {
            let shown = echo(&format!("{}{}{}", "é".repeat(before / 2), "a".repeat(before % 2), key.expose()));
            let secret = &key.expose()[key.expose().len() - 38..];
            assert!(!shown.contains(&secret[..4]) && shown.len() <= ECHO_LIMIT, "{before}: {shown}");
        }
    }
}
