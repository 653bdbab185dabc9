//! Lists of models in the shape that each dialect's SDKs iterate.

use anykey_core::{Dialect, Refusal};
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

impl Page {
    /// Reads the query of a list request; parameters of other dialects are ignored.
    pub fn from_query(_dialect: Dialect, _query: &str) -> Result<Page, Refusal> {
        unreachable!("the body of this function comes with the next commit")
    }
}

/// The list, or the page of it. OpenAI's has no pages.
pub fn render_list(_dialect: Dialect, _models: &[ListedModel], _page: &Page) -> Result<Bytes, Refusal> {
    unreachable!("the body of this function comes with the next commit")
}

/// One model.
pub fn render_one(_dialect: Dialect, _model: &ListedModel) -> Bytes {
    unreachable!("the body of this function comes with the next commit")
}
