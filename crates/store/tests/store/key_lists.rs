//! Lists of keys by what a hundred thousand of them are looked through for, and the indexes that answer.

use crate::home::*;
use crate::tenancy::Acme;
use anykey_core::{KeyKind, OwnerId, Placement, Reached, Sight};
use anykey_store::*;
use std::collections::BTreeMap;

on_both!(
    keys_are_found_by_where_they_belong,
    the_unused_and_the_ending_come_in_their_order,
    what_is_visible_of_a_secret_finds_its_key,
    every_filter_has_an_index,
    tags_of_many_keys_are_found_page_by_page,
);

fn none() -> KeyFilter {
    KeyFilter::default()
}

async fn names(store: &Store, filter: &KeyFilter) -> Vec<String> {
    let (mut seen, mut page) = (Vec::new(), Page { after: None, limit: 2 });
    loop {
        let part = store.keys(filter, page).await.unwrap();
        seen.extend(part.data.into_iter().map(|key| key.name));
        match part.next {
            Some(next) => page.after = Some(KeyCursor::parse(&next.to_string()).unwrap()),
            None => return seen,
        }
    }
}

async fn keys_are_found_by_where_they_belong(home: &Home) {
    let store = home.open().await;
    let (acme, other) = (Acme::new(&store, "Acme").await, Acme::new(&store, "Other").await);
    for (name, owner) in [("a", Some(acme.member_id())), ("b", Some(acme.account_id())), ("c", None)] {
        home.wait(1);
        acme.key(&store, name, owner).await;
    }
    other.key(&store, "d", None).await;
    make(&store, "e").await;
    let found = async |filter: KeyFilter| names(&store, &filter).await;
    assert_eq!(found(KeyFilter { organisation: Some(acme.organisation.id), ..none() }).await, ["c", "b", "a"]);
    assert_eq!(found(KeyFilter { project: Some(other.project.id), ..none() }).await, ["d"]);
    assert_eq!(found(KeyFilter { owner_id: Some(acme.member_id()), ..none() }).await, ["a"]);
    assert_eq!(found(KeyFilter { owner_id: Some(acme.account_id()), ..none() }).await, ["b"]);
    let both = KeyFilter { owner_id: Some(acme.account_id()), project: Some(other.project.id), ..none() };
    assert_eq!(found(both).await, [""; 0]);
    let default = KeyFilter { organisation: Some(Placement::default().organisation), ..none() };
    assert_eq!(found(default).await, ["e"]);
}

async fn the_unused_and_the_ending_come_in_their_order(home: &Home) {
    let store = home.open().await;
    let mut made = Vec::new();
    for (name, days) in [("a", Some(9)), ("b", Some(3)), ("c", None), ("d", Some(6)), ("gone", Some(1))] {
        let new = NewKey {
            expires_at: days.map(|days| START + days * DAY),
            review_at: days.map(|days| START + (20 - days) * DAY),
            ..NewKey::new(KeyKind::Live, name)
        };
        made.push(store.create_key(new).await.unwrap().0);
    }
    store.delete_key(made[4].id, None).await.unwrap();
    let ending = |days: i64| KeyFilter { expiring_before: Some(START + days * DAY), ..none() };
    assert_eq!(names(&store, &ending(30)).await, ["b", "d", "a"], "what ends soonest first; what is gone ends no more");
    assert_eq!(names(&store, &ending(6)).await, ["b"]);
    let due = KeyFilter { review_before: Some(START + 15 * DAY), ..none() };
    assert_eq!(names(&store, &due).await, ["a", "d"]);

    home.wait(10 * DAY);
    assert_eq!(names(&store, &ending(30)).await, [""; 0], "what has ended is not ending");
    let ended = KeyFilter { status: Some(KeyStatus::Expired), ..ending(30) };
    assert_eq!(names(&store, &ended).await, ["b", "d", "a"]);
    // One was used on the fourth day, one on the eighth; the day of the making counts for the others.
    store.apply(vec![call(made[1].id, public_id(&made[1]), START + 4 * DAY)]).await.unwrap();
    store.apply(vec![call(made[0].id, public_id(&made[0]), START + 8 * DAY)]).await.unwrap();
    store.apply(vec![call(made[0].id, public_id(&made[0]), START + 2 * DAY)]).await.unwrap();
    let unused = |days: i64| KeyFilter { unused_since: Some(START + days * DAY), ..none() };
    let mut oldest = names(&store, &unused(9)).await;
    assert_eq!(oldest.split_off(2), ["b", "a"], "what is unused longest first, and an older use takes nothing back");
    assert_eq!(names(&store, &unused(5)).await.len(), 3);
    assert_eq!(names(&store, &unused(0)).await, [""; 0]);
}

async fn what_is_visible_of_a_secret_finds_its_key(home: &Home) {
    let store = home.open().await;
    let (key, token) = make(&store, "hidden").await;
    make(&store, "other").await;
    let masked = &token.expose()[..16];
    for q in [&masked[8..], &masked[8..13], masked, &masked[..12], &key.masked] {
        assert_eq!(names(&store, &KeyFilter { q: Some(q.to_owned()), ..none() }).await, ["hidden"], "{q}");
    }
    let secret = &token.expose()[16..30];
    assert_eq!(names(&store, &KeyFilter { q: Some(secret.to_owned()), ..none() }).await, [""; 0]);
    let (after, _) = store.regenerate_key(key.id, None).await.unwrap();
    assert_eq!(names(&store, &KeyFilter { q: Some(masked.to_owned()), ..none() }).await, ["hidden"], "a dead one too");
    assert_eq!(names(&store, &KeyFilter { q: Some(after.masked), ..none() }).await, ["hidden"]);
}

/// Both databases answer each list from an index of its own, in the order that is asked for: no scan of the table and no
/// sort of what was found.
async fn every_filter_has_an_index(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    // As many keys as make a planner think, spread over what they are looked for by.
    let columns = "id, kind, name, description, tags, scopes, disabled, browser_allowed, spent, note, version, created_at, \
                   updated_at, organisation_id, project_id, member_id, service_account_id, owner, environment, expires_at, \
                   review_at, active_day, deleted_at, search";
    let id = |bytes: [u8; 16]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if home.is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
    };
    let (organisation, project) = (id(acme.organisation.id.0), id(acme.project.id.0));
    let OwnerId::Member(member) = acme.member_id() else { panic!("not a member") };
    let OwnerId::ServiceAccount(account) = acme.account_id() else { panic!("not an account") };
    let (member, account) = (id(member.0), id(account.0));
    let default = id([0; 16]);
    let rare = |value: &str, other: &str| format!("CASE WHEN i % 500 = 0 THEN {value} ELSE {other} END");
    let values = format!(
        "{}, 'k' || i, '', '{{}}', '', {}, FALSE, 0, '', 1, 1, 1, {}, {}, {}, {}, {}, {}, {}, {}, i, {}, 'k'",
        rare("'test'", "'live'"),
        rare("TRUE", "FALSE"),
        rare(&organisation, &default),
        rare(&project, &default),
        rare(&member, "NULL"),
        rare(&account, "NULL"),
        rare("'ada'", "'x'"),
        rare("'prod'", "'dev'"),
        rare(&format!("{} + i", START + DAY), "NULL"),
        rare(&format!("{} + i", START + DAY), "NULL"),
        rare("1", "NULL"),
    );
    let values = if home.is_postgres() { values } else { values.replace("TRUE", "1").replace("FALSE", "0") };
    home.sql(&if home.is_postgres() {
        format!(
            "INSERT INTO api_key ({columns}) SELECT decode(md5(i::text), 'hex'), {values} FROM generate_series(1, 20000) \
             AS i; ANALYZE api_key"
        )
    } else {
        format!(
            "INSERT INTO api_key ({columns}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \
             20000) SELECT randomblob(16), {values} FROM n"
        )
    })
    .await;
    for (filter, index) in [
        (KeyFilter { organisation: Some(acme.organisation.id), ..none() }, "api_key_organisation"),
        (KeyFilter { project: Some(acme.project.id), ..none() }, "api_key_project"),
        (KeyFilter { owner_id: Some(acme.member_id()), ..none() }, "api_key_member"),
        (KeyFilter { owner_id: Some(acme.account_id()), ..none() }, "api_key_service_account"),
        (KeyFilter { owner: Some("ada".into()), ..none() }, "api_key_owner"),
        (KeyFilter { kind: Some(KeyKind::Test), ..none() }, "api_key_kind"),
        (KeyFilter { environment: Some("prod".into()), ..none() }, "api_key_environment"),
        (KeyFilter { name: Some("k7".into()), ..none() }, "api_key_name"),
        (KeyFilter { status: Some(KeyStatus::Disabled), ..none() }, "api_key_disabled"),
        (KeyFilter { status: Some(KeyStatus::Revoked), ..none() }, "api_key_revoked"),
        (KeyFilter { expiring_before: Some(START + 9 * DAY), ..none() }, "api_key_expiry"),
        (KeyFilter { review_before: Some(START + 9 * DAY), ..none() }, "api_key_review"),
        (KeyFilter { unused_since: Some(START), ..none() }, "api_key_active"),
        (KeyFilter { tag: Some("team=a".into()), ..none() }, "key_tag"),
        (KeyFilter { tag: Some("team".into()), ..none() }, "key_tag"),
    ] {
        let plan = store.explain_keys(&filter).await.unwrap();
        assert!(plan.contains(index), "{filter:?}\n{plan}");
        let scanned = plan
            .lines()
            .any(|line| line.contains("Seq Scan on api_key") || (line.contains("SCAN k") && !line.contains("USING")));
        assert!(!scanned, "{filter:?}\n{plan}");
    }
    // What somebody reaches narrows a list by the same indexes, and whose a key is needs no list.
    let near = |reached: Reached| KeyFilter { within: Sight::Within(reached), ..none() };
    let all = Reached { organisations: [acme.organisation.id].into(), ..Reached::default() };
    let some = Reached { projects: [acme.project.id].into(), ..Reached::default() };
    let own = Reached { members: [acme.member.id].into(), ..Reached::default() };
    for (reached, index) in [(all, "api_key_organisation"), (some, "api_key_project"), (own, "api_key_member")] {
        let plan = store.explain_keys(&near(reached)).await.unwrap();
        assert!(plan.contains(index), "{plan}");
    }
    for plan in store.explain_found_keys().await.unwrap() {
        let scanned = plan.lines().any(|line| line.contains("Seq Scan on api_key") || line.starts_with("SCAN "));
        assert!(!scanned, "{plan}");
    }
}

async fn tags_of_many_keys_are_found_page_by_page(home: &Home) {
    let store = home.open().await;
    for i in 0..7 {
        home.wait(1);
        let tags = BTreeMap::from([("team".to_owned(), if i % 2 == 0 { "a" } else { "b" }.to_owned())]);
        store.create_key(NewKey { tags, ..NewKey::new(KeyKind::Live, format!("k{i}")) }).await.unwrap();
    }
    let tagged = |tag: &str| KeyFilter { tag: Some(tag.into()), ..none() };
    assert_eq!(names(&store, &tagged("team=a")).await, ["k6", "k4", "k2", "k0"]);
    assert_eq!(names(&store, &tagged("team")).await.len(), 7);
    assert_eq!(names(&store, &tagged("tea")).await, [""; 0]);
}
