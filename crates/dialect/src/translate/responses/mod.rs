//! OpenAI's responses.

pub mod answer_read;
pub mod answer_write;
mod items;
pub mod request_read;
pub mod request_write;
pub mod stream_read;
pub mod stream_write;
