//! `/usage`: what was used and what it cost, as JSON or CSV.

use crate::App;
use crate::csv_text::{self, inert};
use crate::input::{Findings, Params};
use crate::power::Power;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use crate::wire::{day, read_time, usd};
use anykey_core::KeyId;
use anykey_store::{GroupBy, UsageQuery, UsageRow, UsageSums};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(report))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReportParams {
    /// What a line stands for: any of `key`, `model`, `provider`, `day`, with commas. Without it all is one line.
    group_by: Option<String>,
    /// A time or a date; its day (UTC) is included.
    from: Option<String>,
    /// A time or a date, not included; the day that a time falls into is.
    to: Option<String>,
    /// A key's id.
    key: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    /// `json` (by default) or `csv`.
    format: Option<String>,
}

/// Sums over attempts. Each token is in exactly one of the five classes.
#[derive(Serialize, ToSchema)]
struct Sums {
    /// Attempts; a retry at a provider is one of its own.
    requests: i64,
    /// Attempts that were refused, failed or broke off.
    errors: i64,
    input_tokens: i64,
    cache_read_tokens: i64,
    cache_write_tokens: i64,
    output_tokens: i64,
    reasoning_tokens: i64,
    /// Dollars; attempts without a price are not in it.
    cost_usd: String,
    /// Attempts that had no price.
    unpriced: i64,
    /// Attempts whose counts are estimates.
    estimated: i64,
}

impl From<UsageSums> for Sums {
    fn from(sums: UsageSums) -> Self {
        Sums {
            requests: sums.requests,
            errors: sums.errors,
            input_tokens: sums.input,
            cache_read_tokens: sums.cache_read,
            cache_write_tokens: sums.cache_write,
            output_tokens: sums.output,
            reasoning_tokens: sums.reasoning,
            cost_usd: usd(sums.cost),
            unpriced: sums.unpriced,
            estimated: sums.estimated,
        }
    }
}

/// A line of a report. It has the columns that it was grouped by.
#[derive(Serialize, ToSchema)]
struct UsageLine {
    /// The key's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// A day in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(flatten)]
    sums: Sums,
}

impl From<UsageRow> for UsageLine {
    fn from(row: UsageRow) -> Self {
        UsageLine {
            key: row.key.map(|key| key.to_string()),
            key_name: row.key_name,
            model: row.model,
            provider: row.provider,
            day: row.day.map(day),
            sums: row.sums.into(),
        }
    }
}

/// What was used.
#[derive(Serialize, ToSchema)]
struct Usage {
    data: Vec<UsageLine>,
    totals: Sums,
}

/// Report what was used, over whole days in UTC.
#[utoipa::path(get, path = "/usage", operation_id = "report_usage", tag = "usage", params(ReportParams),
    responses((status = 200, content((Usage = "application/json"), (String = "text/csv")))))]
async fn report(State(app): State<App>, power: Power, Params(params): Params<ReportParams>) -> Result<Response> {
    let (query, format) = read(params)?;
    let query = UsageQuery { within: power.sight(), ..query };
    app.settle().await?;
    let rows = app.store().usage(&query).await?;
    match format {
        Format::Json => {
            let totals = rows.iter().fold(UsageSums::default(), |sums, row| add(sums, &row.sums)).into();
            Ok(Json(Usage { data: rows.into_iter().map(UsageLine::from).collect(), totals }).into_response())
        }
        Format::Csv => {
            let text = csv(query.group_by, rows).map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
            let disposition = (header::CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\"");
            Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), disposition], text).into_response())
        }
    }
}

enum Format {
    Json,
    Csv,
}

fn read(params: ReportParams) -> Result<(UsageQuery, Format)> {
    let mut findings = Findings::default();
    let mut group_by = GroupBy::default();
    for name in params.group_by.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "key" => group_by.key = true,
            "model" => group_by.model = true,
            "provider" => group_by.provider = true,
            "day" => group_by.day = true,
            _ => findings.add("group_by", "has any of key, model, provider and day, with commas"),
        }
    }
    let mut time = |name, text: Option<String>| text.and_then(|text| findings.check(name, read_time(&text)));
    let (from, to) = (time("from", params.from), time("to", params.to));
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        findings.add("to", "is not before from");
    }
    let key = params.key.and_then(|text| findings.check("key", KeyId::parse(&text).ok_or("is a key's id")));
    let format = match params.format.as_deref() {
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some(_) => {
            findings.add("format", "is json or csv");
            Format::Json
        }
    };
    findings.end()?;
    let (model, provider) = (params.model, params.provider);
    Ok((UsageQuery { group_by, from, to, key, model, provider, ..UsageQuery::default() }, format))
}

fn add(a: UsageSums, b: &UsageSums) -> UsageSums {
    UsageSums {
        requests: a.requests.saturating_add(b.requests),
        errors: a.errors.saturating_add(b.errors),
        input: a.input.saturating_add(b.input),
        cache_read: a.cache_read.saturating_add(b.cache_read),
        cache_write: a.cache_write.saturating_add(b.cache_write),
        output: a.output.saturating_add(b.output),
        reasoning: a.reasoning.saturating_add(b.reasoning),
        cost: a.cost.saturating_add(b.cost),
        unpriced: a.unpriced.saturating_add(b.unpriced),
        estimated: a.estimated.saturating_add(b.estimated),
    }
}

/// The columns that were asked for, then the sums, in this order.
fn csv(by: GroupBy, rows: Vec<UsageRow>) -> std::result::Result<Vec<u8>, csv::Error> {
    let mut out = csv_text::writer();
    let chosen =
        [(by.key, "key"), (by.key, "key_name"), (by.model, "model"), (by.provider, "provider"), (by.day, "day")];
    let mut head: Vec<&str> = chosen.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    head.extend([
        "requests",
        "errors",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cost_usd",
        "unpriced",
        "estimated",
    ]);
    out.write_record(&head)?;
    for row in rows {
        let UsageLine { key, key_name, model, provider, day, sums } = row.into();
        let texts = [(by.key, key), (by.key, key_name), (by.model, model), (by.provider, provider), (by.day, day)];
        let texts = texts.into_iter().filter(|(on, _)| *on).map(|(_, text)| inert(text.unwrap_or_default()));
        let numbers = [
            sums.requests,
            sums.errors,
            sums.input_tokens,
            sums.cache_read_tokens,
            sums.cache_write_tokens,
            sums.output_tokens,
            sums.reasoning_tokens,
        ];
        let mut record: Vec<String> = texts.chain(numbers.map(|n| n.to_string())).collect();
        record.push(sums.cost_usd);
        record.extend([sums.unpriced, sums.estimated].map(|n| n.to_string()));
        out.write_record(&record)?;
    }
    csv_text::text(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anykey_core::Nanos;

    #[test]
    fn cells_are_inert_and_quoted() {
        let row = |name: &str| UsageRow {
            key: Some(KeyId([0; 16])),
            key_name: Some(name.into()),
            sums: UsageSums { requests: 3, cost: Nanos(1_500_000_000), ..UsageSums::default() },
            ..UsageRow::default()
        };
        let by = GroupBy { key: true, ..GroupBy::default() };
        let rows = ["=cmd|' /C calc'!A1", "+1", "-1", "@SUM(A1)", "\t=1", "a,\"b\"", "fine"].map(row).to_vec();
        let text = String::from_utf8(csv(by, rows).unwrap()).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert!(lines[0].starts_with("key,key_name,requests,"), "{text}");
        assert!(lines[1].contains(",'=cmd|' /C calc'!A1,3,"), "{text}");
        assert!(lines[2].contains(",'+1,") && lines[3].contains(",'-1,") && lines[4].contains(",'@SUM(A1),"), "{text}");
        assert!(lines[5].contains("'\t=1"), "{text}");
        assert!(lines[6].contains(r#","a,""b""","#) && lines[7].contains(",fine,3,0,0,0,0,0,0,1.5,0,0"), "{text}");
    }
}
