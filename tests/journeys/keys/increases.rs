//! More than a limit for a while: on every level, in force when the command returns, gone with its last millisecond, and in
//! the audit log with who granted it.

use super::limit::{ANSWER, request, worst};
use super::money::levels;
use crate::support::setup;
use anykey_testkit::{Canned, CannedUpstream, TestGateway, nanos, until, usd};
use serde_json::{Value, json};

fn gateway(upstream: &CannedUpstream) -> TestGateway {
    upstream.answer(Canned::json(ANSWER));
    setup().upstream("", &upstream.url()).start()
}

fn verdict(gateway: &TestGateway, secret: &str) -> u16 {
    gateway.call(&request().bearer(secret)).status
}

fn increases(gateway: &TestGateway, path: &str) -> Value {
    gateway.get(path)["controls"]["spend"]["increases"].clone()
}

#[test]
fn every_level_can_spend_more_for_a_while_and_the_log_says_who_granted_it() {
    let upstream = CannedUpstream::start();
    let gateway = gateway(&upstream);
    let levels = levels(&gateway);
    let owned = |name: &str, owner: &str| {
        let id = owner.rsplit('/').next().unwrap();
        gateway.key_with(name, json!({ "project": "acme/search", "owner_id": id }))
    };
    let (of_member, of_account) = (owned("of-member", &levels[2].1), owned("of-account", &levels[3].1));
    let nouns = ["org", "project", "member", "service-account", "key"];
    let paths = levels.iter().map(|(_, path)| path.clone()).chain([format!("/keys/{}", of_account.id)]);
    for (noun, path) in nouns.into_iter().zip(paths) {
        let id = path.rsplit('/').next().unwrap().to_owned();
        let secret = if noun == "member" { &of_member.secret } else { &of_account.secret };
        for window in ["total", "day", "week", "month"] {
            let set = |spend: Value| gateway.admin("PATCH", &path, Some(&json!({ "controls": { "spend": spend } })));
            set(json!({ window: "0.000000001" }));
            assert_eq!(verdict(&gateway, secret), 402, "{noun} {window}");
            let by = usd(1_000_000 * worst());
            gateway.cli(&[noun, "raise", &id, "--by", &by, "--of", window, "--until", "2h"]);
            assert_eq!(verdict(&gateway, secret), 200, "{noun} {window}: in force when the command returns");
            let granted = increases(&gateway, &path);
            let granted = &granted.as_array().unwrap()[..];
            assert_eq!((granted.len(), &granted[0]["window"]), (1, &json!(window)), "{granted:?}");
            assert!(granted[0]["granted_by"].as_str().unwrap().len() > 2, "{granted:?}");
            let limits =
                gateway.get(&format!("/keys/{}/limits", if noun == "member" { &of_member.id } else { &of_account.id }));
            let raised = limits["controls"].as_array().unwrap().iter().filter_map(|row| row["limit"].as_str());
            let raised: Vec<u64> = raised.map(nanos).collect();
            assert_eq!(raised, [1_000_000 * worst() + 1], "{noun} {window}: {limits}");
            gateway.cli(&[noun, "raise", &id, "--none"]);
            assert_eq!(verdict(&gateway, secret), 402, "{noun} {window}: ended by hand");
            set(json!({}));
        }
        let log = gateway.get(&format!("/audit?object={id}&limit=200")).to_string();
        assert!(log.contains("increases") && log.contains("granted_by"), "{noun}: {log}");
    }
}

#[test]
fn an_increase_ends_by_itself_and_survives_a_crash_until_then() {
    let upstream = CannedUpstream::start();
    let mut gateway = gateway(&upstream);
    let key = gateway.key_with("brief", json!({ "spend_limits": [{ "window": "daily", "usd": "0.000000001" }] }));
    let end = jiff::Timestamp::now() + std::time::Duration::from_secs(8);
    let more = json!({ "window": "day", "usd": "5", "until": end.to_string() });
    let spend = json!({ "day": "0.000000001", "increases": [more] });
    let path = format!("/keys/{}", key.id);
    gateway.admin("PATCH", &path, Some(&json!({ "controls": { "spend": spend } })));
    assert_eq!(verdict(&gateway, &key.secret), 200);
    gateway.kill();
    gateway.start();
    until("the increase ends", || verdict(&gateway, &key.secret) == 402);
    assert!(jiff::Timestamp::now() >= end, "not before its end");
    assert_eq!(increases(&gateway, &path).as_array().unwrap().len(), 1, "what was granted is still said");
    // The next change of the policy leaves it behind; sending it back as it was is no mistake.
    let controls = gateway.get(&path)["controls"].clone();
    gateway.admin("PATCH", &path, Some(&json!({ "controls": controls })));
    assert!(increases(&gateway, &path).is_null());
}

#[test]
fn what_cannot_be_granted_is_told() {
    let gateway = setup().start();
    let key = gateway.key_with("k", json!({ "spend_limits": [{ "window": "daily", "usd": "1" }] }));
    let path = format!("/keys/{}", key.id);
    let more = |window: &str, usd: &str, until: &str| json!({ "window": window, "usd": usd, "until": until });
    for (increase, says) in [
        (more("day", "5", "2001-01-01T00:00:00Z"), "in the past"),
        (more("month", "5", "2099-01-01T00:00:00Z"), "not set"),
        (more("year", "5", "2099-01-01T00:00:00Z"), "window of an increase"),
        (more("day", "-5", "2099-01-01T00:00:00Z"), "negative"),
        (more("day", "5", "soon"), "2026-12-31T12:00:00Z"),
    ] {
        let body = json!({ "controls": { "spend": { "day": "1", "increases": [increase] } } });
        let reply = gateway.admin_reply("PATCH", &path, Some(&body));
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains(says), "{}", reply.text());
    }
    // Who granted it is not for the caller to say.
    let forged = json!({ "window": "day", "usd": "5", "until": "2099-01-01T00:00:00Z", "granted_by": "somebody else" });
    let spend = json!({ "day": "1", "increases": [forged] });
    gateway.admin("PATCH", &path, Some(&json!({ "controls": { "spend": spend } })));
    let granted = increases(&gateway, &path);
    assert!(granted[0]["granted_by"] != "somebody else", "{granted}");
    let new = json!({ "name": "new", "controls": { "spend": spend } });
    assert_eq!(gateway.admin_reply("POST", "/keys", Some(&new)).status, 400);
}
