//! What people see of the administration programs: tables, prompts, and an output that outlives its reader.

pub(crate) mod chart;
pub(crate) mod human;
pub(crate) mod page;
mod progress;
mod prompt;
mod table;

pub(crate) use progress::Progress;
pub(crate) use prompt::{Refusal, confirm, generate, new_secret, secret, secret_from};
pub(crate) use table::{Column, Kind, Table, readable, visible};

use clap::ValueEnum;
use std::io::{self, IsTerminal, Write};

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// With a header and lines, for people
    Table,
    /// A JSON array with an object for each row
    Json,
    /// A line for each row, fields separated by tabs, no header
    Tsv,
}

impl Format {
    /// A table on a terminal, TSV into a pipe or file.
    pub(crate) fn usual() -> Self {
        if io::stdout().is_terminal() { Self::Table } else { Self::Tsv }
    }
}

/// How many characters a line of a table may have: what `COLUMNS` says, or the terminal's width; none where the output is no
/// terminal.
pub(crate) fn width() -> Option<u16> {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width > 0);
    let width = told.or_else(|| terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0));
    width.map(|width| width.max(NARROWEST))
}

/// A narrower table would have columns of single letters; lines that the terminal breaks can still be read.
const NARROWEST: u16 = 40;

/// Writes to standard output. A reader that has gone away (`| head`) is no error.
///
/// # Errors
/// The output cannot be written, for another reason than that nobody reads it.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes to standard error; when that fails there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
