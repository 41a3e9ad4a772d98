//! The session's two machines, AUTHORIZATION and TRANSACTION (RFC 1939, sections 4 and 5). Pure: each takes a
//! line and returns an effect, which its driver carries out.

pub mod authorization;
mod bitmap;
pub mod transaction;

pub use bitmap::Bitmap;

use crate::protocol::command::{Command, Syntax, parse};
use crate::protocol::line::Line;
use crate::protocol::reply::Reply;

/// What stands before the answer to CAPA (RFC 2449, section 5).
const CAPABILITIES_FOLLOW: &str = "Capability list follows.";

/// The command of a line.
fn command<'a>(line: Line<'a>) -> Result<Command<'a>, Syntax> {
    match line {
        Line::Complete(line) => parse(line),
        Line::TooLong => Err(Syntax::LineTooLong),
    }
}

/// The answer to a command of the standards that this server does not have.
fn not_supported(command: &str) -> Reply {
    Reply::err(format!("{command} is not supported by this server."))
}
