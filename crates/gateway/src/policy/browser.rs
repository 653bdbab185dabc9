//! A secret in a page is a leaked secret: requests that bear a browser's marks need a key that allows browsers.

use super::Question;
use anykey_core::{Code, Refusal};

pub(super) fn check(question: &Question<'_>) -> Result<(), Refusal> {
    if question.marks.browser && !question.caller.key.info.browser_allowed {
        return Err(Refusal::new(
            Code::BrowserUseForbidden,
            "This request comes from a browser, and the API key does not allow that: anybody who opens the page can read \
             the key. Call the gateway from a server, or use a key that allows browsers.",
        ));
    }
    Ok(())
}
