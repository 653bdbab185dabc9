//! People at the admin API: the cookie of a session, what a page may do with it, passwords and second factors.

pub(crate) mod oidc;
pub(crate) mod password;
pub(crate) mod totp;

use crate::problem::{Own, Problem, Result};
use anykey_store::Store;
use axum::http::{HeaderMap, HeaderValue, header};
use std::sync::Arc;

/// With TLS the name has a prefix that browsers hold to: no other host and no plain HTTP can set it.
const SECURE: &str = "__Host-anykey";
const PLAIN: &str = "anykey";
/// Of a sign-in at an issuer that has begun and not ended.
const SECURE_PENDING: &str = "__Host-anykey-pending";
const PLAIN_PENDING: &str = "anykey-pending";
/// As long as a session can be; the server ends it earlier when nobody uses it.
const MAX_AGE_S: u32 = 7 * 24 * 60 * 60;

/// How this server is reached by browsers.
pub(crate) struct Web {
    secure: bool,
    /// The origin of the public URL.
    origin: Option<String>,
}

impl Web {
    pub fn of(public_url: Option<&str>) -> Self {
        Web { secure: public_url.is_some_and(|url| url.starts_with("https://")), origin: public_url.and_then(origin) }
    }

    fn name(&self) -> &'static str {
        if self.secure { SECURE } else { PLAIN }
    }

    fn pending_name(&self) -> &'static str {
        if self.secure { SECURE_PENDING } else { PLAIN_PENDING }
    }

    /// The session's token.
    pub fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        value(headers, self.name())
    }

    /// What is kept of a sign-in that has begun.
    pub fn pending<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        value(headers, self.pending_name())
    }

    /// Puts a session's token into the browser.
    pub fn set(&self, token: &str) -> HeaderValue {
        self.cookie(self.name(), token, MAX_AGE_S)
    }

    /// Takes it away.
    pub fn clear(&self) -> HeaderValue {
        self.cookie(self.name(), "", 0)
    }

    /// `sealed` is what [`anykey_store::Store::seal_cookie`] made.
    pub fn set_pending(&self, sealed: &str) -> HeaderValue {
        self.cookie(self.pending_name(), sealed, oidc::LIVES_S)
    }

    pub fn clear_pending(&self) -> HeaderValue {
        self.cookie(self.pending_name(), "", 0)
    }

    fn cookie(&self, name: &str, value: &str, age: u32) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        // A token is hexadecimal and what is sealed is Base64 with dots, so this is always a header.
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Refuses what a page of another site sends. Programs say nothing of sites, and pass.
    pub fn check_site(&self, headers: &HeaderMap) -> Result<()> {
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
            return Err(foreign());
        }
        let Some(sent) = headers.get(header::ORIGIN) else { return Ok(()) };
        let sent = sent.to_str().map_err(|_| foreign())?;
        let ours = match &self.origin {
            Some(origin) => sent == origin,
            // Without a public URL the page came from wherever this request goes.
            None => {
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                sent.split_once("://").is_some_and(|(_, of)| !host.is_empty() && of.eq_ignore_ascii_case(host))
            }
        };
        if ours { Ok(()) } else { Err(foreign()) }
    }
}

/// A cookie that is there twice was set by somebody else as well, and counts for nothing.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value);
    values.next().filter(|value| !value.is_empty() && values.next().is_none())
}

fn foreign() -> Problem {
    Problem::new(Own::CrossSiteRequest, "The request comes from a page of another site, which may not do this.")
}

/// `https://gw.example.com/x` is of `https://gw.example.com`.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(format!("{scheme}://{}", host.to_ascii_lowercase()))
}

/// Whether a request comes with a session, for whoever must know before its body is read.
#[derive(Clone)]
pub struct Sessions {
    store: Arc<Store>,
    web: Arc<Web>,
}

impl Sessions {
    pub fn new(store: Arc<Store>, public_url: Option<&str>) -> Self {
        Sessions { store, web: Arc::new(Web::of(public_url)) }
    }

    /// The token in a cookie header.
    pub fn token(&self, headers: &HeaderMap) -> Option<String> {
        self.web.token(headers).map(str::to_owned)
    }

    /// Whether it stands for somebody now. Where the store cannot be asked it does not.
    pub async fn knows(&self, token: &str) -> bool {
        matches!(self.store.signed_in(token).await, Ok(Some(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_cookie_is_as_strict_as_the_way_to_it_allows() {
        let secure = Web::of(Some("https://gw.example.com/anykey"));
        let set = secure.set("abc");
        assert_eq!(set, "__Host-anykey=abc; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure");
        assert!(set.is_sensitive());
        assert_eq!(Web::of(None).clear(), "anykey=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
        assert_eq!(secure.token(&headers(&[("cookie", "a=b; __Host-anykey=tok; c=d")])), Some("tok"));
        for cookies in ["anykey=tok", "__Host-anykey=a; __Host-anykey=b", "__Host-anykey=", "x__Host-anykey=tok", ""] {
            assert_eq!(secure.token(&headers(&[("cookie", cookies)])), None, "{cookies}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let public = Web::of(Some("https://gw.example.com/anykey"));
        let local = Web::of(None);
        let fine = |web: &Web, pairs: &[(&'static str, &str)]| web.check_site(&headers(pairs)).is_ok();
        assert!(fine(&public, &[]));
        assert!(fine(&public, &[("origin", "https://gw.example.com"), ("sec-fetch-site", "same-origin")]));
        assert!(fine(&local, &[("origin", "http://127.0.0.1:7117"), ("host", "127.0.0.1:7117")]));
        for pairs in [
            &[("origin", "null")][..],
            &[("origin", "https://evil.example")],
            &[("origin", "https://gw.example.com.evil.example")],
            &[("origin", "http://gw.example.com")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example"), ("host", "evil.example")],
        ] {
            assert!(!fine(&public, pairs), "{pairs:?}");
        }
        for pairs in [
            &[("origin", "null"), ("host", "a")][..],
            &[("origin", "http://b"), ("host", "a")],
            &[("origin", "http://")],
        ] {
            assert!(!fine(&local, pairs), "{pairs:?}");
        }
    }
}
