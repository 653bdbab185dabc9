//! The life of a key: made, shown once, regenerated, rotated, disabled, expired and ended; and the limits of what it spends.

mod increases;
mod life;
pub(super) mod limit;
mod money;
mod outgrown;
mod rotation;
mod shorten;
mod streams;
mod temp;
mod windows;

use crate::support::Dialect;
use anykey_testkit::{Reply, TestGateway};

fn call(gateway: &TestGateway, secret: &str) -> Reply {
    gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(secret))
}

/// 200, or the code of the refusal.
fn verdict(gateway: &TestGateway, secret: &str) -> String {
    let reply = call(gateway, secret);
    match reply.status {
        200 => "200".to_owned(),
        _ => reply.json()["error"]["code"].as_str().unwrap().to_owned(),
    }
}
