//! The log as a file, oldest first, written as it is read.

use super::Wanted;
use super::view::EntryView;
use crate::App;
use crate::csv_text::{self, inert};
use crate::input::{Findings, Params};
use crate::power::Power;
use crate::problem::Result;
use anykey_store::{AuditEntry, AuditFilter, StoreError};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

/// Entries that are read in one query.
const AT_ONCE: u32 = 1_000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParams {
    /// What was done, such as `key.disable`; several, with commas.
    verb: Option<String>,
    /// What kind of thing was changed.
    kind: Option<String>,
    /// The id of what was changed.
    object: Option<String>,
    /// The id of who changed it.
    actor: Option<String>,
    /// Only what was done in this organisation: an id or a slug.
    organisation: Option<String>,
    /// A time or a date, included.
    from: Option<String>,
    /// A time or a date, not included.
    to: Option<String>,
    /// `ndjson` (by default) or `csv`.
    format: Option<String>,
}

#[derive(Clone, Copy)]
enum Format {
    Ndjson,
    Csv,
}

/// Export the log, the oldest entry first.
#[utoipa::path(get, path = "/audit/export", operation_id = "export_audit", tag = "audit", params(ExportParams),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv")))))]
pub(super) async fn export(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ExportParams>,
) -> Result<Response> {
    let mut findings = Findings::default();
    let format = match params.format.as_deref() {
        None | Some("ndjson") => Format::Ndjson,
        Some("csv") => Format::Csv,
        Some(_) => {
            findings.add("format", "is ndjson or csv");
            Format::Ndjson
        }
    };
    let ExportParams { verb, kind, object, actor, organisation, from, to, .. } = params;
    let wanted = Wanted { verb, kind, object, actor, organisation, from, to };
    let filter = wanted.read(&app, &power, &mut findings).await?;
    findings.end()?;
    // Before the first byte, so that a database that is away is an error and not an empty file.
    app.store().ping().await?;
    let (content_type, name) = match format {
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"audit.ndjson\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
    };
    let body =
        Body::from_stream(stream::try_unfold(Export { app, filter, format, at: Some(0), head: true }, Export::next));
    Ok(([(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, name)], body).into_response())
}

/// An export under way.
struct Export {
    app: App,
    filter: AuditFilter,
    format: Format,
    /// The last entry that was looked at; `None` at the end.
    at: Option<i64>,
    /// Whether the line with the names of the columns is still to come.
    head: bool,
}

impl Export {
    async fn next(mut self) -> std::result::Result<Option<(Bytes, Self)>, StoreError> {
        let Some(at) = self.at else { return Ok(None) };
        let (entries, next) = self.app.store().audit_after(&self.filter, at, AT_ONCE).await?;
        self.at = next;
        let text = match self.format {
            Format::Ndjson => ndjson(entries),
            Format::Csv => csv(entries, std::mem::take(&mut self.head)),
        };
        Ok(Some((text.into(), self)))
    }
}

fn ndjson(entries: Vec<AuditEntry>) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in entries {
        // Strings and numbers only: this cannot fail.
        if serde_json::to_writer(&mut text, &EntryView::from(entry)).is_ok() {
            text.push(b'\n');
        }
    }
    text
}

const COLUMNS: [&str; 17] = [
    "seq",
    "at",
    "actor_kind",
    "actor_id",
    "actor_name",
    "surface",
    "ip",
    "client",
    "request_id",
    "verb",
    "organisation",
    "object_kind",
    "object_id",
    "object_name",
    "before",
    "after",
    "hash",
];

fn csv(entries: Vec<AuditEntry>, head: bool) -> Vec<u8> {
    fn write(
        out: &mut csv::Writer<Vec<u8>>,
        entries: Vec<AuditEntry>,
        head: bool,
    ) -> std::result::Result<(), csv::Error> {
        if head {
            out.write_record(COLUMNS)?;
        }
        for entry in entries {
            let at = crate::wire::time(entry.at);
            let texts = [
                at,
                entry.actor_kind,
                entry.actor_id.unwrap_or_default(),
                entry.actor_name,
                entry.surface,
                entry.ip.unwrap_or_default(),
                entry.client.unwrap_or_default(),
                entry.request.unwrap_or_default(),
                entry.verb,
                entry.organisation.unwrap_or_default(),
                entry.object_kind,
                entry.object_id,
                entry.object_name,
                entry.before.unwrap_or_default(),
                entry.after.unwrap_or_default(),
                entry.hash,
            ];
            out.write_record(std::iter::once(entry.seq.to_string()).chain(texts.map(inert)))?;
        }
        Ok(())
    }
    let mut out = csv_text::writer();
    // Writing into memory cannot fail.
    let _ = write(&mut out, entries, head);
    csv_text::text(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_inert_and_quoted() {
        let entry = AuditEntry {
            seq: 1,
            actor_name: "=cmd|' /C calc'!A1".into(),
            client: Some("@SUM(A1)".into()),
            object_name: "a,\"b\"".into(),
            after: Some("{}".into()),
            ..AuditEntry::default()
        };
        let text = String::from_utf8(csv(vec![entry.clone()], true)).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("seq,at,actor_kind,"), "{text}");
        assert!(lines[1].starts_with("1,1970-01-01T00:00:00Z,,,'=cmd|' /C calc'!A1,,,'@SUM(A1),"), "{text}");
        assert!(lines[1].contains(r#","a,""b""",,{},"#), "{text}");
        assert!(!String::from_utf8(csv(vec![entry], false)).unwrap().contains("actor_kind"));
    }
}
