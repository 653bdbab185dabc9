//! What bodies ask for: the same thing in each place, and who may have it there.

use super::rows::{Kind, Who};
use super::world::{FAR, World};
use crate::harness::Answer;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

/// On which side of the wall a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Near,
    Far,
    /// Of the installation.
    Neither,
}

/// What an answer must say for something to have come of it.
#[derive(Clone, Copy, Debug)]
enum Done {
    Made,
    /// The key is one that they know of.
    Known,
    /// One key is changed.
    One,
}

pub struct Attempt {
    pub name: String,
    pub body: Value,
    pub words: &'static [&'static str],
    side: Side,
    done: Done,
    /// The status for those who see the place, and for those who do not.
    refused: (u16, u16),
}

impl Attempt {
    fn new(name: impl Into<String>, side: Side, words: &'static [&'static str], body: Value) -> Self {
        Attempt { name: name.into(), body, words, side, done: Done::Made, refused: (403, 400) }
    }

    fn refusing(self, seen: u16, hidden: u16) -> Self {
        Attempt { refused: (seen, hidden), ..self }
    }

    pub fn refusal(&self, who: Who) -> u16 {
        let own = if who == Who::FarAdmin { Side::Far } else { Side::Near };
        if self.side == own { self.refused.0 } else { self.refused.1 }
    }

    pub fn is_done(&self, answer: &Answer) -> bool {
        let body = answer.json();
        match self.done {
            Done::Made => answer.status.is_success(),
            Done::Known => body["data"][0]["state"] != "unknown",
            Done::One => body["total"] == 1,
        }
    }
}

/// A name that nothing has yet.
fn fresh() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("n{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn attempts(world: &World, operation: &str) -> Vec<Attempt> {
    match operation {
        "find_key" => each_key(world, |secret, _| json!({"key": secret}), Done::Made),
        "report_exposed_keys" => each_key(world, |secret, _| json!({"found": [{"key": secret}]}), Done::Known),
        "change_keys" => {
            let body = |_: &str, id: &str| json!({"action": "tag", "keys": [id], "tags": {"found": "yes"}});
            each_key(world, body, Done::One)
        }
        "create_key" => keys(world, |_| json!({})).into_iter().chain(admin_keys()).collect(),
        "import_key" => keys(world, |name| json!({"sha256": format!("{:0>64}", name.replace('n', ""))})),
        "create_organisation" => vec![Attempt::new("one", Side::Neither, &[], json!({"name": fresh()}))],
        "create_person" => {
            let body = json!({"email": format!("{}@example.com", fresh()), "name": "N"});
            vec![Attempt::new("one", Side::Neither, &[], body)]
        }
        "create_project" => {
            let body = |organisation: &str| json!({"organisation": organisation, "name": fresh()});
            vec![
                Attempt::new("near", Side::Near, &["org"], body("near")),
                Attempt::new("far", Side::Far, &["far"], body(FAR)),
                Attempt::new("default", Side::Neither, &[], body("default")),
            ]
        }
        "add_member" => members(world),
        "create_service_account" => accounts(),
        "make_link" => links(),
        "create_destination" => destinations(world),
        "ask_approval" => approvals(world),
        other => panic!("{other} has no attempts in the access matrix"),
    }
}

fn each_key(world: &World, body: impl Fn(&str, &str) -> Value, done: Done) -> Vec<Attempt> {
    let keys = world.things(Kind::Key).iter().filter(|key| world.secrets.contains_key(key.name));
    let attempt = |key: &super::world::Thing| {
        let side = if key.name == "far" { Side::Far } else { Side::Near };
        let body = body(&world.secrets[key.name], &key.id);
        Attempt { done, ..Attempt::new(key.name, side, key.words, body) }.refusing(404, 404)
    };
    keys.map(attempt).collect()
}

/// Keys in each place and for each owner. Who may only have keys of their own has them where nobody else is named.
fn keys(world: &World, more: impl Fn(&str) -> Value) -> Vec<Attempt> {
    let (member, owner, viewer) = (&world.members["member"], &world.members["owner"], &world.members["viewer"]);
    let places: [(&str, Side, &'static [&'static str], Value); 9] = [
        ("ours", Side::Near, &["org", "proj", "member's", "owner's"], json!({"project": "near/search"})),
        ("by slug", Side::Near, &["org", "member's", "owner's"], json!({"project": "next"})),
        ("next", Side::Near, &["org", "member's", "owner's"], json!({"project": "near/next"})),
        ("mine", Side::Near, &["org", "member's"], json!({"project": "near/next", "owner_id": member})),
        ("theirs", Side::Near, &["org", "owner's"], json!({"project": "near/next", "owner_id": owner})),
        ("a colleague's", Side::Near, &["org"], json!({"project": "near/next", "owner_id": viewer})),
        ("in ours", Side::Near, &["org", "proj"], json!({"project": "near/search", "owner_id": viewer})),
        ("far", Side::Far, &["far"], json!({"project": "faraway/search"})),
        ("default", Side::Neither, &[], json!({})),
    ];
    let attempt = |(name, side, words, place): (&str, Side, &'static [&'static str], Value)| {
        let fresh = fresh();
        let mut body = more(&fresh);
        body["name"] = json!(fresh);
        body.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        Attempt::new(name, side, words, body)
    };
    places.into_iter().map(attempt).collect()
}

/// Nobody makes a key that may do more than they.
fn admin_keys() -> Vec<Attempt> {
    let body = |project: &str, scopes: Value| {
        let mut body = json!({"name": fresh(), "kind": "admin", "project": project});
        if !scopes.is_null() {
            body["scopes"] = scopes;
        }
        body
    };
    let place = |name: &str, words, scopes| Attempt::new(name, Side::Near, words, body("near/search", scopes));
    vec![
        place("of the project", &["org", "proj"], json!(["admin:project"])),
        place("of the organisation", &["org"], json!(["admin:organisation"])),
        place("of the installation", &[], json!(["admin:*"])),
        place("of the installation, unsaid", &[], Value::Null),
        Attempt::new("of the next project", Side::Near, &["org"], body("near/next", json!(["admin:project"]))),
        Attempt::new("of another organisation", Side::Far, &["far"], body("faraway/search", json!(["admin:project"]))),
    ]
}

fn members(world: &World) -> Vec<Attempt> {
    let body = |organisation: &str, role: &str| json!({"organisation": organisation, "email": format!("{}@example.com", fresh()), "name": "N", "role": role});
    let far = &world.things(Kind::Organisation).iter().find(|thing| thing.name == "far").unwrap().id;
    vec![
        Attempt::new("near", Side::Near, &["org"], body("near", "member")),
        Attempt::new("near admin", Side::Near, &["org"], body("near", "admin")),
        Attempt::new("far", Side::Far, &["far"], body(FAR, "viewer")),
        Attempt::new("far by id", Side::Far, &["far"], body(far, "viewer")),
        Attempt::new("default", Side::Neither, &[], body("default", "viewer")),
    ]
}

fn accounts() -> Vec<Attempt> {
    let body = |field: &str, place: &str| json!({"name": fresh(), field: place});
    vec![
        Attempt::new("ours", Side::Near, &["org", "proj"], body("project", "near/search")),
        Attempt::new("next", Side::Near, &["org"], body("project", "near/next")),
        Attempt::new("wide", Side::Near, &["org"], body("organisation", "near")),
        Attempt::new("far", Side::Far, &["far"], body("organisation", FAR)),
        Attempt::new("far project", Side::Far, &["far"], body("project", "faraway/search")),
    ]
}

/// Whoever has a link becomes its person, with all that they will ever be: only operators make one, for whomever.
fn links() -> Vec<Attempt> {
    let link = |name: &str, side, email: &str| Attempt::new(name, side, &[], json!({"email": email}));
    vec![
        link("member", Side::Near, "member@near.example"),
        link("far", Side::Far, "far@faraway.example"),
        link("both", Side::Near, "both@example.com"),
        link("nobody", Side::Neither, "nobody@example.com"),
        Attempt::new("first owner", Side::Neither, &[], json!({})),
    ]
}

/// Somewhere for the notices of each place to go to.
fn destinations(world: &World) -> Vec<Attempt> {
    let attempt = |name: &str, side, words, place: Value| {
        let mut body = json!({"name": fresh(), "url": "https://example.com/hook"});
        body.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        Attempt::new(name, side, words, body)
    };
    let far = &world.thing(Kind::Project, "far").id;
    vec![
        attempt("near", Side::Near, &["org"], json!({"organisation": "near"})),
        attempt("ours", Side::Near, &["org"], json!({"project": "near/search"})),
        attempt("far", Side::Far, &["far"], json!({"organisation": FAR})),
        attempt("far project", Side::Far, &["far"], json!({"project": far})),
        attempt("of all", Side::Neither, &[], json!({})).refusing(403, 403),
    ]
}

/// More for each key that has too little.
fn approvals(world: &World) -> Vec<Attempt> {
    let attempt = |thing: &super::world::Thing| {
        let side = if thing.name == "far" { Side::Far } else { Side::Near };
        let key = &world.thing(Kind::Key, thing.name).id;
        let body = json!({"key": key, "reason": "a launch", "limits": {"rpd": 3_000_000}});
        Attempt::new(thing.name, side, thing.words, body).refusing(404, 404)
    };
    world.things(Kind::Approval).iter().filter(|thing| thing.name != "wanted").map(attempt).collect()
}
