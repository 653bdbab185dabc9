//! The three streams of a command. stdout carries the answer and nothing else; everything meant for a person goes to
//! stderr.

use crate::cli::Failure;
use crate::cli::globals::{Globals, When};
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// More than any prompt, key or request body that a person pipes in.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

pub struct Terminal {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    input: Box<dyn BufRead + Send>,
    /// Whether stdout is a terminal: tables for people, or TSV for programs.
    pub out_is_tty: bool,
    can_ask: bool,
    pub colour: bool,
    quiet: bool,
    /// The width for tables; `None` asks the terminal itself.
    pub width: Option<u16>,
}

/// What a test puts in the place of the real streams.
pub struct Streams {
    pub out: Box<dyn Write + Send>,
    pub err: Box<dyn Write + Send>,
    pub input: Box<dyn BufRead + Send>,
    pub out_is_tty: bool,
    pub input_is_tty: bool,
    pub width: Option<u16>,
}

impl Streams {
    pub fn of_process() -> Self {
        Self {
            out_is_tty: io::stdout().is_terminal(),
            input_is_tty: io::stdin().is_terminal() && io::stderr().is_terminal(),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(io::BufReader::new(io::stdin())),
            width: None,
        }
    }
}

impl Terminal {
    pub fn new(streams: Streams, globals: &Globals, env: &dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            colour: coloured(globals.color, streams.out_is_tty, env),
            can_ask: streams.input_is_tty && !globals.json && !globals.no_input,
            quiet: globals.quiet,
            out: streams.out,
            err: streams.err,
            input: streams.input,
            out_is_tty: streams.out_is_tty,
            width: streams.width,
        }
    }

    /// Writes a piece of the answer, exactly, and hands it on at once.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }

    /// Writes a line of the answer.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")?;
        Ok(self.out.flush()?)
    }

    /// Says something to the person, beside the answer. A closed stderr stops nothing.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            let _ = writeln!(self.err, "{text}");
        }
    }

    /// Like `note`, but said even when notes are off.
    pub fn complain(&mut self, text: &dyn std::fmt::Display) {
        let _ = writeln!(self.err, "{text}");
    }

    pub fn can_ask(&self) -> bool {
        self.can_ask
    }

    /// Asks before something that cannot be undone. `--yes` is the answer of a script.
    pub fn confirm(&mut self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.can_ask {
            return Err(Failure::usage("this needs a yes, and there is nobody to ask")
                .detail(question)
                .hint("the same command with --yes"));
        }
        write!(self.err, "{question} [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        self.input.read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::cancelled()),
        }
    }

    /// Asks for a secret without showing it.
    pub fn ask_secret(&mut self, prompt: &str) -> Result<String, Failure> {
        rpassword::prompt_password(prompt).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => Failure::cancelled(),
            _ => Failure::failed(format!("the terminal could not be read: {error}")),
        })
    }

    /// Stdin itself, for what may be larger than memory.
    pub fn input(&mut self) -> &mut dyn BufRead {
        &mut *self.input
    }

    /// Reads stdin to its end.
    pub fn read_input(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        self.input
            .by_ref()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .map_err(|error| Failure::failed(format!("stdin could not be read: {error}")))?;
        Ok(text)
    }
}

/// Waits for Ctrl-C, or for whoever manages the process to end it.
pub async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn coloured(when: When, out_is_tty: bool, env: &dyn Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).is_some_and(|v| !v.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto if set("NO_COLOR") => false,
        When::Auto if env("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") => true,
        When::Auto => out_is_tty && env("TERM").as_deref() != Some("dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_flag_then_environment_then_terminal() {
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".to_string());
        let forced = |name: &str| (name == "CLICOLOR_FORCE").then(|| "1".to_string());
        let dumb = |name: &str| (name == "TERM").then(|| "dumb".to_string());
        let nothing = |_: &str| None;
        assert!(coloured(When::Always, false, &no_color));
        assert!(!coloured(When::Never, true, &forced));
        assert!(!coloured(When::Auto, true, &no_color));
        assert!(coloured(When::Auto, false, &forced));
        assert!(!coloured(When::Auto, true, &dumb));
        assert!(coloured(When::Auto, true, &nothing));
        assert!(!coloured(When::Auto, false, &nothing));
    }
}
