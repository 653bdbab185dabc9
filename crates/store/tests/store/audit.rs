//! The audit log: every change leaves an entry, and no entry can be changed, moved or taken away unnoticed.

use crate::home::*;
use anykey_core::token::plain_sha256;
use anykey_core::{KeyKind, RequestId};
use anykey_store::{
    Acting, Actor, ActorKind, AuditBreak, AuditEntry, AuditFilter, Declared, KeyPatch, NewKey, NewProvider, ObjectKind,
    Page, ProviderPatch, Rotation, Store, StoreError, Surface, Verb, acting,
};
use secrecy::SecretString;

on_both!(
    every_change_leaves_an_entry_that_says_who_and_what,
    no_secret_is_in_the_log,
    a_change_that_is_refused_leaves_no_entry,
    the_database_refuses_to_change_an_entry,
    an_altered_column_of_any_entry_is_found,
    an_entry_that_is_taken_away_moved_or_put_in_is_found,
    a_tail_that_is_cut_off_is_found,
    a_chain_that_was_made_anew_is_found,
    a_damaged_log_stops_no_change_and_says_so,
    an_entry_that_was_noted_is_asked_for,
    changes_at_once_queue_without_a_gap,
    entries_are_listed_by_what_is_asked,
    the_settings_file_is_recorded_when_it_changes,
);

fn boss() -> Acting {
    Acting {
        actor: Actor { kind: ActorKind::Key, id: Some("key_boss".into()), name: "boss ak-admin-AbCd1234…".into() },
        surface: Surface::Cli,
        ip: Some([203, 0, 113, 9].into()),
        client: Some("anykey-cli/9".into()),
        request: Some(RequestId([7; 16])),
        organisation: None,
    }
}

async fn all(store: &Store) -> Vec<AuditEntry> {
    let (entries, next) = store.audit_after(&AuditFilter::default(), 0, 10_000).await.unwrap();
    assert_eq!(next, entries.last().map(|entry| entry.seq));
    entries
}

async fn found(store: &Store) -> Option<AuditBreak> {
    store.verify_audit(None).await.unwrap().broken
}

/// What an attacker would do first.
async fn unlock(home: &Home) {
    home.sql(if home.is_postgres() {
        "DROP TRIGGER audit_append_only ON audit"
    } else {
        "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete"
    })
    .await;
}

fn provider(name: &str) -> NewProvider {
    NewProvider {
        name: name.into(),
        kind: "openai".into(),
        base_url: None,
        credential: Some(SecretString::from("sk-upstream-canary-1")),
        allow_private: false,
        disabled: false,
    }
}

/// One of each change that there is; gives the secrets that it made or used.
async fn change_everything(store: &Store) -> Vec<String> {
    let mut secrets = vec!["sk-upstream-canary-1".to_owned(), "sk-upstream-canary-2".to_owned()];
    let (key, token) = make(store, "checkout").await;
    secrets.push(token.expose().to_owned());
    let pasted = KeyPatch { note: Some(format!("it is {}", token.expose())), ..KeyPatch::default() };
    store.update_key(key.id, None, pasted).await.unwrap();
    store.disable_key(key.id, None).await.unwrap();
    store.enable_key(key.id, None).await.unwrap();
    let (_, token) = store.regenerate_key(key.id, None).await.unwrap();
    secrets.push(token.expose().to_owned());
    let rotated = store.rotate_key(key.id, None, Rotation::default()).await.unwrap();
    secrets.push(rotated.token.expose().to_owned());
    store.note_use(&*live(store, &rotated.token, START).await, START, None);
    store.write_uses().await.unwrap();
    store.flag_exposed(key.id).await.unwrap();
    store.flag_exposed(key.id).await.unwrap();
    store.import_key(plain_sha256(b"foreign"), NewKey::new(KeyKind::Live, "foreign")).await.unwrap();
    store.delete_key(key.id, None).await.unwrap();
    store.add_provider(provider("openai")).await.unwrap();
    let credential = Some(Some(SecretString::from("sk-upstream-canary-2")));
    store.update_provider("openai", None, ProviderPatch { credential, ..ProviderPatch::default() }).await.unwrap();
    store.set_provider_test("openai", Ok(vec!["a".into(), "b".into()])).await.unwrap();
    store.set_alias("fast", "openai/a").await.unwrap();
    store.set_alias("fast", "openai/b").await.unwrap();
    store.remove_alias("fast").await.unwrap();
    store.remove_provider("openai", None).await.unwrap();
    store.set_catalogue("upload", b"{}".to_vec()).await.unwrap();
    secrets
}

async fn every_change_leaves_an_entry_that_says_who_and_what(home: &Home) {
    let store = home.open().await;
    acting(boss(), change_everything(&store)).await;
    let entries = all(&store).await;
    let told: Vec<(&str, &str, &str)> = entries
        .iter()
        .map(|e| (e.verb.as_str(), e.before.as_deref().unwrap_or("-"), e.after.as_deref().unwrap_or("-")))
        .collect();
    let verbs: Vec<&str> = told.iter().map(|(verb, ..)| *verb).collect();
    assert_eq!(
        verbs,
        [
            "audit.begin",
            "key.create",
            "key.update",
            "key.disable",
            "key.enable",
            "key.regenerate",
            "key.rotate",
            "key.supersede",
            "key.expose",
            "key.import",
            "key.delete",
            "provider.add",
            "provider.update",
            "provider.test",
            "alias.set",
            "alias.set",
            "alias.remove",
            "provider.remove",
            "price.load",
        ]
    );
    assert_eq!((told[3].1, told[3].2), (r#"{"disabled":false}"#, r#"{"disabled":true}"#));
    assert_eq!((told[8].1, told[8].2), (r#"{"exposed_at":null}"#, &*format!(r#"{{"exposed_at":{START}}}"#)));
    assert!(told[5].1.contains(r#""state":"live"}]"#) && told[5].2.contains(r#""state":"dead"}]"#), "{:?}", told[5]);
    assert!(told[11].2.contains(r#""credential":"set""#), "{:?}", told[11]);
    assert_eq!((told[12].1, told[12].2), (r#"{"credential":"set"}"#, r#"{"credential":"replaced"}"#));
    assert_eq!(told[13].2, r#"{"models":2}"#);
    assert_eq!((told[15].1, told[15].2), (r#"{"target":"openai/a"}"#, r#"{"target":"openai/b"}"#));
    assert_eq!((told[16].1, told[16].2), (r#"{"name":"fast","target":"openai/b"}"#, "-"));
    for entry in &entries[1..] {
        let who = (&*entry.actor_kind, entry.actor_id.as_deref(), &*entry.actor_name, &*entry.surface);
        assert_eq!(who, ("key", Some("key_boss"), "boss ak-admin-AbCd1234…", "cli"), "{entry:?}");
        assert_eq!((entry.ip.as_deref(), entry.client.as_deref()), (Some("203.0.113.9"), Some("anykey-cli/9")));
        assert_eq!(entry.request, Some(RequestId([7; 16]).to_string()));
        assert_eq!(entry.at, START);
    }
    assert_eq!((&*entries[0].actor_kind, &*entries[0].surface), ("system", "system"));
    let recorded: Vec<Verb> = verbs.iter().filter_map(|verb| Verb::from_name(verb)).collect();
    let never = Verb::ALL.iter().filter(|verb| !recorded.contains(verb)).map(|verb| verb.name());
    let elsewhere = |name: &&str| {
        [crate::tenancy::RECORDED, crate::sign_in::RECORDED, crate::notices::RECORDED, crate::approvals::RECORDED]
            .iter()
            .any(|it| it.contains(name))
    };
    let never: Vec<&str> = never.filter(|name| !elsewhere(name)).collect();
    assert_eq!(never, ["audit.broken", "provider.unopened", "settings.apply"], "each of these has a test of its own");
    let report = store.verify_audit(None).await.unwrap();
    assert!(report.is_whole());
    assert_eq!((report.count, &report.head_hash), (entries.len() as i64, &entries.last().unwrap().hash));
    assert_eq!(store.audit_entry(3).await.unwrap(), entries[2]);
    assert_eq!(store.audit_entry(99).await, Err(StoreError::NotFound("audit entry")));
}

async fn no_secret_is_in_the_log(home: &Home) {
    let store = home.open().await;
    let secrets = acting(boss(), change_everything(&store)).await;
    let text = format!("{:?}", all(&store).await);
    for secret in &secrets {
        // A masked key shows no more than its public id.
        let tail = &secret[secret.len() - 12..];
        assert!(!text.contains(tail), "{tail} is in the log");
    }
    assert!(text.contains("it is ak-live-"), "the note is there, its secret masked: {text}");
}

async fn a_change_that_is_refused_leaves_no_entry(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let before = all(&store).await;
    let patch = KeyPatch { name: Some("x".into()), ..KeyPatch::default() };
    assert!(matches!(store.update_key(key.id, Some(9), patch).await, Err(StoreError::VersionMismatch { .. })));
    assert_eq!(store.remove_alias("none").await, Err(StoreError::NotFound("alias")));
    store.add_provider(provider("a")).await.unwrap();
    assert!(matches!(store.add_provider(provider("a")).await, Err(StoreError::Conflict(_))));
    store.disable_key(key.id, None).await.unwrap();
    let after = all(&store).await;
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after.len(), before.len() + 2, "{after:?}");
    assert!(found(&store).await.is_none());
}

async fn the_database_refuses_to_change_an_entry(home: &Home) {
    let store = home.open().await;
    make(&store, "k").await;
    let before = all(&store).await;
    for sql in
        ["UPDATE audit SET actor_name = 'nobody' WHERE seq = 2", "DELETE FROM audit", "DELETE FROM audit WHERE seq = 2"]
    {
        let refused = home.try_sql(sql).await.unwrap_err();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(all(&store).await, before);
}

async fn an_altered_column_of_any_entry_is_found(home: &Home) {
    let store = home.open().await;
    acting(boss(), async {
        let (key, _) = make(&store, "k").await;
        store.disable_key(key.id, None).await.unwrap();
        store.enable_key(key.id, None).await.unwrap();
    })
    .await;
    unlock(home).await;
    let texts = [
        "actor_kind",
        "actor_id",
        "actor_name",
        "surface",
        "ip",
        "client",
        "request",
        "verb",
        "organisation",
        "object_kind",
        "object_id",
        "object_name",
        "before",
        "after",
        "hash",
    ];
    let mut altered = 0;
    for seq in 1..=4 {
        for column in texts.iter().chain(&["at"]) {
            home.sql(&format!("CREATE TABLE kept AS SELECT {column} AS was FROM audit WHERE seq = {seq}")).await;
            let other = if *column == "at" { "at + 1".to_owned() } else { format!("COALESCE({column}, '') || 'x'") };
            home.sql(&format!("UPDATE audit SET {column} = {other} WHERE seq = {seq}")).await;
            assert_eq!(found(&store).await, Some(AuditBreak::Altered(seq)), "{column} of {seq}");
            home.sql(&format!("UPDATE audit SET {column} = (SELECT was FROM kept) WHERE seq = {seq}; DROP TABLE kept"))
                .await;
            assert_eq!(found(&store).await, None, "{column} of {seq} was put back");
            altered += 1;
        }
    }
    assert_eq!(altered, 64);
    home.sql("UPDATE audit SET client = NULL WHERE seq = 2").await;
    assert_eq!(found(&store).await, Some(AuditBreak::Altered(2)), "emptied");
}

async fn an_entry_that_is_taken_away_moved_or_put_in_is_found(home: &Home) {
    let store = home.open().await;
    for name in ["a", "b", "c", "d"] {
        make(&store, name).await;
    }
    unlock(home).await;
    home.sql("CREATE TABLE kept AS SELECT * FROM audit").await;
    let cases = [
        ("DELETE FROM audit WHERE seq = 1", AuditBreak::Missing(1)),
        ("DELETE FROM audit WHERE seq = 3", AuditBreak::Missing(3)),
        // Closed up, so that the numbers have no gap.
        (
            "DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5",
            AuditBreak::Altered(3),
        ),
        (
            "UPDATE audit SET seq = 99 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 99",
            AuditBreak::Altered(3),
        ),
        (
            "INSERT INTO audit SELECT 6, at, actor_kind, actor_id, actor_name, surface, ip, client, request, verb, organisation, object_kind, object_id, object_name, before, after, hash FROM audit WHERE seq = 5",
            AuditBreak::Beyond(6),
        ),
    ];
    for (sql, expected) in cases {
        home.sql(sql).await;
        assert_eq!(found(&store).await, Some(expected), "{sql}");
        home.sql("DELETE FROM audit; INSERT INTO audit SELECT * FROM kept").await;
        assert_eq!(found(&store).await, None);
    }
}

async fn a_tail_that_is_cut_off_is_found(home: &Home) {
    let store = home.open().await;
    for name in ["a", "b", "c"] {
        make(&store, name).await;
    }
    unlock(home).await;
    home.sql("CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE end_kept AS SELECT * FROM audit_head").await;
    let cases = [
        ("DELETE FROM audit WHERE seq = 4", AuditBreak::Missing(4)),
        ("DELETE FROM audit WHERE seq > 2", AuditBreak::Missing(3)),
        ("DELETE FROM audit", AuditBreak::Missing(1)),
        ("DELETE FROM audit_head", AuditBreak::Head),
        // With the end moved to fit: the seal of the installation is missing.
        (
            "DELETE FROM audit WHERE seq = 4; UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)",
            AuditBreak::Head,
        ),
        (
            "DELETE FROM audit; UPDATE audit_head SET seq = 0, seal = '', hash = '0000000000000000000000000000000000000000000000000000000000000000'",
            AuditBreak::Head,
        ),
    ];
    for (sql, expected) in cases {
        home.sql(sql).await;
        assert_eq!(found(&store).await, Some(expected), "{sql}");
        home.sql(
            "DELETE FROM audit; DELETE FROM audit_head; INSERT INTO audit SELECT * FROM kept; \
             INSERT INTO audit_head SELECT * FROM end_kept",
        )
        .await;
        assert_eq!(found(&store).await, None);
    }
}

/// The attacker knows how hashes are made, and writes the chain anew from what was altered to the end.
async fn a_chain_that_was_made_anew_is_found(home: &Home) {
    let store = home.open().await;
    for name in ["a", "b", "c"] {
        make(&store, name).await;
    }
    unlock(home).await;
    let mut entries = all(&store).await;
    entries[1].actor_name = "somebody else".into();
    let mut previous = [0; 32];
    for (n, entry) in entries.iter_mut().enumerate() {
        let hash = anykey_store::hash_entry(&previous, entry);
        entry.hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        previous = hash;
        home.sql(&format!(
            "UPDATE audit SET actor_name = '{}', hash = '{}' WHERE seq = {}",
            entry.actor_name, entry.hash, entry.seq
        ))
        .await;
        match n {
            0 => assert_eq!(found(&store).await, None),
            // What is hashed anew so far agrees with itself; the next entry does not follow from it.
            1 | 2 => assert_eq!(found(&store).await, Some(AuditBreak::Altered(n as i64 + 2))),
            _ => assert_eq!(found(&store).await, Some(AuditBreak::Altered(4)), "the end tells another hash"),
        }
    }
    home.sql("UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE seq = 4)").await;
    assert_eq!(found(&store).await, Some(AuditBreak::Head), "the seal needs the pepper");
}

async fn a_damaged_log_stops_no_change_and_says_so(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    make(&store, "l").await;
    unlock(home).await;
    home.sql(
        "DELETE FROM audit WHERE seq = 3; UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit WHERE seq = 2)",
    )
    .await;
    store.disable_key(key.id, None).await.unwrap();
    let verbs: Vec<String> = all(&store).await.into_iter().map(|entry| entry.verb).collect();
    assert_eq!(verbs, ["audit.begin", "key.create", "audit.broken", "key.disable"]);
    let report = store.verify_audit(None).await.unwrap();
    assert_eq!((report.broken.clone(), report.alarms.as_slice(), report.is_whole()), (None, &[3][..], false));
    store.enable_key(key.id, None).await.unwrap();
    assert_eq!(store.verify_audit(None).await.unwrap().alarms, [3], "it is said once");

    home.sql("DELETE FROM audit_head").await;
    store.disable_key(key.id, None).await.unwrap();
    let report = store.verify_audit(None).await.unwrap();
    assert_eq!(report.alarms, [3], "what follows does not hang on to the entry before: {report:?}");
    assert_eq!(report.broken, Some(AuditBreak::Altered(6)));
    store.close().await;
    drop(store);
    let store = home.open().await;
    assert_eq!(found(&store).await, Some(AuditBreak::Altered(6)), "a new start heals nothing");
    store.enable_key(key.id, None).await.unwrap();
}

async fn an_entry_that_was_noted_is_asked_for(home: &Home) {
    let store = home.open().await;
    make(&store, "k").await;
    let entries = all(&store).await;
    let bytes =
        |hex: &str| -> [u8; 32] { std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()) };
    let noted = |seq: i64, hash: [u8; 32]| {
        let store = store.clone();
        async move { store.verify_audit(Some((seq, hash))).await.unwrap().broken }
    };
    assert_eq!(noted(2, bytes(&entries[1].hash)).await, None);
    assert_eq!(noted(1, bytes(&entries[0].hash)).await, None);
    assert_eq!(noted(1, bytes(&entries[1].hash)).await, Some(AuditBreak::NotNoted(1)));
    assert_eq!(noted(3, bytes(&entries[1].hash)).await, Some(AuditBreak::NotNoted(3)));
    assert_eq!(noted(0, [0; 32]).await, Some(AuditBreak::NotNoted(0)));
}

async fn changes_at_once_queue_without_a_gap(home: &Home) {
    let mut stores = vec![home.open().await];
    let other = tempfile::tempdir().unwrap();
    if home.is_postgres() {
        for file in ["pepper", "kek"] {
            std::fs::copy(home.dir().join(file), other.path().join(file)).unwrap();
        }
        let options = anykey_store::Options { data_dir: other.path().into(), ..home.options() };
        stores.push(Store::open(options).await.unwrap());
    }
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..12 {
        let store = stores[n % stores.len()].clone();
        tasks.spawn(async move {
            let (key, _) = make(&store, &format!("k{n}")).await;
            for _ in 0..2 {
                store.disable_key(key.id, None).await.unwrap();
                store.set_alias(&format!("a{n}"), "openai/x").await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let report = stores[0].verify_audit(None).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.count, 1 + 12 * 5);
}

async fn entries_are_listed_by_what_is_asked(home: &Home) {
    let store = home.open().await;
    let (key, _) = acting(boss(), make(&store, "k")).await;
    home.wait(HOUR);
    store.disable_key(key.id, None).await.unwrap();
    for n in 0..7 {
        store.set_alias("fast", &format!("openai/{n}")).await.unwrap();
    }
    let list = |filter: AuditFilter| {
        let store = store.clone();
        async move {
            let listed = store.audit(&filter, Page::default()).await.unwrap();
            let (exported, _) = store.audit_after(&filter, 0, 10_000).await.unwrap();
            let seqs: Vec<i64> = listed.data.iter().map(|entry| entry.seq).collect();
            let mut backwards: Vec<i64> = exported.iter().map(|entry| entry.seq).collect();
            backwards.reverse();
            assert_eq!(seqs, backwards, "a list and an export hold the same");
            seqs
        }
    };
    let any = AuditFilter::default;
    assert_eq!(list(any()).await, (1..=10).rev().collect::<Vec<_>>());
    assert_eq!(list(AuditFilter { verbs: vec![Verb::KeyCreate, Verb::KeyDisable], ..any() }).await, [3, 2]);
    assert_eq!(list(AuditFilter { object: Some(key.id.to_string()), ..any() }).await, [3, 2]);
    assert_eq!(list(AuditFilter { object_kind: Some(ObjectKind::Installation), ..any() }).await, [1]);
    assert_eq!(list(AuditFilter { actor: Some("key_boss".into()), ..any() }).await, [2]);
    assert_eq!(list(AuditFilter { to: Some(START + HOUR), ..any() }).await, [2, 1]);
    assert_eq!(list(AuditFilter { from: Some(START + HOUR), verbs: vec![Verb::KeyDisable], ..any() }).await, [3]);
    assert!(list(AuditFilter { organisation: Some("org_x".into()), ..any() }).await.is_empty());
    assert!(!AuditFilter { organisation: Some("org_x".into()), ..any() }.is_all() && any().is_all());

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let listed = store.audit(&any(), Page { after, limit: 3 }).await.unwrap();
        assert!(listed.data.len() <= 3);
        seen.extend(listed.data.iter().map(|entry| entry.seq));
        after = listed.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=10).rev().collect::<Vec<_>>(), "each once");
}

async fn the_settings_file_is_recorded_when_it_changes(home: &Home) {
    let declared = |url: &str| Declared {
        providers: vec![
            NewProvider { base_url: Some(url.into()), ..provider("house") },
            NewProvider { kind: "sim".into(), ..provider("sim") },
        ],
        aliases: vec![("fast".into(), "house/x".into())],
    };
    let store = home.open().await;
    store.set_declared(Declared::default()).await.unwrap();
    assert_eq!(all(&store).await.len(), 1, "nothing is declared, as before");
    store.set_declared(declared("https://a.example")).await.unwrap();
    store.set_declared(declared("https://a.example")).await.unwrap();
    store.close().await;
    drop(store);
    let store = home.open().await;
    store.set_declared(declared("https://a.example")).await.unwrap();
    store.set_declared(declared("https://b.example")).await.unwrap();
    let entries = all(&store).await;
    assert_eq!(entries.len(), 3, "{entries:?}");
    let [_, first, second] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(
        (&*first.verb, &*first.surface, first.before.as_deref()),
        ("settings.apply", "settings_file", Some("{}"))
    );
    assert!(first.after.as_deref().unwrap().contains(r#""alias fast":"house/x""#), "{first:?}");
    assert!(second.before.as_deref().unwrap().contains("https://a.example"), "{second:?}");
    assert!(second.after.as_deref().unwrap().contains("https://b.example"), "{second:?}");
    assert!(!second.after.as_deref().unwrap().contains("alias fast"), "it stayed as it was: {second:?}");
    assert!(!format!("{entries:?}").contains("canary"));
}
