//! The session's two machines, AUTHORIZATION and TRANSACTION (RFC 1939, sections 4 and 5). Pure: each takes a
//! line and returns an effect, which its driver carries out.

pub mod authorization;
mod bitmap;
mod exchange;
mod language;
pub mod transaction;

pub use bitmap::Bitmap;
pub use exchange::Rejection;

use crate::protocol::command::{Command, Syntax, parse};
use crate::protocol::language::Language;
use crate::protocol::line::Line;
use crate::protocol::reply::Reply;
use crate::protocol::sasl::Mechanisms;

/// What a session takes over from the connection that logged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// USER and PASS were allowed.
    pub plaintext_allowed: bool,
    /// What AUTH took, so that CAPA says the same now (RFC 5034, section 3).
    pub mechanisms: Mechanisms,
    /// The language that was selected (RFC 6856, section 3).
    pub language: Language,
}

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
