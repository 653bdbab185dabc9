//! Notices: written with the change, for those who want them, once; and the deliveries that come of them.

use crate::home::*;
use anykey_core::notice::{Channel, Event};
use anykey_core::{KeyKind, MemberId, Nanos, OrganisationId, OwnerId, Placement, ProjectId, Role};
use anykey_store::{
    Attempt, DeliveryFilter, DeliveryRow, DeliveryState, DestinationFilter, DestinationPatch, DestinationRow,
    KeyFilter, KeyPatch, NewDestination, NewKey, NewMember, NewOrganisation, NewPerson, NewProject, NoticeSettings,
    Page, Receiver, Rotation, Store, StoreError,
};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::sync::Arc;

on_both!(
    who_wants_to_know_is_told_and_nobody_else,
    an_owner_gets_one_letter_and_a_project_s_owner_in_their_place,
    a_change_that_fails_tells_nothing,
    each_stage_of_each_end_is_told_once,
    unused_review_and_rotation_are_told_once_each,
    what_looked_for_reminders_twice_at_once_writes_them_once,
    a_delivery_is_in_one_hand_at_a_time,
    a_process_that_was_taken_for_dead_changes_nothing,
    what_was_given_up_is_sent_again_on_request,
    what_a_deleted_destination_waited_for_is_given_up,
    a_disabled_destination_holds_what_waits,
    a_change_of_a_destination_has_it_tried_at_once,
    a_secret_is_shown_once_sealed_and_changed_with_an_overlap,
    destinations_are_checked_listed_and_bounded,
    what_was_due_while_nobody_was_there_is_told_once,
    a_share_of_a_spend_limit_is_told_once,
    replicas_take_each_delivery_once,
    a_delivery_stays_where_its_destination_was,
    keys_to_be_rotated_are_listed_soonest_first,
    what_is_done_with_is_forgotten,
    every_change_of_destinations_is_in_the_audit_log,
);

/// What the changes of this file leave in the audit log.
pub const RECORDED: &[&str] = &[
    "destination.create",
    "destination.update",
    "destination.rotate",
    "destination.test",
    "destination.delete",
    "delivery.replay",
];

const LEASE: i64 = MINUTE;

pub async fn told(home: &Home) -> Arc<Store> {
    let store = home.open().await;
    store.set_notices(NoticeSettings { mail: true, unused_days: Some(90) });
    store
}

pub fn webhook(name: &str) -> NewDestination {
    NewDestination {
        organisation: None,
        project: None,
        name: name.into(),
        channel: Channel::Webhook,
        address: format!("https://example.com/{name}"),
        events: BTreeSet::new(),
    }
}

fn mailbox(address: &str) -> NewDestination {
    NewDestination { channel: Channel::Email, address: address.into(), ..webhook("mail") }
}

pub async fn add(store: &Store, new: NewDestination) -> DestinationRow {
    store.create_destination(new).await.unwrap().0
}

pub async fn deliveries(store: &Store) -> Vec<DeliveryRow> {
    let mut all = store.deliveries(&DeliveryFilter::default(), Page { after: None, limit: 200 }).await.unwrap().data;
    all.reverse();
    all
}

/// Who was told of what, in their order.
async fn letters(store: &Store) -> Vec<(String, &'static str)> {
    let mut all: Vec<_> = deliveries(store).await.into_iter().map(|row| (row.address, row.event.name())).collect();
    all.sort();
    all
}

pub async fn organisation(store: &Store, name: &str) -> (OrganisationId, ProjectId) {
    let new = NewOrganisation {
        slug: None,
        name: name.into(),
        description: String::new(),
        controls: Default::default(),
        rules: Default::default(),
    };
    let organisation = store.create_organisation(new).await.unwrap().id;
    let project = NewProject {
        organisation,
        slug: None,
        name: "P".into(),
        description: String::new(),
        controls: Default::default(),
        rules: Default::default(),
    };
    (organisation, store.create_project(project).await.unwrap().id)
}

pub async fn member(store: &Store, organisation: OrganisationId, email: &str) -> MemberId {
    let person =
        store.create_person(NewPerson { email: email.into(), name: "N".into(), operator: false }).await.unwrap().id;
    store
        .add_member(NewMember { organisation, person, role: Role::Member, controls: Default::default() })
        .await
        .unwrap()
        .id
}

async fn key_in(
    store: &Store,
    organisation: OrganisationId,
    project: ProjectId,
    owner: Option<OwnerId>,
) -> anykey_store::KeyRow {
    let placement = Placement { organisation, project, owner };
    store.create_key(NewKey { placement, ..NewKey::new(KeyKind::Live, "k") }).await.unwrap().0
}

fn expires(at: i64) -> KeyPatch {
    KeyPatch { expires_at: Some(Some(at)), ..KeyPatch::default() }
}

async fn who_wants_to_know_is_told_and_nobody_else(home: &Home) {
    let store = told(home).await;
    let ((acme, search), (other, _)) = (organisation(&store, "Acme").await, organisation(&store, "Other").await);
    let events = |event: Event| BTreeSet::from([event]);
    add(&store, webhook("all")).await;
    add(&store, NewDestination { organisation: Some(acme), ..webhook("acme") }).await;
    add(&store, NewDestination { organisation: Some(other), ..webhook("other") }).await;
    add(&store, NewDestination { organisation: Some(acme), project: Some(search), ..mailbox("team@example.com") })
        .await;
    add(&store, NewDestination { events: events(Event::KeyExposed), ..webhook("exposed") }).await;
    let off = add(&store, webhook("off")).await;
    let disable = DestinationPatch { disabled: Some(true), ..DestinationPatch::default() };
    store.update_destination(off.id, None, disable).await.unwrap();

    let key = key_in(&store, acme, search, None).await;
    store.disable_key(key.id, None).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    while let Some(dispatch) = store.take_delivery(&[], LEASE).await.unwrap() {
        assert_eq!(dispatch.event, Event::KeyDisabled);
        assert!(
            dispatch.data.contains(&key.masked) && dispatch.data.contains("\"by\":\"anykey\""),
            "{}",
            dispatch.data
        );
        names.push(match dispatch.to {
            Receiver::Webhook { url, .. } => url.rsplit('/').next().unwrap().to_owned(),
            Receiver::Mailbox(address) => address,
        });
    }
    names.sort();
    assert_eq!(names, ["acme", "all", "team@example.com"]);
    // Disabled already, so nothing new; and an event that another one wants.
    store.disable_key(key.id, None).await.unwrap();
    assert_eq!(deliveries(&store).await.len(), 3);
    store.flag_exposed(key.id).await.unwrap();
    assert_eq!(deliveries(&store).await.len(), 7);
    store.flag_exposed(key.id).await.unwrap();
    assert_eq!(deliveries(&store).await.len(), 7);
}

async fn an_owner_gets_one_letter_and_a_project_s_owner_in_their_place(home: &Home) {
    let store = told(home).await;
    let (acme, search) = organisation(&store, "Acme").await;
    let ada = member(&store, acme, "Ada@example.com").await;
    let eve = member(&store, acme, "eve@example.com").await;
    let owner = store.member(eve).await.unwrap().person;
    store.add_project_owner(search, owner).await.unwrap();
    // The same mailbox in another spelling is one mailbox.
    add(&store, mailbox("ada@EXAMPLE.com")).await;
    let hers = key_in(&store, acme, search, Some(OwnerId::Member(ada))).await;
    store.disable_key(hers.id, None).await.unwrap();
    assert_eq!(letters(&store).await, [("ada@EXAMPLE.com".to_owned(), "key.disabled")]);
    let nobodys = key_in(&store, acme, search, None).await;
    store.disable_key(nobodys.id, None).await.unwrap();
    assert!(letters(&store).await.contains(&("eve@example.com".to_owned(), "key.disabled")));
    // Without a mail server nobody is written to.
    store.set_notices(NoticeSettings::default());
    let before = deliveries(&store).await.len();
    let another = key_in(&store, acme, search, None).await;
    store.disable_key(another.id, None).await.unwrap();
    assert_eq!(deliveries(&store).await.len(), before + 1, "the destination alone");
}

async fn a_change_that_fails_tells_nothing(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    assert!(matches!(store.disable_key(key.id, Some(7)).await, Err(StoreError::VersionMismatch { .. })));
    let bad = KeyPatch { name: Some(String::new()), ..expires(START + DAY) };
    assert!(store.update_key(key.id, None, bad).await.is_err());
    assert_eq!(deliveries(&store).await, []);
}

async fn each_stage_of_each_end_is_told_once(home: &Home) {
    let mut store = told(home).await;
    add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    let end = START + 20 * DAY;
    store.update_key(key.id, None, expires(end)).await.unwrap();
    let mut events = Vec::new();
    for hour in 0..22 * 24 {
        // Whoever looks and however often, also after a restart.
        store.remind().await.unwrap();
        if hour % 40 == 0 && !home.is_postgres() {
            store.close().await;
            drop(store);
            store = told(home).await;
        }
        while let Some(dispatch) = store.take_delivery(&[], LEASE).await.unwrap() {
            let data: serde_json::Value = serde_json::from_str(&dispatch.data).unwrap();
            events.push((hour, dispatch.event.name(), data["days"].as_i64()));
            let sent = Attempt::Sent { status: Some(200) };
            assert!(store.delivery_tried(dispatch.delivery, dispatch.attempt, sent).await.unwrap());
        }
        home.wait(HOUR);
    }
    let stages = [
        (6 * 24, "key.expiring", Some(14)),
        (13 * 24, "key.expiring", Some(7)),
        (19 * 24, "key.expiring", Some(1)),
        (20 * 24, "key.expired", None),
    ];
    assert_eq!(events, stages);
    // Another end is another matter, and is told by the change itself.
    let now = START + 22 * 24 * HOUR;
    store.update_key(key.id, None, expires(now + 3 * DAY)).await.unwrap();
    store.update_key(key.id, None, KeyPatch { name: Some("n".into()), ..KeyPatch::default() }).await.unwrap();
    store.remind().await.unwrap();
    assert_eq!(deliveries(&store).await.len(), 5);
    assert_eq!(deliveries(&store).await[4].event, Event::KeyExpiring);
}

async fn unused_review_and_rotation_are_told_once_each(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    let new = NewKey {
        review_at: Some(START + 10 * DAY),
        rotation_interval_ms: Some(30 * DAY),
        ..NewKey::new(KeyKind::Live, "k")
    };
    let (key, _) = store.create_key(new).await.unwrap();
    let mut days = Vec::new();
    for day in 0..100 {
        assert_eq!(store.remind().await.unwrap() > 0, deliveries(&store).await.len() > days.len());
        for row in &deliveries(&store).await[days.len()..] {
            days.push((day, row.event.name()));
        }
        home.wait(DAY);
    }
    assert_eq!(days, [(10, "key.review_due"), (30, "key.rotation_due"), (91, "key.unused")]);
    // A new secret is due anew; a key that is disabled is nobody's concern.
    store.regenerate_key(key.id, None).await.unwrap();
    store.disable_key(key.id, None).await.unwrap();
    home.wait(40 * DAY);
    store.remind().await.unwrap();
    assert_eq!(deliveries(&store).await.len(), 4, "and the word that it was disabled");
    store.enable_key(key.id, None).await.unwrap();
    assert_eq!(deliveries(&store).await.last().unwrap().event, Event::KeyRotationDue);
}

async fn what_looked_for_reminders_twice_at_once_writes_them_once(home: &Home) {
    let (store, second) = if home.is_postgres() {
        crate::replicas::two(home).await
    } else {
        let store = home.open().await;
        (store.clone(), store)
    };
    for store in [&store, &second] {
        store.set_notices(NoticeSettings { mail: true, unused_days: Some(90) });
    }
    add(&store, webhook("a")).await;
    for n in 0..30 {
        let new = NewKey { expires_at: Some(START + 20 * DAY), ..NewKey::new(KeyKind::Live, format!("k{n}")) };
        store.create_key(new).await.unwrap();
    }
    home.wait(7 * DAY);
    let mut looking = tokio::task::JoinSet::new();
    for store in [store.clone(), second.clone(), store.clone(), second] {
        looking.spawn(async move { store.remind().await.unwrap() });
    }
    let written: usize = looking.join_all().await.into_iter().sum();
    assert_eq!((written, deliveries(&store).await.len()), (30, 30));
}

async fn a_delivery_is_in_one_hand_at_a_time(home: &Home) {
    let store = told(home).await;
    let (a, b) = (add(&store, webhook("a")).await, add(&store, webhook("b")).await);
    for n in 0..5 {
        let (key, _) = make(&store, &format!("k{n}")).await;
        store.disable_key(key.id, None).await.unwrap();
    }
    let only_b = store.take_delivery(&[a.id.to_string()], LEASE).await.unwrap().unwrap();
    assert_eq!(only_b.lane, b.id.to_string());
    assert!(store.take_delivery(&[a.id.to_string(), b.id.to_string()], LEASE).await.unwrap().is_none());
    let mut hands = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        hands.spawn(async move {
            let mut taken = Vec::new();
            while let Some(dispatch) = store.take_delivery(&[], LEASE).await.unwrap() {
                taken.push(dispatch.delivery);
            }
            taken
        });
    }
    let mut taken: Vec<_> = hands.join_all().await.concat();
    taken.push(only_b.delivery);
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 10);
    // They are free again when their holders say nothing.
    home.wait(LEASE);
    let again = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    assert_eq!(again.attempt, 2);
}

async fn a_process_that_was_taken_for_dead_changes_nothing(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    store.disable_key(key.id, None).await.unwrap();
    let slow = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    home.wait(LEASE);
    let quick = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    let later = Attempt::Later { at: START + HOUR, status: Some(500), error: "x".repeat(9_000) };
    assert!(!store.delivery_tried(slow.delivery, slow.attempt, Attempt::Sent { status: None }).await.unwrap());
    assert!(store.delivery_tried(quick.delivery, quick.attempt, later).await.unwrap());
    let row = store.delivery(slow.delivery).await.unwrap();
    assert_eq!((row.state, row.attempts, row.next_at), (DeliveryState::Waiting, 2, START + HOUR));
    assert_eq!((row.last_status, row.last_error.unwrap().len()), (Some(500), 500));
    assert!(store.take_delivery(&[], LEASE).await.unwrap().is_none());
    assert_eq!(store.next_delivery().await.unwrap(), Some(START + HOUR));
    home.wait(HOUR);
    assert_eq!(store.take_delivery(&[], LEASE).await.unwrap().unwrap().attempt, 3);
}

async fn what_was_given_up_is_sent_again_on_request(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    store.disable_key(key.id, None).await.unwrap();
    let first = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    assert!(matches!(store.replay_delivery(first.delivery).await, Err(StoreError::Conflict(_))));
    let up = Attempt::GivenUp { status: Some(404), error: "no".into() };
    store.delivery_tried(first.delivery, first.attempt, up).await.unwrap();
    assert_eq!(store.delivery(first.delivery).await.unwrap().state, DeliveryState::Failed);
    assert_eq!(store.next_delivery().await.unwrap(), None);
    assert_eq!(store.replay_delivery(first.delivery).await.unwrap().state, DeliveryState::Waiting);
    let again = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    assert_eq!((again.notice, &again.data), (first.notice, &first.data), "the same message");
    let failed = DeliveryFilter { state: Some(DeliveryState::Failed), ..DeliveryFilter::default() };
    assert!(store.deliveries(&failed, Page::default()).await.unwrap().data.is_empty());
}

async fn what_a_deleted_destination_waited_for_is_given_up(home: &Home) {
    let store = told(home).await;
    let a = add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    store.disable_key(key.id, None).await.unwrap();
    let wrong = store.delete_destination(a.id, Some(9)).await;
    assert!(matches!(wrong, Err(StoreError::VersionMismatch { found: 1, .. })));
    store.delete_destination(a.id, Some(1)).await.unwrap();
    let row = deliveries(&store).await.remove(0);
    assert_eq!((row.state, row.destination), (DeliveryState::Failed, Some(a.id)));
    assert_eq!(row.last_error.as_deref(), Some("the destination was deleted"));
    assert_eq!(row.address, "https://example.com", "what may be a secret in a URL is not shown");
    assert!(store.take_delivery(&[], LEASE).await.unwrap().is_none());
    assert!(matches!(store.replay_delivery(row.id).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.destination(a.id).await, Err(StoreError::NotFound(_))));
}

async fn a_disabled_destination_holds_what_waits(home: &Home) {
    let store = told(home).await;
    let a = add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    store.disable_key(key.id, None).await.unwrap();
    let switch = |disabled| DestinationPatch { disabled: Some(disabled), ..DestinationPatch::default() };
    store.update_destination(a.id, None, switch(true)).await.unwrap();
    assert!(store.take_delivery(&[], LEASE).await.unwrap().is_none());
    assert_eq!(store.next_delivery().await.unwrap(), None);
    let moved = DestinationPatch { address: Some("https://example.org/b".into()), ..switch(false) };
    store.update_destination(a.id, None, moved).await.unwrap();
    let dispatch = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    assert!(matches!(dispatch.to, Receiver::Webhook { url, .. } if url == "https://example.org/b"));
}

async fn a_change_of_a_destination_has_it_tried_at_once(home: &Home) {
    let store = told(home).await;
    let a = add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    store.disable_key(key.id, None).await.unwrap();
    let first = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    let later = Attempt::Later { at: START + DAY, status: Some(404), error: "no".into() };
    store.delivery_tried(first.delivery, first.attempt, later).await.unwrap();
    assert!(store.take_delivery(&[], LEASE).await.unwrap().is_none());
    let moved = DestinationPatch { address: Some("https://example.org/b".into()), ..DestinationPatch::default() };
    store.update_destination(a.id, None, moved).await.unwrap();
    assert_eq!(store.take_delivery(&[], LEASE).await.unwrap().unwrap().attempt, 2);
}

async fn secrets_of(store: &Store, id: anykey_core::DestinationId) -> Vec<String> {
    match store.receiver(id).await.unwrap() {
        Receiver::Webhook { secrets, .. } => secrets.iter().map(|it| it.expose_secret().to_owned()).collect(),
        Receiver::Mailbox(_) => Vec::new(),
    }
}

async fn a_secret_is_shown_once_sealed_and_changed_with_an_overlap(home: &Home) {
    let store = told(home).await;
    let (a, first) = store.create_destination(webhook("a")).await.unwrap();
    let bare = |secret: &secrecy::SecretString| secret.expose_secret().strip_prefix("whsec_").unwrap().to_owned();
    let first = bare(&first.unwrap());
    assert_eq!(secrets_of(&store, a.id).await, std::slice::from_ref(&first));
    let (row, second) = store.rotate_destination(a.id, None, HOUR).await.unwrap();
    let second = bare(&second);
    assert_eq!(row.old_secret_until, Some(START + HOUR));
    assert_eq!(secrets_of(&store, a.id).await, [second.clone(), first.clone()]);
    home.wait(HOUR);
    assert_eq!(secrets_of(&store, a.id).await, std::slice::from_ref(&second));
    let (_, third) = store.rotate_destination(a.id, None, 0).await.unwrap();
    assert_eq!(secrets_of(&store, a.id).await, [bare(&third)]);
    // Neither the table nor the audit log has one in the clear.
    let text = format!("{:?} {:?}", store.destination(a.id).await.unwrap(), audit_text(&store).await);
    for secret in [&first, &second, &bare(&third)] {
        assert!(!text.contains(secret.as_str()));
    }
    assert!(!text.contains("example.com/a") || !audit_text(&store).await.contains("example.com/a"));
    let mail = add(&store, mailbox("a@example.com")).await;
    assert!(matches!(store.rotate_destination(mail.id, None, 0).await, Err(StoreError::Conflict(_))));
}

async fn audit_text(store: &Store) -> String {
    let entries = store.audit(&anykey_store::AuditFilter::default(), Page { after: None, limit: 200 }).await.unwrap();
    format!("{:?}", entries.data)
}

async fn destinations_are_checked_listed_and_bounded(home: &Home) {
    let store = told(home).await;
    let ((acme, search), (other, _)) = (organisation(&store, "Acme").await, organisation(&store, "Other").await);
    for bad in [
        NewDestination { name: " ".into(), ..webhook("a") },
        NewDestination { address: "not an address".into(), ..mailbox("x") },
        mailbox("a@example.com\r\nBcc: b@example.com"),
        NewDestination { organisation: Some(other), project: Some(search), ..webhook("a") },
        NewDestination { project: Some(search), ..webhook("a") },
        NewDestination { organisation: Some(OrganisationId([9; 16])), ..webhook("a") },
    ] {
        assert!(matches!(store.create_destination(bad.clone()).await, Err(StoreError::Invalid { .. })), "{bad:?}");
    }
    for n in 0..100 {
        add(&store, NewDestination { organisation: Some(acme), ..webhook(&format!("a{n}")) }).await;
    }
    let one_more = NewDestination { organisation: Some(acme), ..webhook("more") };
    assert!(matches!(store.create_destination(one_more).await, Err(StoreError::Conflict(_))));
    add(&store, webhook("installation")).await;
    let of = |organisation| DestinationFilter { organisation, ..Default::default() };
    let page = Page { after: None, limit: 200 };
    assert_eq!(store.destinations(&of(Some(acme)), page).await.unwrap().data.len(), 100);
    assert_eq!(store.destinations(&of(None), page).await.unwrap().data.len(), 101);
}

async fn what_was_due_while_nobody_was_there_is_told_once(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    let (ending, _) = make(&store, "ending").await;
    store.update_key(ending.id, None, expires(START + 20 * DAY)).await.unwrap();
    let (over, _) = make(&store, "over").await;
    store.update_key(over.id, None, expires(START + 15 * DAY)).await.unwrap();
    let new = NewKey { review_at: Some(START + DAY), ..NewKey::new(KeyKind::Live, "review") };
    store.create_key(new).await.unwrap();
    store.close().await;
    drop(store);
    // Of one key two stages pass, of another three and its end.
    home.wait(18 * DAY);
    let store = told(home).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        store.remind().await.unwrap();
        while let Some(dispatch) = store.take_delivery(&[], LEASE).await.unwrap() {
            let data: serde_json::Value = serde_json::from_str(&dispatch.data).unwrap();
            told.push((dispatch.event.name(), data["key"]["name"].as_str().unwrap().to_owned(), data["days"].as_i64()));
            let sent = Attempt::Sent { status: Some(204) };
            assert!(store.delivery_tried(dispatch.delivery, dispatch.attempt, sent).await.unwrap());
        }
        home.wait(MINUTE);
    }
    told.sort();
    let expected =
        [("key.expired", "over", None), ("key.expiring", "ending", Some(7)), ("key.review_due", "review", None)];
    assert_eq!(told, expected.map(|(event, name, days)| (event, name.to_owned(), days)));
}

async fn a_share_of_a_spend_limit_is_told_once(home: &Home) {
    let store = told(home).await;
    let (acme, search) = organisation(&store, "Acme").await;
    let ada = member(&store, acme, "ada@example.com").await;
    add(&store, NewDestination { organisation: Some(acme), ..webhook("a") }).await;
    let placement = Placement { organisation: acme, project: search, owner: Some(OwnerId::Member(ada)) };
    let limit = Some(Nanos(5_000_000_000));
    let new = NewKey { placement, spend_limit: limit, ..NewKey::new(KeyKind::Live, "k") };
    let (key, _) = store.create_key(new).await.unwrap();
    let public: [u8; 8] = key.secrets[0].public_id.as_bytes().try_into().unwrap();
    let spend = async |usd: i64| {
        let mut record = call(key.id, public, START);
        record.cost = Some(Nanos(usd * 1_000_000_000));
        store.apply(vec![record]).await.unwrap();
        let (first, again) = (store.remind().await.unwrap(), store.remind().await.unwrap());
        assert_eq!(again, 0, "told once");
        first
    };
    assert_eq!([spend(2).await, spend(1).await, spend(0).await, spend(2).await], [0, 1, 0, 1]);
    let mut shares = Vec::new();
    while let Some(dispatch) = store.take_delivery(&[], LEASE).await.unwrap() {
        let data: serde_json::Value = serde_json::from_str(&dispatch.data).unwrap();
        assert_eq!(data["key"]["id"], key.id.to_string());
        shares.push((data["limit"]["percent"].as_i64().unwrap(), data["limit"]["limit_usd"].clone()));
    }
    shares.sort_by_key(|(percent, _)| *percent);
    let each = |percent: i64| vec![(percent, serde_json::json!("5")); 2];
    assert_eq!(shares, [each(50), each(100)].concat(), "the webhook and the owner, of the last share that was passed");
    // Another limit is another matter: half of it is used.
    let patch = KeyPatch { spend_limit: Some(Some(Nanos(10_000_000_000))), ..KeyPatch::default() };
    store.update_key(key.id, None, patch).await.unwrap();
    assert_eq!(letters(&store).await.len(), 6);
}

async fn replicas_take_each_delivery_once(home: &Home) {
    let (store, second) = if home.is_postgres() {
        crate::replicas::two(home).await
    } else {
        let store = home.open().await;
        (store.clone(), store)
    };
    add(&store, webhook("a")).await;
    for n in 0..20 {
        let (key, _) = make(&store, &format!("k{n}")).await;
        store.disable_key(key.id, None).await.unwrap();
    }
    let mut hands = tokio::task::JoinSet::new();
    for store in [store.clone(), second.clone(), store.clone(), second] {
        hands.spawn(async move {
            let mut taken = Vec::new();
            while let Some(dispatch) = store.take_delivery(&[], LEASE).await.unwrap() {
                let sent = Attempt::Sent { status: Some(204) };
                assert!(store.delivery_tried(dispatch.delivery, dispatch.attempt, sent).await.unwrap());
                taken.push(dispatch.notice);
            }
            taken
        });
    }
    let mut taken = hands.join_all().await.concat();
    assert_eq!(taken.len(), 20);
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 20, "each was sent once");
}

async fn a_delivery_stays_where_its_destination_was(home: &Home) {
    let store = told(home).await;
    let ((acme, search), (other, _)) = (organisation(&store, "Acme").await, organisation(&store, "Other").await);
    let mine = add(&store, NewDestination { organisation: Some(acme), ..webhook("acme") }).await;
    let all = add(&store, mailbox("ops@example.com")).await;
    let key = key_in(&store, acme, search, None).await;
    store.disable_key(key.id, None).await.unwrap();
    let sent = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    store.delivery_tried(sent.delivery, sent.attempt, Attempt::Sent { status: Some(204) }).await.unwrap();
    let seen_by = async |organisation: OrganisationId| {
        let grant = anykey_core::Grant::of([anykey_core::Held::InOrganisation {
            role: Role::Admin,
            organisation,
            member: None,
        }]);
        let within = grant.sight(anykey_core::Permission::NoticesRead);
        let filter = DeliveryFilter { within, ..DeliveryFilter::default() };
        store.deliveries(&filter, Page::default()).await.unwrap().data
    };
    let before = seen_by(acme).await;
    assert_eq!(before.len(), 1, "what went to the installation's own is not the organisation's to see");
    for destination in [mine.id, all.id] {
        store.delete_destination(destination, None).await.unwrap();
    }
    let after = seen_by(acme).await;
    assert_eq!((after.len(), after[0].destination), (1, Some(mine.id)));
    assert_eq!(store.place_of_delivery(after[0].id).await.unwrap().unwrap().organisation, Some(acme));
    assert!(seen_by(other).await.is_empty());
    for row in deliveries(&store).await {
        let again = store.replay_delivery(row.id).await;
        assert!(matches!(&again, Err(StoreError::Conflict(text)) if text.contains("deleted")), "{again:?}");
    }
}

async fn keys_to_be_rotated_are_listed_soonest_first(home: &Home) {
    let store = told(home).await;
    for (name, days) in [("slow", Some(30)), ("never", None), ("quick", Some(5)), ("far", Some(90))] {
        let new = NewKey { rotation_interval_ms: days.map(|days| days * DAY), ..NewKey::new(KeyKind::Live, name) };
        store.create_key(new).await.unwrap();
    }
    let names = |before: i64, limit: u32| {
        let store = store.clone();
        async move {
            let filter = KeyFilter { rotation_before: Some(before), ..KeyFilter::default() };
            let (mut names, mut after) = (Vec::new(), None);
            loop {
                let part = store.keys(&filter, Page { after, limit }).await.unwrap();
                names.extend(part.data.into_iter().map(|key| (key.name, key.rotate_at)));
                after = part.next;
                if after.is_none() {
                    return names;
                }
            }
        }
    };
    let due = |name: &str, days: i64| (name.to_owned(), Some(START + days * DAY));
    assert_eq!(names(START + 60 * DAY, 1).await, [due("quick", 5), due("slow", 30)]);
    let filter = KeyFilter { rotation_before: Some(START), ..KeyFilter::default() };
    assert!(store.explain_keys(&filter, None).await.unwrap().contains("api_key_rotation"));

    // A rotation counts from the first use of its secret, since an unused one may lapse.
    home.wait(DAY);
    let quick = store.keys(&KeyFilter { name: Some("quick".into()), ..KeyFilter::default() }, Page::default()).await;
    let quick = quick.unwrap().data.remove(0);
    let made = store.rotate_key(quick.id, None, Rotation::default()).await.unwrap();
    assert_eq!(made.key.rotate_at, Some(START + 5 * DAY));
    home.wait(DAY);
    let public: [u8; 8] = made.key.secrets[0].public_id.as_bytes().try_into().unwrap();
    store.apply(vec![call(quick.id, public, START + 2 * DAY)]).await.unwrap();
    assert_eq!(store.key(quick.id).await.unwrap().rotate_at, Some(START + 6 * DAY));
    let patch = KeyPatch { rotation_interval_ms: Some(Some(7 * DAY)), ..KeyPatch::default() };
    assert_eq!(store.update_key(quick.id, None, patch).await.unwrap().rotate_at, Some(START + 8 * DAY));
    let patch = KeyPatch { rotation_interval_ms: Some(None), ..KeyPatch::default() };
    assert_eq!(store.update_key(quick.id, None, patch).await.unwrap().rotate_at, None);
}

async fn every_change_of_destinations_is_in_the_audit_log(home: &Home) {
    let store = told(home).await;
    let a = add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    store.disable_key(key.id, None).await.unwrap();
    let sent = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    store.delivery_tried(sent.delivery, sent.attempt, Attempt::Sent { status: None }).await.unwrap();
    let patch = DestinationPatch { name: Some("b".into()), ..DestinationPatch::default() };
    store.update_destination(a.id, None, patch).await.unwrap();
    store.rotate_destination(a.id, None, HOUR).await.unwrap();
    store.destination_tested(a.id, Some("no".into())).await.unwrap();
    store.replay_delivery(sent.delivery).await.unwrap();
    store.delete_destination(a.id, None).await.unwrap();
    let (entries, _) = store.audit_after(&anykey_store::AuditFilter::default(), 0, 1_000).await.unwrap();
    let told: BTreeSet<&str> = entries.iter().map(|entry| entry.verb.as_str()).collect();
    let missing: Vec<&&str> = RECORDED.iter().filter(|verb| !told.contains(**verb)).collect();
    assert!(missing.is_empty(), "{missing:?} of {told:?}");
}

async fn what_is_done_with_is_forgotten(home: &Home) {
    let store = told(home).await;
    add(&store, webhook("a")).await;
    let (key, _) = make(&store, "k").await;
    store.disable_key(key.id, None).await.unwrap();
    store.enable_key(key.id, None).await.unwrap();
    store.disable_key(key.id, None).await.unwrap();
    let sent = store.take_delivery(&[], LEASE).await.unwrap().unwrap();
    store.delivery_tried(sent.delivery, sent.attempt, Attempt::Sent { status: None }).await.unwrap();
    home.wait(31 * DAY);
    store.forget_notices().await.unwrap();
    let left = deliveries(&store).await;
    assert_eq!((left.len(), left[0].state), (1, DeliveryState::Waiting), "what still waits is kept");
}
