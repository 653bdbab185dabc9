//! What was found and where. The secret itself is kept only where the server is going to be asked about it.

use super::report::Verdict;
use crate::cli::{Cell, Column};
use anykey_core::find::Hit;
use anykey_core::token::masked;
use secrecy::SecretString;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Finding {
    /// `ak-live-AbCd1234…`
    pub key: String,
    pub brand: String,
    pub kind: &'static str,
    pub public_id: String,
    /// A file; `-` for standard input; in a history also `(commit message)` and the name of a tag.
    pub path: String,
    pub line: u64,
    /// Bytes from the start of the line, counted from one.
    pub column: u64,
    /// The first commit that holds it there.
    pub commit: Option<String>,
    #[serde(skip)]
    pub secret: Option<SecretString>,
    /// What the server knows of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Verdict>,
}

impl Finding {
    pub fn new(hit: &Hit<'_>, path: &str, commit: Option<&str>, keep_secret: bool) -> Self {
        Finding {
            key: masked(hit.brand, hit.form.kind, hit.form.public_id),
            brand: hit.brand.to_owned(),
            kind: hit.form.kind.name(),
            public_id: hit.form.public_id.to_owned(),
            path: path.to_owned(),
            line: hit.line,
            column: hit.column,
            commit: commit.map(str::to_owned),
            secret: keep_secret.then(|| hit.token.to_owned().into()),
            server: None,
        }
    }

    /// `path:line:column`, which editors open.
    pub fn place(&self) -> String {
        format!("{}:{}:{}", self.path, self.line, self.column)
    }
}

const KEY: Column<Finding> = Column::whole("key", "KEY", |f| Cell::text(&f.key));
const PLACE: Column<Finding> = Column::whole("place", "PLACE", |f| Cell::text(f.place()));
const COMMIT: Column<Finding> = Column::for_programs("commit", |f| Cell::maybe(&f.commit));
const SHORT_COMMIT: Column<Finding> =
    Column::for_people("COMMIT", |f| Cell::text(f.commit.as_deref().map_or("", |c| c.get(..10).unwrap_or(c))));

pub const COLUMNS: &[Column<Finding>] = &[KEY, PLACE, COMMIT, SHORT_COMMIT];
pub const REPORTED_COLUMNS: &[Column<Finding>] = &[
    KEY,
    Column::new("state", "STATE", |f| Cell::Status(f.server.as_ref().map_or("", |v| v.state.as_str()).to_owned())),
    Column::new("name", "NAME", |f| Cell::maybe(&f.server.as_ref().and_then(|v| v.name.clone()))),
    Column::new("owner", "OWNER", |f| Cell::maybe(&f.server.as_ref().and_then(|v| v.owner.clone()))),
    PLACE,
    COMMIT,
    SHORT_COMMIT,
];
