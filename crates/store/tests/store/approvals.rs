//! Requests for more than a key has: granted within what is above, for a time, and taken back to the moment.

use crate::home::*;
use anykey_core::controls::{Controls, Limits, ModelGlob};
use anykey_core::notice::{Channel, Event};
use anykey_core::wish::Wish;
use anykey_core::{KeyId, KeyKind, KeyRules, MemberId, Nanos, OrganisationId, OwnerId, PersonId, Placement, Role};
use anykey_store::{
    About, ApprovalFilter, ApprovalRow, ApprovalState, Asker, AuditFilter, Decision, DeliveryFilter, KeyPatch, KeyRow,
    KeyWish, NewApproval, NewDestination, NewKey, NewMember, NewPerson, NoticeSettings, OrganisationPatch, Page, Store,
    StoreError,
};
use std::sync::Arc;

on_both!(
    what_is_granted_is_in_force_at_once_and_stays,
    nobody_decides_on_their_own,
    a_request_is_decided_once,
    what_is_above_a_key_bounds_what_is_granted,
    a_grant_ends_at_its_moment_across_a_restart,
    what_was_changed_since_stays_at_the_end,
    grants_on_top_of_each_other_end_in_either_order,
    nobody_decides_and_it_lapses,
    whoever_asked_withdraws,
    a_key_that_is_gone_has_nothing_to_take_back,
    an_end_comes_once_with_several_that_look,
    everybody_concerned_is_told_and_all_of_it_recorded,
    a_key_that_was_asked_for_is_made_and_its_secret_collected_once,
    a_key_that_is_asked_for_stays_within_what_is_above_it,
    a_key_made_for_a_time_ends_with_it,
);

/// What the changes of this file leave in the audit log.
pub const RECORDED: &[&str] =
    &["approval.ask", "approval.grant", "approval.refuse", "approval.withdraw", "approval.lapse", "approval.end"];

fn who(id: &str) -> Asker {
    Asker { id: id.into(), name: format!("{id}'s name") }
}

fn controls(json: &str) -> Controls {
    Controls::from_json(json).unwrap()
}

fn rpm(n: u64) -> Wish {
    Wish { limits: Limits { rpm: Some(n), ..Limits::default() }, ..Wish::default() }
}

fn model(text: &str) -> Wish {
    Wish { models: vec![ModelGlob::parse(text).unwrap()], ..Wish::default() }
}

/// A key that may little.
async fn bounded(store: &Store) -> (KeyRow, anykey_core::Token) {
    let new = NewKey {
        controls: controls(r#"{"models":{"allow":["sim/echo"]},"limits":{"rpm":10}}"#),
        spend_limit: Some(Nanos(5)),
        expires_at: Some(START + 10 * DAY),
        ..NewKey::new(KeyKind::Live, "k")
    };
    store.create_key(new).await.unwrap()
}

async fn ask(store: &Store, key: KeyId, wish: Wish) -> Result<ApprovalRow, StoreError> {
    let new = NewApproval {
        about: About::Key(key),
        wish,
        reason: "a launch".into(),
        asked_by: who("ada"),
        lapses_at: store.clock_ms() + 7 * DAY,
    };
    store.ask_approval(new).await
}

fn approve(until: Option<i64>) -> Decision {
    Decision::Approve { until, answer: None }
}

/// Asked and granted.
async fn granted(store: &Store, key: KeyId, wish: Wish, until: Option<i64>) -> ApprovalRow {
    let asked = ask(store, key, wish).await.unwrap();
    store.decide_approval(asked.id, None, who("boss"), approve(until)).await.unwrap().approval
}

async fn limit_of(store: &Store, key: KeyId) -> Option<u64> {
    store.key(key).await.unwrap().controls.limits.rpm
}

async fn what_is_granted_is_in_force_at_once_and_stays(home: &Home) {
    let store = home.open().await;
    let (key, token) = bounded(&store).await;
    let running = live(&store, &token, START).await;
    let wish = Wish {
        spend_limit: Some(9),
        expires_at: Some(START + 90 * DAY),
        ..Wish { models: model("openai/gpt-4o*").models, ..rpm(600) }
    };
    let asked = ask(&store, key.id, wish).await.unwrap();
    assert_eq!((asked.state, asked.version), (ApprovalState::Waiting, 1));
    assert_eq!(store.key(key.id).await.unwrap(), key, "asking changes nothing");
    let decided = store.decide_approval(asked.id, Some(1), who("boss"), approve(None)).await.unwrap();
    assert_eq!((decided.approval.state, decided.approval.ends_at), (ApprovalState::Approved, None));
    assert_eq!(decided.approval.decided_by, Some(who("boss")));
    let row = decided.key.unwrap();
    assert_eq!(
        row.controls,
        controls(
            r#"{"models":{"allow":["sim/echo","openai/gpt-4o*"]},"limits":{"rpm":600},"spend":{"total":"0.000000009"}}"#
        )
    );
    assert_eq!((row.spend_limit, row.expires_at), (Some(Nanos(9)), Some(START + 90 * DAY)));
    assert_eq!(store.key(key.id).await.unwrap(), row);
    // Also for calls, and without ending those that run.
    let now = live(&store, &token, START).await;
    assert!(now.bounds.iter().any(|bound| bound.controls.limits.rpm == Some(600)));
    assert!(!running.cancelled());
    home.wait(60 * DAY);
    store.end_approvals().await.unwrap();
    assert_eq!(limit_of(&store, key.id).await, Some(600));
}

async fn nobody_decides_on_their_own(home: &Home) {
    let store = home.open().await;
    let (key, _) = bounded(&store).await;
    let asked = ask(&store, key.id, rpm(20)).await.unwrap();
    for decision in [approve(None), Decision::Refuse { reason: "no".into() }] {
        let own = store.decide_approval(asked.id, None, who("ada"), decision).await;
        assert!(matches!(&own, Err(StoreError::Conflict(text)) if text.contains("themselves")), "{own:?}");
    }
    assert_eq!(store.approval(asked.id).await.unwrap().version, 1);
    assert_eq!(limit_of(&store, key.id).await, Some(10));
}

async fn a_request_is_decided_once(home: &Home) {
    let store = home.open().await;
    let (key, _) = bounded(&store).await;
    let asked = ask(&store, key.id, rpm(20)).await.unwrap();
    let stale = store.decide_approval(asked.id, Some(7), who("boss"), approve(None)).await;
    assert!(matches!(stale, Err(StoreError::VersionMismatch { found: 1, .. })));
    let mut deciding = tokio::task::JoinSet::new();
    for n in 0..8 {
        let store = store.clone();
        deciding.spawn(async move {
            let decision = if n % 2 == 0 { approve(None) } else { Decision::Refuse { reason: "no".into() } };
            store.decide_approval(asked.id, None, who(&format!("boss{n}")), decision).await.is_ok()
        });
    }
    assert_eq!(deciding.join_all().await.into_iter().filter(|done| *done).count(), 1);
    let row = store.approval(asked.id).await.unwrap();
    let expected = if row.state == ApprovalState::Approved { 20 } else { 10 };
    assert_eq!(limit_of(&store, key.id).await, Some(expected));
    let past = ask(&store, key.id, rpm(30)).await.unwrap();
    let late = store.decide_approval(past.id, None, who("boss"), approve(Some(START))).await;
    assert!(matches!(late, Err(StoreError::Invalid { field: "until", .. })));
}

async fn what_is_above_a_key_bounds_what_is_granted(home: &Home) {
    let store = home.open().await;
    let (key, _) = bounded(&store).await;
    let above = |json: &str, rules: KeyRules| OrganisationPatch {
        controls: Some(controls(json)),
        rules: Some(rules),
        ..OrganisationPatch::default()
    };
    let rules = KeyRules { max_expiry_days: Some(30), max_spend: Some(8), ..KeyRules::default() };
    let policy = r#"{"limits":{"rpm":100},"models":{"allow":["sim/*","openai/gpt-4o*"]}}"#;
    store.update_organisation(OrganisationId::DEFAULT, None, above(policy, rules)).await.unwrap();
    for (wish, told) in [
        (rpm(101), "limits.rpm"),
        (model("openai/o1"), "models"),
        (model("*"), "models"),
        (Wish { expires_at: Some(START + 31 * DAY), ..Wish::default() }, "expires_at"),
        (Wish { spend_limit: Some(9), ..Wish::default() }, "spend_limits"),
        (Wish { expires_at: Some(START - 1), ..Wish::default() }, "past"),
        (rpm(10), "nothing that the key does not have"),
    ] {
        let refused = ask(&store, key.id, wish.clone()).await;
        assert!(
            matches!(&refused, Err(StoreError::Invalid { message, .. }) if message.contains(told)),
            "{wish}: {refused:?}"
        );
    }
    let inside = Wish { spend_limit: Some(8), expires_at: Some(START + 30 * DAY), ..rpm(100) };
    let asked = ask(&store, key.id, inside).await.unwrap();
    // What was within the bounds when it was asked may not be when it is granted.
    let tighter = above(r#"{"limits":{"rpm":50}}"#, KeyRules::default());
    store.update_organisation(OrganisationId::DEFAULT, None, tighter).await.unwrap();
    let refused = store.decide_approval(asked.id, None, who("boss"), approve(None)).await;
    assert!(
        matches!(&refused, Err(StoreError::Invalid { message, .. }) if message.contains("limits.rpm")),
        "{refused:?}"
    );
    assert_eq!(store.approval(asked.id).await.unwrap().state, ApprovalState::Waiting);
    assert_eq!(store.key(key.id).await.unwrap(), key, "nothing of it was granted");
    // Of keys that manage, no more can be asked.
    let (admin, _) = store.create_key(NewKey::new(KeyKind::Admin, "a")).await.unwrap();
    assert!(matches!(ask(&store, admin.id, rpm(20)).await, Err(StoreError::Invalid { field: "key", .. })));
}

async fn a_grant_ends_at_its_moment_across_a_restart(home: &Home) {
    let store = home.open().await;
    let (key, token) = bounded(&store).await;
    let wish = Wish { spend_limit: Some(9), ..Wish { models: model("openai/*").models, ..rpm(600) } };
    let until = START + 2 * DAY;
    let row = granted(&store, key.id, wish, Some(until)).await;
    assert_eq!((row.ends_at, store.next_approval_end().await.unwrap()), (Some(until), Some(until)));
    home.wait(2 * DAY - 1);
    assert_eq!(store.end_approvals().await.unwrap(), 0);
    assert_eq!(limit_of(&store, key.id).await, Some(600));
    let known = live(&store, &token, START).await;
    store.close().await;
    drop((store, known));
    // Nobody is there at the moment itself.
    home.wait(DAY);
    let store = home.open().await;
    assert_eq!(store.end_approvals().await.unwrap(), 1);
    let after = store.key(key.id).await.unwrap();
    assert_eq!((after.controls, after.spend_limit, after.expires_at), (key.controls, key.spend_limit, key.expires_at));
    assert_eq!(store.approval(row.id).await.unwrap().state, ApprovalState::Ended);
    let now = live(&store, &token, START).await;
    assert!(now.bounds.iter().any(|bound| bound.controls.limits.rpm == Some(10)));
    assert_eq!((store.end_approvals().await.unwrap(), store.next_approval_end().await.unwrap()), (0, None));
}

async fn what_was_changed_since_stays_at_the_end(home: &Home) {
    let store = home.open().await;
    let (key, _) = bounded(&store).await;
    let wish = Wish { spend_limit: Some(9), ..Wish { models: model("openai/*").models, ..rpm(600) } };
    granted(&store, key.id, wish, Some(START + DAY)).await;
    let by_hand = KeyPatch {
        controls: Some(controls(r#"{"models":{"allow":["sim/echo","openai/*"]},"limits":{"rpm":700}}"#)),
        spend_limit: Some(Some(Nanos(9))),
        name: Some("another".into()),
        ..KeyPatch::default()
    };
    store.update_key(key.id, None, by_hand).await.unwrap();
    home.wait(DAY);
    store.end_approvals().await.unwrap();
    let after = store.key(key.id).await.unwrap();
    assert_eq!(
        after.controls,
        controls(r#"{"models":{"allow":["sim/echo"]},"limits":{"rpm":700},"spend":{"total":"0.000000005"}}"#)
    );
    assert_eq!((after.name.as_str(), after.spend_limit), ("another", Some(Nanos(5))));
}

async fn grants_on_top_of_each_other_end_in_either_order(home: &Home) {
    let store = home.open().await;
    for first_ends_first in [true, false] {
        let now = store.clock_ms();
        let (key, _) = bounded(&store).await;
        let (soon, late) = (Some(now + HOUR), Some(now + 2 * HOUR));
        let (first, second) = if first_ends_first { (soon, late) } else { (late, soon) };
        granted(&store, key.id, Wish { models: model("openai/*").models, ..rpm(20) }, first).await;
        granted(&store, key.id, Wish { models: model("gemini/*").models, ..rpm(50) }, second).await;
        assert_eq!(limit_of(&store, key.id).await, Some(50));
        home.wait(HOUR);
        store.end_approvals().await.unwrap();
        let row = store.key(key.id).await.unwrap();
        assert_eq!(row.controls.limits.rpm, Some(if first_ends_first { 50 } else { 20 }));
        assert_eq!(row.controls.permits_model("openai", "x"), !first_ends_first);
        home.wait(HOUR);
        store.end_approvals().await.unwrap();
        assert_eq!(store.key(key.id).await.unwrap().controls, key.controls);
    }
}

async fn nobody_decides_and_it_lapses(home: &Home) {
    let store = home.open().await;
    let (key, _) = bounded(&store).await;
    let asked = ask(&store, key.id, rpm(20)).await.unwrap();
    home.wait(7 * DAY);
    // Whoever is too late finds it closed, also before somebody has looked.
    let late = store.decide_approval(asked.id, None, who("boss"), approve(None)).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))));
    assert_eq!(store.end_approvals().await.unwrap(), 1);
    assert_eq!(store.approval(asked.id).await.unwrap().state, ApprovalState::Lapsed);
    assert_eq!(limit_of(&store, key.id).await, Some(10));
}

async fn whoever_asked_withdraws(home: &Home) {
    let store = home.open().await;
    let (key, _) = bounded(&store).await;
    let asked = ask(&store, key.id, rpm(20)).await.unwrap();
    assert!(matches!(store.withdraw_approval(asked.id, "eve").await, Err(StoreError::Conflict(_))));
    assert_eq!(store.withdraw_approval(asked.id, "ada").await.unwrap().state, ApprovalState::Withdrawn);
    assert!(matches!(store.withdraw_approval(asked.id, "ada").await, Err(StoreError::Conflict(_))));
    for _ in 0..20 {
        ask(&store, key.id, rpm(20)).await.unwrap();
    }
    assert!(matches!(ask(&store, key.id, rpm(20)).await, Err(StoreError::Conflict(_))), "enough is enough");
    let filter = ApprovalFilter { state: Some(ApprovalState::Waiting), key: Some(key.id), ..ApprovalFilter::default() };
    assert_eq!(store.approvals(&filter, Page::default()).await.unwrap().data.len(), 20);
    let others = ApprovalFilter { asked_by: Some("eve".into()), ..ApprovalFilter::default() };
    assert!(store.approvals(&others, Page::default()).await.unwrap().data.is_empty());
}

async fn a_key_that_is_gone_has_nothing_to_take_back(home: &Home) {
    let store = home.open().await;
    let (key, _) = bounded(&store).await;
    let row = granted(&store, key.id, rpm(20), Some(START + DAY)).await;
    let waits = ask(&store, key.id, rpm(30)).await.unwrap();
    store.delete_key(key.id, None).await.unwrap();
    assert!(matches!(ask(&store, key.id, rpm(40)).await, Err(StoreError::Conflict(_))));
    let late = store.decide_approval(waits.id, None, who("boss"), approve(None)).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))));
    home.wait(DAY);
    assert_eq!(store.end_approvals().await.unwrap(), 1);
    assert_eq!(store.approval(row.id).await.unwrap().state, ApprovalState::Ended);
}

async fn an_end_comes_once_with_several_that_look(home: &Home) {
    let (store, second) = if home.is_postgres() {
        crate::replicas::two(home).await
    } else {
        let store = home.open().await;
        (store.clone(), store)
    };
    let (key, _) = bounded(&store).await;
    for n in 0..10u64 {
        granted(&store, key.id, rpm(20 + n), Some(START + DAY)).await;
    }
    home.wait(DAY);
    let mut looking = tokio::task::JoinSet::new();
    for store in [store.clone(), second.clone(), store.clone(), second] {
        looking.spawn(async move {
            loop {
                match store.end_approvals().await {
                    Ok(ended) => return ended,
                    Err(StoreError::Contended) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    looking.join_all().await;
    assert_eq!(limit_of(&store, key.id).await, Some(10));
    let filter = AuditFilter { verbs: vec![anykey_store::Verb::ApprovalEnd], ..AuditFilter::default() };
    let ends = store.audit(&filter, Page { after: None, limit: 200 }).await.unwrap().data;
    assert_eq!(ends.len(), 10, "each once");
}

async fn everybody_concerned_is_told_and_all_of_it_recorded(home: &Home) {
    let store: Arc<Store> = home.open().await;
    store.set_notices(NoticeSettings { mail: true, unused_days: None });
    let new = NewPerson { email: "ada@example.com".into(), name: "Ada".into(), operator: false };
    let ada: PersonId = store.create_person(new).await.unwrap().id;
    let hook = NewDestination {
        organisation: None,
        project: None,
        name: "h".into(),
        channel: Channel::Webhook,
        address: "https://example.com/".into(),
        events: Default::default(),
    };
    store.create_destination(hook).await.unwrap();
    let (key, token) = bounded(&store).await;
    let asked_by = Asker { id: ada.to_string(), name: "ada@example.com".into() };
    let ask = |wish: Wish| NewApproval {
        about: About::Key(key.id),
        wish,
        reason: format!("because {}", token.expose()),
        asked_by: asked_by.clone(),
        lapses_at: START + DAY,
    };
    let one = store.ask_approval(ask(rpm(20))).await.unwrap();
    let two = store.ask_approval(ask(rpm(30))).await.unwrap();
    let three = store.ask_approval(ask(rpm(40))).await.unwrap();
    store.ask_approval(ask(rpm(50))).await.unwrap();
    store.decide_approval(one.id, None, who("boss"), approve(Some(START + HOUR))).await.unwrap();
    store.decide_approval(two.id, None, who("boss"), Decision::Refuse { reason: "no".into() }).await.unwrap();
    store.withdraw_approval(three.id, &asked_by.id).await.unwrap();
    home.wait(DAY);
    assert_eq!(store.end_approvals().await.unwrap(), 2);

    let all = store.deliveries(&DeliveryFilter::default(), Page { after: None, limit: 200 }).await.unwrap().data;
    let of = |event: Event, address: &str| {
        all.iter().filter(|row| row.event == event && row.address.contains(address)).count()
    };
    for (event, hooks, letters) in [
        (Event::ApprovalRequested, 4, 0),
        (Event::ApprovalDecided, 2, 2),
        (Event::ApprovalEnded, 1, 1),
        (Event::ApprovalLapsed, 1, 1),
    ] {
        assert_eq!((of(event, "example.com"), of(event, "ada@")), (hooks + letters, letters), "{event:?}");
    }
    while let Some(dispatch) = store.take_delivery(&[], MINUTE).await.unwrap() {
        assert!(!dispatch.data.contains(token.expose()), "a key that was pasted into the reason is masked");
    }
    let (entries, _) = store.audit_after(&AuditFilter::default(), 0, 1_000).await.unwrap();
    let told: std::collections::BTreeSet<&str> = entries.iter().map(|entry| entry.verb.as_str()).collect();
    let missing: Vec<&&str> = RECORDED.iter().filter(|verb| !told.contains(**verb)).collect();
    assert!(missing.is_empty(), "{missing:?} of {told:?}");
    let changes = entries.iter().filter(|entry| entry.verb == "key.update").count();
    assert_eq!(changes, 2, "the key as it was given more, and as that was taken back");
    assert!(store.verify_audit(None).await.unwrap().is_whole());
}

/// Somebody who may look, and have no keys but those that others make.
async fn viewer(store: &Store) -> MemberId {
    let new = NewPerson { email: "vi@example.com".into(), name: "Vi".into(), operator: false };
    let person = store.create_person(new).await.unwrap().id;
    let organisation = OrganisationId::DEFAULT;
    let new = NewMember { organisation, person, role: Role::Viewer, controls: Controls::default() };
    store.add_member(new).await.unwrap().id
}

fn wanted(member: MemberId, wish: Wish) -> NewApproval {
    let placement = Placement { owner: Some(OwnerId::Member(member)), ..Placement::default() };
    let key = KeyWish {
        name: "dash".into(),
        description: "a dashboard".into(),
        review_at: Some(START + 90 * DAY),
        rotation_interval_ms: Some(30 * DAY),
        ..KeyWish::default()
    };
    let about = About::New(placement, key);
    NewApproval { about, wish, reason: "it has none".into(), asked_by: who("vi"), lapses_at: START + 7 * DAY }
}

async fn a_key_that_was_asked_for_is_made_and_its_secret_collected_once(home: &Home) {
    let store = home.open().await;
    let member = viewer(&store).await;
    let wish = Wish { spend_limit: Some(9), ..Wish { models: model("openai/*").models, ..rpm(60) } };
    let asked = store.ask_approval(wanted(member, wish)).await.unwrap();
    assert_eq!((asked.key, asked.member), (None, Some(member)));
    assert!(asked.wants().starts_with("the key dash with the model openai/*, 60 requests"), "{}", asked.wants());
    let early = store.collect_approval(asked.id, "vi").await;
    assert!(matches!(early, Err(StoreError::Conflict(_))), "nothing was granted yet");
    let own = store.decide_approval(asked.id, None, who("vi"), approve(None)).await;
    assert!(matches!(own, Err(StoreError::Conflict(_))));
    let decided = store.decide_approval(asked.id, None, who("boss"), approve(None)).await.unwrap();
    let key = decided.key.unwrap();
    assert_eq!(decided.approval.key, Some(key.id));
    assert_eq!((key.owner_id, key.creator.as_deref()), (Some(OwnerId::Member(member)), Some("boss")));
    assert_eq!(
        key.controls,
        controls(r#"{"models":{"allow":["openai/*"]},"limits":{"rpm":60},"spend":{"total":"0.000000009"}}"#)
    );
    assert_eq!((key.spend_limit, key.expires_at, key.description.as_str()), (Some(Nanos(9)), None, "a dashboard"));
    assert_eq!((key.review_at, key.rotation_interval_ms), (Some(START + 90 * DAY), Some(30 * DAY)));

    let another = store.collect_approval(asked.id, "boss").await;
    assert!(matches!(another, Err(StoreError::Conflict(_))), "the secret is not the approver's");
    let mut collecting = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        collecting.spawn(async move { store.collect_approval(asked.id, "vi").await.ok() });
    }
    let mut tokens: Vec<_> = collecting.join_all().await.into_iter().flatten().collect();
    assert_eq!(tokens.len(), 1, "once");
    let (row, token) = tokens.remove(0);
    assert_eq!((row.id, live(&store, &token, START).await.info.id), (key.id, key.id));
    assert_ne!(row.masked, key.masked, "the secret that it was made with is dead");
    assert_eq!(store.approval(asked.id).await.unwrap().collected_at, Some(START));
    let (entries, _) = store.audit_after(&AuditFilter::default(), 0, 1_000).await.unwrap();
    let about_key: Vec<&str> =
        entries.iter().map(|entry| entry.verb.as_str()).filter(|verb| verb.starts_with("key.")).collect();
    assert_eq!(about_key, ["key.create", "key.regenerate"]);
    assert!(store.verify_audit(None).await.unwrap().is_whole());
}

async fn a_key_that_is_asked_for_stays_within_what_is_above_it(home: &Home) {
    let store = home.open().await;
    let member = viewer(&store).await;
    let above = |json: &str, rules: KeyRules| OrganisationPatch {
        controls: Some(controls(json)),
        rules: Some(rules),
        ..OrganisationPatch::default()
    };
    let rules = KeyRules { max_expiry_days: Some(30), ..KeyRules::default() };
    let patch = above(r#"{"limits":{"rpm":100}}"#, rules);
    store.update_organisation(OrganisationId::DEFAULT, None, patch).await.unwrap();
    let long = Wish { expires_at: Some(START + 31 * DAY), ..Wish::default() };
    let past = Wish { expires_at: Some(START - 1), ..Wish::default() };
    for (wish, field) in [(rpm(101), "wish"), (long, "expires_at"), (past, "expires_at")] {
        let refused = store.ask_approval(wanted(member, wish.clone())).await;
        assert!(
            matches!(&refused, Err(StoreError::Invalid { field: found, .. }) if *found == field),
            "{wish}: {refused:?}"
        );
    }
    let inside = Wish { expires_at: Some(START + 30 * DAY), ..rpm(100) };
    let asked = store.ask_approval(wanted(member, inside)).await.unwrap();
    // What was tightened since holds.
    let patch = above(r#"{"limits":{"rpm":50}}"#, KeyRules::default());
    store.update_organisation(OrganisationId::DEFAULT, None, patch).await.unwrap();
    let refused = store.decide_approval(asked.id, None, who("boss"), approve(None)).await;
    assert!(matches!(refused, Err(StoreError::Invalid { field: "wish", .. })), "{refused:?}");
    let row = store.approval(asked.id).await.unwrap();
    assert_eq!((row.state, row.key), (ApprovalState::Waiting, None), "nothing of it was made");
    let own = anykey_store::KeyFilter { name: Some("dash".into()), ..anykey_store::KeyFilter::default() };
    assert!(store.keys(&own, Page::default()).await.unwrap().data.is_empty());
    for _ in 0..19 {
        store.ask_approval(wanted(member, rpm(5))).await.unwrap();
    }
    let one_more = store.ask_approval(wanted(member, rpm(5))).await;
    assert!(matches!(one_more, Err(StoreError::Conflict(_))), "enough is enough");
}

async fn a_key_made_for_a_time_ends_with_it(home: &Home) {
    let store = home.open().await;
    let member = viewer(&store).await;
    let wish = Wish { expires_at: Some(START + 10 * DAY), ..Wish::default() };
    let asked = store.ask_approval(wanted(member, wish)).await.unwrap();
    let until = START + DAY;
    let decided = store.decide_approval(asked.id, None, who("boss"), approve(Some(until))).await.unwrap();
    let key = decided.key.unwrap();
    assert_eq!((key.expires_at, decided.approval.ends_at), (Some(until), Some(until)), "what comes first");
    home.wait(DAY);
    assert_eq!(store.end_approvals().await.unwrap(), 1);
    assert_eq!(store.approval(asked.id).await.unwrap().state, ApprovalState::Ended);
    let late = store.collect_approval(asked.id, "vi").await;
    assert!(matches!(late, Err(StoreError::Conflict(_))));
    assert_eq!(store.key(key.id).await.unwrap().version, key.version, "it ended by itself");
}
