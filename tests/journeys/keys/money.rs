//! The limits of money as they are set, shown and told of: a key's two names for them are one thing, and a refusal says
//! whose limit of which window it was, in every dialect.

use super::limit::{ANSWER, request};
use crate::support::{Dialect, World, assert_refusal, setup};
use anykey_testkit::{Canned, CannedUpstream, TestGateway, nanos};
use serde_json::{Value, json};

fn limits(of: &[(&str, &str)]) -> Value {
    of.iter().map(|(window, usd)| json!({ "window": window, "usd": usd })).collect()
}

fn shown(key: &Value) -> (&Value, &Value) {
    (&key["spend_limits"], &key["controls"]["spend"])
}

#[test]
fn the_limits_of_a_key_are_one_thing_with_two_names() {
    let gateway = setup().start();
    let all = limits(&[("total", "90"), ("monthly", "50"), ("weekly", "20"), ("daily", "5")]);
    let named = json!({ "total": "90", "month": "50", "week": "20", "day": "5" });
    let listed = gateway.key_with("listed", json!({ "spend_limits": all }));
    let other = gateway.key_with("named", json!({ "controls": { "spend": named } }));
    for id in [&listed.id, &other.id] {
        assert_eq!(shown(&gateway.get(&format!("/keys/{id}"))), (&all, &named));
    }
    let completed = json!({ "spend_limits": limits(&[("total", "9")]), "controls": { "spend": { "day": "5" } } });
    let completed = gateway.key_with("completed", completed);
    let now = gateway.get(&format!("/keys/{}", completed.id));
    assert_eq!(shown(&now).0, &limits(&[("total", "9"), ("daily", "5")]), "of a new key they complete each other");
    let path = format!("/keys/{}", listed.id);
    let patch = |body: Value| gateway.admin("PATCH", &path, Some(&body));
    // A policy that says nothing of money leaves it; a list replaces the amounts and nothing beside them.
    assert_eq!(shown(&patch(json!({ "controls": { "limits": { "rpm": 9000 } } }))), (&all, &named));
    let zoned = json!({ "day": "7", "time_zone": "Asia/Tokyo" });
    let key = patch(json!({ "controls": { "spend": zoned } }));
    assert_eq!(shown(&key), (&limits(&[("daily", "7")]), &zoned), "the total is gone as well");
    let key = patch(json!({ "spend_limits": limits(&[("week", "3"), ("total", "9")]) }));
    let now = json!({ "total": "9", "week": "3", "time_zone": "Asia/Tokyo" });
    assert_eq!(shown(&key), (&limits(&[("total", "9"), ("weekly", "3")]), &now));
    // What is sent back as it was read changes nothing; what contradicts itself is told.
    let same = json!({ "spend_limits": key["spend_limits"], "controls": key["controls"] });
    assert_eq!(shown(&patch(same)), shown(&key));
    let both = json!({ "spend_limits": limits(&[("daily", "1")]), "controls": key["controls"] });
    let reply = gateway.admin_reply("PATCH", &path, Some(&both));
    assert_eq!((reply.status, reply.text().contains("send one of them")), (400, true), "{}", reply.text());
    assert_eq!(shown(&patch(json!({ "controls": null }))), (&json!([]), &Value::Null));
    patch(json!({ "spend_limits": all }));
    assert_eq!(shown(&patch(json!({ "spend_limits": [] }))), (&json!([]), &Value::Null));

    let made = gateway.cli(&["key", "create", "cli", "--budget", "9", "--budget", "5/day", "--json"]).json();
    assert_eq!(shown(&made).0, &limits(&[("total", "9"), ("daily", "5")]));
    let both = ["key", "edit", "cli", "--budget", "8", "--daily-budget", "3", "--rpm", "9000", "--json"];
    assert_eq!(shown(&gateway.cli(&both).json()).0, &limits(&[("total", "8"), ("daily", "3")]));
    gateway.cli(&["key", "edit", "cli", "--budget", "9", "--budget", "5/day", "--rpm", "none"]);
    let edited = gateway.cli(&["key", "edit", "cli", "--daily-budget", "none", "--json"]).json();
    assert_eq!(shown(&edited).0, &limits(&[("total", "9")]), "a flag for days leaves the total");
}

#[test]
fn a_key_is_told_of_every_limit_with_its_use_reset_and_source() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(ANSWER));
    let gateway = setup().upstream("", &upstream.url()).start();
    let all = limits(&[("total", "90"), ("monthly", "50"), ("weekly", "20"), ("daily", "5")]);
    let key = gateway.key_with("told", json!({ "spend_limits": all }));
    gateway.admin("PATCH", "/organisations/default", Some(&json!({ "controls": { "spend": { "month": "1000" } } })));
    assert_eq!(gateway.call(&request().bearer(&key.secret)).status, 200);
    let own = gateway.call(&anykey_testkit::Request::get("/v1/key").bearer(&key.secret)).json();
    let by_admin = gateway.get(&format!("/keys/{}/limits", key.id));
    let table = gateway.cli(&["key", "limits", "told", "--json"]).json();
    for (from, report) in [("own", &own["data"]["limits"]), ("admin", &by_admin), ("command", &table)] {
        let mut rows = Vec::new();
        for row in report["controls"].as_array().unwrap() {
            let control = row["control"].as_str().unwrap();
            if !control.starts_with("spend") {
                continue;
            }
            let amount = |field: &str| nanos(row[field].as_str().unwrap());
            assert!(amount("used") > 0 && amount("used") + amount("remaining") == amount("limit"), "{from}: {row}");
            assert_eq!(row["resets_at"].is_string(), control != "spend_limit", "{from}: {row}");
            assert_eq!(row["resets_in"].is_u64(), control != "spend_limit", "{from}: {row}");
            rows.push((row["level"].as_str().unwrap().to_owned(), control.to_owned(), amount("limit") / 1_000_000_000));
        }
        let row = |level: &str, control: &str, limit| (level.to_owned(), control.to_owned(), limit);
        let expected = [
            row("organisation", "spend.month", 1000),
            row("key", "spend.month", 50),
            row("key", "spend.week", 20),
            row("key", "spend.day", 5),
            row("key", "spend_limit", 90),
        ];
        assert_eq!(rows, expected, "{from}");
    }
}

/// An organisation with a project, a member and a service account, and what the admin API calls each.
pub(super) fn levels(gateway: &TestGateway) -> [(&'static str, String); 4] {
    let cli = |arguments: &[&str]| gateway.cli(&[arguments, &["--json"]].concat()).json();
    let id = |made: Value| made["id"].as_str().unwrap().to_owned();
    [
        ("organisation `Acme`", format!("/organisations/{}", id(cli(&["org", "create", "Acme"])))),
        ("project `Search`", format!("/projects/{}", id(cli(&["project", "create", "Search", "--org", "acme"])))),
        (
            "member `Ada`",
            format!("/members/{}", id(cli(&["member", "create", "ada@example.com", "--org", "acme", "--name", "Ada"]))),
        ),
        (
            "service account `deploy`",
            format!(
                "/service-accounts/{}",
                id(cli(&["service-account", "create", "deploy", "--project", "acme/search"]))
            ),
        ),
    ]
}

#[test]
fn a_refusal_names_level_window_use_limit_and_reset_in_every_dialect() {
    let world = World::start();
    let gateway = &world.gateway;
    let levels = levels(gateway);
    let owned = |name: &str, owner: &str| {
        let id = owner.rsplit('/').next().unwrap();
        gateway.key_with(name, json!({ "project": "acme/search", "owner_id": id }))
    };
    let (of_member, of_account) = (owned("of-member", &levels[2].1), owned("of-account", &levels[3].1));
    let key = ("API key `of-account`", format!("/keys/{}", of_account.id));
    for (whose, path) in levels.iter().chain([&key]) {
        let secret = if path.starts_with("/members") { &of_member.secret } else { &of_account.secret };
        for (window, word) in [("total", ""), ("day", "daily "), ("week", "weekly "), ("month", "monthly ")] {
            let set = |spend: Value| gateway.admin("PATCH", path, Some(&json!({ "controls": { "spend": spend } })));
            set(json!({ window: "0.000000002" }));
            for dialect in Dialect::ALL {
                let reply = gateway.call(&dialect.chat().at("echo").bearer(secret));
                let message = assert_refusal(&reply, dialect, 402, "spend_limit_reached");
                let reset = if window == "total" { "The limit does not reset." } else { "It resets at 20" };
                let says = format!("The {word}spend limit of the {whose} is reached: $");
                let used = " of $0.000000002 is spent, and this call may cost up to $";
                assert!([&says, used, reset].iter().all(|part| message.contains(*part)), "{message}");
            }
            set(json!({}));
            assert_eq!(gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(secret)).status, 200, "{whose} {window}");
        }
    }
}
