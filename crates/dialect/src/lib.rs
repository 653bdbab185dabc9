//! The languages: bytes to meaning and back for the wire formats of OpenAI, Anthropic and Gemini. Pure functions and
//! state machines without I/O; the gateway feeds them bytes and they say what the bytes mean.
#![forbid(unsafe_code)]

pub mod audio;
pub mod cap;
pub mod embed;
pub mod error;
pub mod head;
mod json;
pub mod models;
pub mod multipart;
pub mod rerank;
pub mod splice;
pub mod stream;
pub mod translate;
pub mod usage;
mod value;

pub use error::UpstreamError;
pub use head::{Head, IncludeUsage, Span};
pub use models::{ListedModel, Page};
pub use stream::{End, Phase, StreamFault, StreamKind, StreamMeter};
pub use usage::Answer;
