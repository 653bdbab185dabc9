//! What somebody does not reach answers as what is not there does, and comes to its answer by the same way: the same
//! questions to the database, in the same order, and the same bytes. Nobody's clock is asked.

use super::rows::{Kind, ROWS, Row, Try, Who};
use super::world::{Thing, World};
use super::{Matrix, missing, reaches, routes, row, seen_by};
use crate::harness::{Answer, Api};
use anykey_core::{KeyKind, Token};
use serde_json::json;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down what the store asks its database.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Visit for Asked {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "statement" {
            self.0.lock().unwrap().push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Asked {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "anykey_store::sql"
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Asked {
    /// What was asked since the last time, but for the note that a session was used, which is made now and then.
    fn take(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.0.lock().unwrap());
        asked.into_iter().filter(|sql| !sql.starts_with("UPDATE session SET seen_at")).collect()
    }
}

/// A world in which whoever asks is known already, so that none of the questions is about them alone.
async fn known_world() -> World {
    let world = World::new(Api::start().await).await;
    for who in Who::ALL {
        world.get(who, "/keys").await;
    }
    world
}

/// All of an answer but the id of its request.
fn bytes(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let id = answer.header("x-request-id").to_owned();
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let text = answer.text().replace(&id, "");
    (answer.status.as_u16(), text, headers.filter(|(name, _)| name != "x-request-id").collect())
}

/// Who is hidden what: callers of a row who may do it somewhere, and things that they neither reach nor see.
fn hidden<'w>(world: &'w World, row: &Row, kind: Kind) -> Vec<(Who, &'w Thing)> {
    let mut found = Vec::new();
    for who in Who::ALL.into_iter().filter(|who| !who.operates()) {
        let Some(words) = row.cell(who) else { continue };
        let sees = self::row(seen_by(kind)).cell(who);
        let is_hidden = |thing: &&Thing| !reaches(Some(&words), thing.words) && !reaches(sees.as_ref(), thing.words);
        found.extend(world.things(kind).iter().filter(is_hidden).map(|thing| (who, thing)));
    }
    found
}

#[tokio::test]
async fn what_is_hidden_is_asked_for_and_answered_like_what_is_missing() {
    let asked = Asked::default();
    let _guard = tracing::subscriber::set_default(asked.clone());
    let matrix = Matrix { world: known_world().await, met: 0 };
    let (mut met, mut answered_from_memory) = (0, 0);
    for route in routes() {
        let Try::Path(kind) = row(&route.operation).how else { continue };
        for (who, thing) in hidden(&matrix.world, row(&route.operation), kind) {
            asked.take();
            let there = bytes(&matrix.path(who, &route, &thing.id).await);
            let of_there = asked.take();
            let missing = bytes(&matrix.path(who, &route, missing(kind)).await);
            let of_missing = asked.take();
            let what = format!("{who:?} {} {}", route.operation, thing.name);
            assert_eq!(there, missing, "{what}");
            assert_eq!(of_there, of_missing, "{what}");
            met += 1;
            // What a key manages is in memory, and of an organisation more need not be known than its id.
            answered_from_memory += usize::from(of_there.is_empty());
        }
    }
    assert!(met > 200, "only {met} of {} rows were met", ROWS.len());
    assert!(answered_from_memory < met / 4, "{answered_from_memory} of {met} asked nobody: is it still heard?");
}

/// Whose a key is that was found: by all of it, by what is visible of it, and of another system.
#[tokio::test]
async fn a_key_of_others_is_found_as_little_as_one_that_nobody_has() {
    let asked = Asked::default();
    let _guard = tracing::subscriber::set_default(asked.clone());
    let world = known_world().await;
    let imported = json!({"name": "old", "project": "faraway/search",
        "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"});
    world.api.post("/keys/import", imported).await.is(201);
    let far = world.secrets["far"].clone();
    let nobodys = Token::mint("ak", KeyKind::Live).unwrap().expose().to_owned();
    let find = async |who: Who, key: &str| {
        asked.take();
        let answer = world.post(who, "/keys/whois", json!({ "key": key })).await;
        answer.refused(404, "not_found");
        (bytes(&answer), asked.take())
    };
    for who in [Who::Admin, Who::AdminKey, Who::Owner, Who::ProjectKey, Who::Member] {
        assert_eq!(find(who, &far).await, find(who, &nobodys).await, "{who:?}, all of it");
        assert_eq!(find(who, &far[..16]).await, find(who, &nobodys[..16]).await, "{who:?}, what is visible");
        assert_eq!(find(who, "foo").await, find(who, "bar").await, "{who:?}, of another system");
    }
    let found = world.post(Who::FarAdmin, "/keys/whois", json!({"key": "foo"})).await.is(200);
    assert_eq!(found["name"], "old");
}
