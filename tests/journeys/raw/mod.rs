//! Bytes that no client library would send: each row of the threat list ends as it must, and nothing hidden in it runs.

mod bodies;
mod credentials;
mod framing;
mod routes;

use crate::support::World;
use anykey_testkit::{Connection, NoReply, Reply};

/// What has run so far, to see that nothing more did.
struct Quiet<'w> {
    world: &'w World,
    upstream: u64,
    records: usize,
}

impl<'w> Quiet<'w> {
    fn since(world: &'w World) -> Self {
        Quiet { upstream: world.sim.requests(), records: world.gateway.records_of(&world.key).len(), world }
    }

    /// No request reached the provider, and no record appeared.
    fn assert(&self, what: &str) {
        self.assert_no_request(what);
        assert_eq!(self.world.gateway.records_of(&self.world.key).len(), self.records, "{what}: a record appeared");
    }

    fn assert_no_request(&self, what: &str) {
        assert_eq!(self.world.sim.requests(), self.upstream, "{what}: a request reached the provider");
    }

    /// No request reached the provider. A call whose key was known before it was refused has a record of the refusal:
    /// nothing was attempted, used or charged.
    fn assert_only_refused(&self, what: &str) {
        self.assert_no_request(what);
        let records = self.world.gateway.records_of(&self.world.key);
        for record in &records[..records.len() - self.records] {
            assert_eq!(record["outcome"], "refused", "{what}: {record}");
            assert_eq!((&record["attempt"], &record["cost_usd"]), (&0.into(), &"0".into()), "{what}: {record}");
            assert_eq!(record["usage"], serde_json::json!({}), "{what}: {record}");
        }
    }
}

/// Sends bytes on a connection of their own; gives the first answer and everything that comes behind it until the
/// gateway closes.
fn exchange(world: &World, bytes: &[u8]) -> (Reply, Vec<u8>) {
    let mut connection = world.gateway.connect();
    connection.send_some(bytes);
    let reply = answer(&mut connection).unwrap_or_else(|no| panic!("{:?}: {no:?}", String::from_utf8_lossy(bytes)));
    (reply, connection.read_to_close())
}

fn answer(connection: &mut Connection) -> Result<Reply, NoReply> {
    connection.reply()
}

const BODY: &str = r#"{"model":"openai/echo","messages":[{"role":"user","content":"x"}]}"#;

/// A good call with fields added and a body of any bytes; the fields say how it is framed.
fn post(world: &World, fields: &str, body: &[u8]) -> Vec<u8> {
    let secret = &world.key.secret;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\
         Content-Type: application/json\r\n{fields}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A whole good call, as it might hide in the body of another.
fn good(world: &World) -> Vec<u8> {
    post(world, &format!("Content-Length: {}\r\n", BODY.len()), BODY.as_bytes())
}
