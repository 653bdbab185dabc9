//! Temporary keys: no more than their parent, and no longer.

use crate::home::*;
use anykey_core::controls::{ModelGlob, Models};
use anykey_core::record::Outcome;
use anykey_core::{KeyId, KeyKind, Nanos, Scope, Scopes, Token};
use anykey_store::{GroupBy, KeyPatch, KeyRow, NewKey, NewTemp, Rotation, Store, StoreError, UsageQuery};

on_both!(
    a_temporary_key_is_no_more_than_its_parent,
    what_has_nothing_to_hand_on_mints_nothing,
    it_dies_with_its_parent_and_with_the_secret_that_minted_it,
    it_shrinks_with_its_parent,
    what_it_costs_is_charged_to_both_and_counted_for_the_parent,
    it_is_buried_after_its_end,
    its_terms_come_back_after_a_restart,
);

fn new(name: &str) -> NewTemp {
    NewTemp {
        name: name.into(),
        scopes: None,
        spend_limit: None,
        request_limit: None,
        lives_ms: NewTemp::DEFAULT_LIFE_MS,
        ip: None,
        models: None,
        browser_allowed: false,
        creator: None,
    }
}

async fn mint(store: &Store, parent: KeyId) -> (KeyRow, Token) {
    store.mint_temp(parent, None, new("t")).await.unwrap()
}

fn field(error: StoreError) -> &'static str {
    match error {
        StoreError::Invalid { field, .. } => field,
        other => panic!("{other:?}"),
    }
}

async fn a_temporary_key_is_no_more_than_its_parent(home: &Home) {
    let store = home.open().await;
    let mut parent = NewKey::new(KeyKind::Live, "parent");
    parent.scopes = Scopes::NONE.with(Scope::CompletionsWrite).with(Scope::UsageRead);
    parent.spend_limit = Some(Nanos(1000));
    parent.expires_at = Some(START + 10 * MINUTE);
    parent.owner = Some("kai".into());
    let (parent, _) = store.create_key(parent).await.unwrap();
    let (row, token) = mint(&store, parent.id).await;
    assert_eq!((row.kind, row.scopes, row.owner.as_deref()), (KeyKind::Temp, parent.scopes, Some("kai")));
    assert_eq!(row.expires_at, Some(START + 10 * MINUTE), "not longer than its parent");
    assert!(token.expose().starts_with("ak-temp-"));
    assert!(works(&store, &token, START).await && !works(&store, &token, START + 10 * MINUTE).await);

    let refused = |change: fn(&mut NewTemp)| {
        let mut temp = new("t");
        change(&mut temp);
        store.mint_temp(parent.id, None, temp)
    };
    let wider = refused(|t| t.scopes = Some(Scopes::NONE.with(Scope::EmbeddingsWrite))).await.unwrap_err();
    assert_eq!(field(wider), "scopes");
    assert_eq!(field(refused(|t| t.spend_limit = Some(Nanos(1001))).await.unwrap_err()), "spend_limit");
    assert_eq!(field(refused(|t| t.lives_ms = 24 * HOUR + 1).await.unwrap_err()), "expires_in");
    assert_eq!(field(refused(|t| t.lives_ms = 0).await.unwrap_err()), "expires_in");
    refused(|t| t.spend_limit = Some(Nanos(1000))).await.unwrap();
    let mut record = call(parent.id, public_id(&parent), START);
    record.cost = Some(Nanos(1));
    store.apply(vec![record]).await.unwrap();
    assert_eq!(field(refused(|t| t.spend_limit = Some(Nanos(1000))).await.unwrap_err()), "spend_limit");
}

fn public_id(key: &KeyRow) -> [u8; 8] {
    key.secrets[0].public_id.as_bytes().try_into().unwrap()
}

async fn what_has_nothing_to_hand_on_mints_nothing(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (temp, _) = mint(&store, parent.id).await;
    let (admin, _) = store.create_key(NewKey::new(KeyKind::Admin, "boss")).await.unwrap();
    let (off, _) = make(&store, "off").await;
    store.disable_key(off.id, None).await.unwrap();
    for id in [temp.id, admin.id, off.id] {
        assert!(matches!(store.mint_temp(id, None, new("t")).await, Err(StoreError::Conflict(_))));
    }
    let nobody = store.mint_temp(KeyId([9; 16]), None, new("t")).await;
    assert!(matches!(nobody, Err(StoreError::NotFound(_))));
}

async fn it_dies_with_its_parent_and_with_the_secret_that_minted_it(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (_, first) = mint(&store, parent.id).await;
    let running = live(&store, &first, START).await;
    store.disable_key(parent.id, None).await.unwrap();
    assert!(!works(&store, &first, START).await && running.cancelled());
    store.enable_key(parent.id, None).await.unwrap();
    assert!(works(&store, &first, START).await);

    // An ordinary rotation ends it with the overlap of the secret that minted it.
    let made = store.rotate_key(parent.id, None, Rotation { overlap_ms: MINUTE, leaked: false }).await.unwrap();
    assert!(works(&store, &first, START).await);
    let used = live(&store, &made.token, START).await;
    store.apply(vec![call(parent.id, used.public_id, START)]).await.unwrap();
    assert!(works(&store, &first, START).await && !works(&store, &first, START + MINUTE).await);

    // A secret that others know may have minted for them.
    let (_, second) = mint(&store, parent.id).await;
    let running = live(&store, &second, START).await;
    store.rotate_key(parent.id, None, Rotation { overlap_ms: HOUR, leaked: true }).await.unwrap();
    assert!(!works(&store, &second, START).await && running.cancelled());
    let (_, third) = mint(&store, parent.id).await;
    assert!(works(&store, &third, START).await);
    store.regenerate_key(parent.id, None).await.unwrap();
    assert!(!works(&store, &third, START).await);
    let (_, fourth) = mint(&store, parent.id).await;
    let running = live(&store, &fourth, START).await;
    store.delete_key(parent.id, None).await.unwrap();
    assert!(!works(&store, &fourth, START).await && running.cancelled());
}

async fn it_shrinks_with_its_parent(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (_, token) = mint(&store, parent.id).await;
    let key = live(&store, &token, START).await;
    assert!(key.may(Scope::EmbeddingsWrite));
    let patch = KeyPatch {
        scopes: Some(Scopes::NONE.with(Scope::CompletionsWrite)),
        spend_limit: Some(Some(Nanos(5))),
        expires_at: Some(Some(START + MINUTE)),
        ..KeyPatch::default()
    };
    store.update_key(parent.id, None, patch).await.unwrap();
    let key = live(&store, &token, START).await;
    assert!(!key.may(Scope::EmbeddingsWrite) && key.may(Scope::CompletionsWrite));
    assert_eq!(key.temp.as_ref().unwrap().parent().unwrap().spend_limit(), Some(Nanos(5)));
    assert!(works(&store, &token, START).await && !works(&store, &token, START + MINUTE).await);
}

async fn what_it_costs_is_charged_to_both_and_counted_for_the_parent(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (temp, token) = mint(&store, parent.id).await;
    let key = live(&store, &token, START).await;
    let one = call(temp.id, key.public_id, START);
    let mut refused = call(temp.id, key.public_id, START);
    (refused.outcome, refused.cost) = (Outcome::Refused, Some(Nanos(0)));
    let mut lost = call(temp.id, key.public_id, START);
    (lost.outcome, lost.cost) = (Outcome::Unresolved, Some(Nanos(700)));
    let cost = one.cost.unwrap();
    store.apply(vec![one.clone(), refused, lost.clone()]).await.unwrap();
    // The same again, and the truth about the one that was lost.
    let mut truth = lost.clone();
    (truth.outcome, truth.cost) = (Outcome::Completed, Some(Nanos(30)));
    store.apply(vec![one, truth]).await.unwrap();
    let total = Nanos(cost.0 + 30);
    assert_eq!(store.spent(temp.id).await.unwrap(), total);
    assert_eq!(store.spent(parent.id).await.unwrap(), total);
    assert_eq!(store.requests_made(temp.id).await.unwrap(), 2);
    let query = UsageQuery { group_by: GroupBy { key: true, ..GroupBy::default() }, ..UsageQuery::default() };
    let rows = store.usage(&query).await.unwrap();
    let keys: Vec<_> = rows.iter().map(|row| (row.key, row.sums.cost, row.sums.requests)).collect();
    assert_eq!(keys, [(Some(parent.id), total, 3)]);
}

async fn it_is_buried_after_its_end(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (temp, token) = mint(&store, parent.id).await;
    let (ended, _) = mint(&store, parent.id).await;
    let key = live(&store, &token, START).await;
    store.end_temp(&key).await.unwrap();
    assert!(key.cancelled() && !works(&store, &token, START).await);
    assert_eq!(store.key(temp.id).await.unwrap().deleted_at, None, "its caller can still hear why it fails");
    home.wait(2 * HOUR);
    store.bury_temp_keys().await.unwrap();
    for id in [temp.id, ended.id] {
        let row = store.key(id).await.unwrap();
        assert!(row.deleted_at.is_some(), "{id}");
    }
    assert!(store.key(parent.id).await.unwrap().deleted_at.is_none());
}

async fn its_terms_come_back_after_a_restart(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let mut temp = new("t");
    temp.request_limit = Some(7);
    temp.ip = Some("2001:db8::1".parse().unwrap());
    temp.models = Some(Models::Allow([ModelGlob::parse("openai/gpt-*").unwrap()].into()));
    let (_, token) = store.mint_temp(parent.id, None, temp.clone()).await.unwrap();
    store.close().await;
    drop(store);
    let store = home.open().await;
    let key = live(&store, &token, START).await;
    let terms = key.temp.as_ref().unwrap();
    assert_eq!((terms.parent_id, terms.request_limit, terms.ip), (parent.id, Some(7), temp.ip));
    assert_eq!(terms.models, temp.models);
    // Spend is the parent's too although nobody has looked the key up in this process yet.
    let (other, _) = mint(&store, parent.id).await;
    store.close().await;
    drop((store, key));
    let store = home.open().await;
    store.apply(vec![call(other.id, *b"AbCd1234", START)]).await.unwrap();
    assert_eq!(store.spent(parent.id).await.unwrap(), call(other.id, [0; 8], 0).cost.unwrap());
}
