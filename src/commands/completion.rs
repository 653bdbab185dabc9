//! `anykey completion`: scripts that complete commands and flags, made from the same definitions that parse them.

use crate::cli::{Failure, Session};
use crate::commands::Cli;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// bash, zsh, fish, powershell or elvish
    shell: Shell,
}

pub fn run(args: CompletionArgs, session: &mut Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "anykey", &mut script);
    session.terminal.write(&script)
}
