//! `/issuers`: what the settings say of issuers of OpenID Connect, and how each is found now. They are set in the file.

use crate::App;
use crate::input::PathParam;
use crate::page::List;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use crate::sign_in::oidc::{Algorithm, Gives, Issuer, RoleRule};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(check))
}

/// An issuer by which people sign in.
#[derive(Serialize, ToSchema)]
#[schema(as = Issuer)]
struct IssuerView {
    name: String,
    title: String,
    /// Its URL, exactly as its tokens have it.
    issuer: String,
    client_id: String,
    /// To be registered at the issuer.
    redirect_uri: String,
    /// To be registered there too, where the issuer shall end sessions.
    backchannel_logout_uri: String,
    scopes: Vec<String>,
    allowed_domains: Vec<String>,
    /// `nobody`, `with_role` or `everybody`.
    sign_up: &'static str,
    link_by_email: bool,
    trust_email: bool,
    /// `issuer`, `ask` or `require`.
    second_factor: &'static str,
    rules: Vec<RuleView>,
}

/// What a claim gives.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuerRule)]
struct RuleView {
    /// Null: the rule is for everybody.
    #[schema(required)]
    claim: Option<String>,
    #[schema(required)]
    value: Option<String>,
    /// The slug of an organisation; null for the role `operator`.
    #[schema(required)]
    organisation: Option<String>,
    role: &'static str,
}

impl From<&RoleRule> for RuleView {
    fn from(rule: &RoleRule) -> Self {
        let (organisation, role) = match &rule.gives {
            Gives::Operator => (None, anykey_core::Role::Operator.name()),
            Gives::Role { organisation, role } => (Some(organisation.clone()), role.name()),
        };
        let when = rule.when.as_ref();
        RuleView {
            claim: when.map(|when| when.claim.clone()),
            value: when.map(|when| when.value.clone()),
            organisation,
            role,
        }
    }
}

impl From<&Issuer> for IssuerView {
    fn from(issuer: &Issuer) -> Self {
        let settings = &issuer.settings;
        IssuerView {
            name: settings.name.clone(),
            title: settings.title.clone(),
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            redirect_uri: issuer.redirect_uri.clone(),
            backchannel_logout_uri: issuer.redirect_uri.replace("/callback", "/logout"),
            scopes: settings.scopes.clone(),
            allowed_domains: settings.allowed_domains.clone(),
            sign_up: settings.sign_up.name(),
            link_by_email: settings.link_by_email,
            trust_email: settings.trust_email,
            second_factor: settings.second_factor.name(),
            rules: settings.rules.iter().map(RuleView::from).collect(),
        }
    }
}

/// List the issuers by which people sign in, as the settings have them.
#[utoipa::path(get, path = "/issuers", operation_id = "list_issuers", tag = "issuers",
    responses((status = 200, body = List<IssuerView>)))]
async fn list(State(app): State<App>) -> Json<List<IssuerView>> {
    Json(List { data: app.issuers.all().iter().map(IssuerView::from).collect(), next: None })
}

/// An issuer as it is found now.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuerCheck)]
struct CheckView {
    name: String,
    issuer: String,
    /// Whether somebody could sign in by it.
    ok: bool,
    /// What is wrong, or worth a look; empty where nothing is.
    findings: Vec<String>,
    /// Published keys that can be used here.
    keys: usize,
    authorization_endpoint: Option<String>,
    redirect_uri: String,
}

/// Look at an issuer now: what it publishes of itself, its keys, and whether the rules name what there is.
#[utoipa::path(get, path = "/issuers/{name}", operation_id = "check_issuer", tag = "issuers",
    params(("name" = String, Path)), responses((status = 200, body = CheckView)))]
async fn check(State(app): State<App>, PathParam(name): PathParam) -> Result<Json<CheckView>> {
    let issuer = app.issuers.named(&name).ok_or_else(|| Problem::not_found("issuer"))?;
    let mut view = CheckView {
        name,
        issuer: issuer.settings.issuer.clone(),
        ok: true,
        findings: Vec::new(),
        keys: 0,
        authorization_endpoint: None,
        redirect_uri: issuer.redirect_uri.clone(),
    };
    match issuer.look(&app.deps.fetch, app.store().clock_ms()).await {
        Err(why) => view.wrong(why.to_string()),
        Ok((document, keys)) => {
            view.keys = keys.len();
            view.authorization_endpoint = Some(document.authorization.clone());
            if keys.is_empty() {
                view.wrong("none of the issuer's keys is one for RS256, PS256, ES256 or EdDSA".into());
            }
            let signs = &document.algorithms;
            if !signs.is_empty() && !signs.iter().any(|name| Algorithm::from_name(name).is_some()) {
                view.wrong(format!("the issuer signs ID tokens with {} alone", signs.join(", ")));
            }
            if !document.says_pkce {
                view.findings
                    .push("the issuer does not say that it knows PKCE with S256; it is sent all the same".into());
            }
        }
    }
    for rule in &issuer.settings.rules {
        let Gives::Role { organisation, .. } = &rule.gives else { continue };
        if app.store().organisation_by_slug(organisation).await.is_err() {
            view.findings.push(format!("a rule names the organisation `{organisation}`, which is not there"));
        }
    }
    Ok(Json(view))
}

impl CheckView {
    fn wrong(&mut self, what: String) {
        self.ok = false;
        self.findings.push(what);
    }
}
