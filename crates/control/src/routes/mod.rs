//! The routes: one file per resource.

mod aliases;
mod approvals;
mod audit;
pub(crate) mod auth;
mod deliveries;
mod destinations;
pub(crate) mod exposure;
mod in_project;
mod issuers;
mod jobs;
mod keys;
mod members;
mod models;
mod organisations;
mod people;
mod prices;
mod projects;
mod providers;
mod requests;
mod service_accounts;
mod shared;
mod spend;
mod status;
mod usage;

use crate::access::{self, Access, Record};
use crate::problem::{Problem, ProblemBody};
use crate::routing::Routes;
use crate::sign_in::Web;
use crate::sign_in::oidc::Issuers;
use crate::sign_in::password::Passwords;
use crate::{App, Deps, Shared, envelope, identify};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use utoipa::openapi::extensions::{Extensions, ExtensionsBuilder};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Info, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder, Responses};
use utoipa::{PartialSchema, ToSchema};

const BASE: &str = "/admin/v1";

/// What needs an admin key.
fn guarded() -> Routes {
    Routes::new()
        .merge(keys::routes())
        .merge(jobs::routes())
        .merge(organisations::routes())
        .merge(projects::routes())
        .merge(in_project::routes())
        .merge(people::routes())
        .merge(members::routes())
        .merge(service_accounts::routes())
        .merge(approvals::routes())
        .merge(destinations::routes())
        .merge(deliveries::routes())
        .merge(providers::routes())
        .merge(models::routes())
        .merge(aliases::routes())
        .merge(spend::routes())
        .merge(usage::routes())
        .merge(requests::routes())
        .merge(prices::routes())
        .merge(audit::routes())
        .merge(auth::routes())
        .merge(issuers::routes())
        .merge(status::routes())
}

/// What needs none: what anybody may read, and reports that bear a signature.
fn open() -> Routes {
    status::open_routes().merge(exposure::open_routes()).merge(auth::open_routes())
}

pub(crate) fn router(mut deps: Deps) -> axum::Router {
    let (guarded, operations) = guarded().serve(BASE);
    let (open, _) = open().serve(BASE);
    let app = App(Arc::new(Shared {
        access: Access::of(operations),
        web: Web::of(deps.public_url.as_deref()),
        passwords: Passwords::default(),
        issuers: Issuers::new(std::mem::take(&mut deps.issuers), deps.public_url.as_deref()),
        deps,
        started: Instant::now(),
        document: OnceLock::new(),
        pricing: tokio::sync::Mutex::default(),
        published: exposure::Published::default(),
    }));
    let guard = from_fn_with_state(app.clone(), identify::admit);
    guarded
        .route_layer(guard)
        .merge(open)
        .fallback(async || Problem::of_status(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::of_status(StatusCode::METHOD_NOT_ALLOWED))
        .layer(from_fn(envelope::wrap))
        .with_state(app)
}

/// Every operation that there is.
#[cfg(test)]
pub(crate) fn operations() -> Vec<crate::routing::Operation> {
    guarded().merge(open()).serve(BASE).1
}

/// The OpenAPI 3.1 document of the admin API, made from the routes themselves.
pub fn openapi() -> OpenApi {
    let mut info = Info::new("anykey admin API", "1");
    info.description = Some(
        "Manages keys, providers, aliases, prices and reports. Money is decimal dollars in strings, times are RFC 3339 in \
         UTC. Errors are application/problem+json."
            .into(),
    );
    let mut api = guarded().merge(open()).describe(BASE, OpenApiBuilder::new().info(info).build());
    finish(&mut api);
    api
}

/// What holds for every operation: the credential, and how errors look.
fn finish(api: &mut OpenApi) {
    let components = api.components.get_or_insert_default();
    let mut schemas = Vec::new();
    ProblemBody::schemas(&mut schemas);
    schemas.push((ProblemBody::name().into_owned(), ProblemBody::schema()));
    components.schemas.extend(schemas);
    components.add_security_scheme("admin_key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let cookie = ApiKeyValue::with_description(
        "__Host-anykey",
        "The session of somebody who is signed in; `anykey` where the server has no https URL. What changes something \
         also carries `x-csrf-token`.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
    let refusal = ResponseBuilder::new().description("A refusal").content("application/problem+json", problem).build();
    let paths = std::mem::take(&mut api.paths.paths);
    for (path, mut item) in paths {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.extensions = terms(operation.operation_id.as_deref());
            let public = operation.operation_id.as_deref().is_some_and(access::is_open);
            operation.responses.responses.insert("default".into(), RefOr::T(refusal.clone()));
            describe(&mut operation.responses);
            if !public {
                let either = ["admin_key", "session"].map(|name| SecurityRequirement::new(name, [] as [&str; 0]));
                operation.security = Some(either.to_vec());
            }
        }
        // A parameter that takes the rest of the path, slashes and all, is a parameter like any other in the document.
        api.paths.paths.insert(path.replace("{*", "{"), item);
    }
}

/// What the route asks of its caller and leaves in the audit log, for those who read the document.
fn terms(operation_id: Option<&str>) -> Option<Extensions> {
    let id = operation_id?;
    let mut terms = ExtensionsBuilder::new();
    if let Some(rule) = access::rule(id) {
        terms = terms.add("x-permission", rule.permission.name());
    }
    if let Record::Entry(verb) = access::record(id)? {
        terms = terms.add("x-audit", verb.name());
    }
    Some(terms.build())
}

/// The format asks for a sentence about each answer; where the route has none, the status says enough.
fn describe(responses: &mut Responses) {
    for (status, response) in &mut responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            let status = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
            response.description = status.and_then(|s| s.canonical_reason()).unwrap_or("An answer").to_owned();
        }
    }
}
