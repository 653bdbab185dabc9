//! What bounds a key, met from outside: lists of models, endpoints and addresses, and limits, in every dialect.

mod addresses;
mod at_once;
mod chain;
mod limits;
mod lists;

use crate::support::{Dialect, World, assert_refusal};
use anykey_testkit::{Reply, Request};
use serde_json::{Value, json};

/// The secret of a new key with these controls.
fn bounded(world: &World, name: &str, controls: Value) -> String {
    world.gateway.key_with(name, json!({ "controls": controls })).secret
}

/// The plainest call of a dialect to the practice provider under the dialect's name.
fn chat(dialect: Dialect, secret: &str) -> Request {
    dialect.chat().at("echo").bearer(secret)
}

/// Refused with this status and code, in the dialect's shape, and without a word to the provider.
fn refused(world: &World, request: &Request, dialect: Dialect, status: u16, code: &str) -> (Reply, String) {
    let before = world.sim.requests();
    let reply = world.gateway.call(request);
    let message = assert_refusal(&reply, dialect, status, code);
    assert_eq!(world.sim.requests(), before, "the provider was asked");
    (reply, message)
}
