//! The path of a call: memory, then one query, and never an answer older than a change.

use crate::asked::Asked;
use crate::home::*;
use anykey_core::token::Digest;
use anykey_core::{KeyKind, Token};
use anykey_store::{Lookup, Options, Store, StoreError};
use std::sync::Arc;
use std::time::Instant;

on_both!(
    an_unknown_key_is_asked_for_once_in_five_seconds,
    a_wrong_secret_costs_the_same_whatever_there_is_of_the_key,
    a_known_key_needs_no_database,
    a_revocation_wins_over_look_ups_under_way,
    a_database_that_is_gone_is_not_an_unknown_key,
    memory_is_bounded,
    many_keys_are_made_found_and_ended,
);

async fn an_unknown_key_is_asked_for_once_in_five_seconds(home: &Home) {
    let store = home.open().await;
    let token = Token::mint("ak", KeyKind::Live).unwrap();
    let digest = digest(&store, &token);
    assert!(matches!(store.known(&digest, START), Lookup::Ask));
    assert!(matches!(store.look_up(digest, None).await.unwrap(), Lookup::Unknown));
    assert!(matches!(store.known(&digest, START + 4_999), Lookup::Unknown));
    assert!(matches!(store.known(&digest, START + 5_000), Lookup::Ask));
}

/// Whether a key with that public id is there, is in memory, is disabled, or is not there at all: a wrong secret is
/// answered alike and by the same way, the same one statement with a digest of the same length, and then none. What is
/// the same work takes the same time; a clock would only measure the noise around it.
async fn a_wrong_secret_costs_the_same_whatever_there_is_of_the_key(home: &Home) {
    let asked = Asked::begin();
    let store = home.open().await;
    let (_, warm) = make(&store, "in memory").await;
    live(&store, &warm, START).await;
    let (_, cold) = make(&store, "in the database alone").await;
    let (disabled, ended) = make(&store, "disabled").await;
    store.disable_key(disabled.id, None).await.unwrap();
    let nobody = Token::mint("ak", KeyKind::Live).unwrap();
    // The public id of the one with another secret. Whether the checksum is right was seen before any of this is asked.
    let guess = |of: &Token| format!("{}{}", &of.expose()[..16], "7".repeat(38));
    let mut ways = Vec::new();
    for of in [&nobody, &warm, &cold, &ended] {
        let token = guess(of);
        asked.take();
        let first = identify(&store, &token, START).await.unwrap();
        let second = identify(&store, &token, START).await.unwrap();
        assert!(matches!((first, second), (Lookup::Unknown, Lookup::Unknown)));
        let way: Vec<String> = asked.take().into_iter().filter(|sql| sql.contains("digest")).collect();
        assert_eq!(way.len(), 1, "{way:?}");
        ways.push(way);
    }
    assert!(ways.iter().all(|way| *way == ways[0]), "{ways:?}");
}

async fn a_known_key_needs_no_database(home: &Home) {
    let store = home.open().await;
    let (_, token) = make(&store, "k").await;
    let first = live(&store, &token, START).await;
    let Lookup::Live(again) = store.known(&digest(&store, &token), START) else { panic!("not in memory") };
    assert!(Arc::ptr_eq(&first, &again));
}

/// Look-ups of a key that is not in memory race with its end, many times over; whatever the order, once `disable` has
/// returned no answer says that the key may be used.
async fn a_revocation_wins_over_look_ups_under_way(home: &Home) {
    let store = home.open().await;
    for round in 0..60 {
        let (key, token) = make(&store, &format!("k{round}")).await;
        let digest = digest(&store, &token);
        let looking: Vec<_> = (0..4)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.look_up(digest, None).await.unwrap() })
            })
            .collect();
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        store.disable_key(key.id, None).await.unwrap();
        let after = live(&store, &token, START).await;
        assert!(after.dead_at(START).is_some(), "round {round}");
        for task in looking {
            let Lookup::Live(seen) = task.await.unwrap() else { panic!("unknown") };
            assert!(seen.dead_at(START).is_some() || seen.cancelled(), "round {round}");
        }
    }
}

async fn a_database_that_is_gone_is_not_an_unknown_key(home: &Home) {
    let store = home.open().await;
    let (_, token) = make(&store, "k").await;
    let (_, other) = make(&store, "other").await;
    live(&store, &token, START).await;
    store.close().await;
    assert!(matches!(store.look_up(digest(&store, &other), None).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.known(&digest(&store, &token), START), Lookup::Live(_)), "known keys go on");
}

async fn memory_is_bounded(home: &Home) {
    let options = Options { known_keys: 64, unknown_keys: 64, ..home.options() };
    let store = Store::open(options).await.unwrap();
    let mut tokens = Vec::new();
    for i in 0..300 {
        let (_, token) = make(&store, &format!("k{i}")).await;
        live(&store, &token, START).await;
        tokens.push(token);
    }
    let kept = tokens.iter().filter(|t| matches!(store.known(&digest(&store, t), START), Lookup::Live(_))).count();
    assert!((1..=64).contains(&kept), "{kept}");
    for i in 0..300u32 {
        let mut bytes = [i as u8; 32];
        bytes[..4].copy_from_slice(&i.to_le_bytes());
        store.look_up(Digest(bytes), None).await.unwrap();
    }
    for token in &tokens {
        assert!(works(&store, token, START).await);
    }
}

/// A hundred thousand keys are there; making, finding and ending one takes no longer than among few.
async fn many_keys_are_made_found_and_ended(home: &Home) {
    let store = home.open().await;
    let one = async |name: &str| {
        let start = Instant::now();
        for _ in 0..20 {
            let (key, token) = make(&store, name).await;
            live(&store, &token, START).await;
            store.delete_key(key.id, None).await.unwrap();
            assert!(!works(&store, &token, START).await);
        }
        start.elapsed()
    };
    one("warm").await;
    let few = one("few").await;
    let (keys, secrets) = match store.database() {
        "sqlite" => (
            "INSERT INTO api_key (id, kind, name, description, tags, scopes, disabled, browser_allowed, spent, note, \
             version, created_at, updated_at) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE \
             i < 100000) SELECT randomblob(16), 'live', 'k' || i, '', '{}', '', 0, 0, 0, '', 1, 1, 1 FROM n",
            "INSERT INTO secret (public_id, digest, digest_kind, imported, key_id, state, pending, created_at) \
             SELECT substr(hex(id), 1, 16), randomblob(32), 'hmac', 0, id, 'live', 0, 1 FROM api_key WHERE name LIKE 'k%'",
        ),
        _ => (
            "INSERT INTO api_key (id, kind, name, description, tags, scopes, disabled, browser_allowed, spent, note, \
             version, created_at, updated_at) SELECT decode(md5(i::text), 'hex'), 'live', 'k' || i, '', '{}', '', FALSE, \
             FALSE, 0, '', 1, 1, 1 FROM generate_series(1, 100000) AS i",
            "INSERT INTO secret (public_id, digest, digest_kind, imported, key_id, state, pending, created_at) \
             SELECT encode(id, 'hex'), id || id, 'hmac', FALSE, id, 'live', FALSE, 1 FROM api_key WHERE name LIKE 'k%'",
        ),
    };
    home.sql(keys).await;
    home.sql(secrets).await;
    if store.database() == "postgres" {
        // Plans that it made while the table held a handful of rows scan it, and are kept until the table is analysed:
        // its autovacuum does that within a minute of such growth, a test does not wait for it.
        home.sql("ANALYZE api_key").await;
        home.sql("ANALYZE secret").await;
    }
    assert!(store.counts().await.unwrap().keys >= 100_000);
    let many = one("many").await;
    // A scan of the table would be some hundred times slower; this machine's noise is not.
    assert!(many < few * 20, "{few:?} among few, {many:?} among many");
    eprintln!("{}: 20 keys made, found and ended in {few:?} among few, {many:?} among 100,000", store.database());
}
