//! Lists: a part of them, and the cursor where the next part begins.

use crate::input::Findings;
use anykey_store::{Listed, Page};
use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// A part of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    pub data: Vec<T>,
    /// What to send as `after` for the next part; null at the end.
    #[schema(required)]
    pub next: Option<String>,
}

/// Reads `limit` and `after`.
pub(crate) fn read<C>(
    limit: Option<&str>,
    after: Option<&str>,
    parse: impl Fn(&str) -> Option<C>,
    findings: &mut Findings,
) -> Page<C> {
    let mut page = Page::default();
    match limit.map(str::parse) {
        Some(Ok(n @ 1..=200)) => page.limit = n,
        Some(_) => findings.add("limit", "is a whole number from 1 to 200"),
        None => {}
    }
    match after.map(parse) {
        Some(None) => findings.add("after", "is not a cursor of this list"),
        after => page.after = after.flatten(),
    }
    page
}

/// What the store listed, as it is shown.
pub(crate) fn show<R, T, C: std::fmt::Display>(listed: Listed<R, C>, show: impl FnMut(R) -> T) -> Json<List<T>> {
    let next = listed.next.map(|cursor| cursor.to_string());
    Json(List { data: listed.data.into_iter().map(show).collect(), next })
}

/// A part of a list that is in memory. It is sorted by the name that the cursor holds.
pub(crate) fn cut<T>(mut all: Vec<T>, page: &Page<String>, name: impl Fn(&T) -> &str) -> Json<List<T>> {
    all.sort_by(|a, b| name(a).cmp(name(b)));
    let start = page.after.as_deref().map_or(0, |after| all.partition_point(|item| name(item) <= after));
    let end = all.len().min(start + page.limit as usize);
    let next = (end < all.len() && end > start).then(|| name(&all[end - 1]).to_owned());
    all.truncate(end);
    Json(List { data: all.split_off(start), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_shows_each_item_once() {
        let all: Vec<String> = ["d", "a", "c", "b", "e"].map(String::from).to_vec();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let Json(list) = cut(all.clone(), &Page { after, limit: 2 }, |s| s);
            seen.extend(list.data);
            after = list.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        let Json(past) = cut(all, &Page { after: Some("z".into()), limit: 2 }, |s| s);
        assert!(past.data.is_empty() && past.next.is_none());
    }
}
