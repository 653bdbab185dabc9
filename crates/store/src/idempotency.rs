//! Answers kept for a day, so that a create that is sent again gives the same answer, secret included.

/// A claim on an idempotency key; ended by [`crate::Store::idempotency_finish`] or
/// [`crate::Store::idempotency_abandon`].
#[derive(Debug)]
pub struct Claim {
    pub(crate) route: String,
    pub(crate) key: String,
    pub(crate) ticket: i64,
}

/// What an idempotency key says of a request.
#[derive(Debug)]
pub enum Begun {
    /// The first of its kind: do it, then finish the claim.
    Fresh(Claim),
    /// It was done: give this answer again.
    Replay { status: u16, body: Vec<u8> },
    /// The key was used with another body: 409.
    OtherBody,
    /// The same request is being worked on: 409, try again.
    Running,
}
