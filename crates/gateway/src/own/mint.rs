//! `POST key/temp`, `POST realtime/client_secrets`: a key mints another one, with its own power or less, for a browser, an
//! agent or a job. `POST key/temp/end`: one ends itself.

use super::json;
use crate::Worker;
use crate::limit;
use crate::relay::Relay;
use anykey_core::controls::{Client, NameGlob};
use anykey_core::find::holds_key;
use anykey_core::{Code, Dialect, Endpoint, KeyId, KeyKind, Refusal, RequestId, Scope, Scopes, token};
use anykey_net::server::Answer;
use anykey_store::{Acting, Actor, ActorKind, KeyRow, LiveKey, NewTemp, StoreError, Surface, acting};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// OpenAI's bounds for the life of a client secret, and its default.
const CLIENT_SECRET_S: std::ops::RangeInclusive<i64> = 10..=7200;
const CLIENT_SECRET_DEFAULT_S: i64 = 600;

pub(crate) async fn mint(
    worker: &Worker,
    key: &Arc<LiveKey>,
    endpoint: Endpoint,
    body: &[u8],
    client: Client,
    id: RequestId,
) -> Result<Answer<Relay>, Refusal> {
    let body = match endpoint {
        Endpoint::TempKeyEnd => end(worker, key, client, id).await?,
        Endpoint::ClientSecret => client_secret(worker, key, body, client, id).await?,
        _ => temp_key(worker, key, body, client, id).await?,
    };
    let mut answer = json(200, body, id, Dialect::OpenAi);
    answer.field("cache-control", b"no-store");
    Ok(answer)
}

/// A key as it is shown this once.
#[derive(Serialize)]
struct Minted<'a> {
    id: String,
    secret: &'a str,
    kind: &'static str,
    name: &'a str,
    parent_id: String,
    scopes: Vec<&'static str>,
    spend_limit_usd: Option<String>,
    max_requests: Option<u64>,
    max_concurrent: Option<u64>,
    ip: Option<String>,
    browser_allowed: bool,
    expires_at: Option<String>,
}

async fn temp_key(
    worker: &Worker,
    key: &Arc<LiveKey>,
    body: &[u8],
    client: Client,
    id: RequestId,
) -> Result<Vec<u8>, Refusal> {
    let new = NewTemp::from_json(body, client.known.then_some(client.address)).map_err(refused)?;
    let ip = new.ip.map(|ip| ip.to_string());
    let (row, token) = make(worker, key, new, client, id).await?;
    let minted = Minted {
        id: row.id.to_string(),
        secret: token.expose(),
        kind: row.kind.name(),
        name: &row.name,
        parent_id: key.info.id.to_string(),
        scopes: row.scopes.iter().map(Scope::name).collect(),
        spend_limit_usd: row.spend_limit.map(|limit| limit.to_string()),
        max_requests: row.request_limit,
        max_concurrent: row.controls.limits.concurrency,
        ip,
        browser_allowed: row.browser_allowed,
        expires_at: row.expires_at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map(|at| at.to_string()),
    };
    Ok(serde_json::to_vec(&minted).unwrap_or_default())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClientSecret {
    expires_after: Option<ExpiresAfter>,
    session: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct ExpiresAfter {
    #[serde(default)]
    seconds: Option<i64>,
}

#[derive(Serialize)]
struct ClientSecretMade<'a> {
    value: &'a str,
    /// Seconds since 1970.
    expires_at: i64,
    session: Map<String, Value>,
}

/// OpenAI's shape. Such a key is made for a page, so it allows browsers, and it may do what a session needs and no more:
/// call models, and where the session names one, that one.
async fn client_secret(
    worker: &Worker,
    key: &Arc<LiveKey>,
    body: &[u8],
    client: Client,
    id: RequestId,
) -> Result<Vec<u8>, Refusal> {
    let asked: ClientSecret = match body.trim_ascii() {
        [] => ClientSecret::default(),
        body => serde_json::from_slice(body).map_err(|_| {
            Refusal::new(Code::InvalidJson, "The body is not an object with `expires_after` and `session`.")
        })?,
    };
    let seconds = asked.expires_after.and_then(|after| after.seconds).unwrap_or(CLIENT_SECRET_DEFAULT_S);
    if !CLIENT_SECRET_S.contains(&seconds) {
        let text = "`expires_after.seconds` is from 10 to 7200.";
        return Err(Refusal::new(Code::InvalidParameter, text).param("expires_after.seconds"));
    }
    let mut session = asked.session.unwrap_or_default();
    let new = NewTemp {
        name: "client secret".into(),
        lives_ms: seconds * 1000,
        browser_allowed: true,
        scopes: Some(Scopes::NONE.with(Scope::CompletionsWrite)),
        routing: session_model(&session)?,
        ..NewTemp::usual()
    };
    let (row, token) = make(worker, key, new, client, id).await?;
    complete(&mut session, row.id);
    let expires_at = row.expires_at.unwrap_or_default().div_euclid(1000);
    let made = ClientSecretMade { value: token.expose(), expires_at, session };
    Ok(serde_json::to_vec(&made).unwrap_or_default())
}

/// What OpenAI's SDKs read of a session beside what was asked for.
fn complete(session: &mut Map<String, Value>, key: KeyId) {
    session.entry("type").or_insert_with(|| "realtime".into());
    let object = match session.get("type").and_then(Value::as_str) {
        Some("transcription") => "realtime.transcription_session",
        _ => "realtime.session",
    };
    session.insert("object".into(), object.into());
    session.insert("id".into(), key.to_string().replacen("key_", "sess_", 1).into());
}

/// The one name that the session asks for its model by.
fn session_model(session: &Map<String, Value>) -> Result<Option<Box<[NameGlob]>>, Refusal> {
    let wrong = || {
        let text = "`session.model` is not the name of a model.";
        Refusal::new(Code::InvalidParameter, text).param("session.model")
    };
    let name = match session.get("model") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(name)) if !name.contains('*') && !holds_key(name) => name,
        Some(_) => return Err(wrong()),
    };
    NameGlob::parse(name).map(|name| Some(Box::from([name]))).map_err(|_| wrong())
}

async fn make(
    worker: &Worker,
    key: &Arc<LiveKey>,
    mut new: NewTemp,
    client: Client,
    id: RequestId,
) -> Result<(KeyRow, anykey_core::Token), Refusal> {
    let permit = limit::mint(worker, key).await?;
    let who = acting_key(worker, key, client, id);
    new.creator = Some(key.info.id.to_string());
    let (gateway, parent, with) = (worker.gateway.clone(), key.info.id, key.public_id);
    let now = worker.now_ms();
    gateway.store.note_use(key, now, Some(client.address));
    let made = worker.gateway.on_runtime(async move {
        // What is left of the parent's money is as its callers saw it.
        if gateway.ledger.flush().await.is_err() {
            return Err(StoreError::Unavailable("the books cannot be brought up to date".into()));
        }
        acting(who, gateway.store.mint_temp(parent, Some(with), new)).await
    });
    let made = made.await.unwrap_or_else(|| Err(StoreError::Unavailable("the server is stopping".into())));
    // The database was asked, whatever it said.
    permit.settle(None, worker.gateway.limiter.now());
    made.map_err(refused)
}

#[derive(Serialize)]
struct Ended {
    id: String,
    ended: bool,
}

/// No limit is asked: nothing keeps a key from ending.
async fn end(worker: &Worker, key: &Arc<LiveKey>, client: Client, id: RequestId) -> Result<Vec<u8>, Refusal> {
    if key.info.kind != KeyKind::Temp {
        let text = "Only a temporary key ends itself so. Other keys are disabled or deleted by whoever manages them.";
        return Err(Refusal::new(Code::EndpointNotAllowed, text));
    }
    let who = acting_key(worker, key, client, id);
    let (gateway, this) = (worker.gateway.clone(), key.clone());
    let ended = worker.gateway.on_runtime(async move { acting(who, gateway.store.end_temp(&this)).await });
    ended.await.unwrap_or_else(|| Err(StoreError::Unavailable("the server is stopping".into()))).map_err(refused)?;
    Ok(serde_json::to_vec(&Ended { id: key.info.id.to_string(), ended: true }).unwrap_or_default())
}

/// The key that asks, as the audit log tells of it.
fn acting_key(worker: &Worker, key: &LiveKey, client: Client, id: RequestId) -> Acting {
    let public_id = std::str::from_utf8(&key.public_id).unwrap_or_default();
    let name = format!("{} {}", key.info.name, token::masked(&worker.gateway.options.brand, key.info.kind, public_id));
    Acting {
        actor: Actor { kind: ActorKind::Key, id: Some(key.info.id.to_string()), name },
        surface: Surface::Api,
        ip: Some(client.address),
        client: None,
        request: Some(id),
        organisation: None,
    }
}

fn refused(error: StoreError) -> Refusal {
    match error {
        StoreError::Invalid { field: "body", message } => {
            Refusal::new(Code::InvalidJson, format!("The body {message}."))
        }
        StoreError::Invalid { field, message } => {
            Refusal::new(Code::InvalidParameter, format!("`{field}` {message}.")).param(field)
        }
        StoreError::Conflict(why) => {
            Refusal::new(Code::EndpointNotAllowed, format!("No temporary key can be minted from this one: {why}."))
        }
        error => {
            tracing::warn!(%error, "a temporary key could not be made or ended");
            let text = "The database does not answer, so no key could be made or ended. Try again in a moment.";
            Refusal::new(Code::AuthUnavailable, text).retry_after(2)
        }
    }
}
