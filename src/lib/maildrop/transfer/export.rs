//! A maildrop into one file.

use super::{Done, Opened, Site};
use crate::error::{Error, Kind, Result};
use crate::maildrop::maildir::pieces::Piece;
use crate::maildrop::mbox::build::{Frame, Message, Quoting, write};
use crate::maildrop::mbox::scan::envelope_check;
use crate::maildrop::mbox::spool::Purpose;
use crate::maildrop::mbox::whole;
use crate::maildrop::{Imported, Uidl};
use crate::sys::file::read_at;
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// Writes all messages, each with its unique id as the last line of its header. A mailbox's locks are not held meanwhile, and
/// `opened` is called before the first is written, when nobody else has to be kept out any more: whoever reads the output may be slow.
/// A mailbox that somebody puts another in the place of is written as it was; a message of a Maildir that somebody removes is missed,
/// which is an error.
///
/// # Errors
/// The maildrop cannot be read or was changed, or the output cannot be written.
pub(crate) fn export(site: &Site, out: &File, opened: impl FnOnce()) -> Result<Done> {
    let mut maildrop = site.open(Purpose::Scan)?;
    let imported = Imported::load(&site.state)?;
    let mut done = Done { notes: maildrop.notes(), ..Done::default() };
    let mut out = BufWriter::with_capacity(256 * 1024, out);
    if let Opened::Mbox(local, ..) = &mut maildrop {
        whole::unlock(local, &site.state)?;
    }
    opened();
    let written = match &mut maildrop {
        Opened::Missing => Ok(()),
        Opened::Mbox(_, file, index) => index.for_each(|_, record| {
            let mut envelope = vec![0; record.envelope_length as usize];
            read_at(file, &mut envelope, record.offset).map_err(|error| site.failed("read", error))?;
            if envelope_check(&envelope) != record.envelope_check {
                let what = format!("{} was changed by another program", site.path.display());
                return Err(Error::new(Kind::Temporary, what));
            }
            let message = Message {
                frame: Frame::Envelope(envelope),
                ..message(file, (record.start(), record.length), &imported, record.entry().uidl)
            };
            done.messages += 1;
            write(&message, &mut out).map(drop).map_err(unwritten)
        }),
        Opened::Maildir(maildir) => {
            let count = crate::maildrop::Maildrop::count(maildir);
            (0..count).try_for_each(|position| {
                let Piece { file, record, flags, received } = maildir.piece(position)?;
                let uidl = record.entry().uidl;
                let message = Message {
                    received,
                    flags: Some(flags),
                    ..message(&file, (0, record.length), &imported, uidl)
                };
                done.messages += 1;
                write(&message, &mut out).map(drop).map_err(unwritten)
            })
        }
    };
    match written.and_then(|()| out.flush().map_err(unwritten)) {
        Err(error) if error.kind() == Kind::Usage => Ok(Done { cut_off: true, ..done }),
        other => other.map(|()| done),
    }
}

fn message<'a>(file: &'a File, range: (u64, u64), imported: &Imported, uidl: Uidl) -> Message<'a> {
    let mut added = b"X-UIDL: ".to_vec();
    added.extend_from_slice(&imported.shown(uidl));
    added.push(b'\n');
    Message {
        file,
        range,
        without: None,
        frame: Frame::MadeEnvelope,
        received: 0,
        flags: None,
        added,
        unquote: false,
        quoting: Quoting::Reversible,
    }
}

/// A reader that has gone away (`| head`) is no error; it is told apart by its kind.
fn unwritten(error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::Usage } else { Kind::Temporary };
    Error::io("cannot write the output", error).of_kind(kind)
}
