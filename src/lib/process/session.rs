//! The session process: one user, one maildrop, TRANSACTION and UPDATE states.
//!
//! Runs with the mailbox owner's ids and no other group. Landlock leaves it its state directory; seccomp no process, no program and no
//! socket but UNIX pairs. It holds its mailbox's descriptor and not the spool: what needs the spool's directory, a spool helper does
//! (`spool.rs`); what needs a program, the monitor's child (`sendmail.rs`). A client that is silent, or that takes nothing
//! of a reply, for the idle timeout is gone, and nothing is deleted (RFC 1939, section 3). SIGTERM ends it between two commands.

mod lists;
mod presence;

use self::lists::Kind;
use self::presence::Presence;
use super::notice::Notice;
use super::role::{Surroundings, describe, describe_reply};
use super::xmit;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::{End, Report, SessionId};
use crate::maildrop::{Entry, Maildrop};
use crate::protocol::MsgNo;
use crate::protocol::capability::Offer;
use crate::protocol::language::Language;
use crate::protocol::line::{COMMAND_LIMIT, Lines};
use crate::protocol::listing;
use crate::protocol::multiline::Encoder;
use crate::protocol::reply::Reply;
use crate::session::transaction::{Effect, Setup, Transaction};
use crate::sys::clock;
use crate::sys::process::Limits;
use crate::sys::sandbox::Calls;
use crate::sys::socket::Wait;
use crate::transport::output::Output;
use crate::transport::stream::Stream;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// What this role may ask of the kernel.
pub(crate) const CALLS: &[Calls] =
    &[Calls::Base, Calls::Streams, Calls::Messages, Calls::OpenFiles, Calls::Names];

/// Few descriptors; mailboxes may be of any size.
pub(crate) const fn limits(config: &Config) -> Limits {
    let memory = Some(config.limits.max_memory);
    Limits { descriptors: Some(64), memory, file_size: None, may_fork: false }
}

/// How long a client may take to read the last reply.
const LINGER: Duration = Duration::from_secs(2);

/// Octets that are read from a mailbox, and sent to a client, at once.
const CHUNK: usize = 64 * 1024;

/// Room for commands, and for replies until there are longer ones: most sessions ask what there is and leave, and each page of memory
/// that is touched costs them.
const LITTLE: usize = 4 * 1024;

/// Who comes in, over what, with what was read ahead.
pub(crate) struct Visitor {
    pub(crate) user: String,
    pub(crate) id: SessionId,
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) unread: Vec<u8>,
    pub(crate) offer: Offer,
    /// The language that was selected before.
    pub(crate) language: Language,
    /// What gives the maildrop to this session, as long as it is open.
    pub(crate) lock: File,
}

/// Serves the visitor until QUIT or the end of the connection.
pub(crate) fn serve(
    visitor: Visitor,
    maildrop: Box<dyn Maildrop>,
    surroundings: &Surroundings<'_>,
) -> Report {
    let config = surroundings.config;
    let machine = Transaction::new(Setup {
        user: visitor.user,
        host: config.hostname.clone(),
        count: maildrop.count(),
        octets: maildrop.octets(),
        offer: visitor.offer,
        language: visitor.language,
    });
    let mut lines = Lines::new();
    let taken = lines.feed(&visitor.unread);
    debug_assert_eq!(taken, visitor.unread.len(), "it came out of such a buffer");
    let mut session = Session {
        id: visitor.id,
        stream: visitor.stream,
        lines,
        output: Output::with_capacity(LITTLE),
        machine,
        count: maildrop.count(),
        octets: maildrop.octets(),
        maildrop,
        surroundings,
        buffer: vec![0; LITTLE],
        report: Report::ended(End::Dropped),
        command_due: None,
        last_fault: String::new(),
        repeats: 0,
        presence: Presence::new(visitor.lock),
    };
    let end = session.run();
    session.finish(end)
}

/// Why a session stops.
pub(super) type Stopped<T> = std::result::Result<T, End>;

pub(super) struct Session<'a> {
    pub(super) id: SessionId,
    stream: Box<dyn Stream>,
    pub(super) lines: Lines,
    output: Output,
    machine: Transaction,
    maildrop: Box<dyn Maildrop>,
    /// Of all messages, when the session began.
    count: u32,
    octets: u64,
    pub(super) surroundings: &'a Surroundings<'a>,
    buffer: Vec<u8>,
    report: Report,
    /// Until when the command that is waited for must be there.
    command_due: Option<Instant>,
    presence: Presence,
    last_fault: String,
    /// How often it came again.
    repeats: u32,
}

impl Session<'_> {
    fn run(&mut self) -> End {
        let welcome = self.machine.welcome();
        self.say(&welcome);
        loop {
            if let Err(end) = self.serve_command() {
                return end;
            }
        }
    }

    /// Executes one command; replies are sent when no further command is at hand.
    fn serve_command(&mut self) -> Stopped<()> {
        let effect = match self.lines.next_line(COMMAND_LIMIT) {
            Some(line) => {
                self.command_due = None;
                if self.surroundings.debug {
                    self.surroundings.debug(self.id, describe(&line));
                }
                self.machine.step(line)
            }
            None => {
                self.flush()?;
                return self.receive();
            }
        };
        self.execute(effect)?;
        if self.output.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn execute(&mut self, effect: Effect) -> Stopped<()> {
        match effect {
            Effect::Reply(reply) => self.say(&reply),
            Effect::Lines(reply, lines) => {
                self.say(&reply);
                listing::write_lines(&lines, self.output.buffer());
            }
            Effect::List(scope) => self.list(&scope, Kind::Octets)?,
            Effect::Uidl(scope) => self.list(&scope, Kind::Uidl)?,
            Effect::Header { field, scope } => self.list_header(&field, &scope)?,
            Effect::Retrieve { message, lines } => self.retrieve(message, lines)?,
            Effect::Delete(message) => {
                let reply = match self.entry(message) {
                    Ok(entry) => self.machine.deleted(message, entry.octets),
                    Err(error) => self.fault(error),
                };
                self.say(&reply);
            }
            Effect::Receive => xmit::receive(self)?,
            Effect::Commit => return Err(self.commit()),
            Effect::Close(reply) => {
                self.take_leave(&reply);
                return Err(End::Quit);
            }
        }
        Ok(())
    }

    /// The UPDATE state (RFC 1939, section 6): `+OK` only when the deletions are durable.
    fn commit(&mut self) -> End {
        let committed = self.maildrop.commit(self.machine.deletions(), self.machine.retrievals());
        let (reply, end) = match committed {
            Ok(()) => (self.machine.quit_reply(Ok(())), End::Quit),
            Err(error) => {
                let told = error.reply();
                self.surroundings.tell(&Notice::Fault(error));
                (self.machine.quit_reply(Err(told)), End::Failed)
            }
        };
        self.surroundings.remark(self.maildrop.take_notes());
        self.take_leave(&reply);
        end
    }

    /// The last reply. The maildrop is free before it leaves, since clients come back at once.
    fn take_leave(&mut self, reply: &Reply) {
        self.presence.release();
        self.say(reply);
        // The client may be gone; what is done is done.
        let _ = self.flush();
    }

    fn finish(mut self, end: End) -> Report {
        let kept = end != End::Quit;
        self.stream.finish();
        if matches!(end, End::Quit | End::Failed) {
            self.linger();
        }
        self.tell_repeats();
        let done = self.machine.statistics();
        let (deleted, deleted_octets) = if kept { (0, 0) } else { (done.deleted, done.deleted_octets) };
        self.report.deleted = deleted;
        self.report.deleted_octets = deleted_octets;
        self.report.left = self.count.saturating_sub(deleted);
        self.report.left_octets = self.octets.saturating_sub(deleted_octets);
        self.report.end = end;
        self.report
    }

    fn entry(&mut self, message: MsgNo) -> Result<Entry> {
        let mut page = Vec::new();
        self.maildrop.entries(message, &mut page)?;
        page.first().copied().ok_or_else(|| {
            Error::new(crate::error::Kind::Temporary, format!("the index has no message {}", message.get()))
        })
    }

    /// From now on messages are read, or received.
    fn make_room(&mut self) {
        if self.buffer.len() < CHUNK {
            self.buffer = vec![0; CHUNK];
        }
    }

    /// RETR and TOP: the stored octets, but for line ends.
    fn retrieve(&mut self, message: MsgNo, lines: Option<u64>) -> Stopped<()> {
        self.make_room();
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.send_message(message, lines, &mut buffer);
        self.buffer = buffer;
        done
    }

    fn send_message(&mut self, message: MsgNo, lines: Option<u64>, buffer: &mut [u8]) -> Stopped<()> {
        let first =
            self.entry(message).and_then(|entry| Ok((entry, self.maildrop.read(message, 0, buffer)?)));
        let (entry, mut octets) = match first {
            Ok(first) => first,
            Err(error) => {
                let reply = self.fault(error);
                self.say(&reply);
                return Ok(());
            }
        };
        let reply = match lines {
            None => self.machine.retrieve_reply(entry.octets),
            Some(_) => self.machine.top_reply(),
        };
        self.say(&reply);
        let (mut encoder, mut offset) = (Encoder::new(lines), 0);
        while octets > 0 {
            let wants_more = encoder.encode(&buffer[..octets], self.output.buffer());
            if self.output.len() >= CHUNK {
                self.flush()?;
            }
            if !wants_more {
                break;
            }
            offset += octets as u64;
            octets = self.maildrop.read(message, offset, buffer).map_err(|error| self.broken(error))?;
        }
        encoder.finish(self.output.buffer());
        if lines.is_none() {
            self.machine.retrieved(message);
            self.report.retrieved = self.report.retrieved.saturating_add(1);
        } else {
            self.report.top = self.report.top.saturating_add(1);
        }
        Ok(())
    }

    /// Waits for the client to close. A socket that is closed with unread input resets the connection, which would destroy what the
    /// client did not read yet: the end of a message, or the farewell.
    fn linger(&mut self) {
        let deadline = clock::now() + LINGER;
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(octets) if octets > 0 && clock::now() < deadline => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.await_client(Wait::Read, deadline).is_err() {
                        return;
                    }
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Tells the log of a fault, but of the same one only once and then how often.
    fn log_fault(&mut self, error: Error) {
        let text = error.to_string();
        if self.last_fault == text {
            self.repeats += 1;
            return;
        }
        self.tell_repeats();
        self.last_fault = text;
        self.surroundings.tell(&Notice::Fault(error));
    }

    fn tell_repeats(&mut self) {
        if self.repeats > 0 {
            let text = format!("the same error {} more times: {}", self.repeats, self.last_fault);
            self.surroundings.tell(&Notice::Remark(text));
            self.repeats = 0;
        }
    }

    /// A fault before the first line of a reply: an `-ERR` that says what kind it is.
    pub(super) fn fault(&mut self, error: Error) -> Reply {
        let reply = Reply::err_text(error.reply());
        self.log_fault(error);
        reply
    }

    /// A fault in the middle of a reply: only the end of the connection can tell the client.
    fn broken(&mut self, error: Error) -> End {
        self.log_fault(error);
        End::Failed
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        if self.surroundings.debug {
            self.surroundings.debug(self.id, describe_reply(reply));
        }
        reply.in_language(self.machine.language()).write_to(self.output.buffer());
    }

    /// Asks for the message of XTND XMIT.
    pub(super) fn invite_message(&mut self) {
        self.make_room();
        let reply = self.machine.receive_reply();
        self.say(&reply);
    }

    /// Sends all that waits. The idle timeout runs anew with all that the client takes.
    pub(super) fn flush(&mut self) -> Stopped<()> {
        loop {
            let sent = self.output.flush(self.stream.as_mut()).map_err(|_| End::Dropped)?;
            self.report.octets += sent as u64;
            self.presence.show();
            if self.output.is_empty() {
                return Ok(());
            }
            self.await_client(Wait::Write, clock::now() + self.surroundings.config.limits.idle_timeout)?;
        }
    }

    /// Reads what comes next. The idle timeout is for a whole command, so that dripping octets does not help.
    fn receive(&mut self) -> Stopped<()> {
        self.presence.may_go_on()?;
        let idle = self.surroundings.config.limits.idle_timeout;
        let due = *self.command_due.get_or_insert_with(|| clock::now() + idle);
        while !self.receive_some(due)? {}
        Ok(())
    }

    /// Reads what there is, or waits for it until the deadline.
    pub(super) fn receive_some(&mut self, deadline: Instant) -> Stopped<bool> {
        let most = self.buffer.len().min(self.lines.space());
        match self.stream.read(&mut self.buffer[..most]) {
            Ok(0) => Err(End::Dropped),
            Ok(octets) => {
                let taken = self.lines.feed(&self.buffer[..octets]);
                debug_assert_eq!(taken, octets, "no more than there is space for was read");
                self.presence.show();
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.await_client(Wait::Read, deadline)?;
                Ok(false)
            }
            Err(_) => Err(End::Dropped),
        }
    }

    fn await_client(&mut self, what: Wait, deadline: Instant) -> Stopped<()> {
        self.presence.wait(self.stream.descriptor(), what, deadline)
    }
}
