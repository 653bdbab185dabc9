//! Lists of keys by what they are looked through for.

use crate::home::*;
use crate::tenancy::Acme;
use anykey_core::{KeyKind, Placement};
use anykey_store::*;
use std::collections::BTreeMap;

on_both!(
    keys_are_found_by_where_they_belong,
    the_unused_and_the_ending_come_in_their_order,
    what_is_visible_of_a_secret_finds_its_key,
    tags_of_many_keys_are_found_page_by_page,
);

fn none() -> KeyFilter {
    KeyFilter::default()
}

async fn names(store: &Store, filter: &KeyFilter) -> Vec<String> {
    let (mut seen, mut page) = (Vec::new(), Page { after: None, limit: 2 });
    loop {
        let part = store.keys(filter, page).await.unwrap();
        seen.extend(part.data.into_iter().map(|key| key.name));
        match part.next {
            Some(next) => page.after = Some(KeyCursor::parse(&next.to_string()).unwrap()),
            None => return seen,
        }
    }
}

async fn keys_are_found_by_where_they_belong(home: &Home) {
    let store = home.open().await;
    let (acme, other) = (Acme::new(&store, "Acme").await, Acme::new(&store, "Other").await);
    for (name, owner) in [("a", Some(acme.member_id())), ("b", Some(acme.account_id())), ("c", None)] {
        home.wait(1);
        acme.key(&store, name, owner).await;
    }
    other.key(&store, "d", None).await;
    make(&store, "e").await;
    let found = async |filter: KeyFilter| names(&store, &filter).await;
    assert_eq!(found(KeyFilter { organisation: Some(acme.organisation.id), ..none() }).await, ["c", "b", "a"]);
    assert_eq!(found(KeyFilter { project: Some(other.project.id), ..none() }).await, ["d"]);
    assert_eq!(found(KeyFilter { owner_id: Some(acme.member_id()), ..none() }).await, ["a"]);
    assert_eq!(found(KeyFilter { owner_id: Some(acme.account_id()), ..none() }).await, ["b"]);
    let both = KeyFilter { owner_id: Some(acme.account_id()), project: Some(other.project.id), ..none() };
    assert_eq!(found(both).await, [""; 0]);
    let default = KeyFilter { organisation: Some(Placement::default().organisation), ..none() };
    assert_eq!(found(default).await, ["e"]);
}

async fn the_unused_and_the_ending_come_in_their_order(home: &Home) {
    let store = home.open().await;
    let mut made = Vec::new();
    for (name, days) in [("a", Some(9)), ("b", Some(3)), ("c", None), ("d", Some(6)), ("gone", Some(1))] {
        let new = NewKey {
            expires_at: days.map(|days| START + days * DAY),
            review_at: days.map(|days| START + (20 - days) * DAY),
            ..NewKey::new(KeyKind::Live, name)
        };
        made.push(store.create_key(new).await.unwrap().0);
    }
    store.delete_key(made[4].id, None).await.unwrap();
    let ending = |days: i64| KeyFilter { expiring_before: Some(START + days * DAY), ..none() };
    assert_eq!(names(&store, &ending(30)).await, ["b", "d", "a"], "what ends soonest first; what is gone ends no more");
    assert_eq!(names(&store, &ending(6)).await, ["b"]);
    let due = KeyFilter { review_before: Some(START + 15 * DAY), ..none() };
    assert_eq!(names(&store, &due).await, ["a", "d"]);

    home.wait(10 * DAY);
    assert_eq!(names(&store, &ending(30)).await, [""; 0], "what has ended is not ending");
    let ended = KeyFilter { status: Some(KeyStatus::Expired), ..ending(30) };
    assert_eq!(names(&store, &ended).await, ["b", "d", "a"]);
    // One was used on the fourth day, one on the eighth; the day of the making counts for the others.
    store.apply(vec![call(made[1].id, public_id(&made[1]), START + 4 * DAY)]).await.unwrap();
    store.apply(vec![call(made[0].id, public_id(&made[0]), START + 8 * DAY)]).await.unwrap();
    store.apply(vec![call(made[0].id, public_id(&made[0]), START + 2 * DAY)]).await.unwrap();
    let unused = |days: i64| KeyFilter { unused_since: Some(START + days * DAY), ..none() };
    let mut oldest = names(&store, &unused(9)).await;
    assert_eq!(oldest.split_off(2), ["b", "a"], "what is unused longest first, and an older use takes nothing back");
    assert_eq!(names(&store, &unused(5)).await.len(), 3);
    assert_eq!(names(&store, &unused(0)).await, [""; 0]);
}

async fn what_is_visible_of_a_secret_finds_its_key(home: &Home) {
    let store = home.open().await;
    let (key, token) = make(&store, "hidden").await;
    make(&store, "other").await;
    let masked = &token.expose()[..16];
    for q in [&masked[8..], &masked[8..13], masked, &masked[..12], &key.masked] {
        assert_eq!(names(&store, &KeyFilter { q: Some(q.to_owned()), ..none() }).await, ["hidden"], "{q}");
    }
    let secret = &token.expose()[16..30];
    assert_eq!(names(&store, &KeyFilter { q: Some(secret.to_owned()), ..none() }).await, [""; 0]);
    let (after, _) = store.regenerate_key(key.id, None).await.unwrap();
    assert_eq!(names(&store, &KeyFilter { q: Some(masked.to_owned()), ..none() }).await, ["hidden"], "a dead one too");
    assert_eq!(names(&store, &KeyFilter { q: Some(after.masked), ..none() }).await, ["hidden"]);
}

async fn tags_of_many_keys_are_found_page_by_page(home: &Home) {
    let store = home.open().await;
    for i in 0..7 {
        home.wait(1);
        let tags = BTreeMap::from([("team".to_owned(), if i % 2 == 0 { "a" } else { "b" }.to_owned())]);
        store.create_key(NewKey { tags, ..NewKey::new(KeyKind::Live, format!("k{i}")) }).await.unwrap();
    }
    let tagged = |tag: &str| KeyFilter { tag: Some(tag.into()), ..none() };
    assert_eq!(names(&store, &tagged("team=a")).await, ["k6", "k4", "k2", "k0"]);
    assert_eq!(names(&store, &tagged("team")).await.len(), 7);
    assert_eq!(names(&store, &tagged("tea")).await, [""; 0]);
}
