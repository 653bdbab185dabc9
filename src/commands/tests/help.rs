//! The help of every command is part of the interface, so a change of it is seen in review.

use super::*;
use crate::commands::Cli;
use clap::CommandFactory;
use std::fmt::Write;

/// The flags that all share are shown once, with the root.
fn write_help(command: &mut clap::Command, path: &str, text: &mut String) {
    let help = command.render_help().to_string();
    let own = if path.contains(' ') { help.split("\nGlobal options:").next().unwrap_or(&help) } else { &help };
    writeln!(text, "=== {path}\n{}\n", own.trim_end()).unwrap();
    for inner in command.get_subcommands_mut() {
        let path = format!("{path} {}", inner.get_name());
        write_help(inner, &path, text);
    }
}

#[test]
fn help_of_every_command() {
    let mut root = Cli::command();
    root.build();
    let mut text = String::new();
    write_help(&mut root, "anykey", &mut text);
    insta::assert_snapshot!("help", text);
}

#[test]
fn definitions_hold_together() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn topics_and_commands_have_help_without_a_server() {
    let bench = Bench::offline();
    insta::assert_snapshot!("exit-codes", bench.run(&["help", "exit-codes"]).await.transcript());
    for topic in [&["help", "output"][..], &["help", "environment"], &["help"], &["help", "keys", "ls"]] {
        let ran = bench.run(topic).await;
        assert_eq!(ran.exit, Exit::Ok, "{topic:?}");
        assert!(ran.out.len() > 200, "{topic:?}: {}", ran.out);
    }
    assert_eq!(bench.run(&["help", "nonsense"]).await.exit, Exit::NotFound);
}

#[tokio::test]
async fn every_shell_gets_a_script_and_the_version_is_one_line() {
    let bench = Bench::offline();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(bench.run(&["completion", shell]).await.out.contains("rotate"), "{shell}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(bench.run(&["version"]).await.out, format!("anykey {version}\n"));
    assert_eq!(bench.run(&["version", "--json"]).await.out, format!("{{\"version\":\"{version}\"}}\n"));
}
