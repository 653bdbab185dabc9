//! Reports of any other scanner: HMAC-SHA-256 with a shared secret over the time and the body.

use super::github::hex;
use super::{MOST, Sender, Sighting, expose, forged, header, off, once, too_many};
use crate::App;
use crate::problem::{Problem, Result};
use crate::wire::now_ms;
use anykey_core::{Code, Sight};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

/// How far the sender's clock may be off, and for how long a report that was caught on the way is good at most.
const WINDOW_MS: i64 = 5 * 60 * 1000;
const NAME_LIMIT: usize = 64;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScannerReport)]
pub(super) struct Report {
    /// Who found them: up to 64 letters, digits, `-`, `_` and `.`.
    source: String,
    found: Vec<Found>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScannerFinding)]
pub(super) struct Found {
    token: String,
    /// A URL, or a file and line.
    #[serde(default)]
    #[schema(required = false)]
    place: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScannerAnswer)]
pub(super) struct Answer {
    /// In the order of the report.
    data: Vec<Label>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScannerLabel)]
pub(super) struct Label {
    /// SHA-256 of the token, in hexadecimal.
    token_hash: String,
    /// `true_positive`: it was a key of this installation; `false_positive`: it was not.
    label: &'static str,
}

/// Take a report of a scanner that holds the shared secret. Off unless `[secret_scanning] secret` is set.
#[utoipa::path(post, path = "/secret-scanning/report", operation_id = "report_scanner", tag = "exposure",
    params(("Anykey-Timestamp" = String, Header), ("Anykey-Signature" = String, Header)),
    request_body = Report, responses((status = 200, body = Answer)))]
pub(super) async fn report(
    State(app): State<App>,
    sender: Sender,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Answer>> {
    let secret = app.deps.exposure.secret.as_ref().ok_or_else(off)?;
    let time = header(&headers, "anykey-timestamp")?;
    let signature = header(&headers, "anykey-signature")?;
    let signature = signature.strip_prefix("v1=").and_then(unhex).ok_or_else(forged)?;
    check(secret.expose_secret().as_bytes(), time, &body, &signature)?;
    let sent: i64 = time.parse().map_err(|_| forged())?;
    if now_ms().abs_diff(sent.saturating_mul(1000)) > WINDOW_MS.unsigned_abs() {
        return Err(Problem::new(
            Code::InvalidParameter,
            "Anykey-Timestamp is more than five minutes away from this server's clock: set the clock, or sign it again.",
        ));
    }
    let report: Report = serde_json::from_slice(&body).map_err(|_| {
        Problem::new(Code::InvalidJson, "The report is not {\"source\", \"found\": [{\"token\", \"place\"}]}.")
    })?;
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !(1..=NAME_LIMIT).contains(&report.source.len()) || !report.source.bytes().all(named) {
        return Err(Problem::field("source", "is 1 to 64 letters, digits, -, _ and ."));
    }
    if !(1..=MOST).contains(&report.found.len()) {
        return Err(too_many());
    }
    let hash = Sha256::new().chain_update(time).chain_update([0]).chain_update(&body).finalize().into();
    once(&app, sender, &report.source, hash, label(&app, &report)).await.map(Json)
}

/// Over the time, a full stop and the body, so that neither can be changed without the other.
fn check(secret: &[u8], time: &str, body: &[u8], signature: &[u8]) -> Result<()> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| forged())?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(signature).map_err(|_| forged())
}

async fn label(app: &App, report: &Report) -> Result<Answer> {
    let mut data = Vec::with_capacity(report.found.len());
    for found in &report.found {
        let sighting = Sighting { token: &found.token, place: &found.place };
        let exposed = expose(app, &sighting, (&report.source, &Sight::Everything), app.deps.exposure.and).await?;
        data.push(Label {
            token_hash: hex(&Sha256::digest(found.token.as_bytes())),
            label: if exposed.is_some() { "true_positive" } else { "false_positive" },
        });
    }
    Ok(Answer { data })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let byte = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(byte).collect()
}
