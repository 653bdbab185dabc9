//! The access matrix: every route of the document, as each kind of caller meets it.

use crate::harness::{Answer, Api};
use anykey_core::KeyKind;
use anykey_store::{NewKey, NewPerson};
use axum::http::Method;
use serde_json::{Value, json};

/// Whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Stranger,
    /// A key that calls models.
    Caller,
    /// A cookie that stands for nobody.
    Over,
    Admin,
    Operator,
    /// Somebody who is signed in and operates nothing.
    Person,
}

const ALL: [Who; 6] = [Who::Stranger, Who::Caller, Who::Over, Who::Admin, Who::Operator, Who::Person];

/// What a route answers to them: a refusal's status and code, or that it looks at what is asked.
fn expected(who: Who, permission: &str) -> Option<(u16, &'static str)> {
    let own = permission.starts_with("self:");
    match who {
        Who::Stranger => Some((401, "missing_api_key")),
        Who::Caller => Some((403, "scope_missing")),
        Who::Over => Some((401, "session_over")),
        // A key has no password, and no sessions.
        Who::Admin if own => Some((403, "role_forbidden")),
        Who::Admin | Who::Operator => None,
        Who::Person if own => None,
        Who::Person => Some((403, "role_forbidden")),
    }
}

struct World {
    api: Api,
    caller: String,
    operator: anykey_core::PersonId,
    person: anykey_core::PersonId,
}

impl World {
    async fn start() -> World {
        let api = Api::start().await;
        let (_, caller) = api.store.create_key(NewKey::new(KeyKind::Live, "caller")).await.unwrap();
        let new = |email: &str, operator| NewPerson { email: email.into(), name: "N".into(), operator };
        let operator = api.store.create_person(new("ada@example.com", true)).await.unwrap().id;
        let person = api.store.create_person(new("eve@example.com", false)).await.unwrap().id;
        World { caller: caller.expose().to_owned(), api, operator, person }
    }

    async fn ask(&self, who: Who, method: &Method, path: &str) -> Answer {
        let call = self.api.stranger(method.clone(), path);
        let call = match who {
            Who::Stranger => call,
            Who::Caller => call.header("x-api-key", &self.caller),
            Who::Over => call.header("cookie", &format!("anykey={}", "0".repeat(64))),
            Who::Admin => call.header("x-api-key", self.api.admin.expose()),
            Who::Operator | Who::Person => {
                let id = if who == Who::Operator { self.operator } else { self.person };
                let (session, token) = self.api.store.begin_session(id, "test", None, None).await.unwrap();
                call.header("cookie", &format!("anykey={}", token.expose()))
                    .header("x-csrf-token", &self.api.store.csrf_token(&session))
            }
        };
        if *method == Method::GET { call.send().await } else { call.json(json!({})).send().await }
    }
}

#[tokio::test]
async fn every_route_meets_each_kind_of_caller_as_its_permission_says() {
    let world = World::start().await;
    let document = serde_json::to_value(anykey_control::openapi()).unwrap();
    let mut met = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(permission) = operation["x-permission"].as_str() else {
                assert!(operation["security"].is_null(), "{method} {path} asks for a caller and for no permission");
                continue;
            };
            // Nothing has these names; a stream that tails would never end.
            let concrete = path.strip_prefix("/admin/v1").unwrap().replace(['{', '}'], "");
            let method: Method = method.to_uppercase().parse().unwrap();
            for who in ALL {
                if expected(who, permission).is_none() && concrete.ends_with("/tail") {
                    continue;
                }
                let answer = world.ask(who, &method, &concrete).await;
                met += 1;
                match expected(who, permission) {
                    Some((status, code)) => drop(answer.refused(status, code)),
                    None => {
                        let code = answer.json()["code"].clone();
                        let refused = answer.status == 401 || code == "role_forbidden" || code == "cross_site_request";
                        assert!(!refused, "{who:?} {method} {path}: {}", answer.text());
                    }
                }
            }
        }
    }
    assert!(met > 6 * 46 - 4, "only {met} were met");
}

/// Whatever is asked for, what is not there and what one may not know of answer alike.
#[tokio::test]
async fn who_may_not_look_learns_nothing_of_what_is_there() {
    let world = World::start().await;
    let there = world.api.admin_key.id.to_string();
    let missing = "key_00000000000000000000000000";
    for method in [Method::GET, Method::DELETE] {
        let found = world.ask(Who::Person, &method, &format!("/keys/{there}")).await;
        let none = world.ask(Who::Person, &method, &format!("/keys/{missing}")).await;
        let plain = |answer: &Answer| {
            let mut problem = answer.json();
            problem["request_id"] = Value::Null;
            (answer.status, problem)
        };
        assert_eq!(plain(&found), plain(&none), "{method}");
    }
}
