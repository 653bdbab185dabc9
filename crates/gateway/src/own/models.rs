//! `GET models`: what the asking key may call, in the shape that its dialect's SDKs iterate.

use super::json;
use crate::policy;
use crate::relay::Relay;
use crate::route::{self, Offered, Resolved, Table, Target};
use anykey_core::endpoint::Route;
use anykey_core::refusal::echo;
use anykey_core::{Bound, Code, Dialect, Endpoint, Refusal, RequestId, Unit};
use anykey_dialect::models::{self, ListedModel, Page};
use anykey_net::server::Answer;

pub(crate) fn models(
    table: &Table,
    bounds: &[Bound],
    route: &Route,
    query: &str,
    id: RequestId,
    now_ms: i64,
) -> Result<Answer<Relay>, Refusal> {
    let body = match &route.subject {
        None => {
            let page = Page::from_query(route.dialect, query)?;
            let listed: Vec<ListedModel> = table
                .offered()
                .filter(|(_, offered)| serves(offered, route.dialect))
                .filter(|(name, offered)| policy::offers(bounds, name, offered.target()))
                .map(|(name, offered)| listed(name, &offered, now_ms))
                .collect();
            models::render_list(route.dialect, &listed, &page)?
        }
        Some(name) => models::render_one(route.dialect, &one(table, bounds, name, route.dialect, now_ms)?),
    };
    Ok(json(200, body, id, route.dialect))
}

/// A list shows what can be called in the dialect that asks.
fn serves(offered: &Offered<'_>, dialect: Dialect) -> bool {
    offered.provider.kind.speaks(dialect) || route::serves(offered.provider.kind, main_endpoint(dialect))
}

/// The endpoint by which a dialect's models are mostly called, to look a single name up as a call would.
const fn main_endpoint(dialect: Dialect) -> Endpoint {
    match dialect {
        Dialect::OpenAi => Endpoint::ChatCompletions,
        Dialect::Anthropic => Endpoint::Messages,
        Dialect::Gemini => Endpoint::GenerateContent,
    }
}

fn one(table: &Table, bounds: &[Bound], name: &str, dialect: Dialect, now_ms: i64) -> Result<ListedModel, Refusal> {
    let Resolved { provider, model, .. } = route::resolve(table, name, main_endpoint(dialect))?;
    policy::check_model(bounds, name, Target { provider: &provider.name, model: &model })?;
    let entry = table.entry(&provider, &model);
    // A provider takes any name in its path; a list should not promise models that nobody has heard of.
    if entry.is_none() && !provider.lists(&model) {
        return Err(Refusal::new(
            Code::ModelNotFound,
            format!("The model `{}` is not known. GET /v1/models lists what this key may call.", echo(name)),
        )
        .param("model"));
    }
    Ok(listed(name.to_owned(), &Offered { provider: &provider, model: &model, entry }, now_ms))
}

fn listed(id: String, offered: &Offered<'_>, now_ms: i64) -> ListedModel {
    let entry = offered.entry;
    let rates = entry.and_then(|e| e.price_at(now_ms)).map(|p| p.rates_for(0));
    let price = |unit| rates.and_then(|r| r.get(unit)).map(per_token);
    ListedModel {
        id,
        display_name: entry.and_then(|e| e.name.as_deref()).map(str::to_owned),
        created: 0,
        owned_by: offered.provider.name.to_string(),
        context_window: entry.and_then(|e| e.context_window),
        max_output: entry.and_then(|e| e.max_output),
        input_price: price(Unit::Input),
        output_price: price(Unit::Output),
        embedding: offered.model.contains("embed"),
    }
}

/// Pico-dollars as exact decimal dollars.
fn per_token(pico: i64) -> String {
    let (whole, fraction) = (pico / 1_000_000_000_000, pico % 1_000_000_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{fraction:012}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn prices_are_exact() {
        assert_eq!(super::per_token(150_000), "0.00000015");
        assert_eq!(super::per_token(0), "0");
        assert_eq!(super::per_token(2_500_000_000_000), "2.5");
    }
}
