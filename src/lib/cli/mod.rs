//! Command lines: definitions and what they mean for the configuration. No effects: nothing is printed and
//! nobody exits here.

mod exit;
pub(crate) mod historic;
pub(crate) mod mailauth;
pub(crate) mod mailusradm;
pub(crate) mod pop3d;
#[cfg(test)]
mod tests;

pub(crate) use exit::Exit;
pub use mailauth::command as mailauth_command;
pub use mailusradm::command as mailusradm_command;
pub use pop3d::command as pop3d_command;
pub(crate) use pop3d::{Options, apply, parse};

use clap::Parser;
use std::ffi::OsString;

/// Reads a command line; the first word is the program's name.
///
/// # Errors
/// There is nothing to run: help or version was asked for, or the line is wrong.
pub(crate) fn read<O, I, T>(args: I) -> Result<O, Exit>
where
    O: Parser,
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    Ok(O::try_parse_from(args)?)
}
