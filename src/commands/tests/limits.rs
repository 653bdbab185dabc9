//! What bounds a key on the command line: flags put into controls, and what applies shown.

use super::*;

const REPORT: &str = r#"{"allowed":false,"verdict":"A call would be refused now (rate_limited). The project `search` is limited to 60 requests per minute (RPM): 60 used. Send it again in 13 s.","refused_by":{"control":"rpm","level":"project","name":"search","code":"rate_limited","retry_after":13},"controls":[{"control":"rpm","level":"project","name":"search","models":null,"value":null,"limit":60,"used":60,"remaining":0,"resets_in":41},{"control":"models","level":"key","name":"ci","models":null,"value":"allow openai/*","limit":null,"used":null,"remaining":null,"resets_in":null},{"control":"tpm","level":"key","name":"ci","models":"openai/gpt-5*","value":null,"limit":200000,"used":1234,"remaining":198766,"resets_in":12},{"control":"spend_limit","level":"key","name":"ci","models":null,"value":null,"limit":"5","used":"0.000045","remaining":"4.999955","resets_in":null}]}"#;

#[tokio::test]
async fn what_applies_begins_with_the_verdict() {
    let path = format!("{GET_KEY}/limits");
    let fake = Fake::start(&[(&by_name("ci"), 200, &list_of(&[KEY])), (&path, 200, REPORT)]).await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["key", "limits", "ci", "--json"]).await.out, format!("{REPORT}\n"));
    insta::assert_snapshot!("limits-on-pipe", bench.run(&["key", "limits", "ci"]).await.transcript());
    insta::assert_snapshot!("limits-on-terminal", bench.on_terminal().run(&["key", "limits", "ci"]).await.transcript());
}

#[tokio::test]
async fn flags_become_controls_and_leave_the_others_as_they_are() {
    let path = format!("PATCH /admin/v1/keys/{KEY_ID}");
    let bounded = KEY.replace("\"spent_usd\"", r#""controls":{"limits":{"rpm":5},"ips":["10.0.0.0/8"]},"spent_usd""#);
    let fake = Fake::start(&[
        ("POST /admin/v1/keys", 201, &with_secret(KEY)),
        (&by_name("ci"), 200, &list_of(&[&bounded])),
        (GET_KEY, 200, &bounded),
        (&path, 200, &bounded),
    ])
    .await;
    let bench = Bench::with(&fake);
    bench.run(&["key", "create", "ci", "--rpm", "60", "--model", "openai/*", "--ip", "10.0.0.0/8"]).await;
    let sent = fake.seen().pop().unwrap().json();
    let controls = json!({"limits": {"rpm": 60}, "models": {"allow": ["openai/*"]}, "ips": ["10.0.0.0/8"]});
    assert_eq!(sent, json!({"name": "ci", "controls": controls}));
    bench.run(&["key", "update", "ci", "--rpm", "none", "--tpm", "9"]).await;
    let sent = fake.seen().pop().unwrap();
    assert_eq!(sent.header("if-match"), Some("\"3\""));
    assert_eq!(sent.json(), json!({"controls": {"limits": {"tpm": 9}, "ips": ["10.0.0.0/8"]}}));
}
