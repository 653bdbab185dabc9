//! Keys that others found: reports of scanners, and what happens to the keys in them.

mod github;
mod published;
mod signed;

pub(crate) use published::Published;

use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use crate::wire::now_ms;
use crate::{App, ExposedAnd, PeerAddr};
use anykey_core::token::{self, plain_sha256};
use anykey_core::{Code, KeyId, Place, RequestId, Sight};
use anykey_store::{Acting, Actor, ActorKind, Exposure, KeyRow, LiveKey, Lookup, Surface, acting};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

/// More in one report is a mistake, or somebody who tries keys out.
pub(crate) const MOST: usize = 1000;
/// The largest report that is read.
pub(crate) const REPORT_LIMIT: u64 = 1 << 20;
/// As much of a place as is kept.
const PLACE_LIMIT: usize = 500;

/// Need no admin key: the signature over the body says who sends them.
pub(super) fn open_routes() -> Routes {
    Routes::new().routes(routes!(github::report)).routes(routes!(signed::report))
}

/// The secret that was found, and where it stands.
pub(crate) struct Sighting<'a> {
    pub token: &'a str,
    pub place: &'a str,
}

/// What a sighting came to. `None`: no key of ours.
pub(crate) struct Exposed {
    pub key: KeyRow,
    /// Whether this very secret could be used until now; a key may have others.
    pub was_live: bool,
}

/// Deals with one sighting. Only the whole secret counts: its visible part is public, and whoever could end keys by that
/// could end all of them. A key that whoever tells of it does not reach is unknown to them.
pub(crate) async fn expose(
    app: &App,
    seen: &Sighting<'_>,
    (source, within): (&str, &Sight),
    and: ExposedAnd,
) -> Result<Option<Exposed>> {
    let found = find(app, seen.token).await?;
    let Some(key) = found.filter(|key| within.covers(&Place::of_key(key.info.scopes, &key.placement))) else {
        return Ok(None);
    };
    let was_live = key.dead_at(now_ms()).is_none();
    let note = Exposure {
        public_id: String::from_utf8_lossy(&key.public_id).into_owned(),
        source: source.to_owned(),
        place: shortened(seen.place),
        at: now_ms(),
    };
    // A secret that was rotated away takes nothing with it: the key lives on another.
    let disable = and == ExposedAnd::Disable && was_live;
    let row = app.store().key_exposed(key.info.id, note, disable).await?;
    tracing::warn!(key = %row.id, source, place = shortened(seen.place), disabled = disable, "an API key was found exposed");
    Ok(Some(Exposed { key: row, was_live }))
}

async fn find(app: &App, text: &str) -> Result<Option<Arc<LiveKey>>> {
    let store = app.store();
    let ours = token::read(text, store.brand()).is_some();
    if !ours && !store.has_foreign_keys() {
        return Ok(None);
    }
    let digest = store.pepper().digest(text.as_bytes());
    let found = match store.known(&digest, now_ms()) {
        Lookup::Ask => store.look_up(digest, (!ours).then(|| plain_sha256(text.as_bytes()))).await?,
        found => found,
    };
    match found {
        Lookup::Live(key) => Ok(Some(key)),
        Lookup::Unknown => Ok(None),
        Lookup::Ask => Err(Problem::new(Code::AuthUnavailable, "The keys cannot be looked up now. Send it again.")),
    }
}

fn shortened(place: &str) -> String {
    place.chars().filter(|c| !c.is_control()).take(PLACE_LIMIT).collect()
}

/// Who sent a report, for the audit log: nobody with a key, so it is known by where it came from.
pub(super) struct Sender {
    ip: Option<IpAddr>,
    request: Option<RequestId>,
}

impl<S: Sync> FromRequestParts<S> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        let ip = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
        Ok(Sender { ip, request: parts.extensions.get::<RequestId>().copied() })
    }
}

impl Sender {
    fn acting(self, source: &str) -> Acting {
        let actor = Actor { kind: ActorKind::System, id: None, name: format!("scanner {source}") };
        Acting { actor, surface: Surface::Api, ip: self.ip, client: None, request: self.request, organisation: None }
    }
}

/// A report that was found to be genuine, while it is dealt with. One that fails half-way may be sent again.
async fn once<T, F: Future<Output = Result<T>>>(
    app: &App,
    sender: Sender,
    source: &str,
    hash: [u8; 32],
    work: F,
) -> Result<T> {
    if !app.store().take_report(&hash).await? {
        return Err(Problem::new(Code::InvalidParameter, "This report was taken before."));
    }
    let done = acting(sender.acting(source), work).await;
    if done.is_err() {
        app.store().return_report(&hash).await?;
    }
    done
}

fn header<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value.trim()),
        _ => Err(Problem::new(Code::InvalidParameter, format!("The header {name} is required, once."))),
    }
}

/// One sentence for all that can be wrong with a signature: which it is helps only whoever made it up.
fn forged() -> Problem {
    Problem::new(Code::InvalidParameter, "The signature does not belong to this report.")
}

fn too_many() -> Problem {
    Problem::new(Code::InvalidParameter, format!("A report holds 1 to {MOST} keys; send the rest in another."))
}

/// This path does nothing until it is configured.
fn off() -> Problem {
    Problem::of_status(axum::http::StatusCode::NOT_FOUND)
}

/// Where a key was seen, for whoever looks after it.
pub(crate) async fn sightings(app: &App, id: KeyId) -> Result<Vec<Exposure>> {
    Ok(app.store().exposures(id).await?)
}
