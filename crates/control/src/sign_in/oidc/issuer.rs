//! An issuer as this server finds it: what it publishes of itself and its keys, kept for a while, asked for by one at a
//! time, and not again at once after it failed.

use super::endpoint::Endpoint;
use super::keys::{self, Key};
use super::settings::IssuerSettings;
use super::token::{Claims, Disbelief, Unverified};
use anykey_net::{Bytes, Fetch};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};

const MINUTE_MS: i64 = 60_000;
/// How long what was published is taken to be true.
const KEPT_MS: i64 = 60 * MINUTE_MS;
/// An issuer that failed is not asked for so long.
const AFTER_FAILURE_MS: i64 = 5_000;
/// Tokens that name unknown keys make us ask for keys this often at most.
const BETWEEN_UNKNOWN_MS: i64 = MINUTE_MS / 2;
pub(super) const ANSWER_LIMIT: usize = 512 << 10;
const PATIENCE: Duration = Duration::from_secs(8);
/// Who comes back from an issuer makes us call it; more at once wait.
const AT_ONCE: usize = 8;

/// Why nobody can sign in at an issuer now. The texts are for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// It may work later.
    #[error("{0}")]
    Away(String),
    /// It answers, but not as it must.
    #[error("{0}")]
    Wrong(String),
    /// It does not take what it was sent.
    #[error("{0}")]
    Refused(String),
}

impl From<Disbelief> for Trouble {
    fn from(why: Disbelief) -> Self {
        Trouble::Wrong(why.to_string())
    }
}

pub(crate) type Result<T> = std::result::Result<T, Trouble>;

/// What an issuer publishes of itself (OpenID Connect Discovery 1.0).
#[derive(Deserialize)]
struct Published {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
}

/// The same, checked.
#[derive(Debug)]
pub(crate) struct Document {
    /// Where browsers are sent.
    pub authorization: String,
    pub token: Endpoint,
    pub keys: Endpoint,
    pub userinfo: Option<Endpoint>,
    pub end_session: Option<String>,
    /// Whether it puts its name on its answers (RFC 9207).
    pub names_itself: bool,
    /// Whether the secret goes into the body, since a header is not taken.
    pub secret_in_body: bool,
    /// Whether it says that it knows PKCE with SHA-256.
    pub says_pkce: bool,
    pub algorithms: Vec<String>,
}

pub(crate) struct Issuer {
    pub settings: IssuerSettings,
    /// Where it sends people back to.
    pub redirect_uri: String,
    pub turns: Semaphore,
    /// How long one call may take.
    pub patience: Duration,
    looked: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    document: Option<(i64, Arc<Document>)>,
    keys: Option<(i64, Arc<[Key]>)>,
    failed: Option<(i64, Trouble)>,
    unknown_at: Option<i64>,
}

impl Issuer {
    pub fn new(settings: IssuerSettings, redirect_uri: String) -> Self {
        Issuer { settings, redirect_uri, turns: Semaphore::new(AT_ONCE), patience: PATIENCE, looked: Mutex::default() }
    }

    /// What it publishes of itself.
    pub async fn document(&self, fetch: &Fetch, now_ms: i64) -> Result<Arc<Document>> {
        let mut looked = self.looked.lock().await;
        looked.document(self, fetch, now_ms).await
    }

    /// The claims of a token, if one of its published keys signed it.
    pub async fn verify(&self, fetch: &Fetch, now_ms: i64, token: &str) -> Result<Claims> {
        let token = Unverified::read(token)?;
        let keys = {
            let mut looked = self.looked.lock().await;
            looked.keys(self, fetch, now_ms, false).await?
        };
        match token.verify(&keys) {
            Err(Disbelief::NoKey) => {}
            done => return Ok(done?),
        }
        // It may have a new key since.
        let keys = {
            let mut looked = self.looked.lock().await;
            looked.keys(self, fetch, now_ms, true).await?
        };
        Ok(token.verify(&keys)?)
    }

    /// Looks anew, whatever is remembered, and remembers what it finds. Where that is trouble, those who sign in meanwhile go
    /// on with what is remembered. For whoever sets it up.
    pub async fn look(&self, fetch: &Fetch, now_ms: i64) -> Result<(Arc<Document>, Arc<[Key]>)> {
        let mut fresh = Looked::default();
        let document = fresh.document(self, fetch, now_ms).await?;
        let keys = fresh.keys(self, fetch, now_ms, false).await?;
        let mut looked = self.looked.lock().await;
        *looked = Looked { unknown_at: looked.unknown_at, ..fresh };
        Ok((document, keys))
    }

    /// A whole answer of 200 OK; redirects are never followed.
    pub(super) async fn get(&self, fetch: &Fetch, from: &Endpoint, lines: &[u8], what: &str) -> Result<Bytes> {
        let got = fetch.get(&from.to, &from.path, lines, ANSWER_LIMIT, self.patience).await;
        let got = got.map_err(|error| Trouble::Away(format!("{what} could not be fetched: {error}")))?;
        match got.status {
            200 => Ok(got.body),
            429 | 500..=599 => {
                Err(Trouble::Away(format!("{what} could not be fetched: the answer was {}", got.status)))
            }
            status => Err(Trouble::Wrong(format!("{what} could not be fetched: the answer was {status}"))),
        }
    }
}

impl Looked {
    async fn document(&mut self, issuer: &Issuer, fetch: &Fetch, now_ms: i64) -> Result<Arc<Document>> {
        if let Some((at, document)) = &self.document
            && is_within(*at, now_ms, KEPT_MS)
        {
            return Ok(document.clone());
        }
        self.check_failed(now_ms)?;
        match published(issuer, fetch).await {
            Ok(document) => {
                let document = Arc::new(document);
                self.document = Some((now_ms, document.clone()));
                Ok(document)
            }
            Err(trouble) => Err(self.note(now_ms, trouble)),
        }
    }

    async fn keys(&mut self, issuer: &Issuer, fetch: &Fetch, now_ms: i64, unknown: bool) -> Result<Arc<[Key]>> {
        if let Some((at, keys)) = &self.keys
            && is_within(*at, now_ms, KEPT_MS)
            && (!unknown || self.unknown_at.is_some_and(|at| is_within(at, now_ms, BETWEEN_UNKNOWN_MS)))
        {
            return Ok(keys.clone());
        }
        let document = self.document(issuer, fetch, now_ms).await?;
        self.check_failed(now_ms)?;
        if unknown {
            self.unknown_at = Some(now_ms);
        }
        match fetch_keys(issuer, &document, fetch).await {
            Ok(keys) => {
                self.keys = Some((now_ms, keys.clone()));
                Ok(keys)
            }
            Err(trouble) => Err(self.note(now_ms, trouble)),
        }
    }

    fn check_failed(&self, now_ms: i64) -> Result<()> {
        match &self.failed {
            Some((at, trouble)) if is_within(*at, now_ms, AFTER_FAILURE_MS) => Err(trouble.clone()),
            _ => Ok(()),
        }
    }

    fn note(&mut self, now_ms: i64, trouble: Trouble) -> Trouble {
        self.failed = Some((now_ms, trouble.clone()));
        trouble
    }
}

/// A clock that was set back makes everything old.
fn is_within(at: i64, now: i64, span: i64) -> bool {
    (0..span).contains(&(now - at))
}

async fn published(issuer: &Issuer, fetch: &Fetch) -> Result<Document> {
    let settings = &issuer.settings;
    let url = format!("{}/.well-known/openid-configuration", settings.issuer.trim_end_matches('/'));
    let from = endpoint("issuer", &url, settings)?;
    let body = issuer.get(fetch, &from, b"", "the issuer's description of itself").await?;
    let found: Published = serde_json::from_slice(&body)
        .map_err(|error| Trouble::Wrong(format!("the issuer's description of itself at {url} is not one: {error}")))?;
    if found.issuer != settings.issuer {
        return Err(Trouble::Wrong(format!(
            "the issuer calls itself {:?}, and the settings call it {:?}; they must be the same to the letter",
            found.issuer, settings.issuer
        )));
    }
    let optional =
        |name, url: Option<String>| url.map(|url| endpoint(name, &url, settings).map(|e| (url, e))).transpose();
    endpoint("authorization_endpoint", &found.authorization_endpoint, settings)?;
    let methods = found.token_endpoint_auth_methods_supported;
    let takes = |name: &str| methods.as_ref().is_some_and(|all| all.iter().any(|method| method == name));
    Ok(Document {
        authorization: found.authorization_endpoint,
        token: endpoint("token_endpoint", &found.token_endpoint, settings)?,
        keys: endpoint("jwks_uri", &found.jwks_uri, settings)?,
        userinfo: optional("userinfo_endpoint", found.userinfo_endpoint)?.map(|(_, endpoint)| endpoint),
        end_session: optional("end_session_endpoint", found.end_session_endpoint)?.map(|(url, _)| url),
        names_itself: found.authorization_response_iss_parameter_supported,
        secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
        says_pkce: found.code_challenge_methods_supported.is_some_and(|all| all.iter().any(|method| method == "S256")),
        algorithms: found.id_token_signing_alg_values_supported.unwrap_or_default(),
    })
}

fn endpoint(name: &str, url: &str, settings: &IssuerSettings) -> Result<Endpoint> {
    Endpoint::parse(url, settings.allow_private).map_err(|why| Trouble::Wrong(format!("{name} {url:?}: {why}")))
}

async fn fetch_keys(issuer: &Issuer, document: &Document, fetch: &Fetch) -> Result<Arc<[Key]>> {
    let body = issuer.get(fetch, &document.keys, b"", "the issuer's keys").await?;
    let found =
        keys::read(&body).map_err(|error| Trouble::Wrong(format!("the issuer's keys cannot be read: {error}")))?;
    Ok(found.into())
}
