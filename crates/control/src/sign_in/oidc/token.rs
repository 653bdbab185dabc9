//! Signed tokens (RFC 7515, RFC 7519) as issuers of OpenID Connect make them: four algorithms, all with public keys, and a
//! key that says itself which of them it is for. The signatures are verified by `ring`, which rustls uses too.

use super::keys::Key;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde_json::{Map, Value};

/// More is no token that we would be sent.
const LONGEST: usize = 64 << 10;

/// How a token may be signed. What is not here is refused: `none`, and everything with a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a token is not believed. The texts are for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disbelief {
    #[error("the token is not well formed")]
    Malformed,
    #[error("the token is signed with {0}; only RS256, PS256, ES256 and EdDSA are taken")]
    Algorithm(String),
    #[error("no published key of the issuer is the one that the token names")]
    NoKey,
    #[error("the signature of the token is not that of the issuer")]
    Signature,
    #[error("the claim `{0}` of the token is missing or not what it must be")]
    Claim(&'static str),
}

type Result<T> = std::result::Result<T, Disbelief>;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What a reader must understand; none of it is understood here.
    crit: Option<Value>,
    typ: Option<String>,
}

/// A token whose parts were taken apart and not believed yet.
pub(crate) struct Unverified<'t> {
    algorithm: Algorithm,
    pub kid: Option<String>,
    typ: Option<String>,
    signed: &'t str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

impl<'t> Unverified<'t> {
    pub fn read(token: &'t str) -> Result<Self> {
        if token.len() > LONGEST {
            return Err(Disbelief::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Disbelief::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Disbelief::Malformed)?;
        let bytes = |text: &str| BASE64URL.decode(text).map_err(|_| Disbelief::Malformed);
        let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| Disbelief::Malformed)?;
        let algorithm = Algorithm::from_name(&header.alg)
            .ok_or_else(|| Disbelief::Algorithm(header.alg.chars().filter(|c| !c.is_control()).take(20).collect()))?;
        if header.crit.is_some() {
            return Err(Disbelief::Malformed);
        }
        let (signature, payload) = (bytes(signature)?, bytes(payload)?);
        Ok(Unverified { algorithm, kid: header.kid, typ: header.typ, signed, signature, payload })
    }

    /// The claims, if one of the keys signed them. Without a name of a key there must be no choice.
    pub fn verify(&self, keys: &[Key]) -> Result<Claims> {
        let mut fitting = keys.iter().filter(|key| {
            key.takes(self.algorithm) && self.kid.as_ref().is_none_or(|kid| key.kid.as_ref() == Some(kid))
        });
        let key = fitting.next().ok_or(Disbelief::NoKey)?;
        if self.kid.is_none() && fitting.next().is_some() {
            return Err(Disbelief::NoKey);
        }
        if !key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(Disbelief::Signature);
        }
        let claims = serde_json::from_slice(&self.payload).map_err(|_| Disbelief::Malformed)?;
        Ok(Claims { claims, typ: self.typ.clone() })
    }
}

/// The claims of a token whose signature is the issuer's.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    claims: Map<String, Value>,
    typ: Option<String>,
}

/// What a token must say to be for us, now.
pub(crate) struct Expected<'e> {
    pub issuer: &'e str,
    pub client_id: &'e str,
    pub now_ms: i64,
}

/// Clocks differ.
const SKEW_S: i64 = 60;
/// A token is made for the sign-in that waits for it, which does not wait longer.
const OLDEST_S: i64 = 10 * 60;
/// As OpenID Connect has it.
const LONGEST_SUBJECT: usize = 255;

impl Claims {
    /// An ID token (OpenID Connect Core 3.1.3.7).
    pub fn check_id(self, expected: &Expected<'_>, nonce: &str) -> Result<IdToken> {
        self.check_common(expected)?;
        if self.time("exp")?.ok_or(Disbelief::Claim("exp"))? <= expected.now_ms / 1000 - SKEW_S {
            return Err(Disbelief::Claim("exp"));
        }
        if self.text("nonce") != Some(nonce) {
            return Err(Disbelief::Claim("nonce"));
        }
        let subject = self.subject()?.ok_or(Disbelief::Claim("sub"))?;
        Ok(IdToken { subject, claims: self.claims })
    }

    /// A logout token (OpenID Connect Back-Channel Logout 1.0, 2.6): whose sessions end.
    pub fn check_logout(self, expected: &Expected<'_>) -> Result<Logout> {
        const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
        if !self.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("logout+jwt") || typ == "JWT") {
            return Err(Disbelief::Claim("typ"));
        }
        self.check_common(expected)?;
        if self.time("exp")?.is_some_and(|exp| exp <= expected.now_ms / 1000 - SKEW_S) {
            return Err(Disbelief::Claim("exp"));
        }
        if !self.claims.get("events").is_some_and(|events| events.get(EVENT).is_some_and(Value::is_object)) {
            return Err(Disbelief::Claim("events"));
        }
        // What could be taken for an ID token is none.
        if self.claims.contains_key("nonce") {
            return Err(Disbelief::Claim("nonce"));
        }
        let id = self.text("jti").filter(|id| !id.is_empty()).ok_or(Disbelief::Claim("jti"))?.to_owned();
        let (subject, session) = (self.subject()?, session_of(&self.claims)?);
        if subject.is_none() && session.is_none() {
            return Err(Disbelief::Claim("sub"));
        }
        Ok(Logout { id, subject, session })
    }

    fn check_common(&self, expected: &Expected<'_>) -> Result<()> {
        let now = expected.now_ms / 1000;
        if self.text("iss") != Some(expected.issuer) {
            return Err(Disbelief::Claim("iss"));
        }
        self.check_audience(expected.client_id)?;
        let made = self.time("iat")?.ok_or(Disbelief::Claim("iat"))?;
        if made > now + SKEW_S || made < now - OLDEST_S - SKEW_S {
            return Err(Disbelief::Claim("iat"));
        }
        if self.time("nbf")?.is_some_and(|from| from > now + SKEW_S) {
            return Err(Disbelief::Claim("nbf"));
        }
        Ok(())
    }

    /// We are among those whom it is for; where there are others, it says that it was made for us.
    fn check_audience(&self, client_id: &str) -> Result<()> {
        let (ours, others) = match self.claims.get("aud") {
            Some(Value::String(aud)) => (aud == client_id, false),
            Some(Value::Array(all)) => (all.iter().any(|aud| aud == client_id), all.iter().any(|aud| aud != client_id)),
            _ => (false, false),
        };
        if !ours {
            return Err(Disbelief::Claim("aud"));
        }
        match self.claims.get("azp") {
            Some(azp) if azp != client_id => Err(Disbelief::Claim("azp")),
            None if others => Err(Disbelief::Claim("azp")),
            _ => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// Seconds; some issuers write fractions.
    fn time(&self, name: &'static str) -> Result<Option<i64>> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let whole = value.as_i64().or_else(|| value.as_f64().filter(|n| n.abs() < 1e12).map(|n| n.floor() as i64));
        whole.map(Some).ok_or(Disbelief::Claim(name))
    }

    fn subject(&self) -> Result<Option<String>> {
        match self.claims.get("sub") {
            None => Ok(None),
            Some(Value::String(subject)) if is_name(subject) => Ok(Some(subject.clone())),
            Some(_) => Err(Disbelief::Claim("sub")),
        }
    }
}

/// What issuers call people and sessions.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_SUBJECT && !text.chars().any(char::is_control)
}

fn session_of(claims: &Map<String, Value>) -> Result<Option<String>> {
    match claims.get("sid") {
        None => Ok(None),
        Some(Value::String(sid)) if is_name(sid) => Ok(Some(sid.clone())),
        Some(_) => Err(Disbelief::Claim("sid")),
    }
}

/// Who somebody is, as their issuer says.
#[derive(Clone, Debug)]
pub(crate) struct IdToken {
    pub subject: String,
    pub claims: Map<String, Value>,
}

impl IdToken {
    /// The issuer's own name for the session; one that is odd is none.
    pub fn session(&self) -> Option<String> {
        session_of(&self.claims).ok().flatten()
    }
}

/// Whose sessions end.
#[derive(Debug)]
pub(crate) struct Logout {
    pub id: String,
    pub subject: Option<String>,
    pub session: Option<String>,
}
