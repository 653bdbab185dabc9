//! Signing in at an issuer of OpenID Connect: there, back, and the second factor where one is owed.

use super::{Shown, SignedInView, attempt, attempt_from, begin_of, refused, second_factor};
use crate::App;
use crate::caller::Trace;
use crate::input::{Body, Findings, PathParam, body};
use crate::page::List;
use crate::problem::{Own, Problem, Result};
use crate::sign_in::oidc::{self, Flow, Half, Issuer, Kept, SecondFactorOf, Trouble};
use anykey_core::PersonId;
use anykey_store::{Account, Actor, ActorKind, AtIssuer, Person, Recognised, StoreError};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Where people end who did not say where to.
const HOME: &str = "/admin/v1/auth/session";

/// An issuer, for whoever wants to sign in.
#[derive(Serialize, ToSchema)]
#[schema(as = SignInIssuer)]
pub(super) struct DoorView {
    name: String,
    title: String,
    /// Where the browser goes.
    start_url: String,
}

/// List the issuers by which people sign in.
#[utoipa::path(get, path = "/auth/issuers", operation_id = "list_sign_in_issuers", tag = "auth",
    responses((status = 200, body = List<DoorView>)))]
pub(super) async fn list(State(app): State<App>) -> Json<List<DoorView>> {
    let door = |issuer: &Issuer| DoorView {
        name: issuer.settings.name.clone(),
        title: issuer.settings.title.clone(),
        start_url: format!("/admin/v1/auth/issuers/{}/start", issuer.settings.name),
    };
    Json(List { data: app.issuers.all().iter().map(door).collect(), next: None })
}

/// Go to an issuer to sign in there. For a browser.
#[utoipa::path(get, path = "/auth/issuers/{name}/start", operation_id = "start_at_issuer", tag = "auth",
    params(("name" = String, Path), ("return_to" = Option<String>, Query,
        description = "A path of this server, to go to when it is done. With it, refusals go there too, as `sign_in_error`.")),
    responses((status = 303, description = "To the issuer")))]
pub(super) async fn start(State(app): State<App>, PathParam(name): PathParam, uri: Uri) -> Result<Response> {
    let issuer = app.issuers.named(&name).ok_or_else(no_issuer)?;
    let return_to = Parameters::read(&uri)?.once("return_to")?;
    return_to.as_deref().map_or(Ok(()), oidc::check_return_to)?;
    let document =
        issuer.document(&app.deps.fetch, app.store().clock_ms()).await.map_err(|why| trouble(issuer, why))?;
    let flow = Flow::begin(app.store(), &name, return_to)?;
    let mut response = go_to(&issuer.authorization_url(&document, &flow));
    response.headers_mut().insert(header::SET_COOKIE, app.web.set_pending(&flow.seal(app.store())?));
    Ok(response)
}

/// Come back from an issuer. For a browser, which the issuer sends here.
#[utoipa::path(get, path = "/auth/issuers/{name}/callback", operation_id = "return_from_issuer", tag = "auth",
    params(("name" = String, Path), ("code" = Option<String>, Query), ("state" = Option<String>, Query),
        ("iss" = Option<String>, Query), ("error" = Option<String>, Query)),
    responses((status = 303, description = "Signed in, or `second_factor=required`; to where it was begun")))]
pub(super) async fn back(
    State(app): State<App>,
    PathParam(name): PathParam,
    trace: Trace,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let issuer = app.issuers.named(&name).ok_or_else(no_issuer)?;
    let answer = Parameters::read(&uri)?;
    // Whatever else is said counts only if this browser went to that issuer.
    let flow = Flow::open(app.store(), app.web.pending(&headers)).filter(|flow| flow.issuer == name);
    let flow = flow.ok_or_else(oidc::over)?;
    let state = answer.once("state")?.unwrap_or_default();
    if !bool::from(subtle::ConstantTimeEq::ct_eq(state.as_bytes(), flow.state.as_bytes())) {
        return Err(oidc::over());
    }
    // What comes now calls the issuer, whatever the code is.
    attempt_from(&app, &trace).await?;
    flow.spend(app.store()).await?;
    let come = come_in(&app, issuer, &flow, &answer, &trace).await;
    if come.is_ok() {
        app.store().forgive_from(trace.ip).await?;
    }
    let mut response = match (come, &flow.return_to) {
        (Ok(Come::In(set)), path) => with_cookie(go_to(path.as_deref().unwrap_or(HOME)), set),
        (Ok(Come::Owes(half)), Some(path)) => {
            let response = go_to(&oidc::with_query(path, &[("second_factor", "required")]));
            return Ok(with_cookie(response, app.web.set_pending(&half)));
        }
        (Ok(Come::Owes(half)), None) => return Ok(with_cookie(owed().into_response(), app.web.set_pending(&half))),
        (Err(problem), Some(path)) => go_to(&oidc::with_query(path, &[("sign_in_error", problem.kind.code)])),
        (Err(problem), None) => problem.into_response(),
    };
    response.headers_mut().append(header::SET_COOKIE, app.web.clear_pending());
    Ok(response)
}

/// How far somebody came.
enum Come {
    /// In; the cookie of the session.
    In(HeaderValue),
    /// They owe a second factor; what the browser keeps of that.
    Owes(String),
}

async fn come_in(app: &App, issuer: &Issuer, flow: &Flow, answer: &Parameters, trace: &Trace) -> Result<Come> {
    let now = app.store().clock_ms();
    let fetch = &app.deps.fetch;
    let document = issuer.document(fetch, now).await.map_err(|why| trouble(issuer, why))?;
    // An answer that another issuer gave is not taken to this one (RFC 9207).
    let named = answer.once("iss")?;
    if named.as_ref().is_some_and(|iss| *iss != issuer.settings.issuer) || (named.is_none() && document.names_itself) {
        return Err(trouble(issuer, Trouble::Wrong("the answer does not name this issuer as its own".into())));
    }
    if let Some(error) = answer.once("error")? {
        let error = if oidc::is_error_name(&error) { error } else { "an error".into() };
        tracing::info!(issuer = issuer.settings.name, error, "an issuer did not let somebody in");
        return Err(Problem::new(Own::SignInRefused, format!("The issuer answered {error}.")));
    }
    let code = answer.once("code")?.ok_or_else(oidc::over)?;
    let token = issuer.redeem(fetch, now, flow, &code).await.map_err(|why| trouble(issuer, why))?;
    let claimed = match issuer.settings.claimed(&token) {
        Ok(claimed) => claimed,
        Err(why) => return Err(kept(app, issuer, trace, &token.subject, why).await?),
    };
    let at = AtIssuer { issuer: claimed.issuer.clone(), subject: claimed.subject.clone(), session: token.session() };
    let system = Actor { kind: ActorKind::System, id: None, name: format!("issuer {}", issuer.settings.name) };
    let known = anykey_store::acting(trace.acting(system), app.store().recognise(claimed)).await?;
    let account = admitted(app, issuer, trace, &at.subject, known).await?;
    if issuer.settings.saw_second_factor(&token) {
        return session(app, trace, &account.person, "issuer", at).await;
    }
    if account.has_second_factor() {
        return Ok(Come::Owes(Half::begin(app.store(), account.person.id.to_string(), at)?.seal(app.store())?));
    }
    if issuer.settings.second_factor == SecondFactorOf::Require {
        note(app, trace, &account.person, "no second factor").await?;
        return Err(Problem::new(
            Own::SignInRefused,
            "A second factor is required: sign in at the issuer with one, or set one up here with a password first.",
        ));
    }
    session(app, trace, &account.person, "issuer", at).await
}

async fn session(app: &App, trace: &Trace, who: &Person, how: &'static str, at: AtIssuer) -> Result<Come> {
    let (_, token) = begin_of(app, trace, who, how, Some(at)).await?;
    Ok(Come::In(app.web.set(token.expose())))
}

/// Whoever is known and may come in.
async fn admitted(app: &App, issuer: &Issuer, trace: &Trace, subject: &str, known: Recognised) -> Result<Account> {
    let (who, why, text) = match known {
        Recognised::Known(account) => return Ok(account),
        Recognised::Stranger => {
            note_at(app, issuer, trace, subject, "not known here").await?;
            let text =
                "Nobody here is known by this account, and it is not one that is taken in. Ask an administrator.";
            return Err(Problem::new(Own::SignInRefused, text));
        }
        Recognised::EmailTaken(person) => (
            person,
            "e-mail of another account",
            "Somebody here has this e-mail, and is not known to be you. Ask an operator of the installation.",
        ),
        Recognised::Disabled(person) => (person, "disabled", "This account is disabled. Ask an administrator."),
    };
    note(app, trace, &who, why).await?;
    Err(Problem::new(Own::SignInRefused, text))
}

async fn note(app: &App, trace: &Trace, who: &Person, why: &'static str) -> Result<()> {
    Ok(anykey_store::acting(trace.stranger(), app.store().note_refused(who, why)).await?)
}

/// The same of somebody whom only the issuer knows.
async fn note_at(app: &App, issuer: &Issuer, trace: &Trace, subject: &str, why: &'static str) -> Result<()> {
    let noted = app.store().note_refused_at(&issuer.settings.issuer, subject, why);
    Ok(anykey_store::acting(trace.stranger(), noted).await?)
}

body! {
    /// What the authenticator shows now, or a recovery code.
    SecondFactor as SecondFactorCode {
        required {
            code: String,
        }
        optional {}
    }
}

/// Show the second factor that is owed after an issuer's sign-in. The session is in the cookie of the answer.
#[utoipa::path(post, path = "/auth/second-factor", operation_id = "show_second_factor", tag = "auth",
    request_body = SecondFactor, responses((status = 200, body = SignedInView)))]
pub(super) async fn finish(
    State(app): State<App>,
    trace: Trace,
    headers: HeaderMap,
    Body { value: body, .. }: Body<SecondFactor>,
) -> Result<Response> {
    app.web.check_site(&headers)?;
    let mut findings = Findings::default();
    let code = body.code.required("code", &mut findings);
    findings.end()?;
    let half = Half::open(app.store(), app.web.pending(&headers)).ok_or_else(oidc::over)?;
    let id = PersonId::parse(&half.person).ok_or_else(oidc::over)?;
    let account = app.store().account(id).await.map_err(|error| match error {
        StoreError::NotFound(_) => refused(),
        other => other.into(),
    })?;
    attempt(&app, &account.person.email, &trace).await?;
    let shown = anykey_store::acting(trace.stranger(), second_factor(&app, &account, code.as_deref())).await;
    let how = match shown {
        Ok(Shown::Code) => "issuer and code",
        Ok(Shown::Recovery) => "issuer and recovery code",
        // It was taken away meanwhile, by whoever may.
        Ok(Shown::Unneeded) => "issuer",
        Err(problem) => {
            note(&app, &trace, &account.person, "code").await?;
            return Err(problem);
        }
    };
    half.spend(app.store()).await?;
    app.store().forgive_sign_in(&account.person.email, trace.ip).await?;
    let (signed_in, token) = begin_of(&app, &trace, &account.person, how, Some(half.at())).await?;
    let response = Json(SignedInView::new(&app, &signed_in)).into_response();
    Ok(with_cookie(with_cookie(response, app.web.set(token.expose())), app.web.clear_pending()))
}

fn owed() -> Problem {
    Problem::new(
        Own::SecondFactorRequired,
        "The issuer vouches for you. Send `code` to POST /admin/v1/auth/second-factor from the same browser.",
    )
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// What is in the URL of this page is nobody else's business.
fn go_to(url: &str) -> Response {
    let Ok(url) = HeaderValue::from_str(url) else {
        return Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    };
    let quiet = HeaderValue::from_static("no-referrer");
    (StatusCode::SEE_OTHER, [(header::LOCATION, url), (header::REFERRER_POLICY, quiet)]).into_response()
}

fn no_issuer() -> Problem {
    Problem::not_found("issuer")
}

async fn kept(app: &App, issuer: &Issuer, trace: &Trace, subject: &str, why: Kept) -> Result<Problem> {
    let told = match why {
        Kept::OutOfDomain => "no verified e-mail of a domain that comes in",
        Kept::ClaimLeftOut => "a claim was left out",
    };
    note_at(app, issuer, trace, subject, told).await?;
    Ok(match why {
        Kept::OutOfDomain => Problem::new(
            Own::SignInRefused,
            "The issuer names no verified e-mail of a domain that comes in here. Sign in there with another account.",
        ),
        Kept::ClaimLeftOut => Problem::new(
            Own::IssuerInvalid,
            "The issuer left a claim out because it has too many values, so nobody knows what you may do here. Ask an \
             operator: fewer groups, or roles of the application, fit.",
        ),
    })
}

/// What went wrong there is for the log; who wants to sign in hears that it was not them.
fn trouble(issuer: &Issuer, why: Trouble) -> Problem {
    tracing::warn!(issuer = issuer.settings.name, %why, "signing in at an issuer failed");
    let ask = "An operator sees more with `anykey issuer test`, and in the server's log.";
    match why {
        Trouble::Away(_) => Problem::new(
            Own::IssuerUnavailable,
            format!("The issuer cannot be asked now. Try again in a moment. {ask}"),
        ),
        Trouble::Wrong(_) => Problem::new(Own::IssuerInvalid, format!("The issuer's answer cannot be believed. {ask}")),
        Trouble::Refused(_) => {
            Problem::new(Own::IssuerInvalid, format!("The issuer did not take back what it gave. Begin again. {ask}"))
        }
    }
}

/// What an issuer put behind the URL, of which more is allowed than we know.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(uri: &Uri) -> Result<Self> {
        let Query(pairs) = Query::try_from_uri(uri).map_err(|_| Problem::of_status(StatusCode::BAD_REQUEST))?;
        Ok(Parameters(pairs))
    }

    /// Twice is once too often.
    fn once(&self, name: &'static str) -> Result<Option<String>> {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Problem::field(name, "comes twice")),
            (value, None) => Ok(value.cloned()),
        }
    }
}
