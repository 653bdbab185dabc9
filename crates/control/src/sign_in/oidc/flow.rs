//! What a browser keeps while somebody is on their way to an issuer and back, and while they owe a second factor. Both are
//! bound to that browser by a sealed cookie, run out, and work once.

use crate::problem::{Own, Problem, Result};
use anykey_store::{AtIssuer, CookieUse, OneTime, Store, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How long somebody may take at the issuer, and then for the code of their second factor.
const LIVES_MS: i64 = 10 * 60 * 1000;
pub(crate) const LIVES_S: u32 = 10 * 60;
const LONGEST_RETURN: usize = 512;

/// Somebody on their way. All three secrets are random, and each is used for one thing.
#[derive(Serialize, Deserialize)]
pub(crate) struct Flow {
    /// What the settings call the issuer.
    pub issuer: String,
    pub state: String,
    pub nonce: String,
    pub verifier: String,
    pub return_to: Option<String>,
    pub expires_at: i64,
}

/// Somebody for whom the issuer has vouched, and who owes a second factor.
#[derive(Serialize, Deserialize)]
pub(crate) struct Half {
    pub once: String,
    pub person: String,
    pub issuer: String,
    pub subject: String,
    pub session: Option<String>,
    pub expires_at: i64,
}

impl Flow {
    pub fn begin(store: &Store, issuer: &str, return_to: Option<String>) -> Result<Self> {
        Ok(Flow {
            issuer: issuer.to_owned(),
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            return_to,
            expires_at: store.clock_ms() + LIVES_MS,
        })
    }

    pub fn seal(&self, store: &Store) -> Result<String> {
        seal(store, CookieUse::Flow, self)
    }

    pub fn open(store: &Store, cookie: Option<&str>) -> Option<Self> {
        let flow: Flow = open(store, CookieUse::Flow, cookie?)?;
        (flow.expires_at > store.clock_ms()).then_some(flow)
    }

    /// Uses it up, so that a second try with the same state is none.
    pub async fn spend(&self, store: &Store) -> Result<()> {
        if store.spend(&self.state, self.expires_at).await? { Ok(()) } else { Err(over()) }
    }
}

impl Half {
    pub fn begin(store: &Store, person: String, at: AtIssuer) -> Result<Self> {
        let AtIssuer { issuer, subject, session } = at;
        Ok(Half { once: random()?, person, issuer, subject, session, expires_at: store.clock_ms() + LIVES_MS })
    }

    pub fn seal(&self, store: &Store) -> Result<String> {
        seal(store, CookieUse::Half, self)
    }

    pub fn open(store: &Store, cookie: Option<&str>) -> Option<Self> {
        let half: Half = open(store, CookieUse::Half, cookie?)?;
        (half.expires_at > store.clock_ms()).then_some(half)
    }

    pub async fn spend(&self, store: &Store) -> Result<()> {
        if store.spend(&self.once, self.expires_at).await? { Ok(()) } else { Err(over()) }
    }

    pub fn at(self) -> AtIssuer {
        AtIssuer { issuer: self.issuer, subject: self.subject, session: self.session }
    }
}

fn random() -> Result<String> {
    Ok(OneTime::random()?.expose().to_owned())
}

fn seal(store: &Store, purpose: CookieUse, what: &impl Serialize) -> Result<String> {
    let text = serde_json::to_vec(what).map_err(|_| StoreError::Corrupt("a cookie cannot be written".into()))?;
    Ok(store.seal_cookie(purpose, &text)?)
}

fn open<T: DeserializeOwned>(store: &Store, purpose: CookieUse, cookie: &str) -> Option<T> {
    serde_json::from_slice(&store.open_cookie(purpose, cookie)?).ok()
}

pub(crate) fn over() -> Problem {
    Problem::new(
        Own::SignInOver,
        "This sign-in was begun in another browser, was finished, or took longer than ten minutes. Begin again.",
    )
}

/// Where to go when it is done: a path of this very server. Everything that a browser could read as another server is
/// refused.
pub(crate) fn check_return_to(path: &str) -> Result<()> {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#'));
    if plain && path.len() <= LONGEST_RETURN && path.starts_with('/') && !path.starts_with("//") {
        return Ok(());
    }
    Err(Problem::field("return_to", "is a path of this server, such as /keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G11
    #[test]
    fn nobody_is_sent_to_another_server() {
        for path in ["/", "/keys", "/keys?a=b&c=%2F", "/a//b", "/a@b", "/:x"] {
            assert!(check_return_to(path).is_ok(), "{path}");
        }
        let long = format!("/{}", "a".repeat(512));
        for path in [
            "",
            "keys",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\r\nb",
            "/a b",
            "/a\tb",
            "/\u{e9}",
            "/a#b",
            " /",
            &long,
        ] {
            assert!(check_return_to(path).is_err(), "{path:?}");
        }
    }
}
