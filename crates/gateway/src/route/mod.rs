//! From the name of a model to the provider that will serve it, with its price: the plan of a call.

mod table;
mod way;

pub(crate) use anykey_core::limit::Target;
pub(crate) use table::{Provider, Table};
pub(crate) use way::{Way, serves};

use crate::intake::Call;
use anykey_core::catalogue::ModelEntry;
use anykey_core::model::ModelName;
use anykey_core::price::Price;
use anykey_core::refusal::echo;
use anykey_core::{Code, Endpoint, Refusal, provider};
use std::sync::Arc;

/// Where a call goes and what it may cost there. Made by [`plan`] only, so a call without a price decision cannot exist.
pub(crate) struct Plan {
    pub provider: Arc<Provider>,
    /// The name under which the provider knows the model.
    pub model: Arc<str>,
    /// `None`: nobody knows what it costs, which is not the same as free.
    pub price: Option<Arc<Price>>,
    pub context_window: Option<u64>,
    pub max_output: Option<u64>,
    pub way: Way,
    _private: (),
}

impl Plan {
    /// The provider and its model.
    pub fn target(&self) -> Target<'_> {
        Target { provider: &self.provider.name, model: &self.model }
    }
}

/// Aliases may lead to aliases, but not for ever.
const MAX_ALIASES: usize = 8;

pub(crate) fn plan(table: &Table, call: &Call, now_ms: i64) -> Result<Plan, Refusal> {
    let Resolved { provider, model, way } = resolve(table, &call.model, call.route.endpoint)?;
    let entry = table.entry(&provider, &model);
    let price = if provider.kind.is_free(call.route.endpoint) {
        Some(table.nothing.clone())
    } else {
        entry.and_then(|e| variant(e, call, now_ms).or_else(|| e.price_at(now_ms))).cloned()
    };
    Ok(Plan {
        price,
        context_window: entry.and_then(|e| e.context_window),
        max_output: entry.and_then(|e| e.max_output),
        provider,
        model: model.into(),
        way,
        _private: (),
    })
}

/// The price of pictures of a size and quality, where the list has one of its own: `image:hd/1024x1792`, `image:hd`.
fn variant<'e>(entry: &'e ModelEntry, call: &Call, now_ms: i64) -> Option<&'e Arc<Price>> {
    let items = call.head.items.as_deref().filter(|_| call.route.endpoint.is_image())?;
    let (size, quality) = (items.size.as_deref(), items.quality.as_deref());
    let both = size.zip(quality).map(|(size, quality)| format!("{quality}/{size}"));
    let names = [both, size.map(str::to_owned), quality.map(str::to_owned)];
    names.into_iter().flatten().find_map(|name| entry.variant_at(&format!("image:{name}"), now_ms))
}

/// What a name stands for.
pub(crate) struct Resolved {
    pub provider: Arc<Provider>,
    pub model: String,
    pub way: Way,
}

/// Follows aliases, then takes an explicit provider, then asks who knows the bare name.
pub(crate) fn resolve(table: &Table, asked: &str, endpoint: Endpoint) -> Result<Resolved, Refusal> {
    let mut name = asked;
    for _ in 0..MAX_ALIASES {
        match table.alias(name) {
            Some(target) => name = target,
            None => break,
        }
    }
    if let Some((provider, model)) = ModelName(name).split()
        && let Some(provider) = table.provider(provider)
    {
        return match way::of(provider.kind, endpoint, model) {
            Some(way) => Ok(Resolved { provider: provider.clone(), model: model.to_owned(), way }),
            None => Err(wrong_endpoint(asked, provider, endpoint)),
        };
    }
    // A provider that speaks the caller's dialect goes before one that needs translation.
    let (mut second, mut elsewhere) = (None, None);
    for provider in table.knowing(name) {
        let resolved = |way| Resolved { provider: provider.clone(), model: name.to_owned(), way };
        match way::of(provider.kind, endpoint, name) {
            Some(Way::Verbatim) => return Ok(resolved(Way::Verbatim)),
            Some(way) if second.is_none() => second = Some(resolved(way)),
            Some(_) => {}
            None => elsewhere = Some(provider),
        }
    }
    if let Some(resolved) = second {
        return Ok(resolved);
    }
    Err(match elsewhere {
        Some(provider) => wrong_endpoint(asked, provider, endpoint),
        None => unknown(table, asked, name),
    })
}

fn wrong_endpoint(asked: &str, provider: &Provider, endpoint: Endpoint) -> Refusal {
    Refusal::new(
        Code::ModelNotFound,
        format!(
            "The model `{}` is served by the provider `{}` in the {} format, which has no {}. Call it through that \
             format's own endpoint and SDK.",
            echo(asked),
            provider.name,
            provider.kind.dialect,
            endpoint.name().replace('_', " "),
        ),
    )
    .param("model")
}

/// Says what would make the name known.
fn unknown(table: &Table, asked: &str, name: &str) -> Refusal {
    let shown = echo(asked);
    // A name that begins with a kind means that kind; a bare one, whichever kind the catalogue has it at.
    let meant = ModelName(name).split().and_then(|(first, _)| provider::kind(first));
    let kind = meant.or_else(|| table.kinds_knowing(name).find_map(provider::kind));
    let message = match (ModelName(name).split(), kind) {
        (_, Some(kind)) if table.has_kind(kind.name) => {
            format!("The model `{shown}` is not offered by the {} provider that is set up.", kind.title)
        }
        (_, Some(kind)) => format!(
            "The model `{shown}` needs {} as a provider, and none is set up. Add one: anykey provider add {}. To try \
             without an account, use `sim/echo`.",
            kind.title, kind.name
        ),
        (Some((first, _)), None) => format!(
            "The model `{shown}` is not known: no provider is called `{}`. GET /v1/models lists what this key may call.",
            echo(first)
        ),
        (None, None) => format!(
            "The model `{shown}` is not known. Write it as provider/model, or see GET /v1/models for what this key may \
             call."
        ),
    };
    Refusal::new(Code::ModelNotFound, message).param("model")
}

/// What the lists show: a model with the provider that serves it.
pub(crate) struct Offered<'a> {
    pub provider: &'a Arc<Provider>,
    pub model: &'a str,
    pub entry: Option<&'a ModelEntry>,
}

impl Offered<'_> {
    pub fn target(&self) -> Target<'_> {
        Target { provider: &self.provider.name, model: self.model }
    }
}
