//! The flags that every command takes.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Print the API's JSON unchanged; lists are arrays, streams are one JSON object a line. Never prompts
    #[arg(long, global = true)]
    pub json: bool,

    /// Print a header line also where the output is not a terminal
    #[arg(long, global = true)]
    pub header: bool,

    /// The server to speak to [env: ANYKEY_URL; otherwise found in the data folder]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,

    /// The data folder of the server [env: ANYKEY_DATA_DIR; default: ./anykey-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// When to colour [auto: on a terminal, unless NO_COLOR is set]
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub color: When,

    /// Never ask anything; fail instead
    #[arg(long, global = true)]
    pub no_input: bool,

    /// Print answers and errors, no notes
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Print each request's method, path, status and time on stderr
    #[arg(long, global = true)]
    pub debug: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    #[default]
    Auto,
    Always,
    Never,
}
