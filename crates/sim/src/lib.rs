//! The practice provider: a simulated upstream that speaks the providers' own dialects, for first runs, docs, tests and benchmarks.
//!
//! It depends on no other room of the house, so that it can contradict them: token counts, shapes and
//! refusals are written down here a second time, from the providers' documentation and SDK types.

#![forbid(unsafe_code)]

mod anthropic;
mod books;
mod cache;
mod call;
mod control;
mod fault;
mod gemini;
mod model;
mod openai;
mod play;
mod prompt;
mod reply;
mod schema;
mod script;
mod server;
mod telling;
mod text;
mod vectors;

pub use model::{Kind, SimModel, models};
pub use server::{Running, Sim};

/// How a practice provider behaves towards whoever calls it.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// The credential that must be presented, in the called dialect's own header. `None` lets everyone in.
    pub require_key: Option<String>,
    /// Allow faults and pacing on request (`x-sim-*` headers, `model?delay=..`, `/_ctl`) and keep the books (`/_sim/*`).
    pub faults: bool,
    /// Refuse what the real providers refuse (missing `max_tokens`, unpaired tool results, and so on).
    pub strict: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self { require_key: None, faults: false, strict: true }
    }
}
