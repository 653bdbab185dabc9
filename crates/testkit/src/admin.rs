//! The gateway's management, as its operator has it: the admin API and the command line.

use crate::gateway::{TestGateway, clean};
use crate::http::{Reply, Request};
use crate::wait::until_some;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// A key and its secret.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct CliOutput {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl CliOutput {
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 0, "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

impl TestGateway {
    /// Calls the admin API, whatever it answers. `path` is below `/admin/v1`.
    pub fn admin_reply(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let request = Request::new(method, format!("/admin/v1{path}")).bearer(&self.admin_key());
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.call(&request)
    }

    /// Calls the admin API, which must not refuse.
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let reply = self.admin_reply(method, path, body);
        assert!((200..300).contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    pub fn get(&self, path: &str) -> Value {
        self.admin("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.admin("POST", path, Some(body))
    }

    /// Makes a key with nothing but a name.
    pub fn key(&self, name: &str) -> Key {
        self.key_with(name, json!({}))
    }

    /// Makes a key with fields of its own.
    pub fn key_with(&self, name: &str, mut fields: Value) -> Key {
        fields["name"] = name.into();
        let made = self.post("/keys", &fields);
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Key { id: text("id"), secret: text("secret") }
    }

    /// The attempts of a call, first to last; none where there is no such call.
    pub fn attempts(&self, request_id: &str) -> Vec<Value> {
        let reply = self.admin_reply("GET", &format!("/requests/{request_id}"), None);
        match reply.status {
            404 => Vec::new(),
            200 => reply.json()["data"].as_array().unwrap().clone(),
            status => panic!("{status}: {}", reply.text()),
        }
    }

    /// The record of a call that was made with one attempt, or refused before one.
    pub fn record(&self, request_id: &str) -> Value {
        let mut attempts = self.attempts(request_id);
        assert_eq!(attempts.len(), 1, "one record of {request_id}: {attempts:?}");
        attempts.remove(0)
    }

    /// The same for a call whose end nobody saw, so that its record may still be on its way.
    pub fn record_soon(&self, request_id: &str) -> Value {
        until_some("the call is recorded", || (!self.attempts(request_id).is_empty()).then_some(()));
        self.record(request_id)
    }

    /// Everything that is recorded of a key, the newest first.
    pub fn records_of(&self, key: &Key) -> Vec<Value> {
        self.all(&format!("/requests?key={}", key.id))
    }

    /// All pages of a list.
    pub fn all(&self, path: &str) -> Vec<Value> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{sign}limit=200{after}"));
            rows.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return rows,
            }
        }
    }

    /// Runs a command of the binary on this gateway's data folder.
    pub fn cli(&self, arguments: &[&str]) -> CliOutput {
        let mut command = Command::new(self.binary());
        clean(&mut command);
        command.arg("--data-dir").arg(self.data_dir()).args(arguments).current_dir(self.folder()).stdin(Stdio::null());
        let output = command.output().unwrap();
        if arguments == ["owner-link"] {
            crate::remains::canary("a one-time link", String::from_utf8_lossy(&output.stdout).trim());
        }
        CliOutput {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
