//! The access matrix: every route of the document, as everybody who may ask meets it, with things of their own, of their
//! organisation and of another. A route without a row in [`rows`] fails.

mod attempts;
mod rows;
mod stories;
mod unseen;
mod world;

use crate::harness::{Answer, Api};
use attempts::{Attempt, attempts};
use axum::http::Method;
use futures_util::FutureExt as _;
use rows::{Kind, ROWS, Row, Try, Who};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use world::{FAR, Thing, World};

/// A route of the document.
struct Route {
    operation: String,
    method: Method,
    /// Below the base.
    path: String,
}

fn routes() -> Vec<Route> {
    let document = serde_json::to_value(anykey_control::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push(Route {
                operation: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.strip_prefix("/admin/v1").unwrap().to_owned(),
            });
        }
    }
    found
}

fn row(operation: &str) -> &'static Row {
    let row = ROWS.iter().find(|row| row.operation == operation);
    row.unwrap_or_else(|| panic!("{operation} has no row in the access matrix"))
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let served: BTreeSet<String> = routes().into_iter().map(|route| route.operation).collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.operation.to_owned()).collect();
    assert_eq!(served, rows);
    assert_eq!(rows.len(), ROWS.len(), "one row each");
}

/// What an answer says, but for what differs from request to request.
fn plain(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    let headers = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
    (answer.status.as_u16(), body, headers)
}

fn missing(kind: Kind) -> &'static str {
    match kind {
        Kind::Key | Kind::Use => "key_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Organisation | Kind::Entry => "org_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Project => "proj_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Member => "mem_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Account => "svc_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Person => "person_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Job => "job_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Request => "req_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Destination => "dst_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Delivery => "dlv_01zzzzzzzzzzzzzzzzzzzzzzzz",
        Kind::Approval => "apr_01zzzzzzzzzzzzzzzzzzzzzzzz",
    }
}

/// The row by which things of a kind are seen: what is seen and may not be changed is refused, and not hidden.
fn seen_by(kind: Kind) -> &'static str {
    match kind {
        Kind::Key | Kind::Use => "show_key",
        Kind::Organisation | Kind::Entry => "show_organisation",
        Kind::Project => "show_project",
        Kind::Member => "show_member",
        Kind::Account => "show_service_account",
        Kind::Person => "show_person",
        Kind::Job => "show_job",
        Kind::Request => "show_request",
        Kind::Destination => "show_destination",
        Kind::Delivery => "show_delivery",
        Kind::Approval => "show_approval",
    }
}

fn reaches(words: Option<&Vec<&str>>, thing: &[&str]) -> bool {
    words.is_some_and(|words| words.iter().any(|word| *word == "all" || thing.contains(word)))
}

struct Matrix {
    world: World,
    met: usize,
}

impl Matrix {
    /// Asks for the thing in the path, so that nothing comes of it: a change is meant for a version that never was.
    async fn path(&self, who: Who, route: &Route, id: &str) -> Answer {
        let nobody = "person_01zzzzzzzzzzzzzzzzzzzzzzzz";
        let path = route.path.replace("{id}", id).replace("{person}", nobody);
        let call = self.world.ask(who, &route.method, &path);
        if route.method == Method::GET {
            call.send().await
        } else {
            call.header("if-match", "\"999999\"").json(json!({})).send().await
        }
    }

    async fn try_path(&mut self, who: Who, route: &Route, row: &Row, kind: Kind) {
        let words = row.cell(who);
        let none = self.path(who, route, missing(kind)).await;
        if words.is_none() {
            none.refused(403, "role_forbidden");
        } else if !who.operates() {
            none.refused(404, "not_found");
        }
        let sees = self::row(seen_by(kind)).cell(who);
        for Thing { name, id, words: thing } in self.world.things(kind).to_vec() {
            let answer = self.path(who, route, &id).await;
            self.met += 1;
            let what = format!("{who:?} {} {kind:?} {name}: {}", route.operation, answer.text());
            // Who reaches everything may be told what is wrong with the body before anything is looked for.
            let found = who.operates() || plain(&answer) != plain(&none);
            let let_in = found && !matches!(answer.status.as_u16(), 401 | 403);
            if reaches(words.as_ref(), thing) {
                assert!(let_in, "{what}");
            } else if words.is_none() || reaches(sees.as_ref(), thing) {
                assert_eq!(answer.json()["code"], "role_forbidden", "{what}");
            } else {
                assert_eq!(plain(&answer), plain(&none), "{what}");
            }
            if !reaches(sees.as_ref(), thing) {
                assert!(!answer.text().contains(FAR), "{what}");
            }
        }
    }

    async fn try_list(&mut self, who: Who, route: &Route, row: &Row, kind: Kind) {
        let query = match route.operation.as_str() {
            "report_usage" => "?group_by=key",
            "export_audit" => "",
            _ => "?limit=200",
        };
        let answer = self.world.get(who, &format!("{}{query}", route.path)).await;
        self.met += 1;
        let Some(words) = row.cell(who) else {
            answer.refused(403, "role_forbidden");
            return;
        };
        assert_eq!(answer.status, 200, "{who:?} {}: {}", route.operation, answer.text());
        let listed = listed(route, &answer, kind);
        for thing in self.world.things(kind) {
            let reached = reaches(Some(&words), thing.words);
            assert_eq!(listed.contains(&thing.id), reached, "{who:?} {} {}", route.operation, thing.name);
        }
        if !who.operates() {
            let known: BTreeSet<String> = self.world.things(kind).iter().map(|thing| thing.id.clone()).collect();
            assert!(listed.is_subset(&known), "{who:?} {}: {}", route.operation, answer.text());
            let leaks = who != Who::FarAdmin && answer.text().contains(FAR);
            assert!(!leaks, "{who:?} {}: {}", route.operation, answer.text());
        }
        if kind != Kind::Entry {
            self.page(who, route, &listed).await;
        }
    }

    /// Each is listed once, page by page; and a cursor that another's list gave shows nothing else.
    async fn page(&self, who: Who, route: &Route, listed: &BTreeSet<String>) {
        if route.operation == "report_usage" {
            return;
        }
        let kind = match row(&route.operation).how {
            Try::List(kind) => kind,
            _ => unreachable!(),
        };
        let (mut seen, mut after) = (BTreeSet::new(), String::new());
        loop {
            let answer = self.world.get(who, &format!("{}?limit=1{after}", route.path)).await;
            seen.extend(self::listed(route, &answer, kind));
            match answer.json()["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(&seen, listed, "{who:?} {}", route.operation);
        let theirs = self.world.get(Who::Operator, &format!("{}?limit=1", route.path)).await;
        let Some(next) = theirs.json()["next"].as_str().map(str::to_owned) else { return };
        let answer = self.world.get(who, &format!("{}?limit=200&after={next}", route.path)).await;
        assert!(self::listed(route, &answer, kind).is_subset(listed), "{who:?} {}", route.operation);
    }

    async fn try_route(&mut self, who: Who, route: &Route) {
        let row = self::row(&route.operation);
        self.world.wake(who).await;
        match row.how {
            Try::Path(kind) => self.try_path(who, route, row, kind).await,
            Try::List(kind) => self.try_list(who, route, row, kind).await,
            Try::Once => self.try_once(who, route, row).await,
            Try::Make => self.try_make(who, route, row).await,
            Try::Self_ if who.is_key() => {
                let path = route.path.replace(['{', '}'], "");
                let call = self.world.ask(who, &route.method, &path).json(json!({}));
                call.send().await.refused(403, "role_forbidden");
            }
            // Of people they are tried with the sign-in; strangers' routes with theirs.
            Try::Self_ | Try::Open => {}
        }
    }

    async fn try_once(&mut self, who: Who, route: &Route, row: &Row) {
        let path = route.path.replace(['{', '}'], "");
        let call = self.world.ask(who, &route.method, &path);
        let call = if route.method == Method::GET { call } else { call.json(json!({})) };
        self.met += 1;
        // A stream does not end: its head says enough.
        let status = if path.ends_with("/tail") { call.open().await.status() } else { call.send().await.status };
        let forbidden = status == 403;
        assert_eq!(forbidden, row.cell(who).is_none(), "{who:?} {} {status}", route.operation);
        assert_ne!(status, 401, "{who:?} {}", route.operation);
    }

    async fn try_make(&mut self, who: Who, route: &Route, row: &Row) {
        let words = row.cell(who);
        for attempt in attempts(&self.world, &route.operation) {
            let Attempt { name, body, words: place, .. } = &attempt;
            let answer = self.world.post(who, &route.path, body.clone()).await;
            self.met += 1;
            let what = format!("{who:?} {} {name}: {}", route.operation, answer.text());
            let status = answer.status.as_u16();
            if words.is_none() {
                assert_eq!(answer.json()["code"], "role_forbidden", "{what}");
            } else if reaches(words.as_ref(), place) {
                assert!(answer.status.is_success(), "{what}");
                assert!(attempt.is_done(&answer), "{what}");
            } else if status < 300 {
                assert!(!attempt.is_done(&answer), "{what}");
            } else {
                assert_eq!(status, attempt.refusal(who), "{what}");
            }
            if who != Who::FarAdmin && !who.operates() {
                assert!(!answer.text().contains(&format!("@{FAR}")), "{what}");
            }
        }
    }
}

/// The ids of what is listed.
fn listed(route: &Route, answer: &Answer, kind: Kind) -> BTreeSet<String> {
    if route.operation == "export_audit" {
        let lines = answer.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        return lines.filter_map(|entry| entry["organisation"].as_str().map(str::to_owned)).collect();
    }
    let field = match (route.operation.as_str(), kind) {
        ("report_usage", _) => "key",
        ("list_requests", _) => "key_id",
        (_, Kind::Entry) => "organisation",
        _ => "id",
    };
    let json = answer.json();
    json["data"].as_array().unwrap().iter().filter_map(|item| item[field].as_str().map(str::to_owned)).collect()
}

/// Tries the routes as these callers; says how often something was asked for.
async fn walk(api: Api, callers: &[Who], is_tried: impl Fn(&Route) -> bool) -> usize {
    let mut matrix = Matrix { world: World::new(api).await, met: 0 };
    // What lists is tried before what makes, so that there is nothing yet but what the world names.
    let mut routes = routes();
    routes.sort_by_key(|route| matches!(row(&route.operation).how, Try::Make));
    let mut broken = Vec::new();
    for route in routes.iter().filter(|route| is_tried(route)) {
        for who in callers.iter().copied() {
            // The whole of what is wrong says more than the first of it.
            if AssertUnwindSafe(matrix.try_route(who, route)).catch_unwind().await.is_err() {
                broken.push(format!("{who:?} {}", route.operation));
            }
        }
    }
    assert_eq!(broken, [""; 0], "the reasons are above");
    matrix.met
}

#[tokio::test]
async fn everybody_reaches_what_their_roles_say_and_nothing_else() {
    let met = walk(Api::start().await, &Who::ALL, |_| true).await;
    assert!(met > 2_000, "only {met} were met");
}

/// What the database decides: what is listed for those of whom each is narrowed in a way of its own.
#[tokio::test]
async fn lists_are_narrowed_on_postgresql_too() {
    let Some(server) = crate::harness::Postgres::start().await else { return };
    let callers = [Who::Admin, Who::Owner, Who::ProjectKey, Who::Member, Who::FarAdmin];
    let is_list = |route: &Route| matches!(row(&route.operation).how, Try::List(_));
    let met = walk(server.api().await, &callers, is_list).await;
    assert!(met > 40, "only {met} were met");
    server.clean().await;
}

/// Roles of several memberships add up, and end with them.
#[tokio::test]
async fn who_is_in_two_organisations_sees_both_and_loses_each_with_its_membership() {
    let mut world = World::new(Api::start().await).await;
    async fn ids(world: &mut World, who: Who) -> BTreeSet<String> {
        world.wake(who).await;
        let answer = world.get(who, "/keys?limit=200").await.is(200);
        answer["data"].as_array().unwrap().iter().map(world::id).collect()
    }
    let near: BTreeSet<String> = ids(&mut world, Who::Auditor).await;
    let body = json!({"organisation": FAR, "email": "auditor@near.example", "name": "N", "role": "admin"});
    let second = world.api.post("/members", body).await.is(201);
    let far = world.thing(Kind::Key, "far").id.clone();
    let both = ids(&mut world, Who::Auditor).await;
    assert!(both.is_superset(&near) && both.contains(&far));
    // What is seen as auditor is not changed as the admin of another.
    let ours = world.thing(Kind::Key, "ours").id.clone();
    world.post(Who::Auditor, &format!("/keys/{ours}/disable"), json!({})).await.refused(403, "role_forbidden");
    world.post(Who::Auditor, &format!("/keys/{far}/disable"), json!({})).await.is(200);
    for path in ["/members", "/organisations"] {
        let id =
            if path == "/members" { world::id(&second) } else { world.thing(Kind::Organisation, "far").id.clone() };
        world.api.post(&format!("{path}/{id}/disable"), Value::Null).await.is(200);
        assert_eq!(ids(&mut world, Who::Auditor).await, near, "{path}");
        world.api.post(&format!("{path}/{id}/enable"), Value::Null).await.is(200);
        assert_eq!(ids(&mut world, Who::Auditor).await, both, "{path}");
    }
    world.api.delete(&format!("/members/{}", world::id(&second))).await.is(200);
    assert_eq!(ids(&mut world, Who::Auditor).await, near);
    world.get(Who::Auditor, &format!("/keys/{far}")).await.refused(404, "not_found");
}

/// What ids of others in bodies and filters come to.
#[tokio::test]
async fn names_of_others_are_names_of_nothing() {
    let world = World::new(Api::start().await).await;
    let far = |kind, name| world.thing(kind, name).id.clone();
    let mine = far(Kind::Key, "mine");
    let stored = world.api.get(&format!("/keys/{mine}")).await.is(200);
    let cases: BTreeMap<&str, (Value, Value)> = BTreeMap::from([
        ("project", (json!({"project": far(Kind::Project, "far")}), json!({"project": missing(Kind::Project)}))),
        ("owner_id", (json!({"owner_id": far(Kind::Member, "far")}), json!({"owner_id": missing(Kind::Member)}))),
    ]);
    for who in [Who::Admin, Who::Owner, Who::Member] {
        for (field, (theirs, none)) in &cases {
            let given = world.patch(who, &format!("/keys/{mine}"), theirs.clone()).await;
            let absent = world.patch(who, &format!("/keys/{mine}"), none.clone()).await;
            assert_eq!(given.status, absent.status, "{who:?} {field}: {}", given.text());
            assert!(given.status.is_client_error(), "{who:?} {field}: {}", given.text());
        }
        for (theirs, none) in [("member", Kind::Member), ("account", Kind::Account)].map(|(_, kind)| {
            let theirs = world.things(kind).iter().find(|thing| thing.name == "far").unwrap();
            (theirs.id.clone(), missing(kind))
        }) {
            let path = format!("/keys/{mine}/transfer");
            let given = world.post(who, &path, json!({"owner_id": theirs})).await;
            let absent = world.post(who, &path, json!({"owner_id": none})).await;
            assert_eq!(plain(&given), plain(&absent), "{who:?}");
            assert!(given.status.is_client_error(), "{who:?} {}", given.text());
        }
        for (path, field) in [("/keys", "organisation"), ("/projects", "organisation"), ("/approvals", "organisation")]
        {
            let given = world.get(who, &format!("{path}?{field}={FAR}")).await;
            assert_eq!(given.faults(), [field], "{who:?} {path}");
            let by_id = world.get(who, &format!("{path}?{field}={}", far(Kind::Organisation, "far"))).await;
            assert_eq!(by_id.faults(), [field], "{who:?} {path}");
        }
        assert_eq!(world.get(who, "/keys?project=faraway/search").await.faults(), ["project"], "{who:?}");
        // Both organisations have such a project; who sees one of them means that one.
        world.get(who, "/keys?project=search").await.is(200);
        world.get(who, "/projects/search").await.is(200);
        let theirs = format!("/requests?key={}", far(Kind::Key, "far"));
        assert_eq!(world.get(who, &theirs).await.is(200)["data"], json!([]), "{who:?}");
        let theirs = format!("/usage?key={}", far(Kind::Key, "far"));
        assert_eq!(world.get(who, &theirs).await.is(200)["totals"]["requests"], 0, "{who:?}");
    }
    let now = world.api.get(&format!("/keys/{mine}")).await.is(200);
    assert_eq!(now, stored, "nothing came of it");
    for body in [
        json!({"organisation_id": far(Kind::Organisation, "far")}),
        json!({"project_id": far(Kind::Project, "next")}),
        json!({"spent_usd": "0"}),
        json!({"creator": "key_x"}),
        json!({"kind": "admin"}),
        json!({"status": "active"}),
    ] {
        let field = body.as_object().unwrap().keys().next().unwrap().clone();
        assert_eq!(world.patch(Who::Member, &format!("/keys/{mine}"), body).await.faults(), [field]);
    }
    let me = format!("/members/{}", world.members["member"]);
    for body in [json!({"role": "admin"}), json!({"controls": null})] {
        world.patch(Who::Member, &me, body).await.refused(403, "role_forbidden");
    }
    let person = format!("/people/{}", world.persons["admin"]);
    world.patch(Who::Admin, &person, json!({"operator": true})).await.refused(403, "role_forbidden");
    assert_eq!(world.patch(Who::Admin, &me, json!({"role": "operator"})).await.faults(), ["role"]);
}

/// A job is seen by who asked for it, and does nothing to keys that they do not reach.
#[tokio::test]
async fn many_keys_are_only_those_that_are_reached() {
    let world = World::new(Api::start().await).await;
    let all: Vec<String> = world.things(Kind::Key).iter().map(|thing| thing.id.clone()).collect();
    for (who, action, filter, total) in [
        (Who::Member, "disable", false, 1),
        (Who::Member, "disable", true, 1),
        (Who::Owner, "tag", false, 4),
        (Who::ProjectKey, "enable", false, 3),
        (Who::Admin, "tag", true, 6),
        (Who::FarAdmin, "tag", false, 1),
    ] {
        let mut body = json!({"action": action});
        if filter {
            body["filter"] = json!({})
        } else {
            body["keys"] = json!(all)
        };
        if action == "tag" {
            body["tags"] = json!({"x": "y"});
        }
        let job = world.post(who, "/keys/bulk", body).await.is(202);
        assert_eq!(job["total"], total, "{who:?} {action}");
        world.get(who, &format!("/jobs/{}", world::id(&job))).await.is(200);
        let listed = world.get(who, "/jobs").await.is(200);
        assert!(listed["data"].as_array().unwrap().iter().any(|other| other["id"] == job["id"]), "{who:?}");
    }
    for action in ["enable", "extend"] {
        let body = json!({"action": action, "filter": {}, "expires_in": "1d"});
        world.post(Who::Member, "/keys/bulk", body).await.refused(403, "role_forbidden");
    }
}
