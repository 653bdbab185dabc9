//! Warnings of limits of money on every level: each share of each window once, whoever looks and however often.

use crate::home::*;
use crate::notices::{add, deliveries, member, organisation, told, webhook};
use anykey_core::controls::Controls;
use anykey_core::{Nanos, OrganisationId, OwnerId, Placement, ProjectId};
use anykey_store::{
    KeyPatch, KeyRow, MemberPatch, NewDestination, NewKey, NewServiceAccount, NoticeSettings, OrganisationPatch,
    ProjectPatch, Store,
};
use serde_json::Value;

on_both!(
    each_share_of_each_window_is_told_once_on_every_level,
    what_was_spent_at_the_end_of_a_window_is_told_after_it,
    replicas_tell_each_share_once,
    shares_are_those_that_are_set,
    an_increase_is_adopted_by_who_grants_it_and_goes_when_it_has_ended,
);

const USD: i64 = 1_000_000_000;

fn spend(json: &str) -> Controls {
    Controls::from_json(&format!("{{\"spend\":{json}}}")).unwrap()
}

/// A call that cost so many cents and began at the store's own time.
async fn pay(store: &Store, key: &KeyRow, cents: i64) {
    let mut record = call(key.id, public_id(key), store.clock_ms());
    record.cost = Some(Nanos(cents * USD / 100));
    store.apply(vec![record]).await.unwrap();
}

/// Level, name, window and percent of every warning that was written, in their order.
async fn warnings(store: &Store) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(dispatch) = store.take_delivery(&[], MINUTE).await.unwrap() {
        let data: Value = serde_json::from_str(&dispatch.data).unwrap();
        let limit = &data["limit"];
        assert_eq!(data.get("key").is_some(), limit["level"] == "key", "{data}");
        all.push(format!(
            "{} {} {} of {}",
            limit["level"].as_str().unwrap(),
            limit["window"].as_str().unwrap(),
            limit["percent"],
            limit["limit_usd"].as_str().unwrap()
        ));
        let sent = anykey_store::Attempt::Sent { status: Some(204) };
        assert!(store.delivery_tried(dispatch.delivery, dispatch.attempt, sent).await.unwrap());
    }
    all.sort();
    all
}

async fn limit_organisation(store: &Store, id: OrganisationId, json: &str) {
    let patch = OrganisationPatch { controls: Some(spend(json)), ..OrganisationPatch::default() };
    store.update_organisation(id, None, patch).await.unwrap();
}

async fn limit_project(store: &Store, id: ProjectId, json: &str) {
    let patch = ProjectPatch { controls: Some(spend(json)), ..ProjectPatch::default() };
    store.update_project(id, None, patch).await.unwrap();
}

async fn each_share_of_each_window_is_told_once_on_every_level(home: &Home) {
    let mut store = told(home).await;
    let (acme, search) = organisation(&store, "Acme").await;
    add(&store, NewDestination { organisation: Some(acme), ..webhook("a") }).await;
    let ada = member(&store, acme, "ada@example.com").await;
    let deploy = NewServiceAccount {
        organisation: acme,
        project: Some(search),
        name: "deploy".into(),
        description: String::new(),
        controls: spend(r#"{"total":"10"}"#),
    };
    let deploy = store.create_service_account(deploy).await.unwrap().id;
    limit_organisation(&store, acme, r#"{"month":"20"}"#).await;
    limit_project(&store, search, r#"{"week":"8"}"#).await;
    let patch = MemberPatch { controls: Some(spend(r#"{"day":"2"}"#)), ..MemberPatch::default() };
    store.update_member(ada, None, patch).await.unwrap();
    let key = async |name: &str, owner, controls| {
        let placement = Placement { organisation: acme, project: search, owner: Some(owner) };
        let new = NewKey { placement, controls, ..NewKey::new(anykey_core::KeyKind::Live, name) };
        store.create_key(new).await.unwrap().0
    };
    let hers = key("hers", OwnerId::Member(ada), spend(r#"{"day":"1","week":"100"}"#)).await;
    let machine = key("machine", OwnerId::ServiceAccount(deploy), Controls::default()).await;

    pay(&store, &hers, 49).await;
    assert_eq!((store.remind().await.unwrap(), warnings(&store).await.len()), (0, 0));
    pay(&store, &hers, 1).await;
    store.remind().await.unwrap();
    assert_eq!(warnings(&store).await, ["key daily 50 of 1", "key daily 50 of 1"], "the webhook and she");
    // Two shares at once are one warning, of the larger.
    pay(&store, &hers, 150).await;
    store.remind().await.unwrap();
    let mut expected = vec!["key daily 100 of 1", "member daily 100 of 2"];
    assert_eq!(warnings(&store).await, [expected[0], expected[0], expected[1], expected[1]]);
    pay(&store, &machine, 500).await;
    store.remind().await.unwrap();
    expected = vec!["project weekly 80 of 8", "service_account total 50 of 10"];
    assert_eq!(warnings(&store).await, expected, "nobody owns the project, and the organisation has no admin");
    // Whoever looks and however often, also after a restart.
    if !home.is_postgres() {
        store.close().await;
        drop(store);
        store = told(home).await;
    }
    for _ in 0..3 {
        assert_eq!(store.remind().await.unwrap(), 0);
    }
    pay(&store, &machine, 300).await;
    store.remind().await.unwrap();
    expected = vec!["organisation monthly 50 of 20", "project weekly 100 of 8", "service_account total 80 of 10"];
    assert_eq!(warnings(&store).await, expected);
    // A new day is another window; what is told of a longer one is told.
    home.wait(DAY);
    pay(&store, &hers, 60).await;
    store.remind().await.unwrap();
    assert_eq!(warnings(&store).await, ["key daily 50 of 1", "key daily 50 of 1"]);
    // A limit that is raised for the window that runs is no news, but that of all time is another limit.
    limit_project(&store, search, r#"{"week":"12"}"#).await;
    store.remind().await.unwrap();
    assert_eq!(warnings(&store).await, [""; 0]);
}

async fn what_was_spent_at_the_end_of_a_window_is_told_after_it(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    let patch = KeyPatch { controls: Some(spend(r#"{"day":"1"}"#)), ..KeyPatch::default() };
    let key = store.update_key(key.id, None, patch).await.unwrap();
    // A minute before midnight, looked at a minute after.
    home.wait(DAY - START % DAY - MINUTE);
    pay(&store, &key, 85).await;
    home.wait(2 * MINUTE);
    pay(&store, &key, 51).await;
    assert_eq!(store.remind().await.unwrap(), 2);
    assert_eq!(warnings(&store).await, ["key daily 50 of 1", "key daily 80 of 1"]);
    home.wait(HOUR);
    assert_eq!(store.remind().await.unwrap(), 0);
}

async fn replicas_tell_each_share_once(home: &Home) {
    let (store, second) = if home.is_postgres() {
        crate::replicas::two(home).await
    } else {
        let store = home.open().await;
        (store.clone(), store)
    };
    for store in [&store, &second] {
        store.set_notices(NoticeSettings { mail: false, unused_days: None });
    }
    add(&store, webhook("a")).await;
    limit_organisation(&store, OrganisationId::DEFAULT, r#"{"month":"10","day":"10"}"#).await;
    let (key, _) = make(&store, "k").await;
    pay(&store, &key, 600).await;
    let mut looking = tokio::task::JoinSet::new();
    for store in [store.clone(), second.clone(), store.clone(), second] {
        looking.spawn(async move { store.remind().await.unwrap() });
    }
    let written: usize = looking.join_all().await.into_iter().sum();
    assert_eq!((written, deliveries(&store).await.len()), (2, 2));
}

async fn shares_are_those_that_are_set(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    limit_organisation(&store, OrganisationId::DEFAULT, r#"{"month":"10","warn_at":[]}"#).await;
    limit_project(&store, ProjectId::DEFAULT, r#"{"month":"10","warn_at":[90,10]}"#).await;
    let (key, _) = make(&store, "k").await;
    let patch = KeyPatch { controls: Some(spend(r#"{"total":"10","warn_at":[25]}"#)), ..KeyPatch::default() };
    let key = store.update_key(key.id, None, patch).await.unwrap();
    for (cents, expected) in [
        (99, &[][..]),
        (1, &["project monthly 10 of 10"]),
        (200, &["key total 25 of 10"]),
        (500, &[]),
        (100, &["project monthly 90 of 10"]),
        (500, &[]),
    ] {
        pay(&store, &key, cents).await;
        store.remind().await.unwrap();
        assert_eq!(warnings(&store).await, expected, "{cents}");
    }
}

async fn an_increase_is_adopted_by_who_grants_it_and_goes_when_it_has_ended(home: &Home) {
    let store = told(home).await;
    // An hour after the start.
    let end = "2026-09-21T15:13:20Z";
    let one = |usd: &str| format!(r#"{{"window":"month","usd":"{usd}","until":"{end}","granted_by":"me"}}"#);
    let set = async |list: &str| {
        let json = format!(r#"{{"month":"10","increases":[{list}]}}"#);
        let patch = ProjectPatch { controls: Some(spend(&json)), ..ProjectPatch::default() };
        store.update_project(ProjectId::DEFAULT, None, patch).await.map(|row| row.controls.spend.increases)
    };
    let first = set(&one("5")).await.unwrap().remove(0);
    assert!(first.granted_at == START && first.granted_by != "me", "{first:?}");
    home.wait(MINUTE);
    let both = set(&format!("{},{}", one("5"), one("7"))).await.unwrap();
    assert_eq!((&both[0], both[1].granted_at), (&first, START + MINUTE), "what was there stays as it was granted");
    home.wait(HOUR);
    assert_eq!(set(&one("5")).await.unwrap(), [], "it was there, and has ended");
    assert!(set(&one("6")).await.is_err(), "what has ended cannot be granted");
    let many: Vec<String> =
        (1..=17).map(|n| format!(r#"{{"window":"month","usd":"{n}","until":"2099-01-01T00:00:00Z"}}"#)).collect();
    assert!(set(&many.join(",")).await.is_err());
    assert_eq!(set(&many[1..].join(",")).await.unwrap().len(), 16);
}
