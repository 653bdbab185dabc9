//! Notices through the real binary: each reminder arrives once by webhook and once by mail, whatever kills the process.

use anykey_testkit::{
    Canned, CannedUpstream, MailFault, MailTls, Request, Setup, SmtpServer, TestGateway, cost, until, until_some, usd,
};
use serde_json::{Value, json};

struct World {
    gateway: TestGateway,
    hook: CannedUpstream,
    mail: SmtpServer,
}

impl World {
    fn start() -> World {
        let hook = CannedUpstream::start();
        hook.answer(Canned::whole(204, &[], b"").then_close());
        let mail = SmtpServer::start(MailTls::StartTls);
        let settings = format!("{}[notices]\nallow_private_network = true\n", mail.settings("starttls"));
        let gateway = Setup::new(env!("CARGO_BIN_EXE_anykey")).table(&settings).start();
        World { gateway, hook, mail }
    }

    fn cli(&self, arguments: &[&str]) -> Value {
        self.gateway.cli(&[arguments, &["--json"]].concat()).json()
    }

    /// The events of the messages that came, in their order, with the stage of each.
    fn hooked(&self) -> Vec<(String, Option<i64>)> {
        let read = |body: &[u8]| -> Value { serde_json::from_slice(body).unwrap() };
        let messages = self.hook.seen().into_iter().map(|seen| read(&seen.body));
        messages.map(|it| (it["type"].as_str().unwrap().to_owned(), it["data"]["days"].as_i64())).collect()
    }

    fn mailed(&self) -> Vec<String> {
        self.mail.kept().iter().map(|letter| letter.header("subject").unwrap()).collect()
    }

    /// Nothing is on its way any more.
    fn settle(&self) {
        until("everything is delivered", || self.gateway.all("/deliveries?state=waiting").is_empty());
    }
}

/// So many seconds from now, as the API takes it.
fn within(seconds: u64) -> String {
    format!("{seconds}s")
}

#[test]
fn each_stage_of_an_end_arrives_once_by_webhook_and_by_mail_across_kills() {
    let mut world = World::start();
    world.cli(&["destination", "create", "ops", "--webhook", &format!("{}/in", world.hook.url())]);
    world.cli(&["member", "create", "ada@example.com", "--org", "default", "--name", "Ada"]);
    let owner = world.cli(&["member", "list"])[0]["id"].as_str().unwrap().to_owned();
    let key = world.gateway.key_with("ci", json!({"owner_id": owner}));
    let change = |world: &World, expires: String| {
        world.gateway.admin("PATCH", &format!("/keys/{}", key.id), Some(&json!({"expires_in": expires})));
    };
    const DAY: u64 = 24 * 3600;
    // A stage counts only where the key was there when it began, so the key is made older; then its end is moved, and what
    // is left stands for the days that pass.
    world.gateway.kill();
    world.gateway.sqlite("UPDATE api_key SET created_at = created_at - 8640000000 WHERE name = 'ci'");
    world.gateway.start();
    let mut expected = Vec::new();
    for (left, event, stage) in [
        (within(13 * DAY), "key.expiring", Some(14)),
        (within(6 * DAY), "key.expiring", Some(7)),
        (within(20 * 3600), "key.expiring", Some(1)),
        (within(2), "key.expiring", Some(1)),
    ] {
        change(&world, left);
        expected.push((event.to_owned(), stage));
        until("the webhook has it", || world.hooked().len() >= expected.len());
        until("the owner has it", || world.mailed().len() >= expected.len());
        world.settle();
        // Neither a kill nor a clean restart says it again.
        world.gateway.kill();
        world.gateway.start();
        world.gateway.restart();
    }
    expected.push(("key.expired".to_owned(), None));
    until("the end is told", || world.hooked().len() >= expected.len() && world.mailed().len() >= expected.len());
    world.settle();
    world.gateway.kill();
    world.gateway.start();
    world.settle();
    assert_eq!(world.hooked(), expected);
    assert_eq!(world.mailed().len(), expected.len(), "{:?}", world.mailed());
    let ids: std::collections::BTreeSet<String> =
        world.hook.seen().iter().map(|seen| seen.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), expected.len(), "each is a message of its own");
    for letter in world.mail.kept() {
        assert_eq!(letter.to, ["ada@example.com"]);
        assert!(letter.encrypted && !letter.data.contains(&key.secret));
    }
    let told: String = world.hook.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert!(!told.contains(&key.secret) && told.contains("ak-live-"), "the masked form and no more");
}

#[test]
fn what_was_under_way_when_the_process_was_killed_arrives_with_the_same_id() {
    let mut world = World::start();
    world.cli(&["destination", "create", "ops", "--webhook", &world.hook.url()]);
    let gate = world.hook.gate();
    let key = world.gateway.key("ci");
    world.gateway.post(&format!("/keys/{}/disable", key.id), &json!({}));
    until("it is being delivered", || world.hook.seen().len() == 1);
    world.gateway.kill();
    gate.open();
    world.gateway.start();
    until("it is delivered again", || world.hook.seen().len() == 2);
    world.settle();
    let seen = world.hook.seen();
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert_eq!(seen[0].body, seen[1].body);
}

#[test]
fn what_a_receiver_refuses_waits_and_is_listed_with_the_reason() {
    let world = World::start();
    world.hook.answer(Canned::whole(500, &[], b"").then_close());
    world.mail.fail_next([MailFault::Greylist]);
    let made = world.cli(&["destination", "create", "ops", "--webhook", &world.hook.url(), "--events", "key.disabled"]);
    world.cli(&["destination", "create", "team", "--email", "team@example.com"]);
    let key = world.gateway.key("ci");
    world.gateway.post(&format!("/keys/{}/disable", key.id), &json!({}));
    let failed = until_some("the refusal is listed", || {
        let rows =
            world.cli(&["delivery", "list", "--state", "waiting", "--destination", made["id"].as_str().unwrap()]);
        rows.get(0).filter(|row| row["last_status"] == 500).cloned()
    });
    assert_eq!(failed["last_error"], "the receiver answered 500");
    until("greylisting is waited out", || world.mailed() == ["[anykey] Key \"ci\" was disabled"]);
    world.hook.answer(Canned::whole(204, &[], b"").then_close());
    // Whoever has put it right says so, and nobody waits for the next attempt.
    world.cli(&["destination", "enable", made["id"].as_str().unwrap()]);
    world.settle();
    assert!(world.hook.seen().len() >= 2);
    let test = world.gateway.cli(&["destination", "test", made["id"].as_str().unwrap()]);
    assert_eq!(test.status, 0, "{}", test.stderr);
    world.hook.answer(Canned::whole(404, &[], b"").then_close());
    let test = world.gateway.cli(&["destination", "test", made["id"].as_str().unwrap()]);
    assert!(test.status == 1 && test.stderr.contains("404"), "{}", test.stderr);
    let replayed = world.gateway.cli(&["delivery", "replay", failed["id"].as_str().unwrap()]);
    assert_eq!(replayed.status, 0, "{}", replayed.stderr);
}

#[test]
fn a_share_of_a_project_s_day_is_told_once_across_kills() {
    let (hook, upstream) = (CannedUpstream::start(), CannedUpstream::start());
    hook.answer(Canned::whole(204, &[], b"").then_close());
    upstream.answer(Canned::json(
        r#"{"id":"c","object":"chat.completion","model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#,
    ));
    let setup = Setup::new(env!("CARGO_BIN_EXE_anykey")).table("[notices]\nallow_private_network = true\n");
    let mut gateway = setup.upstream("", &upstream.url()).start();
    gateway.cli(&["destination", "create", "ops", "--webhook", &format!("{}/in", hook.url())]);
    let key = gateway.key("ci");
    let call = Request::post("/v1/chat/completions").json(&json!({ "model": "openai/echo", "messages": [] }));
    assert_eq!(gateway.call(&call.bearer(&key.secret)).status, 200);
    let used = cost("openai", "echo", &json!({ "input": 9, "output": 3 }));
    let limit = |nanos: u64| json!({ "controls": { "spend": { "day": usd(nanos) } } });
    gateway.admin("PATCH", "/projects/default", Some(&limit(used * 10 / 8)));
    let told = || -> Vec<Value> {
        hook.seen().iter().map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap()).collect()
    };
    // Shares are looked at every few minutes, and at each start.
    for _ in 0..3 {
        gateway.kill();
        gateway.start();
        until("the warning came", || !told().is_empty());
        until("everything is delivered", || gateway.all("/deliveries?state=waiting").is_empty());
    }
    let warned = &told()[0];
    assert_eq!((told().len(), &warned["type"]), (1, &json!("spend.warning")), "{:?}", told());
    let about = &warned["data"]["limit"];
    assert_eq!(
        (&about["level"], &about["window"], &about["percent"]),
        (&json!("project"), &json!("daily"), &json!(80))
    );
    assert_eq!((&about["used_usd"], about["resets_at"].is_string()), (&json!(plain(used)), true), "{about}");
    let limits = gateway.get(&format!("/keys/{}/limits", key.id));
    let rows = limits["controls"].as_array().unwrap();
    let day = rows.iter().find(|row| row["control"] == "spend.day").unwrap();
    assert_eq!((&day["warning"], &day["level"]), (&json!(80), &json!("project")));
}

/// Dollars as the API writes them: without zeros at the end.
fn plain(nanos: u64) -> String {
    usd(nanos).trim_end_matches('0').to_owned()
}
