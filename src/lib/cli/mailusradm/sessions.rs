//! `mailusradm sessions`, `kick`: sessions that live.

use super::Listing;
use clap::{Args, ValueHint};

/// `mailusradm sessions`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Sessions {
    /// The users [default: all]
    #[arg(value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) users: Vec<String>,

    /// Show the list again every SECONDS, 1 to 3600, until Ctrl-C [default: 2]
    #[arg(
        long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600), value_hint = ValueHint::Other
    )]
    pub(crate) watch: Option<u64>,

    /// How to write it
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// `mailusradm kick`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Kick {
    /// Whose session
    #[arg(value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) user: String,

    /// How long to wait for its end, 1 to 3600
    #[arg(
        long, value_name = "SECONDS", default_value_t = 10, value_hint = ValueHint::Other,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub(crate) wait: u64,

    /// End it by SIGKILL when it has not ended by then
    #[arg(long)]
    pub(crate) force: bool,
}
