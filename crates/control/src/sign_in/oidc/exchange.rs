//! The way to an issuer and back: the URL that a browser is sent to, the code that it brings, and what the issuer says of
//! its bearer.

use super::flow::Flow;
use super::issuer::{ANSWER_LIMIT, Document, Issuer, Result, Trouble};
use super::token::{Expected, IdToken};
use anykey_net::Fetch;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What stands for itself in URLs and forms.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&")
}

/// Puts parameters behind a URL, which may have some.
pub(crate) fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}{}", form(pairs))
}

impl Issuer {
    /// Where the browser goes to sign in.
    pub fn authorization_url(&self, document: &Document, flow: &Flow) -> String {
        let scope = self.settings.scopes.join(" ");
        let challenge = BASE64URL.encode(Sha256::digest(flow.verifier.as_bytes()));
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.settings.client_id.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("scope", &scope),
            ("state", &flow.state),
            ("nonce", &flow.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if let Some(values) = &self.settings.acr_values {
            pairs.push(("acr_values", values));
        }
        with_query(&document.authorization, &pairs)
    }

    /// Where the browser goes to end the session at the issuer too, where it has such a place.
    pub fn sign_out_url(&self, document: &Document) -> Option<String> {
        let url = document.end_session.as_deref()?;
        Some(with_query(url, &[("client_id", &self.settings.client_id)]))
    }

    /// Changes a code for what the issuer says of whoever brought it.
    pub async fn redeem(&self, fetch: &Fetch, now_ms: i64, flow: &Flow, code: &str) -> Result<IdToken> {
        let document = self.document(fetch, now_ms).await?;
        let turn = tokio::time::timeout(self.patience, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Trouble::Away("too many sign in at once".into())) };
        let tokens = self.tokens(fetch, &document, flow, code).await?;
        let claims = self.verify(fetch, now_ms, tokens.id_token.expose()).await?;
        let expected = Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, now_ms };
        let mut token = claims.check_id(&expected, &flow.nonce)?;
        self.complete(fetch, &document, &mut token, tokens.access_token.as_ref()).await?;
        Ok(token)
    }

    async fn tokens(&self, fetch: &Fetch, document: &Document, flow: &Flow, code: &str) -> Result<Tokens> {
        let id = self.settings.client_id.as_str();
        let secret = self.settings.client_secret.as_ref().map(ExposeSecret::expose_secret);
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &flow.verifier),
        ];
        let mut lines = Zeroizing::new(String::new());
        match secret {
            None => pairs.push(("client_id", id)),
            Some(secret) if document.secret_in_body => pairs.extend([("client_id", id), ("client_secret", secret)]),
            Some(secret) => {
                // Encoded before they are joined (RFC 6749, 2.3.1).
                let both = Zeroizing::new(format!("{}:{}", encode(id), encode(secret)));
                lines.push_str(&format!("authorization: Basic {}\r\n", BASE64.encode(both.as_bytes())));
            }
        }
        lines.push_str("content-type: application/x-www-form-urlencoded\r\n");
        let to = &document.token;
        let sent =
            fetch.post(&to.to, &to.path, lines.as_bytes(), form(&pairs).into(), ANSWER_LIMIT, self.patience).await;
        let got = sent.map_err(|error| Trouble::Away(format!("the code could not be redeemed: {error}")))?;
        match got.status {
            200 => serde_json::from_slice(&got.body)
                .map_err(|_| Trouble::Wrong("the issuer's answer to a code has no ID token that could be read".into())),
            400..=499 => {
                Err(Trouble::Refused(format!("the issuer did not take the code ({}{})", got.status, reason(&got.body))))
            }
            500..=599 => Err(Trouble::Away(format!("the code could not be redeemed: the answer was {}", got.status))),
            status => Err(Trouble::Wrong(format!("the code could not be redeemed: the answer was {status}"))),
        }
    }

    /// Asks for claims that matter and are not in the token, where the issuer has more to say. What the token says holds.
    async fn complete(
        &self,
        fetch: &Fetch,
        document: &Document,
        token: &mut IdToken,
        access: Option<&Token>,
    ) -> Result<()> {
        let (Some(from), Some(access)) = (&document.userinfo, access) else { return Ok(()) };
        if self.settings.needed_claims().all(|claim| super::claims::find(&token.claims, claim).is_some()) {
            return Ok(());
        }
        // It came from the issuer, but goes into a line of a request.
        if !access.expose().bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Trouble::Wrong("the issuer's access token cannot be sent".into()));
        }
        let line = Zeroizing::new(format!("authorization: Bearer {}\r\n", access.expose()));
        let body = self.get(fetch, from, line.as_bytes(), "what the issuer knows of somebody").await?;
        let more: Map<String, Value> = serde_json::from_slice(&body)
            .map_err(|_| Trouble::Wrong("what the issuer knows of somebody is not a JSON object".into()))?;
        if more.get("sub").and_then(Value::as_str) != Some(&token.subject) {
            return Err(Trouble::Wrong("what the issuer knows of somebody is of somebody else".into()));
        }
        self.settings.add_claims(&mut token.claims, more);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Token,
    access_token: Option<Token>,
}

/// Never printed.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Token(SecretString);

impl From<String> for Token {
    fn from(text: String) -> Self {
        Token(text.into())
    }
}

impl Token {
    fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The error's name, if it looks like one: this goes into the log.
fn reason(body: &[u8]) -> String {
    let error = serde_json::from_slice::<Value>(body).ok();
    let name = error.as_ref().and_then(|error| error.get("error")?.as_str());
    name.filter(|name| is_error_name(name)).map(|name| format!(", {name}")).unwrap_or_default()
}

/// `access_denied` and the like.
pub(crate) fn is_error_name(name: &str) -> bool {
    (1..=60).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_appended() {
        assert_eq!(with_query("https://a/x", &[("a", "b c&d=é")]), "https://a/x?a=b%20c%26d%3D%C3%A9");
        assert_eq!(with_query("https://a/x?p=1", &[("a", "b"), ("c", "~-._")]), "https://a/x?p=1&a=b&c=~-._");
    }

    #[test]
    fn only_what_looks_like_a_name_is_repeated() {
        assert_eq!(reason(br#"{"error":"invalid_grant","error_description":"secret"}"#), ", invalid_grant");
        for body in [&b"{}"[..], b"<html>", br#"{"error":"a b"}"#, br#"{"error":"A\r\nB"}"#, br#"{"error":""}"#] {
            assert_eq!(reason(body), "");
        }
    }
}
