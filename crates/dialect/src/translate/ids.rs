//! Ids of tool calls and answers, as each provider takes them. An id that does not fit is made anew from itself, so that a
//! call and its result still agree and the same history always gives the same bytes.

/// The longest id of a tool call that OpenAI takes.
const OPENAI_LIMIT: usize = 40;

/// For OpenAI and those who imitate it.
pub fn for_openai(id: &str) -> String {
    if !id.is_empty() && id.len() <= OPENAI_LIMIT && !id.contains(char::is_control) {
        return id.to_owned();
    }
    minted("call_", id)
}

/// For Anthropic: letters, digits, `_` and `-`.
pub fn for_anthropic(id: &str) -> String {
    if fits_anthropic(id) { id.to_owned() } else { minted("toolu_", id) }
}

fn fits_anthropic(id: &str) -> bool {
    !id.is_empty() && id.len() <= 256 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The longest id of a caller's user that OpenAI takes.
const USER_LIMIT: usize = 64;

/// For OpenAI; Claude Code's ids of its users are longer.
pub fn user(id: String) -> String {
    if id.chars().count() <= USER_LIMIT { id } else { minted("user_", &id) }
}

/// The id of a call that came without one, from its place in the answer.
pub fn placed(answer: &str, candidate: usize, place: usize) -> String {
    minted("call_", &format!("{answer}/{candidate}/{place}"))
}

/// The longest name of an answer that is passed on.
const ANSWER_LIMIT: usize = 128;

/// Whether a provider's name for its answer can be passed on.
pub fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= ANSWER_LIMIT && !id.contains(char::is_control)
}

/// A provider's id of an answer under the prefix of the caller's dialect.
pub fn answer(prefix: &str, id: &str) -> String {
    if id.starts_with(prefix) { id.to_owned() } else { format!("{prefix}{id}") }
}

/// The id of an item of a response, from its place in it.
pub fn item(prefix: &str, response: &str, place: usize) -> String {
    minted(prefix, &format!("{response}/{place}"))
}

/// An id that depends on the text alone.
fn minted(prefix: &str, text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // FNV-1a over 128 bits: no secret is involved, and equal texts must give equal ids on every replica.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in text.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013B);
    }
    let mut id = String::from(prefix);
    for _ in 0..21 {
        id.push(DIGITS[(hash % 62) as usize] as char);
        hash /= 62;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_fit_stay_and_others_are_made_from_themselves() {
        assert_eq!(for_openai("call_1"), "call_1");
        let long = "x".repeat(41);
        assert!(for_openai(&long).len() <= OPENAI_LIMIT);
        assert_eq!(for_openai(&long), for_openai(&long));
        assert_ne!(for_openai(&long), for_openai(&"x".repeat(42)));
        assert_eq!(for_anthropic("toolu_1-a"), "toolu_1-a");
        assert!(fits_anthropic(&for_anthropic("functions.look up:0")));
        assert_eq!(user("kai".to_owned()), "kai");
        assert!(user("k".repeat(65)).len() < USER_LIMIT);
        assert_ne!(placed("a", 0, 1), placed("a", 0, 2));
        assert_eq!(answer("msg_", "msg_1"), "msg_1");
        assert_eq!(answer("msg_", "chatcmpl-1"), "msg_chatcmpl-1");
        assert!(is_plain("chatcmpl-1") && is_plain(&"x".repeat(ANSWER_LIMIT)));
        assert!(!is_plain("") && !is_plain("a\nb") && !is_plain(&"x".repeat(ANSWER_LIMIT + 1)));
    }
}
