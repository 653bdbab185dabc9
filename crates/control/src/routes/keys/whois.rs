//! Whose a key is that somebody found.

use super::view::KeyView;
use crate::App;
use crate::input::{Body, Findings, body};
use crate::power::Power;
use crate::precondition::tagged;
use crate::problem::{Problem, Result};
use crate::wire::now_ms;
use anykey_core::token::{self, PUBLIC_ID_LEN};
use anykey_core::{KeyKind, token::plain_sha256};
use anykey_store::{KeyRow, Lookup};
use axum::extract::State;
use axum::response::Response;

body! {
    /// A key that was found somewhere.
    Whois as FoundKey {
        required {
            /// A whole key, or its masked form: `ak-live-AbCd1234`.
            key: String,
        }
        optional {}
    }
}

/// Find the key that a secret, or its masked form, belongs to. Dead secrets are found too.
#[utoipa::path(post, path = "/keys/whois", operation_id = "find_key", tag = "keys", request_body = Whois,
    responses((status = 200, body = KeyView)))]
pub(super) async fn whois(
    State(app): State<App>,
    power: Power,
    Body { value: body, .. }: Body<Whois>,
) -> Result<Response> {
    let mut findings = Findings::default();
    let text = body.key.required("key", &mut findings);
    findings.end()?;
    let key = find(&app, text.unwrap_or_default().trim()).await?;
    if !power.sight().covers(&key.place()) {
        return Err(Problem::not_found("key"));
    }
    let version = key.version;
    Ok(tagged(KeyView::from(key), version))
}

async fn find(app: &App, text: &str) -> Result<KeyRow> {
    let store = app.store();
    if let Some(form) = token::read(text, store.brand()) {
        return Ok(store.key_by_public_id(form.public_id).await?);
    }
    if let Some(public_id) = masked(text, store.brand()) {
        return Ok(store.key_by_public_id(public_id).await?);
    }
    let digest = store.pepper().digest(text.as_bytes());
    let found = match store.known(&digest, now_ms()) {
        Lookup::Ask => store.look_up(digest, Some(plain_sha256(text.as_bytes()))).await?,
        found => found,
    };
    match found {
        Lookup::Live(key) => Ok(store.key(key.info.id).await?),
        _ => Err(Problem::not_found("key")),
    }
}

/// The public id of `ak-live-AbCd1234` or `imported-AbCd1234`, with or without the dots that stand for the rest.
fn masked<'a>(text: &'a str, brand: &str) -> Option<&'a str> {
    let text = text.trim_end_matches(['…', '.']);
    let own = || {
        let (kind, id) = text.strip_prefix(brand)?.strip_prefix('-')?.split_once('-')?;
        KeyKind::from_name(kind).map(|_| id)
    };
    let id = text.strip_prefix("imported-").or_else(own)?;
    (id.len() == PUBLIC_ID_LEN && id.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_forms_are_read() {
        for text in ["ak-live-AbCd1234", "ak-live-AbCd1234…", "ak-admin-AbCd1234...", "imported-AbCd1234…"] {
            assert_eq!(masked(text, "ak"), Some("AbCd1234"), "{text}");
        }
        for text in [
            "",
            "AbCd1234",
            "sk-live-AbCd1234",
            "ak-dead-AbCd1234",
            "ak-live-AbCd123",
            "ak-live-AbCd12345",
            "ak-live-AbCd123é",
        ] {
            assert_eq!(masked(text, "ak"), None, "{text}");
        }
    }
}
