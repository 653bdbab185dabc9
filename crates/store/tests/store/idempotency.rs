//! Creates that are sent again.

use crate::home::*;
use anykey_store::{Begun, Claim, Store};
use std::sync::Arc;

on_both!(
    the_same_request_gets_the_same_answer_for_a_day,
    of_many_at_once_one_is_fresh,
    a_request_that_failed_or_died_may_be_tried_again,
);

async fn fresh(store: &Store, key: &str, body: &[u8]) -> Claim {
    match store.idempotency_begin("POST /keys by ak-admin-AbCd1234", key, body).await.unwrap() {
        Begun::Fresh(claim) => claim,
        other => panic!("{other:?}"),
    }
}

async fn the_same_request_gets_the_same_answer_for_a_day(home: &Home) {
    let store = home.open().await;
    let route = "POST /keys by ak-admin-AbCd1234";
    let claim = fresh(&store, "k1", b"{}").await;
    assert!(matches!(store.idempotency_begin(route, "k1", b"{}").await.unwrap(), Begun::Running));
    let answer = br#"{"secret":"ak-live-once"}"#;
    store.idempotency_finish(claim, 201, answer).await.unwrap();
    home.wait(DAY - 1);
    match store.idempotency_begin(route, "k1", b"{}").await.unwrap() {
        Begun::Replay { status, body } => assert_eq!((status, body.as_slice()), (201, answer.as_slice())),
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.idempotency_begin(route, "k1", b"{ }").await.unwrap(), Begun::OtherBody));
    let other = store.idempotency_begin("POST /keys by somebody else", "k1", b"{}").await.unwrap();
    assert!(matches!(other, Begun::Fresh(_)), "keys of two callers never meet");
    home.wait(1);
    drop(fresh(&store, "k1", b"{ }").await);
    store.close().await;
    for file in std::fs::read_dir(home.dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|w| w == b"ak-live-once"), "the answer is sealed");
    }
}

async fn of_many_at_once_one_is_fresh(home: &Home) {
    let store = home.open().await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { matches!(store.idempotency_begin("r", "k", b"").await.unwrap(), Begun::Fresh(_)) },
            )
        })
        .collect();
    let mut fresh = 0;
    for task in tasks {
        fresh += usize::from(task.await.unwrap());
    }
    assert_eq!(fresh, 1);
}

async fn a_request_that_failed_or_died_may_be_tried_again(home: &Home) {
    let store = home.open().await;
    let claim = fresh(&store, "failed", b"").await;
    store.idempotency_abandon(claim).await.unwrap();
    drop(fresh(&store, "failed", b"").await);

    let dead = fresh(&store, "died", b"").await;
    home.wait(MINUTE);
    let second = fresh(&store, "died", b"").await;
    // The first comes back to life: it must not write over the second.
    store.idempotency_finish(dead, 201, b"first").await.unwrap();
    store.idempotency_finish(second, 201, b"second").await.unwrap();
    match store.idempotency_begin("POST /keys by ak-admin-AbCd1234", "died", b"").await.unwrap() {
        Begun::Replay { body, .. } => assert_eq!(body, b"second"),
        other => panic!("{other:?}"),
    }
}
