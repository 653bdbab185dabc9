//! Rotation: two secrets, one clock that starts at the first use of the new one.

use crate::home::*;
use anykey_core::Token;
use anykey_store::{KeyStatus, Rotation, SecretState, Store, StoreError};

on_both!(
    the_overlap_starts_at_the_first_use_of_the_new_secret,
    an_unused_new_secret_lapses_and_the_old_stays,
    a_new_rotation_calls_off_one_that_waits,
    a_leaked_secret_dies_at_once,
    without_an_overlap_the_old_dies_at_the_first_use,
    a_use_that_was_refused_starts_nothing,
    the_first_use_may_come_without_a_record,
);

async fn used(store: &Store, token: &Token, at: i64, status: u16) {
    let live = live(store, token, at).await;
    let mut record = call(live.info.id, live.public_id, at);
    record.status = status;
    store.apply(vec![record]).await.unwrap();
}

async fn the_overlap_starts_at_the_first_use_of_the_new_secret(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    used(&store, &old, START, 200).await;
    let running = live(&store, &old, START).await;
    let made = store.rotate_key(key.id, Some(1), Rotation { overlap_ms: HOUR, leaked: false }).await.unwrap();
    let new = made.token;
    assert_eq!(made.key.status, KeyStatus::Rotating);
    assert_eq!(made.key.secrets.len(), 2);
    assert_eq!(made.key.secrets[0].rotation_id.as_deref(), Some(made.rotation_id.as_str()));

    // Five days: nobody has used the new one, and the old has no end.
    let later = START + 5 * DAY;
    home.wait(5 * DAY);
    assert!(works(&store, &old, later).await && works(&store, &new, later).await);
    assert!(!running.cancelled());

    used(&store, &new, later, 200).await;
    let key = store.key(key.id).await.unwrap();
    let secret = |state| key.secrets.iter().find(|s| s.state == state).unwrap();
    assert_eq!(key.status, KeyStatus::Rotating);
    assert_eq!(secret(SecretState::Superseded).expires_at, Some(later + HOUR));
    assert_eq!(secret(SecretState::Superseded).last_used_at, Some(START));
    assert_eq!(secret(SecretState::Live).expires_at, None);
    assert_eq!(secret(SecretState::Live).first_used_at, Some(later));
    assert_eq!(secret(SecretState::Live).last_ip, call(key.id, [0; 8], 0).client);
    // The clock is in force in memory without another look-up, also for a call that runs.
    assert_eq!(running.secret_expires_at(), later + HOUR);
    assert!(works(&store, &old, later + HOUR - 1).await);
    assert!(!works(&store, &old, later + HOUR).await);
    assert!(works(&store, &new, later + 30 * DAY).await);

    // Later uses do not move the clock.
    used(&store, &new, later + MINUTE, 200).await;
    assert_eq!(live(&store, &old, later).await.secret_expires_at(), later + HOUR);
    home.wait(HOUR);
    assert_eq!(store.key(key.id).await.unwrap().status, KeyStatus::Active);
    // After a restart as before it.
    store.close().await;
    drop(store);
    let store = home.open().await;
    assert!(!works(&store, &old, later + HOUR).await && works(&store, &new, later + HOUR).await);
}

async fn an_unused_new_secret_lapses_and_the_old_stays(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    let new = store.rotate_key(key.id, None, Rotation::default()).await.unwrap().token;
    let lapsed = START + 7 * DAY;
    assert!(works(&store, &new, lapsed - 1).await);
    assert!(!works(&store, &new, lapsed).await);
    assert!(works(&store, &old, lapsed + DAY).await);
    home.wait(7 * DAY);
    let row = store.key(key.id).await.unwrap();
    assert_eq!(row.status, KeyStatus::Active);
    assert_eq!(row.secrets.iter().filter(|s| s.state == SecretState::Live).count(), 1);
}

async fn a_new_rotation_calls_off_one_that_waits(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    let lost = store.rotate_key(key.id, None, Rotation::default()).await.unwrap().token;
    let running = live(&store, &lost, START).await;
    let new = store.rotate_key(key.id, None, Rotation::default()).await.unwrap();
    assert!(running.cancelled());
    assert!(!works(&store, &lost, START).await);
    assert!(works(&store, &old, START).await && works(&store, &new.token, START).await);
    assert_eq!(new.key.status, KeyStatus::Rotating);
}

async fn a_leaked_secret_dies_at_once(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    let running = live(&store, &old, START).await;
    let made = store.rotate_key(key.id, None, Rotation { leaked: true, ..Rotation::default() }).await.unwrap();
    assert!(running.cancelled());
    assert!(!works(&store, &old, START).await);
    assert!(works(&store, &made.token, START + 30 * DAY).await, "it is the only one now, and does not lapse");
    assert_eq!(made.key.status, KeyStatus::Active);
}

async fn without_an_overlap_the_old_dies_at_the_first_use(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    let new = store.rotate_key(key.id, None, Rotation { overlap_ms: 0, leaked: false }).await.unwrap().token;
    let running = live(&store, &old, START).await;
    assert!(works(&store, &old, START).await);
    used(&store, &new, START, 200).await;
    assert!(running.cancelled());
    assert!(!works(&store, &old, START).await);
    for overlap_ms in [-1, Rotation::MAX_OVERLAP_MS + 1] {
        let refused = store.rotate_key(key.id, None, Rotation { overlap_ms, leaked: false }).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "overlap", .. })));
    }
}

async fn a_use_that_was_refused_starts_nothing(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    let new = store.rotate_key(key.id, None, Rotation { overlap_ms: 0, leaked: false }).await.unwrap().token;
    used(&store, &new, START, 401).await;
    assert!(works(&store, &old, START).await);
    let row = store.key(key.id).await.unwrap();
    assert_eq!((row.secrets[0].first_used_at, row.last_used_at), (None, Some(START)));
}

async fn the_first_use_may_come_without_a_record(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    let new = store.rotate_key(key.id, None, Rotation { overlap_ms: HOUR, leaked: false }).await.unwrap().token;
    store.note_use(&*live(&store, &new, START).await, START, None);
    store.write_uses().await.unwrap();
    assert_eq!(live(&store, &old, START).await.secret_expires_at(), START + HOUR);
}
