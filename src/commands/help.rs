//! `anykey help`: the help of a command, and the topics that belong to no command.

use crate::cli::{Exit, Failure, Session};
use crate::commands::Cli;
use clap::{Args, CommandFactory};
use std::fmt::Write;

pub const EXAMPLES: &str = "\
Examples:
  anykey                                               start on 127.0.0.1:7117, nothing configured
  anykey key create laptop --spend-limit 5             make a key; its secret is shown once
  anykey ask \"hello\"                                   ask the practice provider through the gateway
  anykey provider add openai --key-env OPENAI_API_KEY  add a provider, tested on adding
  anykey request tail                                  watch calls as they end

Topics: anykey help exit-codes, anykey help output, anykey help environment";

const OUTPUT: &str = "\
stdout carries the answer and nothing else; notes, questions and errors go to stderr.

On a terminal an answer is a table with relative times, cut to the width. On a pipe it is TSV: one line an item, full
values, times in RFC 3339, no header unless --header is given. With --json it is the admin API's JSON, unchanged; lists
are arrays and streams one object a line.

A command that makes a secret prints, on a pipe, the secret alone:
  anykey key create ci | gh secret set ANYKEY_API_KEY
With --json it prints the whole object, with \"id\" and \"secret\".

Nothing is ever asked where stdin is not a terminal, or with --json or --no-input.";

const ENVIRONMENT: &str = "\
ANYKEY_URL         the server to speak to, as --url
ANYKEY_ADMIN_KEY   the admin key to speak with
ANYKEY_DATA_DIR    the data folder, as --data-dir; a server that runs there is found with its local credential
ANYKEY_API_KEY     the key that `anykey ask` and `anykey env` use
NO_COLOR, CLICOLOR_FORCE, TERM=dumb   as everywhere

Flags come before variables, and variables before anykey.toml. The variables of `anykey serve` are in its help.";

#[derive(Args, Debug)]
pub struct HelpArgs {
    /// A command (`key create`) or a topic (`exit-codes`, `output`, `environment`)
    #[arg(value_name = "COMMAND|TOPIC")]
    about: Vec<String>,
}

pub fn run(args: HelpArgs, session: &mut Session) -> Result<(), Failure> {
    let about: Vec<&str> = args.about.iter().map(String::as_str).collect();
    match about[..] {
        ["exit-codes"] => exit_codes(session),
        ["output"] => session.terminal.line(OUTPUT),
        ["environment"] => session.terminal.line(ENVIRONMENT),
        _ => command(&about, session),
    }
}

fn exit_codes(session: &mut Session) -> Result<(), Failure> {
    let mut text = String::new();
    for exit in Exit::ALL {
        let _ = writeln!(text, "{}  {}", exit.code(), exit.meaning());
    }
    text.push_str(
        "\nA server that could not start says why and ends with 1, or a code of sysexits.h (78: settings).\n",
    );
    session.terminal.write(text.as_bytes())
}

fn command(path: &[&str], session: &mut Session) -> Result<(), Failure> {
    let mut root = Cli::command();
    // Fills in the names that usage lines are made of, and hands the global flags down.
    root.build();
    let mut found = &mut root;
    for name in path {
        found = found.find_subcommand_mut(name).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there is no command or topic {:?}", path.join(" ")))
                .hint("anykey help")
        })?;
    }
    let help = found.render_long_help();
    let text = if session.terminal.colour { help.ansi().to_string() } else { help.to_string() };
    session.terminal.line(text.trim_end())
}
