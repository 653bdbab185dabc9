//! How a command ends: the closed list of exit codes, and the one error type that every command returns.

use std::fmt;
use std::io;

/// Exit codes are a contract with scripts: a number never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Cancelled = 3,
    Auth = 4,
    NotFound = 5,
    Conflict = 6,
    Limit = 7,
    Unreachable = 8,
}

impl Exit {
    pub const ALL: [Exit; 9] = [
        Exit::Ok,
        Exit::Failed,
        Exit::Usage,
        Exit::Cancelled,
        Exit::Auth,
        Exit::NotFound,
        Exit::Conflict,
        Exit::Limit,
        Exit::Unreachable,
    ];

    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done; an empty list is also done",
            Exit::Failed => "the command failed",
            Exit::Usage => "the command was written wrongly, or input is missing that could not be asked for",
            Exit::Cancelled => "cancelled, or a confirmation was refused",
            Exit::Auth => "no credential, or the credential may not do this",
            Exit::NotFound => "there is no such thing",
            Exit::Conflict => "it exists already, is ambiguous, or was changed by somebody else meanwhile",
            Exit::Limit => "refused by a limit or a budget",
            Exit::Unreachable => "no anykey answered",
        }
    }

    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command did not do what it was asked to. Printed as `error:`, `try:` and the request id.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    what: String,
    details: Vec<String>,
    next: Option<String>,
    request_id: Option<String>,
    code: Option<Box<str>>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), details: Vec::new(), next: None, request_id: None, code: None }
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    pub fn unreachable(what: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, what)
    }

    pub fn cancelled() -> Self {
        Self::new(Exit::Cancelled, "cancelled; nothing was changed")
    }

    /// Whoever reads our output went away (`| head`): nothing is wrong and there is nobody to tell.
    fn reader_gone() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// The next command to try. The first hint stays: what is closest to the cause knows best.
    #[must_use]
    pub fn hint(mut self, next: impl Into<String>) -> Self {
        self.next.get_or_insert_with(|| next.into());
        self
    }

    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    #[must_use]
    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }

    /// The code of the refusal, where a server gave one.
    #[must_use]
    pub fn code(mut self, code: Option<&str>) -> Self {
        self.code = code.map(Box::from);
        self
    }

    /// Whether a server refused with one of these codes.
    pub fn is_refusal(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    pub fn is_silent(&self) -> bool {
        self.what.is_empty()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::reader_gone(),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for line in &self.details {
            write!(f, "\n       {line}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\ntry:   {next}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "\nrequest id: {id}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_published_ones() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_failure_says_what_then_what_to_try_then_the_request() {
        let failure = Failure::new(Exit::NotFound, "there is no key named ci")
            .hint("anykey key list")
            .hint("a later hint that must not win")
            .request_id(Some("req_1".into()));
        assert_eq!(failure.to_string(), "error: there is no key named ci\ntry:   anykey key list\nrequest id: req_1");
    }

    #[test]
    fn a_reader_that_went_away_is_not_an_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_silent());
        assert_eq!(failure.exit, Exit::Ok);
    }
}
