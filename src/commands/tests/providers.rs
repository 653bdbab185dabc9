//! Providers, models, aliases and prices.

use super::*;

const PROVIDER: &str = r#"{"name":"openai","kind":"openai","dialect":"openai","base_url":"https://api.openai.com/v1","credential":"set","allow_private_network":false,"origin":"api","disabled":false,"models_count":41,"tested_at":"2026-11-21T09:00:00Z","test_error":null,"version":1}"#;
const MODELS: &str = r#"{"data":[{"id":"openai/gpt-4o-mini","provider":"openai","dialect":"openai","context_window":128000,"max_output":16384,"priced":true,"prices":{"input":"0.00000015","output":"0.0000006"}},{"id":"house/gpt-4o-mini","provider":"house","dialect":"openai","context_window":null,"max_output":null,"priced":false,"prices":{}},{"id":"sim/echo","provider":"sim","dialect":"openai","context_window":null,"max_output":null,"priced":true,"prices":{"input":"0","output":"0"}}],"next":null}"#;

#[tokio::test]
async fn a_provider_is_added_with_a_credential_that_no_flag_shows() {
    let added = PROVIDER.replace("\"version\"", r#""test":{"ok":true,"models":41,"latency_ms":380},"version""#);
    let fake =
        Fake::start(&[("POST /admin/v1/providers", 201, &added), ("POST /admin/v1/providers?force=true", 201, &added)])
            .await;
    let bench = Bench::with(&fake).env("OPENAI_API_KEY", "sk-up").input("sk-piped\n");
    let ran = bench.run(&["provider", "add", "openai", "--key-env", "OPENAI_API_KEY"]).await;
    assert_eq!(ran.transcript(), "exit 0\n--- stdout\n--- stderr\nadded openai: 41 models, 380 ms\n");
    bench
        .run(&[
            "provider",
            "add",
            "openai",
            "--name",
            "house",
            "--base-url",
            "http://10.0.0.4/v1",
            "--allow-private-network",
            "--key-file",
            "-",
            "--force",
        ])
        .await;
    bench.run(&["provider", "add", "ollama"]).await;
    let bodies: Vec<_> = fake.seen().iter().map(|seen| seen.json()).collect();
    assert_eq!(
        bodies,
        [
            json!({"name": "openai", "kind": "openai", "allow_private_network": false, "api_key": "sk-up"}),
            json!({"name": "house", "kind": "openai", "allow_private_network": true, "api_key": "sk-piped",
                   "base_url": "http://10.0.0.4/v1"}),
            json!({"name": "ollama", "kind": "ollama", "allow_private_network": false}),
        ]
    );
    let unasked = bench.run(&["provider", "add", "openai"]).await;
    assert_eq!(unasked.exit, Exit::Usage);
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_provider_that_fails_its_test_fails_the_command() {
    let failing = r#"{"name":"openai","test":{"ok":false,"models":0,"latency_ms":20,"error":"401 from the provider"}}"#;
    let fake = Fake::start(&[("POST /admin/v1/providers/openai/test", 200, failing)]).await;
    let ran = Bench::with(&fake).run(&["provider", "test", "openai"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("401 from the provider"), "{}", ran.err);
}

#[tokio::test]
async fn providers_are_listed_shown_edited_and_removed() {
    let fake = Fake::start(&[
        (
            "GET /admin/v1/providers?limit=100",
            200,
            &list_of(&[PROVIDER, &PROVIDER.replace("\"test_error\":null", "\"test_error\":\"refused\"")]),
        ),
        ("GET /admin/v1/providers/openai", 200, PROVIDER),
        ("PATCH /admin/v1/providers/openai", 200, PROVIDER),
        ("DELETE /admin/v1/providers/openai", 204, ""),
    ])
    .await;
    let bench = Bench::with(&fake);
    insta::assert_snapshot!("providers-on-pipe", bench.run(&["provider", "list", "--header"]).await.transcript());
    let person = bench.clone().on_terminal();
    insta::assert_snapshot!("providers-on-terminal", person.run(&["provider", "list"]).await.transcript());
    insta::assert_snapshot!("provider-on-terminal", person.run(&["provider", "show", "openai"]).await.transcript());
    assert_eq!(bench.run(&["provider", "edit", "openai", "--disable"]).await.exit, Exit::Ok);
    let sent = fake.seen().pop().unwrap();
    assert_eq!((sent.header("if-match"), sent.json()), (Some("\"1\""), json!({"disabled": true})));
    assert_eq!(bench.run(&["provider", "edit", "openai"]).await.exit, Exit::Usage);
    assert_eq!(bench.run(&["provider", "remove", "openai"]).await.exit, Exit::Usage);
    assert_eq!(bench.run(&["provider", "rm", "openai", "--yes"]).await.exit, Exit::Ok);
}

#[tokio::test]
async fn kinds_need_no_server() {
    let ran = Bench::offline().run(&["provider", "kinds", "--json"]).await;
    let kinds: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let names: Vec<_> = kinds.as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert!(["openai", "anthropic", "gemini"].iter().all(|name| names.contains(name)), "{names:?}");
}

#[tokio::test]
async fn models_are_listed_and_found_by_their_bare_name() {
    let fake = Fake::start(&[
        ("GET /admin/v1/models?limit=100", 200, MODELS),
        ("GET /admin/v1/models?limit=200", 200, MODELS),
    ])
    .await;
    let bench = Bench::with(&fake);
    insta::assert_snapshot!("models-on-terminal", bench.clone().on_terminal().run(&["model", "ls"]).await.transcript());
    insta::assert_snapshot!("prices-on-pipe", bench.run(&["price", "list", "--header"]).await.transcript());
    bench.run(&["model", "list", "--provider", "sim"]).await;
    assert_eq!(fake.lines().last().unwrap(), "GET /admin/v1/models?provider=sim&limit=100");
    assert!(bench.run(&["model", "show", "echo"]).await.out.starts_with("id\tsim/echo\n"));
    assert!(bench.run(&["model", "show", "house/gpt-4o-mini", "--json"]).await.out.starts_with(r#"{"id":"house/"#));
    assert_eq!(bench.run(&["model", "show", "gpt-4o-mini"]).await.exit, Exit::Conflict);
    assert_eq!(bench.run(&["model", "show", "gpt-9"]).await.exit, Exit::NotFound);
}

#[tokio::test]
async fn aliases_are_added_listed_and_removed() {
    let alias = r#"{"name":"house","target":"openai/gpt-4o-mini"}"#;
    let fake = Fake::start(&[
        ("POST /admin/v1/aliases", 201, alias),
        ("GET /admin/v1/aliases?limit=100", 200, &list_of(&[alias])),
        ("DELETE /admin/v1/aliases/house%2Fx", 204, ""),
    ])
    .await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["alias", "add", "house", "openai/gpt-4o-mini", "--json"]).await.out, format!("{alias}\n"));
    assert_eq!(bench.run(&["aliases", "ls"]).await.out, "house\topenai/gpt-4o-mini\t\n");
    assert_eq!(bench.run(&["alias", "rm", "house/x"]).await.exit, Exit::Ok);
}

#[tokio::test]
async fn prices_come_from_a_file_stdin_or_a_url() {
    let done = r#"{"before":"a1","after":"b2","changed":12,"models":2300,"as_of":"2026-11-20","source":"upload","notes":["x/y is skipped"]}"#;
    let rates = r#"{"input":"0.00000015","output":"0.0000006","search":"0.01"}"#;
    let price = format!(
        r#"{{"id":4,"valid_from":"2026-01-01T00:00:00Z","source":"genai-prices","rates":{rates},"tiers":[{{"above_input_tokens":200000,"rates":{{"input":"0.0000003"}}}}]}}"#
    );
    let model = format!(
        r#"{{"kind":"openai","model":"ft/x","name":"FT X","context_window":128000,"max_output":null,"price":{price},"history":[{price}],"services":[]}}"#
    );
    let fake = Fake::start(&[
        ("POST /admin/v1/prices/update", 200, done),
        ("GET /admin/v1/prices", 200, r#"{"version":"b2","as_of":"2026-11-20","source":"bundled","models":2267}"#),
        ("GET /admin/v1/prices/models/openai/ft%2Fx", 200, &model),
    ])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prices.json");
    std::fs::write(&file, "{\"from\":\"file\"}").unwrap();
    let bench = Bench::with(&fake).input("{\"from\":\"stdin\"}");
    for source in [file.to_str().unwrap(), "-", "https://prices.example/v2.json"] {
        let ran = bench.run(&["price", "update", source]).await;
        assert_eq!(ran.err, "prices a1 -> b2: 12 of 2,300 models changed\nx/y is skipped\n", "{source}");
    }
    let bodies: Vec<_> = fake.seen().iter().map(|seen| seen.json()).collect();
    let url = json!({"url": "https://prices.example/v2.json"});
    assert_eq!(bodies, [json!({"from": "file"}), json!({"from": "stdin"}), url]);
    assert!(bench.run(&["price", "show"]).await.out.contains("models\t2267\n"));
    let shown = bench.clone().on_terminal().run(&["price", "show", "openai/ft/x"]).await;
    insta::assert_snapshot!("price-on-terminal", shown.transcript());
    assert_eq!(bench.run(&["price", "show", "gpt"]).await.exit, Exit::Usage);
}
