//! `/aliases`: other names for models.

use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{self, Body, Findings, Params, PathParam, body, echo};
use crate::page::{self, List};
use crate::problem::Result;
use crate::routing::{Routes, routes};
use anykey_core::model::{self, ModelName};
use anykey_core::provider;
use anykey_store::{Alias, Snapshot};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const MAX_NAME: usize = 256;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, set)).routes(routes!(remove))
}

/// Another name for a model.
#[derive(Serialize, ToSchema)]
#[schema(as = Alias)]
struct AliasView {
    name: String,
    /// The model that it stands for.
    target: String,
    /// `config` or `api`.
    origin: &'static str,
}

impl From<Alias> for AliasView {
    fn from(alias: Alias) -> Self {
        AliasView { name: alias.name, target: alias.target, origin: alias.origin.name() }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List aliases, by name.
#[utoipa::path(get, path = "/aliases", operation_id = "list_aliases", tag = "aliases", params(ListParams),
    responses((status = 200, body = List<AliasView>)))]
async fn list(State(app): State<App>, Params(params): Params<ListParams>) -> Result<Json<List<AliasView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), |s| Some(s.to_owned()), &mut findings);
    findings.end()?;
    let all = app.store().aliases().await?.into_iter().map(AliasView::from).collect();
    Ok(page::cut(all, &page, |alias: &AliasView| &alias.name))
}

body! {
    /// A name and the model that it shall stand for.
    SetAlias as NewAlias {
        required {
            name: String,
            /// `provider/model`, or the bare name of a model that is known.
            target: String,
        }
        optional {}
    }
}

/// Make an alias, or point it elsewhere.
#[utoipa::path(post, path = "/aliases", operation_id = "set_alias", tag = "aliases", request_body = SetAlias,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, description = "It pointed elsewhere before", body = AliasView), (status = 201, body = AliasView)))]
async fn set(State(app): State<App>, once: Once, body: Body<SetAlias>) -> Result<Response> {
    let mut findings = Findings::default();
    let name = body.value.name.required("name", &mut findings);
    let target = body.value.target.required("target", &mut findings);
    let name = input::text("name", name, MAX_NAME, &mut findings);
    let target = input::text("target", target, MAX_NAME, &mut findings);
    check(&app, name.as_deref(), target.as_deref(), &mut findings);
    findings.end()?;
    let (name, target) = (name.unwrap_or_default(), target.unwrap_or_default());
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let known = work.store().aliases().await?.iter().any(|alias| alias.name == name);
        let alias = work.store().set_alias(&name, &target).await?;
        Reply::new(if known { StatusCode::OK } else { StatusCode::CREATED }, &AliasView::from(alias))
    })
    .await
}

fn check(app: &App, name: Option<&str>, target: Option<&str>, findings: &mut Findings) {
    let snapshot = app.store().snapshot();
    if let Some(name) = name {
        if name.is_empty() || name.contains(char::is_whitespace) {
            findings.add("name", "is a word without spaces");
        } else if ModelName(name).split().is_some_and(|(first, _)| is_provider(app, &snapshot, first)) {
            findings.add("name", "would hide a model of the provider that it begins with");
        }
    }
    let Some(target) = target else { return };
    if name == Some(target) {
        return findings.add("target", "is the alias itself");
    }
    let reaches = match ModelName(target).split() {
        Some((first, _)) if is_provider(app, &snapshot, first) => true,
        _ => is_known_model(app, &snapshot, target),
    };
    if !reaches {
        let message = format!("names no provider that is set up and no model that is known: {}", echo(target));
        findings.add("target", message);
    }
}

fn is_provider(app: &App, snapshot: &Snapshot, name: &str) -> bool {
    snapshot.providers.contains_key(name) || (name == model::PRACTICE && app.deps.practice_url.is_some())
}

fn is_known_model(app: &App, snapshot: &Snapshot, name: &str) -> bool {
    let catalogue = app.deps.catalogue.load();
    snapshot.providers.values().filter(|p| &*p.kind != model::PRACTICE).any(|p| {
        p.models.iter().any(|m| &**m == name)
            || provider::kind(&p.kind).is_some_and(|kind| catalogue.find(kind.name, name).is_some())
    })
}

/// Remove an alias; the model stays.
#[utoipa::path(delete, path = "/aliases/{*name}", operation_id = "remove_alias", tag = "aliases",
    params(("name" = String, Path, description = "The alias, which may hold slashes")),
    responses((status = 204, description = "It is gone")))]
async fn remove(State(app): State<App>, PathParam(name): PathParam) -> Result<StatusCode> {
    app.store().remove_alias(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
