//! `pop3d`: wiring.

use std::process::ExitCode;

/// Runs the server; the entry point of the binary.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
