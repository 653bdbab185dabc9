//! GitHub's secret scanning partner programme: GitHub finds keys in public places and sends them here, signed.
//! <https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program>

use super::{MOST, Sender, Sighting, expose, forged, header, off, once, too_many};
use crate::App;
use crate::problem::{Problem, Result};
use anykey_core::{Code, Sight};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

const SOURCE: &str = "github";

#[derive(Deserialize, ToSchema)]
#[schema(as = GithubMatch)]
pub(super) struct Match {
    token: String,
    /// The name that GitHub gave this kind of secret.
    r#type: String,
    #[serde(default)]
    #[schema(required = false)]
    url: Option<String>,
    /// What kind of place it is: `content`, `commit` and others.
    #[serde(default)]
    #[schema(required = false)]
    source: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GithubLabel)]
pub(super) struct Label {
    /// SHA-256 of the token, in hexadecimal.
    token_hash: String,
    token_type: String,
    /// `true_positive`: it was a key of this installation; `false_positive`: it was not.
    label: &'static str,
}

/// Take a report of GitHub's secret scanning. Off unless `[secret_scanning] github = true`.
#[utoipa::path(post, path = "/secret-scanning/github", operation_id = "report_github", tag = "exposure",
    params(("Github-Public-Key-Identifier" = String, Header), ("Github-Public-Key-Signature" = String, Header)),
    request_body = Vec<Match>, responses((status = 200, body = Vec<Label>)))]
pub(super) async fn report(
    State(app): State<App>,
    sender: Sender,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Vec<Label>>> {
    let from = app.deps.exposure.github_keys.as_ref().ok_or_else(off)?;
    let key = header(&headers, "github-public-key-identifier")?;
    let signature = BASE64.decode(header(&headers, "github-public-key-signature")?).map_err(|_| forged())?;
    if !app.published.verify(&app, from, key, &signature, &body).await? {
        return Err(forged());
    }
    let matches: Vec<Match> = serde_json::from_slice(&body)
        .map_err(|_| Problem::new(Code::InvalidJson, "The report is not a list of tokens with their types."))?;
    if !(1..=MOST).contains(&matches.len()) {
        return Err(too_many());
    }
    // An ECDSA signature can be written in two ways, so it is the body that is remembered.
    let hash = Sha256::digest(&body).into();
    once(&app, sender, SOURCE, hash, label(&app, &matches)).await.map(Json)
}

async fn label(app: &App, matches: &[Match]) -> Result<Vec<Label>> {
    let mut labels = Vec::with_capacity(matches.len());
    for found in matches {
        let place = match (&found.url, &found.source) {
            (Some(url), _) if !url.is_empty() => url.as_str(),
            (_, Some(source)) => source.as_str(),
            _ => "",
        };
        let sighting = Sighting { token: &found.token, place };
        let exposed = expose(app, &sighting, (SOURCE, &Sight::Everything), app.deps.exposure.and).await?;
        labels.push(Label {
            token_hash: hex(&Sha256::digest(found.token.as_bytes())),
            token_type: found.r#type.clone(),
            label: if exposed.is_some() { "true_positive" } else { "false_positive" },
        });
    }
    Ok(labels)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
