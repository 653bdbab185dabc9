//! A database of the first schema, with rows in it, is brought up to date and goes on.

use crate::home::*;
use anykey_core::{OrganisationId, ProjectId};
use anykey_store::{KeyFilter, KeyStatus, NewProject, Page, Store, TenancyFilter};
use sha2::{Digest as _, Sha256};

on_both!(keys_of_the_first_schema_are_where_they_belong_and_work);

const FIRST: &str = include_str!("../../migrations/0001_first.sql");

fn spell(sql: &str, postgres: bool) -> String {
    let words = if postgres {
        [("{BYTES}", "BYTEA"), ("{INT}", "BIGINT"), ("{BOOL}", "BOOLEAN"), ("{STRICT}", ""), ("{ROWLESS}", "")]
    } else {
        [
            ("{BYTES}", "BLOB"),
            ("{INT}", "INTEGER"),
            ("{BOOL}", "INTEGER"),
            ("{STRICT}", "STRICT"),
            ("{ROWLESS}", "STRICT, WITHOUT ROWID"),
        ]
    };
    let serial =
        if postgres { "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY" } else { "INTEGER PRIMARY KEY AUTOINCREMENT" };
    words.into_iter().fold(sql.replace("{SERIAL}", serial), |sql, (token, word)| sql.replace(token, word))
}

fn blob(postgres: bool, byte: u8, len: usize) -> String {
    let hex = format!("{byte:02x}").repeat(len);
    if postgres { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
}

/// Three keys: one of no project, two of the free texts that projects were, one of these with tags and a use.
async fn first_schema(home: &Home) {
    let postgres = home.is_postgres();
    if !postgres {
        std::fs::File::create(home.dir().join("anykey.db")).unwrap();
    }
    home.sql(&spell(FIRST, postgres)).await;
    let checksum: String = Sha256::digest(FIRST.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    home.sql(&format!(
        "CREATE TABLE migration (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, \
         applied_at BIGINT NOT NULL); INSERT INTO migration VALUES (1, 'first', '{checksum}', 1)"
    ))
    .await;
    for (n, name, project, tags) in [
        (1, "plain", "NULL", "{}"),
        (2, "ÉTÉ", "'Search & Co'", r#"{"team":"a","x":""}"#),
        (3, "other", "'search-co'", "{}"),
    ] {
        home.sql(&format!(
            "INSERT INTO api_key (id, kind, name, description, tags, project, scopes, disabled, browser_allowed, spent, \
             note, version, created_at, updated_at) VALUES ({}, 'live', '{name}', '', '{tags}', {project}, \
             'models:read', FALSE, FALSE, 0, '', 1, {START}, {START})",
            blob(postgres, n, 16)
        ))
        .await;
        home.sql(&format!(
            "INSERT INTO secret (public_id, digest, digest_kind, imported, key_id, state, pending, created_at, \
             last_used_at) VALUES ('AbCd000{n}', {}, 'hmac', FALSE, {}, 'live', FALSE, {START}, {})",
            blob(postgres, n, 32),
            blob(postgres, n, 16),
            START + i64::from(n) * DAY
        ))
        .await;
    }
}

async fn keys_of_the_first_schema_are_where_they_belong_and_work(home: &Home) {
    first_schema(home).await;
    let store = home.open().await;
    let by_name = async |store: &Store, name: &str| {
        let filter = KeyFilter { name: Some(name.into()), ..KeyFilter::default() };
        store.keys(&filter, Page::default()).await.unwrap().data.remove(0)
    };
    let plain = by_name(&store, "plain").await;
    assert_eq!((plain.organisation_id, plain.project_id), (OrganisationId::DEFAULT, ProjectId::DEFAULT));
    assert_eq!((plain.organisation.as_str(), plain.project.as_str()), ("default", "default"));
    assert_eq!((plain.status, plain.closed_by.as_deref()), (KeyStatus::Active, None));
    // Each text is a project of the default organisation now, with a slug of its own.
    let (summer, other) = (by_name(&store, "ÉTÉ").await, by_name(&store, "other").await);
    assert_eq!((summer.organisation.as_str(), other.organisation.as_str()), ("default", "default"));
    let mut slugs = [summer.project.clone(), other.project.clone()];
    slugs.sort();
    assert_eq!(slugs, ["search-co", "search-co-2"]);
    assert_eq!(store.project(summer.project_id).await.unwrap().name, "Search & Co");
    assert_eq!(store.projects(&TenancyFilter::default(), Page::default()).await.unwrap().data.len(), 3);

    // What lists look at was filled in for the rows that were there.
    let found = async |filter: KeyFilter| store.keys(&filter, Page::default()).await.unwrap().data.len();
    assert_eq!(found(KeyFilter { tag: Some("team=a".into()), ..KeyFilter::default() }).await, 1);
    assert_eq!(found(KeyFilter { q: Some("été".into()), ..KeyFilter::default() }).await, 1);
    assert_eq!(found(KeyFilter { unused_since: Some(START + 2 * DAY), ..KeyFilter::default() }).await, 1);

    // They can be changed like any other, and the next start finds everything done.
    assert_eq!(store.disable_key(plain.id, Some(1)).await.unwrap().version, 2);
    let new = NewProject {
        organisation: OrganisationId::DEFAULT,
        slug: None,
        name: "later".into(),
        description: String::new(),
        controls: Default::default(),
        rules: Default::default(),
    };
    store.create_project(new).await.unwrap();
    store.close().await;
    drop(store);
    let store = home.open().await;
    assert_eq!(store.projects(&TenancyFilter::default(), Page::default()).await.unwrap().data.len(), 4);
    assert_eq!(by_name(&store, "plain").await.status, KeyStatus::Disabled);
}
