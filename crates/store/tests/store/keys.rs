//! Keys as they are managed.

use crate::home::*;
use anykey_core::token::plain_sha256;
use anykey_core::{Code, KeyKind, Nanos, Scope, Scopes};
use anykey_store::{KeyFilter, KeyPatch, KeyStatus, Lookup, NewKey, Options, Page, SecretState, Store, StoreError};
use std::collections::BTreeMap;

on_both!(
    a_key_is_shown_as_it_was_made_and_its_secret_is_nowhere,
    nonsense_is_refused,
    a_change_by_two_admins_is_refused_to_the_second,
    an_end_is_in_force_when_it_returns,
    the_old_secret_is_dead_when_regenerate_returns,
    an_imported_key_works_and_is_hashed_anew,
    lists_page_and_filter,
    a_search_among_many_gives_a_cursor_instead_of_time,
    look_ups_use_indexes,
);

async fn a_key_is_shown_as_it_was_made_and_its_secret_is_nowhere(home: &Home) {
    let store = home.open().await;
    let new = NewKey {
        description: "for the\nshop".into(),
        tags: BTreeMap::from([("team".into(), "a\"b%".into())]),
        owner: Some("ada".into()),
        creator: Some("root".into()),
        environment: Some("prod".into()),
        spend_limit: Some(Nanos::dollars(5)),
        expires_at: Some(START + DAY),
        browser_allowed: true,
        note: "in the vault".into(),
        rotation_interval_ms: Some(90 * DAY),
        review_at: Some(START + HOUR),
        ..NewKey::new(KeyKind::Test, "checkout")
    };
    let (made, token) = store.create_key(new).await.unwrap();
    let read = store.key(made.id).await.unwrap();
    assert_eq!(made, read);
    assert_eq!((read.status, read.version, read.spent), (KeyStatus::Active, 1, Nanos::ZERO));
    assert_eq!(read.tags["team"], "a\"b%");
    assert_eq!(read.scopes, Scopes::DEFAULT);
    assert!(token.expose().starts_with(read.masked.trim_end_matches('…')));
    assert_eq!(store.place_of_public_id(&read.secrets[0].public_id).await.unwrap().unwrap().0, made.id);
    let secret = token.expose()[read.masked.len() - '…'.len_utf8()..].to_owned();
    assert!(!format!("{read:?}").contains(&secret));
    store.close().await;
    for file in std::fs::read_dir(home.dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()));
    }
}

async fn nonsense_is_refused(home: &Home) {
    let store = home.open().await;
    let good = || NewKey::new(KeyKind::Live, "k");
    for (field, bad) in [
        ("name", NewKey { name: " ".into(), ..good() }),
        ("name", NewKey { name: "a\0b".into(), ..good() }),
        ("owner", NewKey { owner: Some("a\u{7}".into()), ..good() }),
        ("spend_limit", NewKey { spend_limit: Some(Nanos(-7)), ..good() }),
        ("scopes", NewKey { scopes: Scopes::ADMIN, ..good() }),
        ("scopes", NewKey { scopes: Scopes::DEFAULT, ..NewKey::new(KeyKind::Admin, "k") }),
        ("tags", NewKey { tags: BTreeMap::from([("a=b".into(), String::new())]), ..good() }),
    ] {
        match store.create_key(bad).await {
            Err(StoreError::Invalid { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert_eq!(store.counts().await.unwrap().keys, 0);
    let (key, _) = make(&store, "k").await;
    let patch = KeyPatch { scopes: Some(Scopes::DEFAULT.with(Scope::Admin)), ..KeyPatch::default() };
    assert!(matches!(store.update_key(key.id, None, patch).await, Err(StoreError::Invalid { field: "scopes", .. })));
    assert_eq!(store.key(key.id).await.unwrap(), key, "a refused change leaves no trace");
}

async fn a_change_by_two_admins_is_refused_to_the_second(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let patch =
        |name: &str| KeyPatch { name: Some(name.into()), owner: Some(Some("ada".into())), ..KeyPatch::default() };
    let first = store.update_key(key.id, Some(1), patch("first")).await.unwrap();
    assert_eq!((first.version, first.name.as_str()), (2, "first"));
    assert_eq!(
        store.update_key(key.id, Some(1), patch("second")).await,
        Err(StoreError::VersionMismatch { what: "key", expected: 1, found: 2 })
    );
    assert_eq!(store.key(key.id).await.unwrap(), first);
    let cleared = KeyPatch { owner: Some(None), ..KeyPatch::default() };
    let third = store.update_key(key.id, None, cleared).await.unwrap();
    assert_eq!((third.version, third.owner, third.name.as_str()), (3, None, "first"));

    // At once: every one of them lands, none is lost.
    let many = (0..10).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            let tags = BTreeMap::from([(format!("t{i}"), String::new())]);
            store.update_key(key.id, None, KeyPatch { tags: Some(tags), ..KeyPatch::default() }).await.unwrap().version
        })
    });
    let mut versions = Vec::new();
    for task in many.collect::<Vec<_>>() {
        versions.push(task.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (4..14).collect::<Vec<_>>());
}

async fn an_end_is_in_force_when_it_returns(home: &Home) {
    let store = home.open().await;
    let (key, token) = make(&store, "k").await;
    let running = live(&store, &token, START).await;
    assert!(works(&store, &token, START).await);

    store.disable_key(key.id, None).await.unwrap();
    assert!(running.cancelled());
    assert_eq!(live(&store, &token, START).await.dead_at(START), Some(Code::KeyDisabled));
    assert_eq!(store.key(key.id).await.unwrap().status, KeyStatus::Disabled);

    store.enable_key(key.id, None).await.unwrap();
    let running = live(&store, &token, START).await;
    assert_eq!((running.cancelled(), running.dead_at(START)), (false, None));

    let expired = KeyPatch { expires_at: Some(Some(START)), ..KeyPatch::default() };
    assert_eq!(store.update_key(key.id, None, expired).await.unwrap().status, KeyStatus::Expired);
    assert!(running.cancelled());
    assert_eq!(live(&store, &token, START).await.dead_at(START), Some(Code::KeyExpired));

    let extended = KeyPatch { expires_at: Some(None), ..KeyPatch::default() };
    store.update_key(key.id, None, extended).await.unwrap();
    let running = live(&store, &token, START).await;
    let gone = store.delete_key(key.id, None).await.unwrap();
    assert_eq!((gone.status, gone.deleted_at), (KeyStatus::Revoked, Some(START)));
    assert!(running.cancelled());
    assert_eq!(live(&store, &token, START).await.dead_at(START), Some(Code::KeyRevoked));
    assert_eq!(store.key_names(&[key.id]).await.unwrap()[&key.id], "k", "the tombstone keeps the name");
    for answer in [store.enable_key(key.id, None).await, store.delete_key(key.id, None).await] {
        assert!(matches!(answer, Err(StoreError::Conflict(_))));
    }
}

async fn the_old_secret_is_dead_when_regenerate_returns(home: &Home) {
    let store = home.open().await;
    let (key, old) = make(&store, "k").await;
    let running = live(&store, &old, START).await;
    let (after, new) = store.regenerate_key(key.id, Some(1)).await.unwrap();
    assert!(running.cancelled());
    assert_eq!(live(&store, &old, START).await.dead_at(START), Some(Code::KeyRevoked));
    assert!(works(&store, &new, START).await);
    assert_eq!((after.id, after.status), (key.id, KeyStatus::Active));
    assert!(new.expose().starts_with(after.masked.trim_end_matches('…')));
    // A key that is regenerated for years does not gather secrets for years.
    for _ in 0..15 {
        home.wait(1);
        store.regenerate_key(key.id, None).await.unwrap();
    }
    let secrets = store.key(key.id).await.unwrap().secrets;
    assert_eq!(secrets.len(), 11);
    assert_eq!(secrets.iter().filter(|s| s.state == SecretState::Live).count(), 1);
}

async fn an_imported_key_works_and_is_hashed_anew(home: &Home) {
    let store = home.open().await;
    let foreign = "sk-of-another-system-0123456789";
    assert!(matches!(identify(&store, foreign, START).await.unwrap(), Lookup::Unknown));
    let sha = plain_sha256(foreign.as_bytes());
    let key = store.import_key(sha, NewKey::new(KeyKind::Live, "old")).await.unwrap();
    assert!(key.masked.starts_with("imported-"));
    assert!(matches!(
        store.import_key(sha, NewKey::new(KeyKind::Live, "again")).await,
        Err(StoreError::Conflict(text)) if text.contains("here already")
    ));
    assert_eq!(store.counts().await.unwrap().keys, 1, "the refused import left nothing");
    // In force at once, although the digest was remembered as unknown.
    assert!(matches!(identify(&store, foreign, START).await.unwrap(), Lookup::Live(k) if k.info.id == key.id));
    store.close().await;
    drop(store);

    let store = home.open().await;
    let digest = store.pepper().digest(foreign.as_bytes());
    assert!(
        matches!(store.look_up(digest, None).await.unwrap(), Lookup::Live(_)),
        "its plain hash is no longer needed"
    );
    // The plain hash of a text is no credential: what is stored peppered is not found by it.
    assert!(matches!(store.look_up(plain_sha256(b"x"), Some(digest)).await.unwrap(), Lookup::Unknown));
    store.disable_key(key.id, None).await.unwrap();
    assert!(matches!(identify(&store, foreign, START).await.unwrap(), Lookup::Live(k) if k.info.disabled));
}

async fn lists_page_and_filter(home: &Home) {
    let store = home.open().await;
    let mut ids = Vec::new();
    for i in 0..25 {
        home.wait(1);
        let new = NewKey {
            owner: Some(if i % 2 == 0 { "ada" } else { "bob" }.into()),
            environment: Some(format!("e{}", i % 3)),
            tags: BTreeMap::from([("n".into(), i.to_string()), ("Team".into(), "x".into())]),
            description: if i == 7 { "50% of_ALL".into() } else { String::new() },
            ..NewKey::new(if i == 3 { KeyKind::Test } else { KeyKind::Live }, format!("Key {i}"))
        };
        ids.push(store.create_key(new).await.unwrap().0.id);
    }
    ids.reverse();

    let mut seen = Vec::new();
    let mut page = Page { after: None, limit: 10 };
    loop {
        let part = store.keys(&KeyFilter::default(), page).await.unwrap();
        assert!(part.data.len() <= 10);
        seen.extend(part.data.iter().map(|k| k.id));
        let Some(next) = part.next else { break };
        page.after = Some(next);
    }
    assert_eq!(seen, ids, "newest first, each once");

    store.disable_key(ids[0], None).await.unwrap();
    store.delete_key(ids[1], None).await.unwrap();
    store.update_key(ids[2], None, KeyPatch { expires_at: Some(Some(START)), ..KeyPatch::default() }).await.unwrap();
    store.rotate_key(ids[3], None, Default::default()).await.unwrap();
    let count =
        async |filter: KeyFilter| store.keys(&filter, Page { after: None, limit: 200 }).await.unwrap().data.len();
    let none = KeyFilter::default;
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(count(none()).await, 24, "deleted keys are not listed unasked");
    for (status, expected) in [
        (KeyStatus::Disabled, 1),
        (KeyStatus::Revoked, 1),
        (KeyStatus::Expired, 1),
        (KeyStatus::Rotating, 1),
        (KeyStatus::Active, 21),
    ] {
        let listed = store.keys(&KeyFilter { status: Some(status), ..none() }, Page::default()).await.unwrap().data;
        assert_eq!(listed.len(), expected, "{status:?}");
        assert!(listed.iter().all(|k| k.status == status), "{status:?}");
    }
    assert_eq!(count(KeyFilter { q: text("key 1"), ..none() }).await, 11, "in any case of letters");
    assert_eq!(count(KeyFilter { q: text("%"), ..none() }).await, 1, "signs stand for themselves");
    assert_eq!(count(KeyFilter { q: text("of_all"), ..none() }).await, 1);
    assert_eq!(count(KeyFilter { q: text("' OR 1=1 --"), ..none() }).await, 0);
    assert_eq!(count(KeyFilter { name: text("Key 1"), ..none() }).await, 1);
    assert_eq!(count(KeyFilter { name: text("key 1"), ..none() }).await, 0);
    assert_eq!(count(KeyFilter { kind: Some(KeyKind::Test), ..none() }).await, 1);
    assert_eq!(count(KeyFilter { owner: text("ada"), environment: text("e0"), ..none() }).await, 5);
    assert_eq!(count(KeyFilter { tag: text("n=1"), ..none() }).await, 1);
    assert_eq!(count(KeyFilter { tag: text("Team"), ..none() }).await, 24);
    assert_eq!(count(KeyFilter { tag: text("team"), ..none() }).await, 0);
    let public_id = store.key(ids[5]).await.unwrap().secrets[0].public_id.clone();
    assert_eq!(count(KeyFilter { q: Some(public_id), ..none() }).await, 1);
}

async fn a_search_among_many_gives_a_cursor_instead_of_time(home: &Home) {
    let store = Store::open(Options { page_reach: 40_000, ..home.options() }).await.unwrap();
    make(&store, "the needle").await;
    let columns = "kind, name, description, tags, scopes, disabled, browser_allowed, spent, note, version, created_at, \
                   updated_at, search";
    let values = "'live', 'hay', '', '{}', '', FALSE, FALSE, 0, '', 1, 1, 1, 'hay'";
    let many = match store.database() {
        "sqlite" => format!(
            "INSERT INTO api_key (id, {columns}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE \
             i < 50000) SELECT randomblob(16), {values} FROM n"
        ),
        _ => format!(
            "INSERT INTO api_key (id, {columns}) SELECT decode(md5(i::text), 'hex'), {values} \
             FROM generate_series(1, 50000) AS i"
        ),
    };
    home.sql(&many).await;
    let filter = KeyFilter { q: Some("needle".into()), ..KeyFilter::default() };
    let pages = async |store: &Store| {
        let (mut found, mut pages, mut page) = (0, 0, Page::default());
        loop {
            let part = store.keys(&filter, page).await.unwrap();
            (found, pages) = (found + part.data.len(), pages + 1);
            let Some(next) = part.next else { return (found, pages) };
            page.after = Some(next);
        }
    };
    assert_eq!(pages(&store).await, (1, 2));
    store.close().await;
    drop(store);
    // As far as a page looks by default, it looks by itself.
    assert_eq!(pages(&*home.open().await).await, (1, 1));
}

async fn look_ups_use_indexes(home: &Home) {
    let store = home.open().await;
    for i in 0..20 {
        make(&store, &format!("k{i}")).await;
    }
    let id = if store.database() == "sqlite" { "x'00'" } else { "'\\x00'::bytea" };
    for (sql, index) in [
        (format!("SELECT 1 FROM secret s JOIN api_key k ON k.id = s.key_id WHERE s.digest IN ({id}, {id})"), "digest"),
        (format!("SELECT public_id FROM secret WHERE key_id = {id}"), "secret_key"),
        ("SELECT public_id FROM secret WHERE pending AND first_used_at IS NOT NULL".to_owned(), "secret_pending"),
        ("SELECT id FROM api_key WHERE name = 'k'".to_owned(), "api_key_name"),
        (format!("SELECT id FROM api_key WHERE id < {id} ORDER BY id DESC LIMIT 1"), "api_key_pkey"),
        (
            format!("SELECT request FROM usage WHERE key_id = {id} AND request < {id} ORDER BY request DESC"),
            "usage_key",
        ),
        (
            format!("SELECT 1 FROM usage WHERE (request, attempt) < ({id}, 1) ORDER BY request DESC, attempt DESC"),
            "usage_pkey",
        ),
        (format!("SELECT 1 FROM usage_day WHERE key_id = {id} AND day > 1"), "usage_day_key"),
        (
            "UPDATE secret SET last_used_at = v.column2 FROM (VALUES ('a', 1), ('b', 2)) AS v \
          WHERE secret.public_id = v.column1"
                .to_owned(),
            // The primary key, or the other index of the same column.
            "Index Cond: (public_id = ",
        ),
    ] {
        let plan = home.plan(&sql).await;
        // SQLite calls the index of a primary key or a unique column by another name.
        let named =
            plan.contains(index) || plan.contains("sqlite_autoindex_secret") || plan.contains("USING PRIMARY KEY");
        assert!(named, "{sql}\n{plan}");
        let scanned = plan.lines().any(|l| {
            (l.contains("SCAN") && !l.contains("INDEX") && !l.contains("VALUES CLAUSE")) || l.contains("Seq Scan")
        });
        assert!(!scanned, "{sql}\n{plan}");
    }
}
