//! Several replicas on one PostgreSQL: what one commits is in force in the others.

use crate::home::*;
use crate::tenancy::{Acme, controls};
use anykey_core::token::plain_sha256;
use anykey_core::{Code, KeyKind};
use anykey_store::{
    KeyPatch, Lookup, NewKey, NewProvider, NewTemp, Options, OrganisationPatch, PersonPatch, Rotation, Store,
    StoreError,
};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Two replicas with the same secrets, as an operator sets them up.
pub async fn two(home: &Home) -> (Arc<Store>, Arc<Store>) {
    let first = home.open().await;
    let dir = home.dir().join("second");
    fs::create_dir(&dir).unwrap();
    for name in ["pepper", "kek"] {
        fs::copy(home.dir().join(name), dir.join(name)).unwrap();
    }
    let options = Options { data_dir: dir, feed_interval: Duration::from_millis(20), ..home.options() };
    (first, Store::open(options).await.unwrap())
}

/// Waits for what must come by itself.
async fn eventually(mut there: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !there().await {
        assert!(tokio::time::Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

on_postgres!(
    an_end_is_in_force_in_the_others,
    a_change_above_keys_is_in_force_in_the_others,
    an_overlap_starts_in_the_others,
    an_imported_key_is_found_by_the_others,
    providers_reach_the_others,
    a_replica_with_secrets_of_its_own_is_refused,
    memory_is_not_trusted_for_ever,
    the_same_attempts_from_two_replicas_count_once,
    a_change_of_a_parent_reaches_its_temporary_keys_in_the_others,
    what_is_above_a_key_is_not_trusted_for_ever_either,
    who_mints_while_the_parent_changes_gets_no_more_than_it_has_by_then,
);

mod cases {
    use super::*;

    pub async fn an_end_is_in_force_in_the_others(home: &Home) {
        let (here, there) = two(home).await;
        let (key, token) = make(&here, "k").await;
        let running = live(&there, &token, START).await;
        assert_eq!(running.dead_at(START), None);
        here.disable_key(key.id, None).await.unwrap();
        eventually(async || running.cancelled()).await;
        assert_eq!(live(&there, &token, START).await.dead_at(START), Some(Code::KeyDisabled));
        here.enable_key(key.id, None).await.unwrap();
        eventually(async || works(&there, &token, START).await).await;
        let (_, new) = here.regenerate_key(key.id, None).await.unwrap();
        eventually(async || !works(&there, &token, START).await).await;
        assert!(works(&there, &new, START).await);
    }

    /// Where the feed cannot be read, whatever is asked about a key is asked of the database.
    pub async fn what_is_above_a_key_is_not_trusted_for_ever_either(home: &Home) {
        let here = home.open().await;
        let dir = home.dir().join("second");
        fs::create_dir(&dir).unwrap();
        for name in ["pepper", "kek"] {
            fs::copy(home.dir().join(name), dir.join(name)).unwrap();
        }
        let options = Options { data_dir: dir, feed_interval: Duration::from_secs(3600), ..home.options() };
        let there = Store::open(options).await.unwrap();
        let acme = Acme::new(&here, "Acme").await;
        let (_, below) = acme.key(&here, "below", None).await;
        let (parent, _) = make(&here, "parent").await;
        let (_, minted) = here.mint_temp(parent.id, None, NewTemp::usual()).await.unwrap();
        for token in [&below, &minted] {
            assert!(works(&there, token, START).await);
        }
        here.disable_key(parent.id, None).await.unwrap();
        let closed = OrganisationPatch { disabled: Some(true), ..OrganisationPatch::default() };
        here.update_organisation(acme.organisation.id, None, closed).await.unwrap();
        home.wait(31_000);
        for token in [&below, &minted] {
            let key = live(&there, token, START + 31_000).await;
            assert_eq!(key.dead_at(START + 31_000), Some(Code::KeyDisabled));
        }
        here.enable_key(parent.id, None).await.unwrap();
        assert!(works(&there, &minted, START + 31_000).await);
    }

    /// A change of the parent that waits in front of the minting is seen by it.
    pub async fn who_mints_while_the_parent_changes_gets_no_more_than_it_has_by_then(home: &Home) {
        let store = home.open().await;
        let (parent, _) = make(&store, "parent").await;
        let mut other = home.connection().await;
        let run = async |connection: &mut sqlx::PgConnection, sql: &str| {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
        };
        run(&mut other, "BEGIN; UPDATE api_key SET disabled = TRUE, version = version + 1 WHERE name = 'parent'").await;
        let minting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.mint_temp(parent.id, None, NewTemp::usual()).await }
        });
        // It has looked at the parent as that was, and waits for its row.
        let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))";
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut other).await.unwrap() == 0 {
            assert!(tokio::time::Instant::now() < deadline, "nobody waits");
            tokio::task::yield_now().await;
        }
        run(&mut other, "COMMIT").await;
        let minted = minting.await.unwrap();
        assert!(matches!(&minted, Err(StoreError::Conflict(why)) if why.contains("not active")), "{minted:?}");
    }

    pub async fn a_change_above_keys_is_in_force_in_the_others(home: &Home) {
        let (here, there) = two(home).await;
        let acme = Acme::new(&here, "Acme").await;
        let (_, token) = acme.key(&here, "k", Some(acme.member_id())).await;
        let running = live(&there, &token, START).await;
        let tighter = OrganisationPatch { controls: Some(controls(3)), ..OrganisationPatch::default() };
        here.update_organisation(acme.organisation.id, None, tighter).await.unwrap();
        eventually(async || live(&there, &token, START).await.bounds.len() == 1).await;
        assert!(!running.cancelled(), "a call that runs goes on under another policy");
        let off = PersonPatch { disabled: Some(true), ..PersonPatch::default() };
        here.update_person(acme.person.id, None, off).await.unwrap();
        eventually(async || running.cancelled()).await;
        assert_eq!(live(&there, &token, START).await.dead_at(START), Some(Code::KeyDisabled));
    }

    pub async fn a_change_of_a_parent_reaches_its_temporary_keys_in_the_others(home: &Home) {
        let (here, there) = two(home).await;
        let (parent, _) = make(&here, "parent").await;
        let (_, token) = here.mint_temp(parent.id, None, NewTemp::usual()).await.unwrap();
        let running = live(&there, &token, START).await;
        let tighter = KeyPatch { controls: Some(controls(3)), ..KeyPatch::default() };
        here.update_key(parent.id, None, tighter).await.unwrap();
        eventually(async || live(&there, &token, START).await.bounds.len() == 1).await;
        assert!(!running.cancelled());
        here.disable_key(parent.id, None).await.unwrap();
        eventually(async || running.cancelled()).await;
        assert_eq!(live(&there, &token, START).await.dead_at(START), Some(Code::KeyDisabled));
        here.enable_key(parent.id, None).await.unwrap();
        eventually(async || works(&there, &token, START).await).await;
        here.regenerate_key(parent.id, None).await.unwrap();
        eventually(async || !works(&there, &token, START).await).await;
    }

    pub async fn an_overlap_starts_in_the_others(home: &Home) {
        let (here, there) = two(home).await;
        let (key, old) = make(&here, "k").await;
        let running = live(&there, &old, START).await;
        let new = here.rotate_key(key.id, None, Rotation { overlap_ms: HOUR, leaked: false }).await.unwrap().token;
        let used = live(&here, &new, START).await;
        here.apply(vec![call(key.id, used.public_id, START)]).await.unwrap();
        eventually(async || running.secret_expires_at() == START + HOUR).await;
    }

    pub async fn an_imported_key_is_found_by_the_others(home: &Home) {
        let (here, there) = two(home).await;
        let foreign = "sk-foreign";
        assert!(matches!(identify(&there, foreign, START).await.unwrap(), Lookup::Unknown));
        here.import_key(plain_sha256(foreign.as_bytes()), NewKey::new(KeyKind::Live, "k")).await.unwrap();
        // The clock stands still: only the feed can make the replica forget that it was unknown.
        eventually(async || matches!(identify(&there, foreign, START).await.unwrap(), Lookup::Live(_))).await;
    }

    pub async fn providers_reach_the_others(home: &Home) {
        let (here, there) = two(home).await;
        here.add_provider(NewProvider {
            name: "local".into(),
            kind: "openai".into(),
            base_url: None,
            credential: None,
            allow_private: true,
            disabled: false,
        })
        .await
        .unwrap();
        eventually(async || there.snapshot().providers.contains_key("local")).await;
        here.set_alias("house", "local/x").await.unwrap();
        eventually(async || there.snapshot().aliases.contains_key("house")).await;
        let id = here.set_catalogue("file", vec![1]).await.unwrap();
        eventually(async || there.snapshot().catalogue == Some(id)).await;
    }

    pub async fn a_replica_with_secrets_of_its_own_is_refused(home: &Home) {
        let _first = home.open().await;
        let dir = home.dir().join("second");
        let second = Store::open(Options { data_dir: dir, ..home.options() }).await;
        assert!(matches!(&second, Err(StoreError::Refused(text)) if text.contains("another replica")), "{second:?}");
    }

    pub async fn memory_is_not_trusted_for_ever(home: &Home) {
        let store = home.open().await;
        let (_, token) = make(&store, "k").await;
        live(&store, &token, START).await;
        let digest = digest(&store, &token);
        assert!(matches!(store.known(&digest, START + 30_000), Lookup::Live(_)));
        assert!(matches!(store.known(&digest, START + 30_001), Lookup::Ask));
        // The follower hears an answer and trusts memory again, at the time that it is now.
        home.wait(HOUR);
        eventually(async || matches!(store.known(&digest, START + HOUR), Lookup::Live(_))).await;
        store.close().await;
        assert!(matches!(store.known(&digest, START + HOUR + 30_001), Lookup::Ask));
        assert!(matches!(store.look_up(digest, None).await, Err(StoreError::Unavailable(_))), "a 503, never a 401");
    }

    pub async fn the_same_attempts_from_two_replicas_count_once(home: &Home) {
        let (here, there) = two(home).await;
        let (key, _) = make(&here, "k").await;
        for round in 0..20 {
            let batch: Vec<_> = (0..50).map(|_| call(key.id, public_id(&key), START + round)).collect();
            let mut reversed = batch.clone();
            reversed.reverse();
            let (a, b) = tokio::join!(here.apply(batch), there.apply(reversed));
            a.unwrap();
            b.unwrap();
        }
        assert_eq!(here.spent(key.id).await.unwrap().0, 20 * 50 * 1_000);
    }
}
