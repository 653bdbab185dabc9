//! Who asks: an admin key in a header or a session's cookie, matched before a byte of the body is read.

use crate::caller::{Caller, Trace};
use crate::envelope::By;
use crate::power::{self, Power};
use crate::problem::{Own, Problem, Result};
use crate::{App, PeerAddr, wire};
use anykey_core::controls::Client;
use anykey_core::limit::{Demand, Permit, Target};
use anykey_core::{Code, Refusal, token};
use anykey_store::{Acting, LiveKey, Lookup};
use axum::RequestExt as _;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

pub(crate) const CSRF_HEADER: &str = "x-csrf-token";
const SESSION_PATH: &str = "/admin/v1/auth/session";

/// Lets pass whom the route is for: an admin key, or somebody who is signed in.
pub(crate) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<PeerAddr>().map(|from| from.0);
    let trace = Trace::of(request.headers(), request.extensions());
    // The router set it before any layer of a route runs.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let caller = match identify(&app, request.headers(), request.method()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let permit = match &caller {
        Caller::Key(key) => match bounds(&app, key, from) {
            Ok(permit) => {
                app.store().note_use(key, wire::now_ms(), trace.ip);
                permit
            }
            Err(problem) => return problem.into_response(),
        },
        Caller::Person(_) => None,
    };
    let power = match allow(&app, &caller, &route, &mut request).await {
        Ok(power) => power,
        Err(problem) => return problem.into_response(),
    };
    let organisation = power.grant().only_organisation().map(|id| id.to_string());
    let who = Acting { organisation, ..trace.acting(caller.actor(&app)) };
    let by = By(caller.id());
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(power);
    let mut response = anykey_store::acting(who, next.run(request)).await;
    if let Some(permit) = permit {
        permit.settle(None, app.deps.limiter.now());
    }
    response.extensions_mut().insert(by);
    response
}

/// Whether the caller may use the route, for the object that its path names.
async fn allow(app: &App, caller: &Caller, route: &str, request: &mut Request) -> Result<Power> {
    let rule = app.access.of_route(request.method(), route)?;
    let params = request.extract_parts::<RawPathParams>().await.ok();
    let id = params.iter().flatten().find(|(name, _)| *name == "id").map(|(_, value)| value);
    power::allow(app, caller, rule, id).await
}

/// The bounds above a key hold here as they do for calls: where it is used from, and how often.
fn bounds(app: &App, key: &LiveKey, from: Option<Client>) -> Result<Option<Permit>> {
    let bounds = &key.bounds;
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

async fn identify(app: &App, headers: &HeaderMap, method: &Method) -> Result<Caller> {
    match (credential(headers)?, app.web.token(headers)) {
        (Some(_), Some(_)) => Err(Problem::new(
            Code::ConflictingCredentials,
            "The request carries a key and the cookie of a session. Send one.",
        )),
        (None, Some(token)) => person(app, token, headers, method).await,
        (text, None) => key(app, text.ok_or_else(missing)?, headers).await,
    }
}

/// Whoever a session's cookie stands for. What changes something must also prove that a page of ours sent it.
async fn person(app: &App, token: &str, headers: &HeaderMap, method: &Method) -> Result<Caller> {
    let over = || Problem::new(Own::SessionOver, "The session is over. Sign in again.");
    let signed_in = app.store().signed_in(token).await.map_err(|_| away())?.ok_or_else(over)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        app.web.check_site(headers)?;
        let sent = headers.get(CSRF_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
        if !bool::from(sent.ct_eq(app.store().csrf_token(&signed_in).as_bytes())) {
            return Err(Problem::new(
                Own::CrossSiteRequest,
                format!(
                    "A change by somebody who is signed in carries `csrf_token` of GET {SESSION_PATH} as {CSRF_HEADER}."
                ),
            ));
        }
    }
    Ok(Caller::Person(Arc::new(signed_in)))
}

async fn key(app: &App, text: &str, headers: &HeaderMap) -> Result<Caller> {
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
    if key.info.scopes.managing().is_none() {
        return Err(Problem::new(
            Code::ScopeMissing,
            "This key has no admin scope. The admin API takes admin keys only: anykey key create NAME --kind admin.",
        ));
    }
    if from_a_page(headers) && !key.info.browser_allowed {
        return Err(Problem::new(
            Code::BrowserUseForbidden,
            "The request comes from a web page, and this key does not allow browsers: a key in a page is a leaked key.",
        ));
    }
    Ok(Caller::Key(key))
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

pub(crate) fn missing() -> Problem {
    Problem::new(
        Code::MissingApiKey,
        "The admin API needs an admin key (Authorization: Bearer KEY, or x-api-key: KEY) or somebody who is signed in.",
    )
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
