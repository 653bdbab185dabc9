//! A hundred thousand keys: each list is answered from an index of its own, a page costs what it shows wherever it stands,
//! and what is looked for is found.

use crate::asked::Asked;
use crate::home::*;
use crate::tenancy::Acme;
use anykey_core::{KeyKind, OwnerId, Reached, Sight};
use anykey_store::*;

on_both!(a_hundred_thousand_keys_are_listed_searched_and_changed);

const KEYS: i64 = 100_000;
/// One key in so many has what is looked for.
const RARE: i64 = 500;

fn none() -> KeyFilter {
    KeyFilter::default()
}

/// So many keys beneath the store: as many as make a planner think, spread over what they are looked for by. The number
/// of a key is in its name and is what is visible of its secret; its tag `team` is `rare` for a few.
async fn fill(home: &Home, acme: &Acme) {
    let columns = "id, kind, name, description, tags, scopes, disabled, browser_allowed, spent, note, version, created_at, \
                   updated_at, organisation_id, project_id, member_id, service_account_id, owner, environment, expires_at, \
                   review_at, rotate_at, active_day, deleted_at, search";
    let id = |bytes: [u8; 16]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if home.is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
    };
    let (organisation, project) = (id(acme.organisation.id.0), id(acme.project.id.0));
    let OwnerId::Member(member) = acme.member_id() else { panic!("not a member") };
    let OwnerId::ServiceAccount(account) = acme.account_id() else { panic!("not an account") };
    let (member, account, default) = (id(member.0), id(account.0), id([0; 16]));
    let rare = |value: &str, other: &str| format!("CASE WHEN i % {RARE} = 0 THEN {value} ELSE {other} END");
    let soon = rare(&format!("{} + i", START + DAY), "NULL");
    let values = [
        rare("'test'", "'live'"),
        "'k' || i, '', '{}', '', FALSE, FALSE, 0, '', 1, 1, 1".to_owned(),
        rare(&organisation, &default),
        rare(&project, &default),
        rare(&member, "NULL"),
        rare(&account, "NULL"),
        rare("'ada'", "'x'"),
        rare("'prod'", "'dev'"),
        format!("{soon}, {soon}, {soon}, i"),
        rare("1", "NULL"),
        "'name k' || i || '-'".to_owned(),
    ]
    .join(", ");
    // The ids of both databases sort as the numbers do.
    let (key_id, digest, from) = if home.is_postgres() {
        (
            "decode(lpad(to_hex(i), 32, '0'), 'hex')",
            "sha256(i::text::bytea)",
            format!("generate_series(1, {KEYS}) AS n(i)"),
        )
    } else {
        let numbers = format!(
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {KEYS}) SELECT i FROM n)"
        );
        ("CAST(x'0000000000000000' || printf('%08d', i) AS BLOB)", "randomblob(32)", numbers)
    };
    let number = if home.is_postgres() { "lpad(i::text, 8, '0')" } else { "printf('%08d', i)" };
    let mut all = vec![
        format!("INSERT INTO api_key ({columns}) SELECT {key_id}, {values} FROM {from}"),
        format!(
            "UPDATE api_key SET disabled = TRUE WHERE deleted_at IS NULL AND kind = 'live' AND active_day % {RARE} = 1"
        ),
        format!(
            "INSERT INTO key_tag (key_id, name, value) SELECT {key_id}, 'team', {} FROM {from}",
            rare("'rare'", "'usual'")
        ),
        format!(
            "INSERT INTO secret (public_id, digest, digest_kind, imported, key_id, state, pending, created_at) \
             SELECT {number}, {digest}, 'hmac', FALSE, {key_id}, 'live', FALSE, 1 FROM {from}"
        ),
    ];
    if home.is_postgres() {
        all.push("ANALYZE api_key; ANALYZE secret; ANALYZE key_tag".to_owned());
    }
    home.sql(&all.join("; ")).await;
}

/// One filling serves all of it, since that is what takes long.
async fn a_hundred_thousand_keys_are_listed_searched_and_changed(home: &Home) {
    let asked = Asked::begin();
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    fill(home, &acme).await;
    every_filter_has_an_index(&store, &acme).await;
    a_page_costs_what_it_shows_wherever_it_stands(&store, &acme).await;
    what_is_looked_for_is_found_among_all(&store).await;
    work_on_many_is_settled_and_done_by_indexes(&store).await;
    many_keys_cost_few_statements(&store, &asked).await;
}

/// Whether a plan goes through all keys, or through all secrets.
fn scans(plan: &str) -> bool {
    let goes_through = |line: &str| {
        line.contains("Seq Scan on api_key")
            || line.contains("Seq Scan on secret")
            || ((line.contains("SCAN k") || line.contains("SCAN s")) && !line.contains("USING"))
    };
    plan.lines().any(goes_through)
}

async fn every_filter_has_an_index(store: &Store, acme: &Acme) {
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
        (KeyFilter { rotation_before: Some(START + 9 * DAY), ..none() }, "api_key_rotation"),
        (KeyFilter { unused_since: Some(START), ..none() }, "api_key_active"),
        (KeyFilter { tag: Some("team=rare".into()), ..none() }, "key_tag"),
        (KeyFilter { tag: Some("team".into()), ..none() }, "key_tag"),
    ] {
        let plan = store.explain_keys(&filter, None).await.unwrap();
        assert!(plan.contains(index), "{filter:?}\n{plan}");
        assert!(!scans(&plan), "{filter:?}\n{plan}");
    }
    // What somebody reaches narrows a list by the same indexes, and whose a key is needs no list.
    let near = |reached: Reached| KeyFilter { within: Sight::Within(reached), ..none() };
    let all = Reached { organisations: [acme.organisation.id].into(), ..Reached::default() };
    let some = Reached { projects: [acme.project.id].into(), ..Reached::default() };
    let own = Reached { members: [acme.member.id].into(), ..Reached::default() };
    for (reached, index) in [(all, "api_key_organisation"), (some, "api_key_project"), (own, "api_key_member")] {
        let plan = store.explain_keys(&near(reached), None).await.unwrap();
        assert!(plan.contains(index), "{plan}");
    }
    for plan in store.explain_found_keys().await.unwrap() {
        assert!(!scans(&plan), "{plan}");
    }
}

async fn a_page_costs_what_it_shows_wherever_it_stands(store: &Store, acme: &Acme) {
    let list = async |filter: KeyFilter, after| store.keys(&filter, Page { after, limit: 50 }).await.unwrap();
    // From the middle on, by a cursor and not by counting.
    let number = KEYS / 2 + 7;
    let middle = list(KeyFilter { name: Some(format!("k{number}")), ..none() }, None).await.data.remove(0);
    let after = Some(KeyCursor { at: None, id: middle.id });
    let page = list(none(), after).await;
    let names: Vec<&str> = page.data.iter().map(|key| key.name.as_str()).collect();
    // Those that are deleted are no part of it.
    let expected: Vec<String> =
        (1..).map(|n| number - n).filter(|n| n % RARE != 0).take(50).map(|n| format!("k{n}")).collect();
    assert_eq!(names, expected);
    for filter in [none(), KeyFilter { project: Some(acme.project.id), ..none() }] {
        let plan = store.explain_keys(&filter, after).await.unwrap();
        assert!(!scans(&plan) && !plan.contains("TEMP B-TREE") && !plan.contains("Sort "), "{plan}");
    }
    // What is sorted by something else goes on from there as well.
    let unused = KeyFilter { unused_since: Some(i64::MAX / 4), ..none() };
    let first = list(unused.clone(), None).await;
    let plan = store.explain_keys(&unused, first.next).await.unwrap();
    assert!(plan.contains("api_key_active") && !plan.contains("TEMP B-TREE") && !plan.contains("Sort "), "{plan}");
    let second = list(unused, first.next).await;
    assert_eq!((first.data[0].name.as_str(), second.data[0].name.as_str()), ("k1", "k51"));
}

async fn what_is_looked_for_is_found_among_all(store: &Store) {
    let search = async |q: &str| {
        let page = store.keys(&KeyFilter { q: Some(q.to_owned()), ..none() }, Page::default()).await.unwrap();
        (page.data.into_iter().map(|key| key.name).collect::<Vec<_>>(), page.next)
    };
    // The oldest of all, by its name and by what is visible of its secret: on the first page, and nothing is left to ask.
    for q in ["K1-", "ak-live-00000001", "00000001"] {
        assert_eq!(search(q).await, (vec!["k1".to_owned()], None), "{q}");
    }
    assert_eq!(search("nowhere").await, (Vec::new(), None));
    let (many, next) = search("0000").await;
    assert_eq!((many.len(), next.is_some()), (50, true), "as many as a page has, of those with such a secret");
    let filter = KeyFilter { q: Some("ak-live-000012".into()), ..none() };
    let plan = store.explain_keys(&filter, None).await.unwrap();
    assert!(!scans(&plan), "neither all keys nor all secrets: {plan}");
    let rare =
        KeyFilter { q: Some("k".into()), tag: Some("team=rare".into()), status: Some(KeyStatus::Revoked), ..none() };
    let page = store.keys(&rare, Page { after: None, limit: 200 }).await.unwrap();
    assert_eq!((page.data.len() as i64, page.next), (KEYS / RARE, None));
}

async fn work_on_many_is_settled_and_done_by_indexes(store: &Store) {
    let plans = store.explain_job(&KeyFilter { tag: Some("team=rare".into()), ..none() }).await.unwrap();
    assert!(plans.iter().all(|plan| !scans(plan)), "{plans:?}");
    // The next of a job are found after the last, and not by going through those that are done.
    assert!(plans[1].contains("key_id>?") || plans[1].contains("(key_id > "), "{plans:?}");
    let disabled = KeyFilter { status: Some(KeyStatus::Disabled), ..none() };
    let job = store.start_job(BulkAction::Enable, Selection::Filter(Box::new(disabled.clone())), None).await.unwrap();
    assert_eq!(job.total, KEYS / RARE);
    let done = crate::jobs::done(store, job.id).await;
    assert_eq!((done.done, done.skipped), (KEYS / RARE, 0));
    assert!(store.keys(&disabled, Page::default()).await.unwrap().data.is_empty());
}

/// Ten thousand keys of many a wish to be told: notices and reminders of them are part of it. What stays the same is that a
/// batch costs a handful of statements, whatever is done and however many keys are in it.
async fn many_keys_cost_few_statements(store: &Store, asked: &Asked) {
    const MANY: usize = 10_000;
    let mut chosen = Vec::with_capacity(MANY);
    let mut after = None;
    while chosen.len() < MANY {
        let page = store.keys(&none(), Page { after, limit: 200 }).await.unwrap();
        chosen.extend(page.data.into_iter().map(|key| key.id));
        after = page.next;
    }
    chosen.truncate(MANY);
    store.set_notices(NoticeSettings { mail: true, unused_days: Some(30) });
    let set = [("wave".to_owned(), "7".to_owned()), ("team".to_owned(), "new".to_owned())].into();
    for action in [
        BulkAction::Tag { set, remove: ["old".to_owned()].into() },
        BulkAction::Extend { expires_at: START + 300 * DAY },
        BulkAction::Disable,
        BulkAction::Enable,
    ] {
        asked.take();
        let begun = std::time::Instant::now();
        let job = store.start_job(action.clone(), Selection::Keys(chosen.clone()), None).await.unwrap();
        let job = crate::jobs::done(store, job.id).await;
        let took = begun.elapsed();
        assert_eq!(job.done + job.skipped, MANY as i64);
        assert!(matches!(action, BulkAction::Extend { .. }) || job.done == MANY as i64, "{job:?}");
        // Whoever waits for the end asks as well.
        let asked = asked.take().iter().filter(|sql| !sql.contains("FROM job WHERE id = $1")).count();
        eprintln!("{}: {} {MANY} keys in {took:?} with {asked} statements", store.database(), action.name());
        assert!(asked < MANY / 10, "{} took {asked} statements", action.name());
    }
    let tagged = KeyFilter { tag: Some("wave=7".into()), ..none() };
    assert_eq!(store.keys(&tagged, Page::default()).await.unwrap().data.len(), 50);
}
