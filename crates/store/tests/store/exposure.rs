//! Keys that were seen where they do not belong.

use crate::home::*;
use anykey_store::{Exposure, StoreError};

on_both!(
    an_exposed_key_is_marked_noted_and_disabled_at_once,
    a_mark_alone_changes_nothing_else,
    a_deleted_key_gets_a_note,
    a_report_is_taken_once_until_it_is_forgotten,
);

fn seen(place: &str, at: i64) -> Exposure {
    Exposure { public_id: "AbCd1234".into(), source: "github".into(), place: place.into(), at }
}

async fn an_exposed_key_is_marked_noted_and_disabled_at_once(home: &Home) {
    let store = home.open().await;
    let (key, token) = make(&store, "k").await;
    let running = live(&store, &token, START).await;
    let row = store.key_exposed(key.id, seen("https://x/1", START), true).await.unwrap();
    assert!(row.disabled && row.exposed_at == Some(START) && row.version == 2);
    assert!(running.cancelled() && !works(&store, &token, START).await);
    // The first time stays, each place once, the latest first.
    home.wait(HOUR);
    store.key_exposed(key.id, seen("https://x/2", START + HOUR), false).await.unwrap();
    store.key_exposed(key.id, seen("https://x/1", START + HOUR), false).await.unwrap();
    let row = store.key(key.id).await.unwrap();
    assert!(row.disabled && row.exposed_at == Some(START));
    let places = store.exposures(key.id).await.unwrap();
    assert_eq!(places, [seen("https://x/2", START + HOUR), seen("https://x/1", START)]);
}

async fn a_mark_alone_changes_nothing_else(home: &Home) {
    let store = home.open().await;
    let (key, token) = make(&store, "k").await;
    let row = store.key_exposed(key.id, seen("a:1", START), false).await.unwrap();
    assert!(!row.disabled && row.exposed_at == Some(START));
    assert!(works(&store, &token, START).await);
}

async fn a_deleted_key_gets_a_note(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    store.delete_key(key.id, None).await.unwrap();
    store.key_exposed(key.id, seen("a:1", START), true).await.unwrap();
    assert_eq!(store.exposures(key.id).await.unwrap(), [seen("a:1", START)]);
    let nobody = anykey_core::KeyId([7; 16]);
    assert_eq!(store.exposures(nobody).await, Err(StoreError::NotFound("key")));
    assert!(store.key_exposed(nobody, seen("a:1", START), true).await.is_err());
}

async fn a_report_is_taken_once_until_it_is_forgotten(home: &Home) {
    let store = home.open().await;
    assert!(store.take_report(&[1; 32]).await.unwrap());
    assert!(!store.take_report(&[1; 32]).await.unwrap());
    assert!(store.take_report(&[2; 32]).await.unwrap());
    store.return_report(&[1; 32]).await.unwrap();
    assert!(store.take_report(&[1; 32]).await.unwrap());
    // Many at once: one of them.
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        all.spawn(async move { store.take_report(&[3; 32]).await.unwrap() });
    }
    assert_eq!(all.join_all().await.into_iter().filter(|taken| *taken).count(), 1);
}
