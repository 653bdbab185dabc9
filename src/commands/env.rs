//! `anykey env`: the variables that point SDKs and coding agents at this gateway.

use crate::cli::credential::{self, CredentialArgs};
use crate::cli::server::Server;
use crate::cli::{Failure, Session};
use crate::commands::key;
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};

#[derive(Args, Debug)]
pub struct EnvArgs {
    /// How to write them; `sh` is for eval "$(anykey env)"
    #[arg(long, default_value = "sh")]
    format: Format,

    /// For whom
    #[arg(long = "for", default_value = "sdk", value_name = "CLIENT")]
    client: ForWhom,

    /// Make a key of this name and print it with them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["key_file", "key_env"])]
    new_key: Option<String>,

    /// The key to print with them [default: ANYKEY_API_KEY]
    #[command(flatten)]
    credential: CredentialArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Dotenv,
    Sh,
    Fish,
    Powershell,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ForWhom {
    /// The SDKs of OpenAI, Anthropic and Google, Codex and Gemini CLI
    Sdk,
    /// Claude Code, which wants its key in ANTHROPIC_AUTH_TOKEN and the other variable unset
    ClaudeCode,
}

/// A variable to set, or one that must not be set because it would win over those.
pub type Variable = (&'static str, Option<String>);

pub async fn run(args: EnvArgs, session: &mut Session) -> Result<(), Failure> {
    let url = Server::find(session)?.url();
    let key = the_key(&args, session).await?;
    if key.is_none() {
        session.terminal.note("No key: only the addresses. Set ANYKEY_API_KEY, or make a key with --new-key NAME.");
    }
    let key = key.as_ref().map(|key| key.expose_secret());
    let variables = match args.client {
        ForWhom::Sdk => for_sdks(&url, key),
        ForWhom::ClaudeCode => for_claude_code(&url, key),
    };
    let format = if session.json() { Format::Json } else { args.format };
    session.terminal.line(&format.write(&variables))
}

async fn the_key(args: &EnvArgs, session: &mut Session) -> Result<Option<SecretString>, Failure> {
    if let Some(name) = &args.new_key {
        return key::mint(&session.client()?, name, None).await.map(|made| Some(made.secret));
    }
    if let Some(given) = args.credential.given(session)? {
        return Ok(Some(given));
    }
    session.env("ANYKEY_API_KEY").map(|key| credential::one_line(&key)).transpose()
}

/// The variables for a client and a key.
pub fn variables(client: ForWhom, url: &str, key: &str) -> Vec<Variable> {
    match client {
        ForWhom::Sdk => for_sdks(url, Some(key)),
        ForWhom::ClaudeCode => for_claude_code(url, Some(key)),
    }
}

fn for_sdks(url: &str, key: Option<&str>) -> Vec<Variable> {
    let mut variables = vec![
        ("OPENAI_BASE_URL", Some(format!("{url}/v1"))),
        ("ANTHROPIC_BASE_URL", Some(url.to_string())),
        ("GOOGLE_GEMINI_BASE_URL", Some(url.to_string())),
    ];
    if let Some(key) = key {
        let names = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "ANYKEY_API_KEY"];
        variables.extend(names.map(|name| (name, Some(key.to_string()))));
        // Google's SDK prefers this one, and Anthropic's sends both of its own.
        variables.extend([("GOOGLE_API_KEY", None), ("ANTHROPIC_AUTH_TOKEN", None)]);
    }
    variables
}

fn for_claude_code(url: &str, key: Option<&str>) -> Vec<Variable> {
    let mut variables = vec![("ANTHROPIC_BASE_URL", Some(url.to_string()))];
    if let Some(key) = key {
        variables.push(("ANTHROPIC_AUTH_TOKEN", Some(key.to_string())));
        variables.push(("ANTHROPIC_API_KEY", None));
    }
    variables
}

impl Format {
    /// Values are addresses and keys, which need no quotes but get them; only JSON and dotenv cannot take a variable
    /// away.
    fn write(self, variables: &[Variable]) -> String {
        if self == Format::Json {
            let set = variables.iter().filter_map(|(name, value)| Some((name.to_string(), value.clone()?.into())));
            return serde_json::Value::Object(set.collect()).to_string();
        }
        let lines: Vec<String> =
            variables.iter().filter_map(|(name, value)| self.line(name, value.as_deref())).collect();
        lines.join("\n")
    }

    fn line(self, name: &str, value: Option<&str>) -> Option<String> {
        match (self, value) {
            (Format::Dotenv, value) => value.map(|value| format!("{name}={value}")),
            (Format::Sh, Some(value)) => Some(format!("export {name}='{}'", value.replace('\'', r"'\''"))),
            (Format::Sh, None) => Some(format!("unset {name}")),
            (Format::Fish, Some(value)) => {
                Some(format!("set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'")))
            }
            (Format::Fish, None) => Some(format!("set -e {name}")),
            (Format::Powershell, Some(value)) => Some(format!("$env:{name} = '{}'", value.replace('\'', "''"))),
            (Format::Powershell, None) => Some(format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue")),
            (Format::Json, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_gets_its_own_quoting() {
        let variables = [("A", Some("it's \\ ok".to_string())), ("B", None)];
        let written = |format: Format| format.write(&variables);
        assert_eq!(written(Format::Sh), "export A='it'\\''s \\ ok'\nunset B");
        assert_eq!(written(Format::Fish), "set -gx A 'it\\'s \\\\ ok'\nset -e B");
        assert_eq!(
            written(Format::Powershell),
            "$env:A = 'it''s \\ ok'\nRemove-Item Env:B -ErrorAction SilentlyContinue"
        );
        assert_eq!(written(Format::Json), r#"{"A":"it's \\ ok"}"#);
    }

    #[test]
    fn base_urls_are_as_each_sdk_wants_them() {
        let variables = for_sdks("https://gw", None);
        let value = |name: &str| variables.iter().find(|v| v.0 == name).and_then(|v| v.1.as_deref());
        assert_eq!(value("OPENAI_BASE_URL"), Some("https://gw/v1"));
        assert_eq!(value("ANTHROPIC_BASE_URL"), Some("https://gw"));
        assert_eq!(value("GOOGLE_GEMINI_BASE_URL"), Some("https://gw"));
        assert_eq!(value("OPENAI_API_KEY"), None, "no placeholder that somebody would send");
    }
}
