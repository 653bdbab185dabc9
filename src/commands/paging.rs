//! How much of a list to show.

use clap::Args;

#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// Show at most this many
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Show all of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl PageArgs {
    pub fn limit(&self) -> Option<usize> {
        (!self.all).then_some(self.limit as usize)
    }
}
