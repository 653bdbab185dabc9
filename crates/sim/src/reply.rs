//! What a dialect hands to the server: a head, and a body that is whole or told in beats.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::books::Bill;
use crate::control::Control;
use crate::model::Model;
use crate::script::Answer;

/// One step of telling an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat<'a> {
    Start,
    Open(usize),
    Piece { block: usize, text: &'a str },
    Close(usize),
    Finish,
}

/// Writes beats in a dialect's streaming form. One beat may be several events, or none.
pub(crate) trait Encode: Send + Sync {
    fn beat(&mut self, beat: Beat<'_>, answer: &Answer, out: &mut BytesMut);
}

pub(crate) enum Payload {
    Whole(Bytes),
    Stream { encoder: Box<dyn Encode>, answer: Answer },
}

pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub payload: Payload,
    pub bill: Bill,
    /// The model that answers, and its name as it was asked for; none for lists and most refusals.
    pub model: Option<(Model, String)>,
    pub model_name: Option<String>,
    pub control: Control,
    pub stream: bool,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, HeaderValue::from_static("application/json"), Payload::Whole(body.into()))
    }

    pub(crate) fn new(status: StatusCode, content_type: HeaderValue, payload: Payload) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(header::CONTENT_TYPE, content_type);
        Self {
            status,
            headers,
            stream: matches!(payload, Payload::Stream { .. }),
            payload,
            bill: Bill::default(),
            model: None,
            model_name: None,
            control: Control::default(),
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A header whose value we made from digits and letters.
    pub(crate) fn text_header(self, name: &'static str, value: String) -> Self {
        match HeaderValue::try_from(value) {
            Ok(value) => self.header(HeaderName::from_static(name), value),
            Err(_) => self,
        }
    }

    pub(crate) fn static_headers(mut self, all: &[(&'static str, &'static str)]) -> Self {
        for (name, value) in all {
            self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        self
    }
}
