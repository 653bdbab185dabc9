//! The head of a form: the same members as of a JSON body, found in its parts.

use super::fields::{self, Field, Members};
use super::{COUNT_LIMIT, Head, IncludeUsage, Items, MODEL_LIMIT, Span, invalid};
use crate::audio;
use crate::multipart::{self, Part};
use anykey_core::{Code, Endpoint, Refusal};
use std::borrow::Cow;

/// Reads a form of this content type: where its model stands, and what it is measured by. Refuses what is not whole, what
/// says a member twice, and what could be read in two ways.
pub fn scan(endpoint: Endpoint, body: &[u8], content_type: &[u8]) -> Result<Head, Refusal> {
    let Some(boundary) = multipart::boundary(content_type) else {
        let message = "The content type names no boundary of the form, or one that cannot be one. Send \
                       `multipart/form-data; boundary=...`, as HTTP clients do by themselves.";
        return Err(Refusal::new(Code::UnsupportedMediaType, message).param("content-type"));
    };
    let mut form = Form {
        body,
        head: Head {
            model: None,
            model_name: None,
            body_model: None,
            body_model_spans: Vec::new(),
            stream: false,
            include_usage: IncludeUsage::Unsupported,
            max_tokens: None,
            n: 1,
            unbounded: false,
            encoding_base64: false,
            items: None,
        },
        items: Items { boundary: Some(boundary.to_owned()), ..Items::default() },
    };
    let mut members = Members::new(fields::rows(endpoint), "", true);
    for part in multipart::parts(body, boundary)? {
        form.part(endpoint, &mut members, &part)?;
    }
    if endpoint.hears() && form.items.sound.is_none() {
        return Err(invalid("file", "a file of sound"));
    }
    Ok(Head { items: Some(Box::new(form.items)), ..form.head })
}

struct Form<'a> {
    body: &'a [u8],
    head: Head,
    items: Items,
}

impl<'a> Form<'a> {
    fn part(&mut self, endpoint: Endpoint, members: &mut Members<'a>, part: &Part<'a>) -> Result<(), Refusal> {
        // Lists are parts of one name, with brackets or, of files, without.
        let list = part.name.strip_suffix("[]");
        let name = list.unwrap_or(part.name);
        let repeats = list.is_some() || (part.is_file && name == "image");
        let row = if repeats { members.named(name) } else { members.find(Cow::Borrowed(part.name))? };
        let Some((name, field)) = row else { return Ok(()) };
        if part.is_file != (field == Field::Pictures) {
            let expected = if part.is_file { "a value, without a file's name" } else { "a file, with its name" };
            return Err(invalid(name, expected));
        }
        if field == Field::Pictures {
            return self.file(endpoint, part.value);
        }
        if list.is_some() {
            return Err(invalid(name, "one value and not a list"));
        }
        self.value(name, field, part.value)
    }

    fn file(&mut self, endpoint: Endpoint, span: Span) -> Result<(), Refusal> {
        if !endpoint.hears() {
            self.items.pictures += 1;
            return Ok(());
        }
        if self.items.sound.replace(audio::length(&self.body[span.start..span.end])).is_some() {
            return Err(invalid("file", "one file"));
        }
        Ok(())
    }

    fn value(&mut self, name: &'static str, field: Field, span: Span) -> Result<(), Refusal> {
        let text = std::str::from_utf8(&self.body[span.start..span.end]).map_err(|_| invalid(name, "UTF-8"))?;
        let word = || (text.len() <= 32 && !text.is_empty()).then(|| text.to_owned());
        match field {
            Field::Model => {
                if text.is_empty() || text.len() > MODEL_LIMIT || text.chars().any(char::is_control) {
                    let expected = "a name of at most 256 bytes without control characters";
                    return Err(invalid(name, expected));
                }
                self.head.model = Some(span);
                self.head.model_name = Some(text.to_owned());
            }
            Field::Stream => {
                self.head.stream = match text {
                    "true" | "True" | "1" => true,
                    "false" | "False" | "0" | "" => false,
                    _ => return Err(invalid(name, "true or false")),
                }
            }
            Field::Count => {
                let count = text.parse::<u64>().ok().filter(|n| (1..=COUNT_LIMIT).contains(n));
                self.head.n = count.ok_or_else(|| invalid(name, "a whole number from 1 to 128"))?;
            }
            Field::Partial => self.items.partial = text.parse::<u64>().unwrap_or(0).min(COUNT_LIMIT),
            Field::Text => self.items.spoken(text),
            Field::Size => self.items.size = word(),
            Field::Quality => self.items.quality = word(),
            Field::Format => self.items.format = word(),
            _ => {}
        }
        Ok(())
    }
}
