//! Lists of addresses: the peer decides, and behind declared proxies whoever they say called.

use super::{bounded, chat, refused};
use crate::support::{Dialect, World, setup};
use anykey_testkit::{Request, TestSim};
use serde_json::json;

fn behind_proxies(trusted: &str) -> World {
    let sim = TestSim::start();
    let gateway = setup().sim(&sim).setting(&format!("trusted_proxies = {trusted}")).start();
    let key = gateway.key("journey");
    World { sim, gateway, key }
}

#[test]
fn a_call_from_elsewhere_is_refused_whatever_it_says_of_itself() {
    let world = World::start();
    let home = bounded(&world, "home", json!({ "ips": ["127.0.0.0/8", "::1"] }));
    let office = bounded(&world, "office", json!({ "ips": ["203.0.113.0/24", "2001:db8::/32"] }));
    for dialect in Dialect::ALL {
        assert_eq!(world.gateway.call(&chat(dialect, &home)).status, 200);
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"] {
            let request = chat(dialect, &office).header(name, "203.0.113.7");
            let (_, message) = refused(&world, &request, dialect, 403, "ip_not_allowed");
            assert!(message.contains("127.0.0.1") && message.contains("the API key `office`"), "{message}");
        }
    }
    // Lists too, and what a key is told about itself.
    for path in ["/v1/models", "/v1/key"] {
        refused(&world, &Request::get(path).bearer(&office), Dialect::OpenAi, 403, "ip_not_allowed");
    }
}

#[test]
fn a_declared_proxy_is_believed_from_the_right() {
    let world = behind_proxies(r#"["127.0.0.0/8", "10.0.0.0/8"]"#);
    let office = bounded(&world, "office", json!({ "ips": ["203.0.113.0/24"] }));
    let ask = |forwarded: &str| chat(Dialect::OpenAi, &office).header("x-forwarded-for", forwarded);
    for forwarded in [
        "203.0.113.7",
        "198.51.100.1, 203.0.113.7",
        "junk, 203.0.113.7, 10.1.2.3",
        "::ffff:203.0.113.7",
        "203.0.113.7:4711",
    ] {
        let reply = world.gateway.call(&ask(forwarded));
        assert_eq!(reply.status, 200, "{forwarded}: {}", reply.text());
        assert_eq!(world.gateway.record(reply.id())["client"], "203.0.113.7", "{forwarded}");
    }
    for forwarded in ["203.0.113.7, 198.51.100.1", "203.0.113.7, junk", "203.0.113.7,", "10.0.0.9", "fe80::1%eth0", ""]
    {
        refused(&world, &ask(forwarded), Dialect::OpenAi, 403, "ip_not_allowed");
    }
    // Two lines are one list.
    let two = ask("203.0.113.7").header("x-forwarded-for", "198.51.100.1");
    refused(&world, &two, Dialect::OpenAi, 403, "ip_not_allowed");
}

#[test]
fn an_admin_key_is_bounded_on_the_admin_api() {
    let world = behind_proxies(r#"["127.0.0.1"]"#);
    let made = world.gateway.post(
        "/keys",
        &json!({ "name": "remote", "kind": "admin", "controls": { "ips": ["203.0.113.7"], "limits": { "rpm": 2 } } }),
    );
    let secret = made["secret"].as_str().unwrap();
    let ask = |from: &str| {
        world.gateway.call(&Request::get("/admin/v1/status").bearer(secret).header("x-forwarded-for", from))
    };
    let no = ask("203.0.113.8");
    assert_eq!((no.status, no.json()["code"].as_str()), (403, Some("ip_not_allowed")), "{}", no.text());
    assert_eq!([ask("203.0.113.7").status, ask("203.0.113.7").status], [200, 200]);
    let full = ask("203.0.113.7");
    assert_eq!((full.status, full.json()["code"].as_str()), (429, Some("rate_limited")), "{}", full.text());
    assert!(full.header("retry-after").is_some(), "{:?}", full.headers);
}

#[test]
fn proxies_that_are_declared_wrong_stop_the_start() {
    let sim = TestSim::start();
    let mut gateway = setup().sim(&sim).start();
    assert_eq!(gateway.stop(), Some(0));
    let file = gateway.folder().join("anykey.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("trusted_proxies = [\"10.0.0.1/8\"]\n{text}")).unwrap();
    let exit = gateway.try_start().unwrap_err();
    assert_eq!(exit.status.code(), Some(78));
    assert!(exit.log.contains("anykey.toml:1: trusted_proxies") && exit.log.contains("10.0.0.0/8"), "{}", exit.log);
}
