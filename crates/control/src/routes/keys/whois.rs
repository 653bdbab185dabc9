//! Whose a key is that somebody found.

use super::view::KeyView;
use crate::App;
use crate::input::{Body, Findings, body};
use crate::power::Power;
use crate::precondition::tagged;
use crate::problem::{Problem, Result};
use anykey_core::token::{self, PUBLIC_ID_LEN};
use anykey_core::{KeyId, KeyKind, Place, token::plain_sha256};
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
    // A key of others is not looked at any further than one that is not there.
    let found = find(&app, text.unwrap_or_default().trim()).await?;
    let (id, _) = found.filter(|(_, place)| power.sight().covers(place)).ok_or_else(|| Problem::not_found("key"))?;
    let key = app.store().key(id).await?;
    let version = key.version;
    Ok(tagged(KeyView::from(key), version))
}

async fn find(app: &App, text: &str) -> Result<Option<(KeyId, Place)>> {
    let store = app.store();
    let public_id = token::read(text, store.brand()).map(|form| form.public_id).or_else(|| masked(text, store.brand()));
    if let Some(public_id) = public_id {
        return Ok(store.place_of_public_id(public_id).await?);
    }
    let digest = store.pepper().digest(text.as_bytes());
    Ok(store.place_of_secret(digest, plain_sha256(text.as_bytes())).await?)
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
