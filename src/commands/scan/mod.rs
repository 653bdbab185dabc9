//! `anykey scan`: finds keys where keys do not belong, offline, by their checksum: in files, in all of git's history, in
//! what is about to be committed, on standard input. A server is asked only with `--report`.

mod finding;
mod git;
mod hook;
mod look;
mod report;
mod sarif;
mod tree;

use crate::cli::server::{self, DEFAULT_DATA_DIR};
use crate::cli::{Exit, Failure, Session};
use anykey_core::find::Finder;
use anykey_core::token::is_brand;
use clap::Args;
use finding::{COLUMNS, Finding, REPORTED_COLUMNS};
use look::{Look, Tally};
use std::collections::HashSet;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ScanArgs {
    /// Files and folders, or `-` for standard input [default: the working folder]
    #[arg(value_name = "PATH", conflicts_with_all = ["git", "staged", "install_hook"])]
    paths: Vec<PathBuf>,

    /// All of a repository's history: every blob and message that a ref reaches, each once
    #[arg(long, value_name = "REPO", num_args = 0..=1, default_missing_value = ".", conflicts_with = "staged")]
    git: Option<PathBuf>,

    /// What `git commit` would commit now; for a pre-commit hook
    #[arg(long)]
    staged: bool,

    /// Have git run `anykey scan --staged` before each commit in this repository
    #[arg(long, conflicts_with_all = ["git", "staged"])]
    install_hook: bool,

    /// Look for keys of this brand [default: the one of the data folder's server, else ak]
    #[arg(long = "brand", value_name = "WORD", value_parser = a_brand)]
    brands: Vec<String>,

    /// Look for keys of every brand
    #[arg(long, conflicts_with = "brands")]
    any_brand: bool,

    /// Pass over the key with this public id, the eight characters after the kind; for keys that are known to be dead
    #[arg(long = "ignore", value_name = "PUBLIC_ID")]
    ignored: Vec<String>,

    /// Look into binary files too
    #[arg(long)]
    binary: bool,

    /// Pass over larger files, such as 10M or 2G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = look::size)]
    max_size: u64,

    /// How many threads look through files [default: one a core, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,

    /// Write SARIF 2.1.0, for code hosts that show findings
    #[arg(long)]
    sarif: bool,

    #[command(flatten)]
    report: report::ReportArgs,
}

fn a_brand(text: &str) -> Result<String, String> {
    if is_brand(text) { Ok(text.to_owned()) } else { Err("a brand is 1 to 16 lower-case letters and digits".into()) }
}

pub async fn run(args: ScanArgs, session: &mut Session) -> Result<(), Failure> {
    let brands = brands(&args, session);
    if args.install_hook {
        return hook::install(&args.brands, args.any_brand, session);
    }
    let look = Look {
        finder: match args.any_brand {
            true => Finder::any_brand(),
            false => Finder::brands(brands.iter().map(String::as_str)),
        },
        ignored: args.ignored.iter().cloned().collect::<HashSet<_>>(),
        // Whoever pipes something in wants all of it looked at.
        binary: args.binary || of_stdin(&args),
        max_size: args.max_size,
        keep_secrets: args.report.wanted(),
    };
    let (mut findings, tally) = find(&args, look, session).await?;
    if args.report.wanted() && !findings.is_empty() {
        report::report(&args.report, &mut findings, session).await?;
    }
    show(&args, &findings, session)?;
    let what = if args.any_brand { "any brand".to_owned() } else { format!("the brand {}", brands.join(", ")) };
    conclude(&findings, &what, &tally, session)
}

/// Finding reads many files and waits for git, so it stays off the runtime's threads.
async fn find(args: &ScanArgs, look: Look, session: &mut Session) -> Result<(Vec<Finding>, Tally), Failure> {
    let stdin = of_stdin(args);
    if stdin && args.paths.len() > 1 {
        return Err(Failure::usage("standard input is looked through alone: name `-` or paths, not both"));
    }
    if stdin {
        return look::input(&look, session);
    }
    let (git, staged, paths) = (args.git.clone(), args.staged, args.paths.clone());
    let threads = args.threads.map(usize::from);
    let work = move || match git {
        Some(repository) => git::history(&look, &repository),
        None if staged => git::staged(&look),
        None => tree::files(&look, if paths.is_empty() { vec![".".into()] } else { paths }, threads),
    };
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Failure::failed(format!("the scan broke off: {error}")))?
}

fn of_stdin(args: &ScanArgs) -> bool {
    args.paths.iter().any(|path| path.as_os_str() == "-")
}

/// The brands that were named, else the one that a server left in its data folder, else the default one.
fn brands(args: &ScanArgs, session: &Session) -> Vec<String> {
    if !args.brands.is_empty() {
        return args.brands.clone();
    }
    let folder = server::named_data_dir(session).unwrap_or_else(|| DEFAULT_DATA_DIR.into());
    let known = session.env("ANYKEY_BRAND").or_else(|| server::brand_of(&folder));
    vec![known.filter(|brand| is_brand(brand)).unwrap_or_else(|| anykey_core::token::DEFAULT_BRAND.into())]
}

fn show(args: &ScanArgs, findings: &[Finding], session: &mut Session) -> Result<(), Failure> {
    if args.sarif {
        return session.terminal.line(&sarif::write(findings));
    }
    if session.json() {
        let text = serde_json::to_string(findings).map_err(|error| Failure::failed(error.to_string()))?;
        return session.terminal.line(&text);
    }
    if findings.is_empty() {
        return Ok(());
    }
    session.print_rows(findings, if args.report.wanted() { REPORTED_COLUMNS } else { COLUMNS })
}

/// Says what was seen, and that it was not all where it was not. A key found, or a file not read, is exit code 1.
fn conclude(findings: &[Finding], brands: &str, tally: &Tally, session: &mut Session) -> Result<(), Failure> {
    for (path, why) in &tally.unreadable {
        session
            .terminal
            .complain(&format_args!("warning: {} could not be read: {why}", crate::cli::table::plain(path)));
    }
    let keys = findings.iter().map(|f| (&f.brand, &f.public_id)).collect::<HashSet<_>>().len();
    session.terminal.note(&match findings.len() {
        0 => format!("No keys of {brands} in {tally}."),
        1 => format!("One key of {brands}, in one place. Looked through {tally}."),
        places => format!("{keys} keys of {brands} in {places} places. Looked through {tally}."),
    });
    if findings.is_empty() && tally.unreadable.is_empty() {
        return Ok(());
    }
    if findings.is_empty() {
        return Err(Failure::failed("not everything could be read, so this does not say that there are no keys"));
    }
    // The findings are the message.
    Err(Failure::new(Exit::Failed, ""))
}
