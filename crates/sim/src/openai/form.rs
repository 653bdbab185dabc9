//! Forms, read for the endpoints that take files: parts by name, in their order.

use crate::call::Call;
use crate::fault::Fault;

pub(super) struct Part<'a> {
    pub name: String,
    pub file: Option<String>,
    pub value: &'a [u8],
}

pub(super) struct Form<'a>(Vec<Part<'a>>);

impl<'a> Form<'a> {
    /// Whether the request says that its body is a form.
    pub(super) fn is_one(call: &Call<'_>) -> bool {
        call.header("content-type").is_some_and(|value| value.starts_with("multipart/form-data"))
    }

    pub(super) fn read(call: &Call<'a>) -> Result<Form<'a>, Fault> {
        let wrong = || Fault::invalid("Could not parse multipart form.");
        let kind = call.header("content-type").ok_or_else(wrong)?;
        let (_, boundary) = kind.split_once("boundary=").ok_or_else(wrong)?;
        let delimiter = [b"--", boundary.trim_matches('"').as_bytes()].concat();
        let mut rest = call.body.strip_prefix(&*delimiter).ok_or_else(wrong)?;
        let next = [b"\r\n", &*delimiter].concat();
        let mut parts = Vec::new();
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let end = find(part, &next).ok_or_else(wrong)?;
            parts.push(of(&part[..end]).ok_or_else(wrong)?);
            rest = &part[end + next.len()..];
        }
        if rest.starts_with(b"--") { Ok(Form(parts)) } else { Err(wrong()) }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        let part = self.0.iter().find(|part| part.name == name && part.file.is_none())?;
        std::str::from_utf8(part.value).ok()
    }

    /// Files of a name, with brackets or without.
    pub(super) fn files(&self, name: &str) -> Vec<&'a [u8]> {
        let is_it = |part: &&Part<'_>| part.file.is_some() && part.name.trim_end_matches("[]") == name;
        self.0.iter().filter(is_it).map(|part| part.value).collect()
    }
}

fn of(part: &[u8]) -> Option<Part<'_>> {
    let split = find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&part[..split]).ok()?;
    let parameter = |name: &str| {
        let (_, after) = head.split_once(&format!("; {name}=\""))?;
        Some(after.split_once('"')?.0.to_owned())
    };
    Some(Part { name: parameter("name")?, file: parameter("filename"), value: &part[split + 4..] })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
