//! A provider as it is shown: never its credential.

use super::probe::TestView;
use crate::App;
use crate::wire::time;
use anykey_core::{model, provider};
use anykey_store::ProviderRow;
use serde::Serialize;
use utoipa::ToSchema;

/// An upstream.
#[derive(Serialize, ToSchema)]
#[schema(as = Provider)]
pub(crate) struct ProviderView {
    pub name: String,
    kind: String,
    /// `openai`, `anthropic` or `gemini`.
    #[schema(required)]
    dialect: Option<&'static str>,
    /// Where calls go.
    #[schema(required)]
    base_url: Option<String>,
    /// `set` or `none`.
    credential: &'static str,
    allow_private_network: bool,
    /// `config`, `api` or `builtin`.
    origin: &'static str,
    disabled: bool,
    models_count: usize,
    #[schema(required)]
    tested_at: Option<String>,
    #[schema(required)]
    test_error: Option<String>,
    version: i64,
}

pub(super) fn show(app: &App, row: ProviderRow) -> ProviderView {
    let kind = provider::kind(&row.kind);
    // A provider that lists none is offered with what the catalogue knows of its kind.
    let models_count = match row.models.len() {
        0 => app.deps.catalogue.load().models(&row.kind).len(),
        n => n,
    };
    ProviderView {
        dialect: kind.map(|kind| kind.dialect.name()),
        base_url: row.base_url.or_else(|| kind?.base_url.map(str::to_owned)),
        credential: if row.has_credential { "set" } else { "none" },
        allow_private_network: row.allow_private,
        origin: if row.name == model::PRACTICE { "builtin" } else { row.origin.name() },
        disabled: row.disabled,
        models_count,
        tested_at: row.tested_at.map(time),
        test_error: row.test_error,
        version: row.version,
        name: row.name,
        kind: row.kind,
    }
}

/// A provider and how it answered.
#[derive(Serialize, ToSchema)]
#[schema(as = TestedProvider)]
pub(crate) struct Tested {
    #[serde(flatten)]
    provider: ProviderView,
    test: TestView,
}

impl Tested {
    pub fn new(app: &App, row: ProviderRow, test: TestView) -> Self {
        Tested { provider: show(app, row), test }
    }
}
