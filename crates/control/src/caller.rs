//! Who asks, once that is known: an admin key, or a person who is signed in. And where a request comes from.

use crate::problem::{Problem, Result};
use crate::{App, PeerAddr};
use anykey_core::{Code, Grant, RequestId, token};
use anykey_store::{Acting, Actor, ActorKind, LiveKey, Person, SignedIn, Surface};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use std::net::IpAddr;
use std::sync::Arc;

/// Who asks. Only [`crate::identify::admit`] makes one.
#[derive(Clone)]
pub(crate) enum Caller {
    Key(Arc<LiveKey>),
    Person(Arc<SignedIn>),
}

impl Caller {
    /// What stands for them in creators, logs and idempotency keys.
    pub fn id(&self) -> String {
        match self {
            Caller::Key(key) => key.info.id.to_string(),
            Caller::Person(signed_in) => signed_in.person.id.to_string(),
        }
    }

    /// All that they are: a person's roles as they stand now, or what their key manages.
    pub async fn grant(&self, app: &App) -> Result<Grant> {
        match self {
            Caller::Key(key) => Ok(Grant::of_key(key.info.scopes, &key.placement)),
            Caller::Person(signed_in) if signed_in.person.operator => Ok(Grant::operator()),
            Caller::Person(signed_in) => Ok(app.store().grant_of(signed_in.person.id).await?),
        }
    }

    /// Whether what they came in with has ended since: the key, the session, or the person.
    pub async fn is_over(&self, app: &App) -> Result<bool> {
        match self {
            Caller::Key(key) => Ok(key.cancelled() || key.dead_at(crate::wire::now_ms()).is_some()),
            Caller::Person(signed_in) => Ok(!app.store().is_signed_in(signed_in).await?),
        }
    }

    /// Somebody who is signed in, where a route is about themselves.
    pub fn person(&self) -> Result<&Arc<SignedIn>> {
        match self {
            Caller::Person(signed_in) => Ok(signed_in),
            Caller::Key(_) => {
                Err(Problem::new(Code::RoleForbidden, "This is for people who are signed in, and a key asks."))
            }
        }
    }

    pub fn actor(&self, app: &App) -> Actor {
        match self {
            Caller::Key(key) => {
                let public_id = std::str::from_utf8(&key.public_id).unwrap_or_default();
                let masked = token::masked(app.store().brand(), key.info.kind, public_id);
                let name = format!("{} {masked}", key.info.name);
                Actor { kind: ActorKind::Key, id: Some(key.info.id.to_string()), name }
            }
            Caller::Person(signed_in) => person(&signed_in.person),
        }
    }
}

/// A person, as the audit log tells of them.
pub(crate) fn person(person: &Person) -> Actor {
    Actor { kind: ActorKind::Person, id: Some(person.id.to_string()), name: person.email.clone() }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(crate::identify::missing)
    }
}

/// Somebody who is signed in, where a route is about themselves.
pub(crate) struct Myself(pub Arc<SignedIn>);

impl<S: Sync> FromRequestParts<S> for Myself {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Caller::from_request_parts(parts, state).await?.person().cloned().map(Myself)
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub client: Option<String>,
    request: Option<RequestId>,
}

impl Trace {
    pub fn of(headers: &HeaderMap, extensions: &axum::http::Extensions) -> Self {
        Trace {
            ip: extensions.get::<PeerAddr>().map(|peer| peer.0.address),
            client: headers.get(header::USER_AGENT).map(|agent| plain(agent.as_bytes())),
            request: extensions.get::<RequestId>().copied(),
        }
    }

    /// Somebody who acts from here.
    pub fn acting(&self, actor: Actor) -> Acting {
        let from_cli = self.client.as_deref().is_some_and(|agent| agent.starts_with("anykey-cli/"));
        Acting {
            actor,
            surface: if from_cli { Surface::Cli } else { Surface::Api },
            ip: self.ip,
            client: self.client.clone(),
            request: self.request,
            organisation: None,
        }
    }

    /// Somebody of whom nothing is known.
    pub fn stranger(&self) -> Acting {
        self.acting(Actor { kind: ActorKind::Stranger, id: None, name: "somebody".into() })
    }
}

impl<S: Sync> FromRequestParts<S> for Trace {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Self::Rejection> {
        Ok(Trace::of(&parts.headers, &parts.extensions))
    }
}

/// What a client calls itself: one short line.
fn plain(agent: &[u8]) -> String {
    const LONGEST: usize = 200;
    let agent = String::from_utf8_lossy(agent);
    anykey_core::find::without_keys(&agent).chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
