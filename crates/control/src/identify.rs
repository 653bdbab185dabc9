//! Who asks: an admin key in a header, matched before a byte of the body is read.

use crate::envelope::By;
use crate::problem::{Problem, Result};
use crate::{App, PeerAddr, wire};
use anykey_core::controls::Client;
use anykey_core::limit::{Demand, Permit, Target};
use anykey_core::{Code, Refusal, RequestId, Role, Scope, token};
use anykey_store::{Acting, Actor, ActorKind, LiveKey, Lookup, Surface};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// The key that asks. Only [`admit`] makes one.
#[derive(Clone)]
pub(crate) struct Caller(Arc<LiveKey>);

impl Caller {
    pub fn id(&self) -> anykey_core::KeyId {
        self.0.info.id
    }

    /// An admin key of the installation stands for whoever operates it.
    fn role(&self) -> Role {
        Role::Operator
    }

    /// As the audit log tells of it.
    fn acting(&self, app: &App, request: &Request, ip: Option<IpAddr>) -> Acting {
        let info = &self.0.info;
        let public_id = std::str::from_utf8(&self.0.public_id).unwrap_or_default();
        let name = format!("{} {}", info.name, token::masked(app.store().brand(), info.kind, public_id));
        let client = request.headers().get(header::USER_AGENT).map(|agent| plain(agent.as_bytes()));
        let from_cli = client.as_deref().is_some_and(|agent| agent.starts_with("anykey-cli/"));
        Acting {
            actor: Actor { kind: ActorKind::Key, id: Some(info.id.to_string()), name },
            surface: if from_cli { Surface::Cli } else { Surface::Api },
            ip,
            client,
            request: request.extensions().get::<RequestId>().copied(),
            organisation: None,
        }
    }
}

impl<S: Sync> axum::extract::FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(missing)
    }
}

/// Lets only admin keys pass.
pub(crate) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<PeerAddr>().map(|from| from.0);
    let admitted = match identify(&app, request.headers()).await {
        Ok(caller) => bounds(&app, &caller, from).map(|permit| (caller, permit)),
        Err(problem) => Err(problem),
    };
    let (caller, permit) = match admitted {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    let peer = from.map(|from| from.address);
    app.store().note_use(&caller.0, wire::now_ms(), peer);
    // The router set it before any layer of a route runs.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    if let Err(problem) = app.access.check(caller.role(), request.method(), &route) {
        return problem.into_response();
    }
    let who = caller.acting(&app, &request, peer);
    let by = By(caller.id());
    request.extensions_mut().insert(caller);
    let mut response = anykey_store::acting(who, next.run(request)).await;
    if let Some(permit) = permit {
        permit.settle(None, app.deps.limiter.now());
    }
    response.extensions_mut().insert(by);
    response
}

/// The bounds above a key hold here as they do for calls: where it is used from, and how often.
fn bounds(app: &App, caller: &Caller, from: Option<Client>) -> Result<Option<Permit>> {
    let bounds = &caller.0.bounds;
    // A request of which nobody says where it came from is from nowhere that a list names.
    let from = from.unwrap_or(Client { address: std::net::Ipv4Addr::UNSPECIFIED.into(), known: false });
    bounds.iter().try_for_each(|bound| bound.check_address(from))?;
    if !bounds.iter().any(|bound| bound.controls.has_limits()) {
        return Ok(None);
    }
    let limiter = &app.deps.limiter;
    let nothing = Target { provider: "", model: "" };
    let demand = Demand { free: true, ..Demand::default() };
    let taken = limiter.take(bounds, nothing, &demand, limiter.now());
    taken.map(Some).map_err(|full| Refusal::from(&*full).into())
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Caller> {
    let text = credential(headers)?.ok_or_else(missing)?;
    // The checksum refuses noise without a look at the database.
    token::read(text, app.store().brand()).ok_or_else(unknown)?;
    let digest = app.store().pepper().digest(text.as_bytes());
    let now = wire::now_ms();
    let found = match app.store().known(&digest, now) {
        Lookup::Ask => app.store().look_up(digest, None).await.map_err(|_| away())?,
        found => found,
    };
    let key = match found {
        Lookup::Live(key) => key,
        Lookup::Unknown => return Err(unknown()),
        Lookup::Ask => return Err(away()),
    };
    if let Some(code) = key.dead_at(now) {
        return Err(dead(code, &key));
    }
    if !key.info.scopes.contains(Scope::Admin) {
        return Err(Problem::new(
            Code::ScopeMissing,
            "This key lacks the scope `admin:*`. The admin API takes admin keys only: anykey key create NAME --kind admin.",
        ));
    }
    if from_a_page(headers) && !key.info.browser_allowed {
        return Err(Problem::new(
            Code::BrowserUseForbidden,
            "The request comes from a web page, and this key does not allow browsers: a key in a page is a leaked key.",
        ));
    }
    Ok(Caller(key))
}

/// The one credential, however many headers carry it.
fn credential(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut found: Option<&str> = None;
    for name in [header::AUTHORIZATION.as_str(), "x-api-key", "x-goog-api-key", "api-key"] {
        for value in headers.get_all(name) {
            let value = value.to_str().map_err(|_| unknown())?.trim();
            let value = if name == "authorization" { bearer(value)? } else { value };
            match found {
                _ if value.is_empty() => {}
                Some(first) if first != value => {
                    return Err(Problem::new(
                        Code::ConflictingCredentials,
                        "The request carries two different keys. Send one.",
                    ));
                }
                _ => found = Some(value),
            }
        }
    }
    Ok(found)
}

fn bearer(value: &str) -> Result<&str> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") { Ok(rest.trim()) } else { Err(unknown()) }
}

/// A page's requests bear marks that a page cannot remove. Requests of a page that this server itself served do not count.
fn from_a_page(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site != "none" && site != "same-origin",
        None => headers.contains_key(header::ORIGIN),
    }
}

/// What a client calls itself: one short line.
fn plain(agent: &[u8]) -> String {
    const LONGEST: usize = 200;
    String::from_utf8_lossy(agent).chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

fn missing() -> Problem {
    Problem::new(Code::MissingApiKey, "The admin API needs an admin key: Authorization: Bearer KEY, or x-api-key: KEY.")
}

fn unknown() -> Problem {
    Problem::new(
        Code::InvalidApiKey,
        "The key is not one of this installation. Look for a missing or mistyped character.",
    )
}

fn away() -> Problem {
    Problem::new(Code::AuthUnavailable, "The key cannot be looked up now. Try again in a moment.")
}

fn dead(code: Code, key: &LiveKey) -> Problem {
    if let (Code::KeyDisabled, false, Some((level, name))) = (code, key.info.disabled, key.closed_by()) {
        return Problem::new(code, format!("The key cannot be used: its {} `{name}` is disabled.", level.words()));
    }
    let detail = match code {
        Code::KeyExpired => "The key has expired.",
        Code::KeyDisabled => "The key is disabled.",
        Code::KeyRevoked => "The key was revoked.",
        _ => "The key cannot be used.",
    };
    Problem::new(code, detail)
}
