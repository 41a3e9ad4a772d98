//! The TRANSACTION state (RFC 1939, section 5), up to its end with QUIT.

use super::{Bitmap, CAPABILITIES_FOLLOW, command, language, not_supported};
use crate::protocol::MsgNo;
use crate::protocol::capability::{self, Offer};
use crate::protocol::command::Command;
use crate::protocol::greeting::farewell;
use crate::protocol::language::Language;
use crate::protocol::line::Line;
use crate::protocol::listing::write_uidl;
use crate::protocol::reply::Reply;

/// What the machine has to know of the session.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The name that logged in.
    pub user: String,
    /// The host's name, for the farewell.
    pub host: String,
    /// Messages in the maildrop.
    pub count: u32,
    /// Octets of all messages, as RETR sends them.
    pub octets: u64,
    /// What CAPA announced before login, so that it says the same now.
    pub offer: Offer,
    /// The language that was selected before login.
    pub language: Language,
}

/// Which messages a listing is for. With `All` the driver leaves out those that [`Transaction::is_deleted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One message, which exists and is not deleted.
    One(MsgNo),
    /// All that are not deleted.
    All,
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send it.
    Reply(Reply),
    /// Send it, then the lines, dot-stuffed, and the `.` line.
    Lines(Reply, Vec<String>),
    /// LIST: for one message send [`Transaction::list_one`]; for all [`Transaction::list_all`], the lines, `.`.
    List(Scope),
    /// UIDL: for one message send [`Transaction::uidl_one`]; for all [`Transaction::uidl_all`], the lines, `.`.
    Uidl(Scope),
    /// XTND XLST: send [`Transaction::header_reply`], a line for each message, and `.`, also for one message.
    Header {
        /// The header field's name as the client wrote it.
        field: String,
        /// For which messages.
        scope: Scope,
    },
    /// RETR, or TOP with its number of body lines: send [`Transaction::retrieve_reply`] or
    /// [`Transaction::top_reply`] and the message; call [`Transaction::retrieved`] after a whole RETR.
    Retrieve {
        /// Which message.
        message: MsgNo,
        /// `None`: RETR.
        lines: Option<u64>,
    },
    /// DELE: find the message's octets and send what [`Transaction::deleted`] returns.
    Delete(MsgNo),
    /// XTND XMIT: send [`Transaction::receive_reply`], take a message up to its `.` line, send it.
    Receive,
    /// QUIT after a deletion or a retrieval: commit, send [`Transaction::quit_reply`], close the connection.
    Commit,
    /// QUIT without: send it and close the connection.
    Close(Reply),
}

/// What the session has done, for the statistics line and the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Messages marked as deleted.
    pub deleted: u32,
    /// Their octets.
    pub deleted_octets: u64,
    /// Messages left.
    pub left: u32,
    /// Their octets.
    pub left_octets: u64,
}

/// The machine of one session.
#[derive(Debug)]
pub struct Transaction {
    setup: Setup,
    deleted: Bitmap,
    retrieved: Bitmap,
    octets_left: u64,
    /// The highest message that was accessed, 0 for none (RFC 1460, LAST).
    last: u32,
}

impl Transaction {
    /// The machine behind a login.
    pub fn new(setup: Setup) -> Self {
        let octets_left = setup.octets;
        Self { setup, deleted: Bitmap::new(), retrieved: Bitmap::new(), octets_left, last: 0 }
    }

    /// The reply to the login.
    pub fn welcome(&self) -> Reply {
        let Setup { user, count, octets, .. } = &self.setup;
        Reply::ok(format!("{user} has {count} message(s) ({octets} octets)."))
    }

    /// Takes the next line. Syntax errors never close: the client is known.
    pub fn step(&mut self, line: Line<'_>) -> Effect {
        command(line).map_or_else(|error| Effect::Reply(error.reply()), |command| self.obey(command))
    }

    /// Marks a message as deleted; `octets` are its own. The reply to DELE.
    pub fn deleted(&mut self, message: MsgNo, octets: u64) -> Reply {
        if self.deleted.insert(message) {
            self.octets_left = self.octets_left.saturating_sub(octets);
        }
        self.accessed(message);
        Reply::ok(format!("Message {} has been deleted.", message.get()))
    }

    /// Marks a message that was sent as a whole, for LAST and for the commit. RSET does not undo it.
    pub fn retrieved(&mut self, message: MsgNo) {
        self.retrieved.insert(message);
        self.accessed(message);
    }

    /// What stands before the message at RETR.
    pub fn retrieve_reply(&self, octets: u64) -> Reply {
        Reply::ok(format!("{octets} octets"))
    }

    /// What stands before the lines at TOP.
    pub fn top_reply(&self) -> Reply {
        Reply::ok("Top of message follows.")
    }

    /// The answer to LIST with a message number.
    pub fn list_one(&self, message: MsgNo, octets: u64) -> Reply {
        Reply::ok(format!("{} {octets}", message.get()))
    }

    /// What stands before the lines of LIST.
    pub fn list_all(&self) -> Reply {
        Reply::ok(self.summary())
    }

    /// The answer to UIDL with a message number.
    pub fn uidl_one(&self, message: MsgNo, hash: u128, twin: u32) -> Reply {
        let mut identifier = Vec::new();
        write_uidl(hash, twin, &mut identifier);
        Reply::ok(format!("{} {}", message.get(), String::from_utf8_lossy(&identifier)))
    }

    /// The same with an identifier that another server gave.
    pub fn uidl_imported(&self, message: MsgNo, id: &[u8]) -> Reply {
        Reply::ok(format!("{} {}", message.get(), String::from_utf8_lossy(id)))
    }

    /// What stands before the lines of UIDL.
    pub fn uidl_all(&self) -> Reply {
        Reply::ok("Unique identifiers follow.")
    }

    /// What stands before the lines of XTND XLST.
    pub fn header_reply(&self) -> Reply {
        Reply::ok("Header lines follow.")
    }

    /// What asks for the message of XTND XMIT.
    pub fn receive_reply(&self) -> Reply {
        Reply::ok("Start sending message.")
    }

    /// The reply to QUIT after a commit: the farewell only when the deletions are durable, else the error's text
    /// (design, section 4).
    pub fn quit_reply(&self, committed: Result<(), String>) -> Reply {
        committed.map_or_else(Reply::err_text, |()| farewell(&self.setup.host))
    }

    /// The language of the replies' texts.
    pub const fn language(&self) -> Language {
        self.setup.language
    }

    /// Whether the message is marked as deleted.
    pub fn is_deleted(&self, message: MsgNo) -> bool {
        self.deleted.contains(message)
    }

    /// The messages marked as deleted, for the commit.
    pub const fn deletions(&self) -> &Bitmap {
        &self.deleted
    }

    /// The messages that were sent as a whole, for the commit.
    pub const fn retrievals(&self) -> &Bitmap {
        &self.retrieved
    }

    /// What is marked and what is left.
    pub const fn statistics(&self) -> Statistics {
        Statistics {
            deleted: self.deleted.len(),
            deleted_octets: self.setup.octets.saturating_sub(self.octets_left),
            left: self.left(),
            left_octets: self.octets_left,
        }
    }

    fn obey(&mut self, command: Command<'_>) -> Effect {
        match command {
            Command::Stat => Effect::Reply(Reply::ok(format!("{} {}", self.left(), self.octets_left))),
            Command::List(message) => self.scoped(message, Effect::List),
            Command::Uidl(message) => self.scoped(message, Effect::Uidl),
            Command::Retr(message) => {
                self.present(message, |message| Effect::Retrieve { message, lines: None })
            }
            Command::Top { message, lines } => {
                self.present(message, |message| Effect::Retrieve { message, lines: Some(lines) })
            }
            Command::Dele(message) => self.present(message, Effect::Delete),
            Command::Noop => Effect::Reply(Reply::ok("")),
            Command::Rset => Effect::Reply(self.reset()),
            Command::Last => Effect::Reply(Reply::ok(self.last.to_string())),
            Command::Quit if self.deleted.is_empty() && self.retrieved.is_empty() => {
                Effect::Close(farewell(&self.setup.host))
            }
            Command::Quit => Effect::Commit,
            Command::Capa => {
                Effect::Lines(Reply::ok(CAPABILITIES_FOLLOW), capability::lines(&self.setup.offer))
            }
            Command::Lang(None) => {
                let (reply, lines) = language::list();
                Effect::Lines(reply, lines)
            }
            Command::Lang(Some(range)) => Effect::Reply(language::select(range, &mut self.setup.language)),
            Command::Xmit if self.setup.offer.xmit => Effect::Receive,
            Command::Xlst { header, message } if self.setup.offer.xlst => {
                self.scoped(message, |scope| Effect::Header { field: header.to_owned(), scope })
            }
            other => Effect::Reply(refusal(other)),
        }
    }

    /// RSET: nothing is deleted any more (RFC 1939, section 5), and nothing was accessed (RFC 1460).
    fn reset(&mut self) -> Reply {
        self.deleted.clear();
        self.octets_left = self.setup.octets;
        self.last = 0;
        Reply::ok(format!("Maildrop has {}", self.summary()))
    }

    fn scoped(&self, message: Option<MsgNo>, effect: impl FnOnce(Scope) -> Effect) -> Effect {
        match message {
            Some(message) => self.present(message, |message| effect(Scope::One(message))),
            None => effect(Scope::All),
        }
    }

    /// The effect, when the message exists and is not deleted.
    fn present(&self, message: MsgNo, effect: impl FnOnce(MsgNo) -> Effect) -> Effect {
        let (number, count) = (message.get(), self.setup.count);
        if number > count {
            let absent = format!("Message {number} does not exist: {count} in the maildrop.");
            Effect::Reply(Reply::err(absent))
        } else if self.is_deleted(message) {
            Effect::Reply(Reply::err(format!("Message {number} has been deleted.")))
        } else {
            effect(message)
        }
    }

    /// RETR and DELE access a message (RFC 1460, section 5), TOP and the listings do not.
    fn accessed(&mut self, message: MsgNo) {
        self.last = self.last.max(message.get());
    }

    fn summary(&self) -> String {
        format!("{} message(s) ({} octets).", self.left(), self.octets_left)
    }

    const fn left(&self) -> u32 {
        self.setup.count.saturating_sub(self.deleted.len())
    }
}

/// The answer to a command that is switched off, not there, or of the other state.
fn refusal(command: Command<'_>) -> Reply {
    match command {
        Command::Xmit => Reply::err("XTND XMIT is switched off here."),
        Command::Xlst { .. } => Reply::err("XTND XLST is switched off here."),
        Command::Stls => not_supported("STLS"),
        _ => Reply::err("Already logged in."),
    }
}

#[cfg(test)]
mod tests;
