//! Work on many keys: settled once, done once, and gone on with by the next process.

use crate::home::*;
use crate::tenancy::Acme;
use anykey_core::{JobId, KeyId, KeyRules};
use anykey_store::*;
use std::collections::BTreeMap;

on_both!(
    keys_are_changed_and_calls_on_them_end,
    what_matches_later_is_not_touched,
    keys_that_need_nothing_are_left_with_a_reason,
    tags_are_set_and_taken_away,
    an_end_is_not_put_beyond_the_rules,
    a_tag_that_is_required_is_not_taken_away,
    the_next_process_goes_on,
);

/// Waits for the background, which has no other sign of its end.
pub async fn done(store: &Store, id: JobId) -> JobRow {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let job = store.job(id).await.unwrap();
        if job.finished_at.is_some() {
            return job;
        }
        assert!(tokio::time::Instant::now() < deadline, "{job:?}");
        tokio::task::yield_now().await;
    }
}

async fn run(store: &Store, action: BulkAction, chosen: Selection) -> JobRow {
    let job = store.start_job(action, chosen, Some("key_boss".into())).await.unwrap();
    done(store, job.id).await
}

fn filter(filter: KeyFilter) -> Selection {
    Selection::Filter(Box::new(filter))
}

async fn keys_are_changed_and_calls_on_them_end(home: &Home) {
    let store = home.open().await;
    let mut made = Vec::new();
    for i in 0..250 {
        made.push(make(&store, &format!("job {i}")).await);
    }
    let (other, _) = make(&store, "other").await;
    let running = live(&store, &made[7].1, START).await;
    let chosen = KeyFilter { q: Some("job".into()), ..KeyFilter::default() };
    let job = run(&store, BulkAction::Disable, filter(chosen.clone())).await;
    assert_eq!((job.total, job.done, job.skipped, job.finished_at), (250, 250, 0, Some(START)));
    assert_eq!((&job.action, job.creator.as_deref()), (&BulkAction::Disable, Some("key_boss")));
    assert!(running.cancelled() && !works(&store, &made[7].1, START).await);
    assert_eq!(store.key(other.id).await.unwrap().status, KeyStatus::Active);
    assert_eq!(store.key(made[3].0.id).await.unwrap().version, 2, "changed once");
    // The same again changes nothing; enabling by name brings two back.
    let again = run(&store, BulkAction::Disable, filter(chosen)).await;
    assert_eq!((again.total, again.done, again.skipped), (250, 0, 250));
    let two = Selection::Keys(vec![made[0].0.id, made[1].0.id, made[0].0.id, KeyId([9; 16])]);
    home.wait(1);
    let job = run(&store, BulkAction::Enable, two).await;
    assert_eq!((job.total, job.done), (2, 2), "each once, and those that exist");
    assert!(works(&store, &made[0].1, START).await && !works(&store, &made[2].1, START).await);
    let listed = store.jobs(&JobFilter::default(), Page { after: None, limit: 2 }).await.unwrap();
    assert_eq!((listed.data[0].id, listed.data.len(), listed.next.is_some()), (job.id, 2, true));
}

async fn what_matches_later_is_not_touched(home: &Home) {
    let store = home.open().await;
    make(&store, "early").await;
    let job = store.start_job(BulkAction::Disable, filter(KeyFilter::default()), None).await.unwrap();
    let (late, _) = make(&store, "late").await;
    assert_eq!(done(&store, job.id).await.total, 1);
    assert_eq!(store.key(late.id).await.unwrap().status, KeyStatus::Active);
}

async fn keys_that_need_nothing_are_left_with_a_reason(home: &Home) {
    let store = home.open().await;
    let end = async |name: &str, expires_at: Option<i64>| {
        let new = NewKey { expires_at, ..NewKey::new(anykey_core::KeyKind::Live, name) };
        store.create_key(new).await.unwrap().0.id
    };
    let (soon, late, never) =
        (end("soon", Some(START + DAY)).await, end("late", Some(START + 9 * DAY)).await, end("never", None).await);
    let gone = end("gone", None).await;
    store.delete_key(gone, None).await.unwrap();
    let chosen = Selection::Keys(vec![soon, late, never, gone]);
    let job = run(&store, BulkAction::Extend { expires_at: START + 5 * DAY }, chosen).await;
    assert_eq!((job.total, job.done, job.skipped), (4, 1, 3));
    let mut why: Vec<_> = store.job_skipped(job.id, 10).await.unwrap().into_iter().map(|s| (s.key, s.why)).collect();
    why.sort();
    let mut expected = vec![
        (late, "it ends no earlier already".to_owned()),
        (never, "it never ends".to_owned()),
        (gone, "it is deleted".to_owned()),
    ];
    expected.sort();
    assert_eq!(why, expected);
    assert_eq!(store.key(soon).await.unwrap().expires_at, Some(START + 5 * DAY));
    assert_eq!(store.key(never).await.unwrap().version, 1, "what is left alone keeps its version");
}

async fn tags_are_set_and_taken_away(home: &Home) {
    let store = home.open().await;
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned()), ("old".to_owned(), String::new())]);
    let new = NewKey { tags, ..NewKey::new(anykey_core::KeyKind::Live, "k") };
    let (key, _) = store.create_key(new).await.unwrap();
    let set = BTreeMap::from([("team".to_owned(), "b".to_owned())]);
    let action = BulkAction::Tag { set, remove: ["old".to_owned()].into() };
    let tagged = KeyFilter { tag: Some("team=a".into()), ..KeyFilter::default() };
    assert_eq!(run(&store, action, filter(tagged.clone())).await.done, 1);
    assert_eq!(store.key(key.id).await.unwrap().tags, BTreeMap::from([("team".into(), "b".into())]));
    let found = async |filter: &KeyFilter| store.keys(filter, Page::default()).await.unwrap().data.len();
    assert_eq!(found(&tagged).await, 0, "lists find what the tags are now");
    assert_eq!(found(&KeyFilter { tag: Some("team=b".into()), ..KeyFilter::default() }).await, 1);
    let bad = BulkAction::Tag { set: BTreeMap::from([("a=b".into(), String::new())]), remove: Default::default() };
    let job = run(&store, bad, Selection::Keys(vec![key.id])).await;
    assert_eq!((job.done, job.skipped), (0, 1));
    assert!(store.job_skipped(job.id, 1).await.unwrap()[0].why.contains("tags"));
}

async fn an_end_is_not_put_beyond_the_rules(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let rules = KeyRules { max_expiry_days: Some(30), ..KeyRules::default() };
    let patch = OrganisationPatch { rules: Some(rules), ..OrganisationPatch::default() };
    store.update_organisation(acme.organisation.id, None, patch).await.unwrap();
    let placement = acme.placement(None);
    let new = NewKey { placement, expires_at: Some(START + DAY), ..NewKey::new(anykey_core::KeyKind::Live, "k") };
    let (key, _) = store.create_key(new).await.unwrap();
    for (days, done) in [(31, 0), (30, 1)] {
        let action = BulkAction::Extend { expires_at: START + days * DAY };
        assert_eq!(run(&store, action, Selection::Keys(vec![key.id])).await.done, done, "{days}");
    }
    let rules = KeyRules { max_expiry_days: Some(20), ..KeyRules::default() };
    let patch = ProjectPatch { rules: Some(rules), ..ProjectPatch::default() };
    store.update_project(acme.project.id, None, patch).await.unwrap();
    home.wait(15 * DAY);
    for (days, done) in [(36, 0), (35, 1)] {
        let action = BulkAction::Extend { expires_at: START + days * DAY };
        assert_eq!(run(&store, action, Selection::Keys(vec![key.id])).await.done, done, "{days} by the project's");
    }
}

async fn a_tag_that_is_required_is_not_taken_away(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned()), ("old".to_owned(), "x".to_owned())]);
    let new = NewKey { placement: acme.placement(None), tags, ..NewKey::new(anykey_core::KeyKind::Live, "k") };
    let (key, _) = store.create_key(new).await.unwrap();
    let rules = KeyRules { required_tags: ["team".to_owned()].into(), ..KeyRules::default() };
    let patch = ProjectPatch { rules: Some(rules), ..ProjectPatch::default() };
    store.update_project(acme.project.id, None, patch).await.unwrap();
    let untag = |name: &str| BulkAction::Tag { set: BTreeMap::new(), remove: [name.to_owned()].into() };
    let left = run(&store, untag("team"), Selection::Keys(vec![key.id])).await;
    assert_eq!((left.done, left.skipped), (0, 1));
    let why = &store.job_skipped(left.id, 9).await.unwrap()[0].why;
    assert_eq!(why, "tags must hold the tag `team` by the project's rules for keys");
    assert_eq!(run(&store, untag("old"), Selection::Keys(vec![key.id])).await.done, 1);
    assert_eq!(store.key(key.id).await.unwrap().tags.keys().collect::<Vec<_>>(), ["team"]);
}

/// A process that dies in the middle is one whose job says that it runs, with items that are done and items that are not.
async fn the_next_process_goes_on(home: &Home) {
    let store = home.open().await;
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(make(&store, &format!("k{i}")).await.0.id);
    }
    let job = run(&store, BulkAction::Disable, Selection::Keys(ids.clone())).await;
    store.close().await;
    drop(store);
    home.sql("UPDATE job SET state = 'running', finished_at = NULL, done = 3").await;
    home.sql("UPDATE job_item SET outcome = NULL WHERE key_id IN (SELECT id FROM api_key WHERE name IN ('k1', 'k4'))")
        .await;
    home.sql("UPDATE api_key SET disabled = FALSE WHERE name IN ('k1', 'k4')").await;
    let store = home.open().await;
    let job = done(&store, job.id).await;
    assert_eq!((job.total, job.done, job.skipped), (5, 5, 0));
    for id in ids {
        assert_eq!(store.key(id).await.unwrap().status, KeyStatus::Disabled);
    }
}
