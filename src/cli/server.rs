//! Finding the server to speak to and the credential for it: flags and environment first, then what a running server
//! left in its data folder.

use crate::cli::{Exit, Failure, Session};
use http::Uri;
use secrecy::SecretString;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

pub const DEFAULT_DATA_DIR: &str = "anykey-data";
/// Written by a server when it listens, read here.
const SERVER_FILE: &str = "server.json";
const ADMIN_KEY_FILE: &str = "admin.key";

/// Where a server listens, and how we know.
#[derive(Clone, Debug)]
pub struct Server {
    pub uri: Uri,
    /// The data folder that named this server. Only then is its local credential meant for it: sending it to whatever
    /// `ANYKEY_URL` says would hand it to strangers.
    folder: Option<PathBuf>,
    /// The process that wrote the file, for the message when nobody answers.
    pub pid: Option<u32>,
    /// The fingerprint of the certificate that it shows, where the data folder says it.
    pub pin: Option<String>,
}

#[derive(Deserialize)]
struct ServerFile {
    url: String,
    pid: Option<u32>,
    certificate_sha256: Option<String>,
}

/// `--data-dir`, else `ANYKEY_DATA_DIR`.
pub fn named_data_dir(session: &Session) -> Option<PathBuf> {
    let flag = session.globals.data_dir.clone();
    flag.or_else(|| session.env("ANYKEY_DATA_DIR").map(PathBuf::from))
}

/// The brand of the server that runs, or ran last, with this data folder.
pub fn brand_of(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Branded {
        brand: Option<String>,
    }
    let text = std::fs::read_to_string(folder.join(SERVER_FILE)).ok()?;
    serde_json::from_str::<Branded>(&text).ok()?.brand
}

impl Server {
    pub fn find(session: &Session) -> Result<Server, Failure> {
        // A data folder named on the command line is closer to the intention than a URL left in the environment.
        let url = match (&session.globals.url, &session.globals.data_dir) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(_)) => None,
            (None, None) => session.env("ANYKEY_URL"),
        };
        match url {
            Some(url) => Ok(Server { uri: parse_url(&url)?, folder: None, pid: None, pin: None }),
            None => Self::in_folder(named_data_dir(session).unwrap_or_else(|| DEFAULT_DATA_DIR.into())),
        }
    }

    fn in_folder(folder: PathBuf) -> Result<Server, Failure> {
        let path = folder.join(SERVER_FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::unreachable(format!("no anykey runs with the data folder {}", folder.display()))
                    .detail("Start one there, name its folder with --data-dir, or set ANYKEY_URL and ANYKEY_ADMIN_KEY.")
                    .hint("anykey serve")
            }
            _ => Failure::failed(format!("{} could not be read: {error}", path.display())),
        })?;
        let file: ServerFile = serde_json::from_str(&text)
            .map_err(|error| Failure::failed(format!("{} is damaged: {error}", path.display())))?;
        Ok(Server { uri: parse_url(&file.url)?, folder: Some(folder), pid: file.pid, pin: file.certificate_sha256 })
    }

    /// `ANYKEY_ADMIN_KEY`, or the local credential of the data folder that named this server.
    pub fn admin_key(&self, session: &Session) -> Result<SecretString, Failure> {
        let key = session.env("ANYKEY_ADMIN_KEY");
        // With a folder on the command line, the environment's key is that of another server.
        let local = self.folder.as_ref().filter(|_| key.is_none() || session.globals.data_dir.is_some());
        match (local, key) {
            (Some(folder), _) => read_admin_key(&folder.join(ADMIN_KEY_FILE)),
            (None, Some(key)) => Ok(key.trim().to_string().into()),
            (None, None) => Err(Failure::new(Exit::Auth, format!("there is no credential for {}", self.url()))
                .detail("Set ANYKEY_ADMIN_KEY to an admin key of that server (ak-admin-...).")
                .hint("on the server's machine: anykey key create NAME --kind admin")),
        }
    }

    /// The base URL, without a slash at its end.
    pub fn url(&self) -> String {
        self.uri.to_string().trim_end_matches('/').to_string()
    }

    /// Whether a credential would cross a network unencrypted.
    pub fn in_the_clear(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let local = host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.uri.scheme_str() == Some("http") && !local
    }
}

fn read_admin_key(path: &Path) -> Result<SecretString, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_string().into()),
        Err(error) => Err(Failure::new(Exit::Auth, format!("{} could not be read: {error}", path.display()))
            .detail("Run this as the user that runs the server, or set ANYKEY_URL and ANYKEY_ADMIN_KEY.")),
    }
}

fn parse_url(text: &str) -> Result<Uri, Failure> {
    let wrong = || {
        Failure::usage(format!("{text:?} is not the address of a server"))
            .hint("ANYKEY_URL=http://127.0.0.1:7117 or https://anykey.example.com")
    };
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.query().is_none() && uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    if known && plain { Ok(uri) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Bench;

    fn folder_with_server() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(SERVER_FILE), r#"{"url":"http://127.0.0.1:9","pid":1}"#).unwrap();
        std::fs::write(dir.path().join(ADMIN_KEY_FILE), "ak-admin-local\n").unwrap();
        dir
    }

    #[test]
    fn the_local_credential_goes_only_to_the_server_that_left_it() {
        use secrecy::ExposeSecret;
        let dir = folder_with_server();
        let bench = Bench::offline().env("ANYKEY_DATA_DIR", dir.path().to_str().unwrap());
        let local = bench.session(&[]);
        let server = Server::find(&local).unwrap();
        assert_eq!(server.admin_key(&local).unwrap().expose_secret(), "ak-admin-local");

        let elsewhere = bench.env("ANYKEY_URL", "https://gw.example.com");
        let session = elsewhere.session(&[]);
        let server = Server::find(&session).unwrap();
        assert_eq!(server.url(), "https://gw.example.com");
        assert_eq!(server.admin_key(&session).unwrap_err().exit, Exit::Auth);
    }

    #[test]
    fn a_folder_on_the_command_line_beats_a_url_in_the_environment() {
        let dir = folder_with_server();
        let bench = Bench::offline().env("ANYKEY_URL", "https://gw.example.com");
        let session = bench.session(&["--data-dir", dir.path().to_str().unwrap()]);
        assert_eq!(Server::find(&session).unwrap().url(), "http://127.0.0.1:9");
    }

    #[test]
    fn without_a_server_the_exit_is_unreachable_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::offline().env("ANYKEY_DATA_DIR", dir.path().to_str().unwrap());
        let failure = Server::find(&bench.session(&[])).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.to_string().contains("try:   anykey serve"), "{failure}");
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["http://127.0.0.1:7117", "https://gw.example.com/anykey/", "http://[::1]:7117/"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:7117", "ftp://x", "http://user:pass@x", "http://x/?a=b", "", "/path"] {
            assert_eq!(parse_url(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn only_plain_http_to_elsewhere_is_in_the_clear() {
        let clear =
            |url: &str| Server { uri: parse_url(url).unwrap(), folder: None, pid: None, pin: None }.in_the_clear();
        assert!(clear("http://10.0.0.4:7117"));
        assert!(!clear("http://127.0.0.1:7117"));
        assert!(!clear("http://[::1]:7117"));
        assert!(!clear("http://localhost:7117"));
        assert!(!clear("https://10.0.0.4"));
    }
}
