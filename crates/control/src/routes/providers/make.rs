//! Adding a provider: it is asked for its models with the credential before it is kept.

use super::view::Tested;
use super::{probe, settings};
use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{self, Body, Findings, Params, body, echo};
use crate::problem::{Own, Problem, Result};
use anykey_core::model;
use anykey_store::{NewProvider, StoreError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

body! {
    /// A provider to be added.
    Add as NewProvider {
        required {
            /// What to call it: its models are then `name/model`.
            name: String,
            /// `openai`, `anthropic`, `gemini`, or another kind that is known by name.
            kind: String,
        }
        optional {
            /// As in the provider's own SDK. Left out, it is the kind's own.
            base_url: String,
            /// The credential. Sealed before it is stored, and never shown.
            api_key: String,
            /// Whether its address may be on this machine or in a private network.
            allow_private_network: bool,
            disabled: bool,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Force {
    /// `true` keeps a provider whose credential was refused.
    pub force: Option<String>,
}

struct Read {
    new: NewProvider,
    target: probe::Target,
}

impl Add {
    fn read(self, findings: &mut Findings) -> Option<Read> {
        let name = self.name.required("name", findings).and_then(|name| findings.check("name", check_name(name)));
        let kind = self.kind.required("kind", findings).and_then(|kind| settings::kind(&kind, findings));
        let base_url = self.base_url.given("base_url", findings);
        let api_key = self.api_key.given("api_key", findings);
        let gave_key = api_key.is_some();
        let credential = api_key.and_then(|text| settings::credential(text, findings));
        let allow_private = self.allow_private_network.given("allow_private_network", findings).unwrap_or_default();
        let disabled = self.disabled.given("disabled", findings).unwrap_or_default();
        let kind = kind?;
        let destination = settings::destination(kind, base_url.as_deref(), allow_private, findings);
        if kind.needs_key && !gave_key {
            findings.add("api_key", format!("is required: {} asks for a credential", kind.title));
        }
        let target = probe::Target { kind, destination: destination?, credential: credential.clone() };
        let new = NewProvider { name: name?, kind: kind.name.into(), base_url, credential, allow_private, disabled };
        Some(Read { new, target })
    }
}

fn check_name(name: String) -> std::result::Result<String, String> {
    if name == model::PRACTICE {
        Err(format!("`{}` is the practice provider's", model::PRACTICE))
    } else if model::is_provider_name(&name) {
        Ok(name)
    } else {
        Err(format!("is 1 to 40 of a-z, 0-9, - and _, and begins with a letter or digit: {}", echo(&name)))
    }
}

/// Add a provider. It is asked for its models first; where it refuses the credential it is not kept.
#[utoipa::path(post, path = "/providers", operation_id = "add_provider", tag = "providers", request_body = Add,
    params(Force, ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Tested), (status = 422, description = "The provider refused the credential")))]
pub(super) async fn add(
    State(app): State<App>,
    Params(params): Params<Force>,
    once: Once,
    body: Body<Add>,
) -> Result<Response> {
    let mut findings = Findings::default();
    let force = input::flag("force", params.force.as_deref(), &mut findings);
    let read = body.value.read(&mut findings);
    findings.end()?;
    let Some(Read { new, target }) = read else { return Err(Problem::of_status(StatusCode::BAD_REQUEST)) };
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        // Before the credential is sent anywhere.
        match work.store().provider(&new.name).await {
            Err(StoreError::NotFound(_)) => {}
            Ok(_) => return Err(Problem::new(Own::Conflict, format!("There is a provider of the name {}.", new.name))),
            Err(error) => return Err(error.into()),
        }
        let probe = probe::ask(&work, &target).await;
        probe.check(force)?;
        let view = probe.view();
        let mut row = work.store().add_provider(new).await?;
        if let Some(outcome) = probe.outcome() {
            row = work.store().set_provider_test(&row.name, outcome).await?;
        }
        Reply::new(StatusCode::CREATED, &Tested::new(&work, row, view))
    })
    .await
}
