//! The practice provider in this process, with faults on request and with its books.

use crate::http::{Connection, Request};
use crate::wait::until_some;
use anykey_sim::{Running, Sim, SimOptions};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::runtime::Runtime;

/// A practice provider that lets every credential in and notes all of it.
pub struct TestSim {
    pub address: SocketAddr,
    _running: Running,
    // After `_running`, whose end needs it.
    _runtime: Runtime,
}

/// A line of its books.
#[derive(Clone, Debug)]
pub struct Entry(pub Value);

impl TestSim {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = SimOptions { require_key: None, faults: true, strict: true };
        let running = runtime.block_on(Sim::bind(SocketAddr::from(([127, 0, 0, 1], 0)), options)).unwrap();
        TestSim { address: running.addr, _running: running, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn ask(&self, target: &str) -> Value {
        let mut connection = Connection::open(self.address).unwrap();
        connection.request(&Request::get(target)).unwrap().json()
    }

    /// How many requests it has had; also the place in the books up to now.
    pub fn requests(&self) -> u64 {
        self.ask("/_sim/stats")["requests"].as_u64().unwrap()
    }

    /// How many answers are on their way.
    pub fn open(&self) -> u64 {
        self.ask("/_sim/stats")["open"].as_u64().unwrap()
    }

    /// The entries after a place.
    pub fn books(&self, after: u64) -> Vec<Entry> {
        match self.ask(&format!("/_sim/books?after={after}")) {
            Value::Array(entries) => entries.into_iter().map(Entry).collect(),
            other => panic!("not books: {other}"),
        }
    }

    /// The one request since a place, once its answer is out.
    pub fn only(&self, after: u64) -> Entry {
        let mut ended = self.ended(after);
        assert_eq!(ended.len(), 1, "one request was to reach the provider: {ended:?}");
        ended.remove(0)
    }

    /// The requests since a place (at least one), once all their answers are out.
    pub fn ended(&self, after: u64) -> Vec<Entry> {
        until_some("the provider's answers are out", || {
            let entries = self.books(after);
            (!entries.is_empty() && entries.iter().all(Entry::has_ended)).then_some(entries)
        })
    }
}

impl Entry {
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    pub fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    pub fn is(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    pub fn has_ended(&self) -> bool {
        self.is("completed") || self.is("client_gone") || self.is("cut")
    }

    /// The header fields as they came, names in lower case.
    pub fn headers(&self) -> Vec<(String, String)> {
        let fields = self.0["headers"].as_array().unwrap().iter();
        fields.map(|field| (field[0].as_str().unwrap().to_owned(), field[1].as_str().unwrap().to_owned())).collect()
    }
}
