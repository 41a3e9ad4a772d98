//! Replies with a line for each message: LIST, UIDL and XTND XLST.

use super::{CHUNK, Session, Stopped};
use crate::error::Result;
use crate::maildrop::{Entry, Imported};
use crate::protocol::reply::Reply;
use crate::protocol::{MsgNo, header, listing};
use crate::session::transaction::{Scope, Transaction};

impl Session<'_> {
    /// LIST and UIDL.
    pub(super) fn list(&mut self, scope: &Scope, kind: Kind) -> Stopped<()> {
        let listing = match kind {
            Kind::Octets => Listing::Octets,
            // Nobody is told an id that another server's stands for.
            Kind::Uidl => match self.maildrop.imported() {
                Ok(imported) => Listing::Uidl(imported),
                Err(error) => {
                    let reply = self.fault(error);
                    self.say(&reply);
                    return Ok(());
                }
            },
        };
        match *scope {
            Scope::One(message) => {
                let reply = match self.entry(message) {
                    Ok(entry) => listing.one(&self.machine, message, &entry),
                    Err(error) => self.fault(error),
                };
                self.say(&reply);
                Ok(())
            }
            Scope::All => {
                let reply = listing.all(&self.machine);
                self.each_page(&reply, |session, message, entry| {
                    listing.line(message, entry, session.output.buffer());
                    Ok(())
                })
            }
        }
    }

    /// XTND XLST: multi-line for one message too (history of the command).
    pub(super) fn list_header(&mut self, field: &str, scope: &Scope) -> Stopped<()> {
        let reply = self.machine.header_reply();
        match *scope {
            Scope::One(message) => {
                match self.header_line(field, message) {
                    Ok(line) => {
                        self.say(&reply);
                        self.output.buffer().extend_from_slice(&line);
                        self.output.buffer().extend_from_slice(listing::END);
                    }
                    Err(error) => {
                        let reply = self.fault(error);
                        self.say(&reply);
                    }
                }
                Ok(())
            }
            Scope::All => self.each_page(&reply, |session, message, _| {
                let line = session.header_line(field, message).map_err(|error| session.broken(error))?;
                session.output.buffer().extend_from_slice(&line);
                Ok(())
            }),
        }
    }

    /// The field is looked for in the first 64 KiB of the message.
    fn header_line(&mut self, field: &str, message: MsgNo) -> Result<Vec<u8>> {
        self.make_room();
        let octets = self.maildrop.read(message, 0, &mut self.buffer)?;
        let value = header::field(field, &self.buffer[..octets]);
        let mut line = Vec::new();
        listing::write_header_line(message, field, value.as_deref(), &mut line);
        Ok(line)
    }

    /// Does something for every message that is not deleted, between the first line and the lone dot. Messages come in pages.
    fn each_page(
        &mut self,
        reply: &Reply,
        mut work: impl FnMut(&mut Self, MsgNo, &Entry) -> Stopped<()>,
    ) -> Stopped<()> {
        self.say(reply);
        let (mut next, mut page) = (MsgNo::new(u32::from(self.maildrop.count() > 0)), Vec::new());
        while let Some(first) = next.filter(|first| first.get() <= self.maildrop.count()) {
            self.maildrop.entries(first, &mut page).map_err(|error| self.broken(error))?;
            let mut message = first;
            for entry in &page {
                if !self.machine.is_deleted(message) {
                    work(self, message, entry)?;
                }
                match message.next() {
                    Some(following) => message = following,
                    None => break,
                }
            }
            next = (!page.is_empty()).then_some(message);
            if self.output.len() >= CHUNK {
                self.flush()?;
            }
        }
        self.output.buffer().extend_from_slice(listing::END);
        Ok(())
    }
}

/// What a listing shows of each message.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// LIST.
    Octets,
    /// UIDL.
    Uidl,
}

/// The same with what it takes.
enum Listing {
    Octets,
    Uidl(Imported),
}

impl Listing {
    fn line(&self, message: MsgNo, entry: &Entry, out: &mut Vec<u8>) {
        match self {
            Self::Octets => listing::write_list_line(message, entry.octets, out),
            Self::Uidl(imported) => match imported.get(entry.uidl) {
                Some(id) => listing::write_imported_line(message, id, out),
                None => listing::write_uidl_line(message, entry.uidl.hash, entry.uidl.twin, out),
            },
        }
    }

    fn one(&self, machine: &Transaction, message: MsgNo, entry: &Entry) -> Reply {
        match self {
            Self::Octets => machine.list_one(message, entry.octets),
            Self::Uidl(imported) => match imported.get(entry.uidl) {
                Some(id) => machine.uidl_imported(message, id),
                None => machine.uidl_one(message, entry.uidl.hash, entry.uidl.twin),
            },
        }
    }

    fn all(&self, machine: &Transaction) -> Reply {
        match self {
            Self::Octets => machine.list_all(),
            Self::Uidl(_) => machine.uidl_all(),
        }
    }
}
