//! Secrets that a command is given: from a file, from stdin, from a variable, or typed unseen. Never as a flag's value,
//! where they would stay in the shell's history and show in the list of processes.

use crate::cli::{Failure, Session};
use clap::Args;
use secrecy::SecretString;

#[derive(Args, Clone, Debug, Default)]
pub struct CredentialArgs {
    /// Read the credential from a file; `-` is stdin
    #[arg(long, value_name = "PATH", conflicts_with = "key_env")]
    pub key_file: Option<String>,

    /// Read the credential from an environment variable
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,
}

impl CredentialArgs {
    /// The credential that the flags name; `None` where they name none.
    pub fn given(&self, session: &mut Session) -> Result<Option<SecretString>, Failure> {
        let text = match (&self.key_file, &self.key_env) {
            (Some(path), _) if path == "-" => session.terminal.read_input()?,
            (Some(path), _) => std::fs::read_to_string(path)
                .map_err(|error| Failure::failed(format!("{path} could not be read: {error}")))?,
            (None, Some(name)) => session
                .env(name)
                .ok_or_else(|| Failure::usage(format!("the environment variable {name} is not set")))?,
            (None, None) => return Ok(None),
        };
        one_line(&text).map(Some)
    }

    /// The credential that the flags name, else one that the person types.
    pub fn required(&self, session: &mut Session, prompt: &str) -> Result<SecretString, Failure> {
        if let Some(secret) = self.given(session)? {
            return Ok(secret);
        }
        if !session.terminal.can_ask() {
            return Err(Failure::usage("a credential is needed and there is nobody to ask")
                .hint("the same command with --key-env NAME, or --key-file PATH (- is stdin)"));
        }
        one_line(&session.terminal.ask_secret(prompt)?)
    }
}

/// A credential is one line of visible characters; what stands around it is a file's or a paste's.
pub fn one_line(text: &str) -> Result<SecretString, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::usage("the credential is empty"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage("the credential has white space or other strange characters inside"));
    }
    Ok(text.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;
    use crate::cli::testing::Bench;
    use secrecy::ExposeSecret;

    fn from(file: Option<&str>, env: Option<&str>) -> CredentialArgs {
        CredentialArgs { key_file: file.map(Into::into), key_env: env.map(Into::into) }
    }

    #[test]
    fn it_comes_from_stdin_a_file_or_a_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "  from-file\r\n").unwrap();
        let mut session = Bench::offline().env("KEY", "from-env").input("from-stdin\n").session(&[]);
        let mut read = |args: CredentialArgs| args.given(&mut session).unwrap().unwrap().expose_secret().to_string();
        assert_eq!(read(from(path.to_str(), None)), "from-file");
        assert_eq!(read(from(Some("-"), None)), "from-stdin");
        assert_eq!(read(from(None, Some("KEY"))), "from-env");
    }

    #[test]
    fn what_cannot_be_asked_for_is_a_usage_error_that_names_the_flags() {
        let mut session = Bench::offline().session(&[]);
        let failure = from(None, None).required(&mut session, "?").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("--key-env"), "{failure}");
        assert_eq!(from(None, Some("NOT_SET")).given(&mut session).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_credential_is_one_visible_line() {
        assert!(one_line(" sk-x \n").is_ok());
        for bad in ["", " \n", "two lines\nhere", "a b", "clé"] {
            assert_eq!(one_line(bad).unwrap_err().exit, Exit::Usage, "{bad:?}");
        }
    }
}
