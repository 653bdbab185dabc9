//! What was used lately, as rate limits ask for it when a process begins.

use crate::home::*;
use anykey_core::Level;
use anykey_core::record::Outcome;
use anykey_store::RecentUse;

on_both!(only_what_was_sent_under_a_level_since_then_is_counted);

async fn only_what_was_sent_under_a_level_since_then_is_counted(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let (other, _) = make(&store, "other").await;
    let at = |offset: i64| call(key.id, public_id(&key), START + offset);
    let mut refused = at(3);
    (refused.outcome, refused.attempt) = (Outcome::Refused, 0);
    let mut elsewhere = at(4);
    elsewhere.model_sent = "another".into();
    let before = at(-HOUR);
    let strangers = call(other.id, public_id(&other), START + 5);
    let tokens = before.usage.input_tokens() + before.usage.output_tokens();
    let sent = vec![before, at(1), at(2), refused, elsewhere, at(30_000), strangers];
    let model = sent[1].model_sent.clone();
    store.apply(sent).await.unwrap();

    let used = store.recent_use(Level::Key, key.id.0, START).await.unwrap();
    let row = |at: i64, model: &str, requests: u64| RecentUse {
        at: START + at,
        provider: used[0].provider.clone(),
        model: model.into(),
        requests,
        tokens: requests * tokens,
    };
    assert_eq!(used, [row(2, &model, 2), row(4, "another", 1), row(30_000, &model, 1)]);
    let requests = |used: Vec<RecentUse>| used.iter().map(|u| u.requests).sum::<u64>();
    let all = store.recent_use(Level::Key, key.id.0, START - 2 * HOUR).await.unwrap();
    assert_eq!(requests(all), 5);
    // Both keys are in the default project of the default organisation.
    for level in [Level::Project, Level::Organisation] {
        assert_eq!(requests(store.recent_use(level, [0; 16], START).await.unwrap()), 5, "{level:?}");
    }
    assert_eq!(requests(store.recent_use(Level::Installation, [0; 16], START).await.unwrap()), 5);
    for level in [Level::Member, Level::ServiceAccount] {
        assert_eq!(store.recent_use(level, [7; 16], START).await.unwrap(), []);
    }
}
