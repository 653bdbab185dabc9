//! Lists of models in the shape that each dialect's SDKs iterate.

mod render;

use anykey_core::endpoint::percent_decode;
use anykey_core::{Code, Dialect, Refusal};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

/// A model as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// The name by which callers ask for it.
    pub id: String,
    pub display_name: Option<String>,
    /// Seconds since 1970.
    pub created: i64,
    /// The provider.
    pub owned_by: String,
    pub context_window: Option<u64>,
    pub max_output: Option<u64>,
    /// Dollars per token as exact decimal text.
    pub input_price: Option<String>,
    pub output_price: Option<String>,
    /// Makes embeddings, not text.
    pub embedding: bool,
}

/// The part of a list that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// `limit` or `pageSize`.
    pub limit: Option<usize>,
    pub after_id: Option<String>,
    pub before_id: Option<String>,
    pub page_token: Option<String>,
}

/// Anthropic's and Gemini's own limit of a page.
const LARGEST_PAGE: usize = 1000;

impl Page {
    /// Reads the query of a list request (without its `?`); parameters of other dialects are ignored.
    pub fn from_query(dialect: Dialect, query: &str) -> Result<Page, Refusal> {
        let mut page = Page::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let text = || percent_decode(&value.replace('+', " ")).filter(|t| !t.is_empty());
            match (dialect, name) {
                (Dialect::Anthropic, "limit") => page.limit = Some(size("limit", value)?),
                (Dialect::Anthropic, "after_id") => page.after_id = text(),
                (Dialect::Anthropic, "before_id") => page.before_id = text(),
                (Dialect::Gemini, "pageSize" | "page_size") => page.limit = Some(size("pageSize", value)?),
                (Dialect::Gemini, "pageToken" | "page_token") => page.page_token = text(),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// A larger page than the largest is that.
fn size(name: &'static str, value: &str) -> Result<usize, Refusal> {
    match value.parse::<usize>() {
        Ok(n) if n > 0 => Ok(n.min(LARGEST_PAGE)),
        _ => Err(invalid(name, "a whole number from 1 to 1000")),
    }
}

fn invalid(name: &'static str, expected: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("`{name}` must be {expected}.")).param(name)
}

/// The list, or the page of it, in the order given. OpenAI's has no pages.
pub fn render_list(dialect: Dialect, models: &[ListedModel], page: &Page) -> Result<Bytes, Refusal> {
    match dialect {
        Dialect::OpenAi => Ok(render::openai_list(models)),
        Dialect::Anthropic => {
            let (slice, has_more) = anthropic_page(models, page)?;
            Ok(render::anthropic_list(slice, has_more))
        }
        Dialect::Gemini => {
            let (slice, next) = gemini_page(models, page)?;
            Ok(render::gemini_list(slice, next))
        }
    }
}

/// One model.
pub fn render_one(dialect: Dialect, model: &ListedModel) -> Bytes {
    render::one(dialect, model)
}

fn anthropic_page<'a>(models: &'a [ListedModel], page: &Page) -> Result<(&'a [ListedModel], bool), Refusal> {
    let limit = page.limit.unwrap_or(20);
    let position = |name, id: &str| {
        models.iter().position(|m| m.id == id).ok_or_else(|| invalid(name, "the id of a model in this list"))
    };
    if let Some(id) = &page.before_id {
        let end = position("before_id", id)?;
        let start = end.saturating_sub(limit);
        return Ok((&models[start..end], start > 0));
    }
    let start = page.after_id.as_deref().map_or(Ok(0), |id| position("after_id", id).map(|at| at + 1))?;
    let end = models.len().min(start.saturating_add(limit));
    Ok((&models[start..end], end < models.len()))
}

/// The token is the last id that was shown, so that it stays right when models come and go before it.
fn gemini_page<'a>(models: &'a [ListedModel], page: &Page) -> Result<(&'a [ListedModel], Option<String>), Refusal> {
    let limit = page.limit.unwrap_or(50);
    let last_shown = |token: &String| {
        let id = URL_SAFE_NO_PAD.decode(token).ok()?;
        models.iter().position(|m| m.id.as_bytes() == id)
    };
    let start = match &page.page_token {
        Some(token) => last_shown(token).ok_or_else(|| invalid("pageToken", "the nextPageToken of this list"))? + 1,
        None => 0,
    };
    let end = models.len().min(start.saturating_add(limit));
    let next = (end < models.len()).then(|| URL_SAFE_NO_PAD.encode(&models[end - 1].id));
    Ok((&models[start..end], next))
}
