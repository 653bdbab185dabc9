//! Two organisations, everybody who may ask, and things of each kind with the words by which they are reached.

use super::rows::{Kind, Who};
use crate::harness::{Answer, Api, Call};
use anykey_core::notice::{Channel, Event};
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UsageSource;
use anykey_core::{Dialect, Endpoint, KeyId, Nanos, OrganisationId, PersonId, ProjectId, RequestId, Unit, Usage};
use anykey_store::NewDestination;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::HashMap;

/// 2026-11-20T12:00:00Z
const NOON: i64 = 1_795_176_000_000;

/// Something that may be asked for, and what reaches it.
#[derive(Clone, Debug)]
pub struct Thing {
    pub name: &'static str,
    pub id: String,
    pub words: &'static [&'static str],
}

/// How somebody asks.
#[derive(Clone, Debug)]
enum Ticket {
    Key(String),
    Session { token: String, csrf: String, person: String },
}

pub struct World {
    pub api: Api,
    things: HashMap<Kind, Vec<Thing>>,
    tickets: HashMap<Who, Ticket>,
    /// The secrets of the keys, by their names.
    pub secrets: HashMap<&'static str, String>,
    /// The ids of memberships, by the names of their people.
    pub members: HashMap<&'static str, String>,
    pub persons: HashMap<&'static str, String>,
}

pub fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// Every text of the other organisation has this in it, so that it is found wherever it leaks.
pub const FAR: &str = "faraway";

impl World {
    pub async fn new(api: Api) -> World {
        let mut world = World {
            api,
            things: HashMap::new(),
            tickets: HashMap::new(),
            secrets: HashMap::new(),
            members: HashMap::new(),
            persons: HashMap::new(),
        };
        world.places().await;
        world.people().await;
        world.destinations().await;
        world.keys().await;
        world.uses().await;
        world.jobs().await;
        world.deliveries().await;
        world.approvals().await;
        world
    }

    pub fn things(&self, kind: Kind) -> &[Thing] {
        &self.things[&kind]
    }

    pub fn thing(&self, kind: Kind, name: &str) -> &Thing {
        self.things(kind).iter().find(|thing| thing.name == name).unwrap()
    }

    fn add(&mut self, kind: Kind, name: &'static str, id: String, words: &'static [&'static str]) {
        self.things.entry(kind).or_default().push(Thing { name, id, words });
    }

    /// A request by somebody, with what a change by them needs.
    pub fn ask(&self, who: Who, method: &Method, path: &str) -> Call {
        let call = self.api.stranger(method.clone(), path);
        match &self.tickets[&who] {
            Ticket::Key(secret) => call.header("x-api-key", secret),
            Ticket::Session { token, csrf, .. } => {
                call.header("cookie", &format!("anykey={token}")).header("x-csrf-token", csrf)
            }
        }
    }

    pub async fn get(&self, who: Who, path: &str) -> Answer {
        self.ask(who, &Method::GET, path).send().await
    }

    pub async fn post(&self, who: Who, path: &str, body: Value) -> Answer {
        self.ask(who, &Method::POST, path).json(body).send().await
    }

    pub async fn patch(&self, who: Who, path: &str, body: Value) -> Answer {
        self.ask(who, &Method::PATCH, path).json(body).send().await
    }

    async fn made(&self, path: &str, body: Value) -> Value {
        self.api.post(path, body).await.is(201)
    }

    async fn places(&mut self) {
        for (slug, words) in [("near", &["org"][..]), (FAR, &["far"])] {
            let made = self.made("/organisations", json!({"name": slug})).await;
            let name = if slug == FAR { "far" } else { "near" };
            self.add(Kind::Organisation, name, id(&made), words);
            self.add(Kind::Entry, name, id(&made), words);
        }
        self.add(Kind::Organisation, "default", "org_00000000000000000000000000".into(), &[]);
        // Both organisations have a project of this name.
        for (name, path, title, words) in [
            ("ours", "near", "search", &["org", "proj"][..]),
            ("next", "near", "next", &["org"]),
            ("far", FAR, "search", &["far"]),
        ] {
            let made = self.made("/projects", json!({"organisation": path, "name": title, "description": path})).await;
            self.add(Kind::Project, name, id(&made), words);
        }
        self.add(Kind::Project, "default", "proj_00000000000000000000000000".into(), &[]);
        for (name, body, words) in [
            ("ours", json!({"project": "near/search", "name": "deploy"}), &["org", "proj"][..]),
            ("wide", json!({"organisation": "near", "name": "wide"}), &["org"]),
            ("next", json!({"project": "near/next", "name": "next"}), &["org"]),
            ("far", json!({"organisation": FAR, "name": FAR}), &["far"]),
        ] {
            let made = self.made("/service-accounts", body).await;
            self.add(Kind::Account, name, id(&made), words);
        }
    }

    async fn people(&mut self) {
        for (name, organisation, role, who, words) in [
            ("admin", "near", "admin", Some(Who::Admin), &["org"][..]),
            ("owner", "near", "member", Some(Who::Owner), &["org", "owner's"]),
            ("member", "near", "member", Some(Who::Member), &["org", "member's"]),
            ("viewer", "near", "viewer", Some(Who::Viewer), &["org"]),
            ("auditor", "near", "auditor", Some(Who::Auditor), &["org"]),
            ("far", FAR, "admin", Some(Who::FarAdmin), &["far"]),
        ] {
            let host = if name == "far" { FAR } else { "near" };
            let email = format!("{name}@{host}.example");
            let body = json!({"organisation": organisation, "email": email, "name": host, "role": role});
            let made = self.made("/members", body).await;
            let person = made["person_id"].as_str().unwrap().to_owned();
            self.add(Kind::Member, name, id(&made), words);
            self.add(Kind::Person, name, person.clone(), words);
            self.members.insert(name, id(&made));
            if let Some(who) = who {
                self.sign_in(who, &person).await;
            }
            self.persons.insert(name, person);
        }
        let both =
            self.made("/members", json!({"organisation": "near", "email": "both@example.com", "name": "N"})).await;
        let there = self.made("/members", json!({"organisation": FAR, "email": "both@example.com"})).await;
        self.add(Kind::Member, "both, far", id(&there), &["far"]);
        self.add(Kind::Member, "both", id(&both), &["org"]);
        let person = both["person_id"].as_str().unwrap().to_owned();
        self.add(Kind::Person, "both", person, &["org", "far"]);
        let owners = format!("/projects/{}/owners", self.thing(Kind::Project, "ours").id);
        self.api.post(&owners, json!({"person_id": self.persons["owner"]})).await.is(200);
        self.wake(Who::Owner).await;
        for (name, who, operator) in [("nobody", Who::Nobody, false), ("operator", Who::Operator, true)] {
            let body = json!({"email": format!("{name}@example.com"), "name": name, "operator": operator});
            let made = self.made("/people", body).await;
            self.add(Kind::Person, name, id(&made), &[]);
            self.sign_in(who, &id(&made)).await;
        }
    }

    pub async fn sign_in(&mut self, who: Who, person: &str) {
        let id = PersonId::parse(person).unwrap();
        let (session, token) = self.api.store.begin_session(id, "test", None, None).await.unwrap();
        let csrf = self.api.store.csrf_token(&session);
        let person = person.to_owned();
        self.tickets.insert(who, Ticket::Session { token: token.expose().to_owned(), csrf, person });
    }

    /// Signs somebody in again whose roles were changed by what was tried before.
    pub async fn wake(&mut self, who: Who) {
        let Ticket::Session { token, person, .. } = &self.tickets[&who] else { return };
        if self.api.store.signed_in(token).await.unwrap().is_none() {
            let person = person.clone();
            self.sign_in(who, &person).await;
        }
    }

    async fn keys(&mut self) {
        let account = |world: &World, name| world.thing(Kind::Account, name).id.clone();
        let mine = self.members["member"].clone();
        let theirs = self.members["owner"].clone();
        let admin = |scope: &str| json!({"kind": "admin", "scopes": [scope], "owner_id": mine});
        for (name, project, more, words) in [
            ("mine", "near/search", json!({"owner_id": mine}), &["org", "proj", "member's"][..]),
            ("ours", "near/search", json!({"owner_id": account(self, "ours")}), &["org", "proj"]),
            ("theirs", "near/next", json!({"owner_id": theirs}), &["org", "owner's"]),
            ("next", "near/next", json!({"owner_id": account(self, "wide")}), &["org"]),
            ("far", "faraway/search", json!({"owner_id": account(self, "far")}), &["far"]),
            // Who owns a key that manages something, and whose project it is in, makes no difference.
            ("of project", "near/search", admin("admin:project"), &["org", "proj"]),
            ("of organisation", "near/search", admin("admin:organisation"), &["org"]),
            ("of all", "near/search", admin("admin:*"), &[]),
        ] {
            let mut body = json!({"name": if name == "far" { FAR } else { name }, "project": project});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let made = self.made("/keys", body).await;
            self.add(Kind::Key, name, id(&made), words);
            self.secrets.insert(name, made["secret"].as_str().unwrap().to_owned());
        }
        self.add(Kind::Key, "boss", self.api.admin_key.id.to_string(), &[]);
        self.tickets.insert(Who::RootKey, Ticket::Key(self.api.admin.expose().to_owned()));
        self.tickets.insert(Who::AdminKey, Ticket::Key(self.secrets["of organisation"].clone()));
        self.tickets.insert(Who::ProjectKey, Ticket::Key(self.secrets["of project"].clone()));
        // Who disabled a key that is theirs alone may enable it again.
        for (who, name) in [(Who::Member, "mine"), (Who::Owner, "theirs")] {
            let path = format!("/keys/{}/disable", self.thing(Kind::Key, name).id);
            self.post(who, &path, json!({})).await.is(200);
        }
    }

    async fn uses(&mut self) {
        for (n, name) in ["mine", "ours", "theirs", "next", "far"].into_iter().enumerate() {
            let thing = self.thing(Kind::Key, name).clone();
            let record = record(KeyId::parse(&thing.id).unwrap(), n as u8, name);
            let request = record.request.to_string();
            self.api.store.apply(vec![record]).await.unwrap();
            self.add(Kind::Use, name, thing.id, thing.words);
            self.add(Kind::Request, name, request, thing.words);
        }
    }

    /// Mailboxes, which no letter leaves for: there is no mail server.
    async fn destinations(&mut self) {
        let organisation = |world: &World, name| OrganisationId::parse(&world.thing(Kind::Organisation, name).id);
        let project = |world: &World, name| ProjectId::parse(&world.thing(Kind::Project, name).id);
        for (name, organisation, project, words) in [
            ("near", organisation(self, "near"), None, &["org"][..]),
            ("ours", organisation(self, "near"), project(self, "ours"), &["org"]),
            ("far", organisation(self, "far"), None, &["far"]),
            ("far project", organisation(self, "far"), project(self, "far"), &["far"]),
            ("of all", None, None, &[]),
        ] {
            let host = if words == ["far"] { FAR } else { "near" };
            let new = NewDestination {
                organisation,
                project,
                name: host.to_owned(),
                channel: Channel::Email,
                address: format!("{}@{host}.example", name.replace(' ', "-")),
                events: [Event::KeyDisabled].into(),
            };
            let (made, _) = self.api.store.create_destination(new).await.unwrap();
            self.add(Kind::Destination, name, made.id.to_string(), words);
        }
    }

    /// What became of the notices of the keys that were disabled.
    async fn deliveries(&mut self) {
        let far = self.thing(Kind::Key, "far").id.clone();
        for change in ["disable", "enable"] {
            self.api.post(&format!("/keys/{far}/{change}"), json!({})).await.is(200);
        }
        let all = self.api.get("/deliveries?limit=200").await.is(200);
        for row in all["data"].as_array().unwrap() {
            let destination = self.things(Kind::Destination).iter().find(|thing| row["destination_id"] == thing.id);
            let Thing { name, words, .. } = destination.unwrap().clone();
            self.add(Kind::Delivery, name, id(row), words);
        }
        for destination in self.things(Kind::Destination) {
            assert!(self.things(Kind::Delivery).iter().any(|thing| thing.name == destination.name), "{destination:?}");
        }
    }

    /// Requests for more than keys have, asked by whoever holds the first key.
    async fn approvals(&mut self) {
        for name in ["mine", "ours", "theirs", "next", "far"] {
            let Thing { id: key, words, .. } = self.thing(Kind::Key, name).clone();
            let bound = json!({"controls": {"limits": {"rpd": 1_000_000}}});
            self.api.patch(&format!("/keys/{key}"), bound).await.is(200);
            let reason = if name == "far" { FAR } else { "a launch" };
            let body = json!({"key": key, "reason": reason, "limits": {"rpd": 2_000_000}});
            let made = self.made("/approvals", body).await;
            self.add(Kind::Approval, name, id(&made), words);
        }
        // Who may have no keys of their own asks for one.
        let body = json!({"name": "wanted", "project": "near/search", "reason": "a launch"});
        let made = self.post(Who::Viewer, "/approvals", body).await.is(201);
        self.add(Kind::Approval, "wanted", id(&made), &["org", "proj", "viewer's"]);
    }

    async fn jobs(&mut self) {
        for (name, project, words) in [("near", "near/next", &["org"][..]), ("far", "faraway/search", &["far"])] {
            let body = json!({"action": "tag", "tags": {"a": "b"}, "filter": {"project": project}});
            let made = self.api.post("/keys/bulk", body).await.is(202);
            self.add(Kind::Job, name, id(&made), words);
        }
    }
}

pub fn record(key: KeyId, n: u8, name: &str) -> AttemptRecord {
    let model = if name == "far" { FAR } else { "echo" };
    AttemptRecord {
        request: RequestId::new(NOON + i64::from(n), [n; 10]),
        attempt: 1,
        key,
        secret: *b"AbCd1234",
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        stream: false,
        provider: "sim".into(),
        model_asked: model.into(),
        model_sent: model.into(),
        model_served: model.into(),
        status: 200,
        outcome: Outcome::Completed,
        code: "",
        usage: Usage::default().with(Unit::Input, 10),
        usage_source: UsageSource::Reported,
        cost: Some(Nanos(1500)),
        hold: Nanos(9000),
        price_id: 77,
        started_at: NOON + i64::from(n),
        first_byte_us: 1_250,
        total_us: 20_000,
        bytes_in: 100,
        bytes_out: 200,
        upstream_id: "up-1".into(),
        client: None,
    }
}
