//! `mailusradm why`, `unlock`: what stops a user from logging in, and locks out of the way.

use super::Listing;
use crate::ui::Format;
use clap::{Args, ValueEnum, ValueHint};
use std::net::IpAddr;

/// `mailusradm why`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Why {
    /// Who cannot log in
    #[arg(value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) user: String,

    /// Where the client is, such as 192.0.2.1 or ::1 [default: not on this machine]
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::Hostname)]
    pub(crate) from: Option<IpAddr>,

    /// How it logs in [default: as the user's entries say]
    #[arg(long, value_enum, value_name = "NAME", ignore_case = true)]
    pub(crate) mechanism: Option<Mechanism>,

    /// Show each step of the way, not only what stops the login
    #[arg(long)]
    pub(crate) all: bool,

    /// Write the steps as a list in this format
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    /// Write that list with these columns, in this order, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
}

/// `mailusradm unlock`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Unlock {
    /// The users
    #[arg(value_name = "USER", required = true, value_hint = ValueHint::Username)]
    pub(crate) users: Vec<String>,

    /// How to write what was found
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// How a client logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mechanism {
    /// USER and PASS
    Pass,
    /// AUTH PLAIN
    Plain,
    /// APOP
    Apop,
    /// AUTH CRAM-MD5
    CramMd5,
    /// AUTH SCRAM-SHA-256, with -PLUS or without
    ScramSha256,
    /// AUTH EXTERNAL
    External,
}
