//! Providers, aliases, prices and the snapshot that calls are routed by.

use crate::home::*;
use anykey_store::{
    AuditFilter, Credential, Declared, NewProvider, Origin, Page, ProviderPatch, Store, StoreError, Verb,
};
use secrecy::{ExposeSecret, SecretString};

on_both!(
    a_provider_is_in_force_when_it_returns_and_its_credential_is_sealed,
    a_credential_that_was_moved_or_altered_does_not_open,
    a_credential_that_does_not_open_is_told_of_once,
    what_the_file_declares_stays_in_the_file,
    aliases_come_and_go,
    the_newest_catalogue_is_in_force,
    settings_are_kept,
);

fn openai(name: &str, secret: &str) -> NewProvider {
    NewProvider {
        name: name.into(),
        kind: "openai".into(),
        base_url: Some("https://api.example.com/v1".into()),
        credential: Some(SecretString::from(secret)),
        allow_private: false,
        disabled: false,
    }
}

fn opened(store: &Store, name: &str) -> Option<String> {
    match &store.snapshot().providers.get(name)?.credential {
        Credential::Open(secret) => Some(secret.expose_secret().to_owned()),
        Credential::None | Credential::Unavailable => None,
    }
}

async fn a_provider_is_in_force_when_it_returns_and_its_credential_is_sealed(home: &Home) {
    let store = home.open().await;
    let added = store.add_provider(openai("openai", "sk-very-secret")).await.unwrap();
    assert_eq!((added.origin, added.has_credential, added.version), (Origin::Api, true, 1));
    assert_eq!(opened(&store, "openai").as_deref(), Some("sk-very-secret"));
    assert!(!format!("{added:?} {:?}", store.snapshot()).contains("sk-very-secret"));
    assert!(matches!(store.add_provider(openai("openai", "x")).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.add_provider(openai("Open/AI", "x")).await, Err(StoreError::Invalid { field: "name", .. })));

    let generation = store.snapshot().generation;
    let patch = ProviderPatch {
        base_url: Some(None),
        credential: Some(Some(SecretString::from("sk-second"))),
        disabled: Some(true),
        ..ProviderPatch::default()
    };
    let changed = store.update_provider("openai", Some(1), patch.clone()).await.unwrap();
    assert_eq!((changed.version, changed.base_url, changed.disabled), (2, None, true));
    assert!(store.snapshot().generation > generation);
    assert_eq!(opened(&store, "openai").as_deref(), Some("sk-second"));
    assert_eq!(
        store.update_provider("openai", Some(1), patch).await,
        Err(StoreError::VersionMismatch { what: "provider", expected: 1, found: 2 })
    );

    let tested = store.set_provider_test("openai", Ok(vec!["gpt-4o".into(), "o3".into()])).await.unwrap();
    assert_eq!((tested.models.len(), tested.tested_at, tested.version), (2, Some(START), 2));
    assert_eq!(&*store.snapshot().providers["openai"].models[1], "o3");
    let failed = store.set_provider_test("openai", Err("no answer".into())).await.unwrap();
    assert_eq!((failed.models.len(), failed.test_error.as_deref()), (2, Some("no answer")));
    assert!(matches!(store.set_provider_test("nobody", Ok(vec![])).await, Err(StoreError::NotFound("provider"))));

    store.close().await;
    drop(store);
    for file in std::fs::read_dir(home.dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|w| w == b"sk-second"));
    }
    let store = home.open().await;
    assert_eq!(opened(&store, "openai").as_deref(), Some("sk-second"));
    store.remove_provider("openai", None).await.unwrap();
    assert!(store.snapshot().providers.is_empty() && store.providers().await.unwrap().is_empty());
    let again = store.add_provider(openai("openai", "x")).await.unwrap();
    assert!(again.models.is_empty(), "nothing of the old one is left");
}

async fn a_credential_that_was_moved_or_altered_does_not_open(home: &Home) {
    let store = home.open().await;
    for name in ["one", "two", "three"] {
        store.add_provider(openai(name, &format!("sk-{name}"))).await.unwrap();
    }
    store.close().await;
    drop(store);
    home.sql(
        "UPDATE provider SET sealed_key = (SELECT sealed_key FROM provider WHERE name = 'two') WHERE name = 'one'",
    )
    .await;
    home.sql("UPDATE provider SET sealed_key = REPLACE(sealed_key, 'v1.', 'v2.') WHERE name = 'three'").await;
    let store = home.open().await;
    let snapshot = store.snapshot();
    assert!(matches!(snapshot.providers["one"].credential, Credential::Unavailable));
    assert!(matches!(snapshot.providers["three"].credential, Credential::Unavailable));
    assert_eq!(opened(&store, "two").as_deref(), Some("sk-two"), "the others go on");
}

/// By which names of providers the log tells of credentials that do not open, oldest first.
async fn told(store: &Store) -> Vec<String> {
    let filter = AuditFilter { verbs: vec![Verb::ProviderUnopened], ..AuditFilter::default() };
    let found = store.audit(&filter, Page::default()).await.unwrap();
    for entry in &found.data {
        assert_eq!((entry.actor_kind.as_str(), entry.surface.as_str()), ("system", "system"));
    }
    found.data.into_iter().rev().map(|entry| entry.object_name).collect()
}

async fn a_credential_that_does_not_open_is_told_of_once(home: &Home) {
    let store = home.open().await;
    for name in ["one", "two"] {
        store.add_provider(openai(name, &format!("sk-{name}"))).await.unwrap();
    }
    assert!(told(&store).await.is_empty());
    store.close().await;
    drop(store);
    home.sql("UPDATE provider SET sealed_key = REPLACE(sealed_key, 'v1.', 'v2.') WHERE name = 'one'").await;
    for _ in 0..2 {
        let store = home.open().await;
        // Every change of the routing meets it again.
        store.set_alias("fast", "two/x").await.unwrap();
        assert_eq!(told(&store).await, ["one"]);
        store.close().await;
    }
    home.sql("UPDATE provider SET sealed_key = 'v1.AAAA' WHERE name = 'one'").await;
    let store = home.open().await;
    assert_eq!(told(&store).await, ["one", "one"], "that is another damage");
    let patch = ProviderPatch { credential: Some(Some("sk-new".to_owned().into())), ..ProviderPatch::default() };
    store.update_provider("one", None, patch).await.unwrap();
    assert_eq!(told(&store).await.len(), 2, "a new credential opens");
    store.close().await;
    drop(store);
    home.sql("UPDATE provider SET sealed_key = 'v1.AAAA' WHERE name = 'one'").await;
    let store = home.open().await;
    assert_eq!(told(&store).await.len(), 3, "the same damage after it was mended is told of again");
    assert!(store.verify_audit(None).await.unwrap().is_whole());
}

async fn what_the_file_declares_stays_in_the_file(home: &Home) {
    let store = home.open().await;
    store.add_provider(openai("shared", "sk-api")).await.unwrap();
    store.set_alias("fast", "shared/gpt").await.unwrap();
    let declared = Declared {
        providers: vec![openai("shared", "sk-file"), openai("filed", "sk-file")],
        aliases: vec![("fast".into(), "filed/gpt".into())],
    };
    store.set_declared(declared).await.unwrap();
    assert_eq!(opened(&store, "shared").as_deref(), Some("sk-file"));
    assert_eq!(&*store.snapshot().aliases["fast"], "filed/gpt");
    let listed: Vec<_> = store.providers().await.unwrap().into_iter().map(|p| (p.name, p.origin)).collect();
    assert_eq!(listed, [("filed".into(), Origin::Config), ("shared".into(), Origin::Config)]);
    for refused in [
        store.update_provider("shared", None, ProviderPatch::default()).await.err(),
        store.remove_provider("filed", None).await.err(),
        store.add_provider(openai("filed", "x")).await.err(),
        store.set_alias("fast", "x/y").await.err(),
        store.remove_alias("fast").await.err(),
    ] {
        assert!(matches!(&refused, Some(StoreError::Conflict(text)) if text.contains("settings file")), "{refused:?}");
    }
    store.set_provider_test("filed", Ok(vec!["gpt".into()])).await.unwrap();
    assert_eq!(store.snapshot().providers["filed"].models.len(), 1);
    let bad = Declared { aliases: vec![("a b".into(), "c".into())], ..Declared::default() };
    assert!(matches!(store.set_declared(bad).await, Err(StoreError::Invalid { .. })));
    assert_eq!(store.snapshot().providers.len(), 2, "a bad declaration changes nothing");

    store.set_declared(Declared::default()).await.unwrap();
    assert_eq!(opened(&store, "shared").as_deref(), Some("sk-api"), "the stored one is back");
    assert!(!store.snapshot().providers.contains_key("filed"));
    assert_eq!(store.aliases().await.unwrap()[0].target, "shared/gpt");
}

async fn aliases_come_and_go(home: &Home) {
    let store = home.open().await;
    store.set_alias("house", "openai/gpt-4o").await.unwrap();
    store.set_alias("house", "openai/gpt-4o-mini").await.unwrap();
    assert_eq!(&*store.snapshot().aliases["house"], "openai/gpt-4o-mini");
    assert_eq!(store.aliases().await.unwrap().len(), 1);
    for (name, target) in [("", "x"), ("a b", "x"), ("a", "a"), ("a", "x\n")] {
        assert!(matches!(store.set_alias(name, target).await, Err(StoreError::Invalid { .. })), "{name:?}");
    }
    store.remove_alias("house").await.unwrap();
    assert!(store.snapshot().aliases.is_empty());
    assert_eq!(store.remove_alias("house").await, Err(StoreError::NotFound("alias")));
}

async fn the_newest_catalogue_is_in_force(home: &Home) {
    let store = home.open().await;
    assert_eq!(store.catalogue().await.unwrap(), None);
    assert_eq!(store.snapshot().catalogue, None);
    let mut last = 0;
    for n in 0..15u8 {
        let id = store.set_catalogue("https://example.com/prices.json", vec![n; 100]).await.unwrap();
        assert!(id > last);
        last = id;
    }
    let row = store.catalogue().await.unwrap().unwrap();
    assert_eq!((row.id, row.bytes, row.loaded_at), (last, vec![14; 100], START));
    assert_eq!(store.snapshot().catalogue, Some(last));
}

async fn settings_are_kept(home: &Home) {
    let store = home.open().await;
    assert_eq!(store.setting("x").await.unwrap(), None);
    store.set_setting("x", "1").await.unwrap();
    store.set_setting("x", "2").await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(home.open().await.setting("x").await.unwrap().as_deref(), Some("2"));
}
