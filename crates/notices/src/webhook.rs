//! Messages to webhooks, as the specification Standard Webhooks has them: an id that stays the same however often a
//! message is sent, the time of sending, and a signature over both and the body.

use anykey_core::notice::Event;
use anykey_net::guard::{Destination, Forbidden};
use anykey_net::{Bytes, Fetch, FetchError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::time::Duration;

/// As long as a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where a webhook is: what the guard looks at, and the rest of the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    destination: Destination,
    path: String,
}

/// Why a URL cannot be a webhook's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the URL must start with https://, so that nobody on the way reads or holds up what is sent")]
    Plain,
}

impl Target {
    /// A URL with a path and a query, as receivers give them out. Without `allow_private` it is https and public.
    pub fn parse(url: &str, allow_private: bool) -> Result<Target, BadUrl> {
        let after = url.find("://").map(|at| at + 3).ok_or(Forbidden::Scheme)?;
        let end = url[after..].find(['/', '?', '#']).map_or(url.len(), |at| at + after);
        let (base, path) = url.split_at(end);
        let destination = Destination::parse(base, allow_private)?;
        if !destination.tls && !allow_private {
            return Err(BadUrl::Plain);
        }
        let plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'\\' | b'"' | b'<' | b'>'));
        if !plain {
            return Err(Forbidden::Form.into());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Target { destination, path })
    }
}

/// The body of a message. The same notice gives the same bytes at every attempt.
pub fn body(event: Event, created_at: i64, data: &Map<String, Value>) -> String {
    json!({
        "type": event.name(),
        "timestamp": crate::times::rfc3339(created_at),
        "data": crate::times::spelled(data),
    })
    .to_string()
}

/// One signature of a message: `v1,` and the HMAC-SHA-256 in base64. `None` where the secret is not base64.
pub fn sign(secret: &SecretString, id: &str, sent_at: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.expose_secret()).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{sent_at}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Sends a message; the status that was answered. Redirects are answers like any other and are not followed.
pub async fn send(
    fetch: &Fetch,
    target: &Target,
    secrets: &[SecretString],
    id: &str,
    sent_at: i64,
    body: String,
) -> Result<u16, FetchError> {
    let signatures: Vec<String> = secrets.iter().filter_map(|secret| sign(secret, id, sent_at, &body)).collect();
    let lines = format!(
        "content-type: application/json\r\nwebhook-id: {id}\r\nwebhook-timestamp: {sent_at}\r\n\
         webhook-signature: {}\r\n",
        signatures.join(" ")
    );
    fetch.push(&target.destination, &target.path, lines.as_bytes(), Bytes::from(body), TIMEOUT).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, which every library that verifies messages is tested with.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = SecretString::from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn urls_keep_their_path_and_query_and_nothing_else() {
        let target = |url: &str| Target::parse(url, false).map(|target| target.path);
        assert_eq!(target("https://example.com"), Ok("/".into()));
        assert_eq!(target("https://example.com/a/b/?sig=x%20y&v=1"), Ok("/a/b/?sig=x%20y&v=1".into()));
        assert_eq!(target("https://example.com?x"), Ok("/?x".into()));
        assert_eq!(target("http://example.com/"), Err(BadUrl::Plain));
        for url in [
            "https://example.com/a b",
            "https://example.com/\r\nx: y",
            "https://example.com/#f",
            "https://u@example.com/",
            "https://127.0.0.1/",
            "https://localhost/x",
            "https://169.254.169.254/latest",
            "ftp://example.com",
            "example.com",
            "https://example.com:6379/",
            "https:///x",
            "https://10.0.0.1?x",
        ] {
            assert!(Target::parse(url, false).is_err(), "{url}");
        }
        assert!(Target::parse("http://127.0.0.1:8080/x", true).is_ok());
        assert!(Target::parse("http://169.254.169.254/", true).is_err());
    }
}
