//! Server-sent events, read as a browser would.

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Empty where the event has no name.
    pub name: String,
    pub data: String,
}

/// The whole events of a stream; one whose blank line has not come is left out.
pub fn events(body: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
    let Some((whole, _)) = text.rsplit_once("\n\n") else { return Vec::new() };
    whole.split("\n\n").filter_map(event).collect()
}

fn event(block: &str) -> Option<Event> {
    let (mut name, mut data) = (String::new(), Vec::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Event { name, data: data.join("\n") })
}
