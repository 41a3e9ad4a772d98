//! XTND XMIT: a message from the client to sendmail.
//!
//! The whole message is received first, into a file in memory (its size is limited), so that a client that leaves in the middle sends
//! nothing and nothing stays on disk. Then the monitor is asked for a child that becomes sendmail and reads that file.

use super::message::Message;
use super::notice::Notice;
use super::sendmail::Sent;
use super::session::{Session, Stopped};
use crate::error::{Error, Kind, Result};
use crate::protocol::reply::Reply;
use crate::protocol::unstuff::Unstuffer;
use crate::sys::socket::{self, Wait};
use crate::sys::{clock, file};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long sendmail may take to accept a message.
const PATIENCE: Duration = Duration::from_secs(300);

/// The slowest that a message may come, in octets a second.
const SLOWEST: u64 = 512;

/// A message as it comes in. After a failure the rest is received and thrown away, so that the dialogue stays in step.
struct Incoming {
    spool: Result<File>,
    octets: u64,
    most: u64,
}

/// Receives a message and has it sent.
pub(super) fn receive(session: &mut Session<'_>) -> Stopped<()> {
    let most = session.surroundings.config.limits.max_message;
    let opened = file::anonymous(c"message").map_err(|cause| {
        Error::io("cannot keep a message for sendmail", cause)
            .tell("there is no room to receive the message now")
    });
    let mut incoming = match opened {
        Ok(file) => Incoming { spool: Ok(file), octets: 0, most },
        Err(error) => {
            let reply = session.fault(error);
            session.say(&reply);
            return Ok(());
        }
    };
    session.invite_message();
    session.flush()?;
    take_in(session, &mut incoming)?;
    let octets = incoming.octets;
    let sent = incoming.spool.and_then(|file| send(session, file, octets));
    let reply = match sent {
        Ok(Sent { status: 0 }) => Reply::ok("Message transmitted."),
        Ok(Sent { status }) => session.fault(
            Error::new(Kind::Temporary, format!("sendmail ended with status {status}"))
                .tell("the message was not accepted by sendmail"),
        ),
        Err(error) => session.fault(error),
    };
    session.say(&reply);
    Ok(())
}

/// Receives up to the line with the lone dot.
fn take_in(session: &mut Session<'_>, incoming: &mut Incoming) -> Stopped<()> {
    let mut unstuffer = Unstuffer::new();
    let (began, idle) = (clock::now(), session.surroundings.config.limits.idle_timeout);
    let mut text = Vec::new();
    loop {
        let taken = unstuffer.decode(session.lines.unread(), &mut text);
        session.lines.consume(taken);
        incoming.keep(&text);
        text.clear();
        if unstuffer.is_finished() {
            return Ok(());
        }
        // Neither silence nor dripping holds the maildrop: the time grows with what came.
        let deadline = began + idle + Duration::from_secs(incoming.octets / SLOWEST);
        while !session.receive_some(deadline)? {}
    }
}

impl Incoming {
    fn keep(&mut self, text: &[u8]) {
        self.octets = self.octets.saturating_add(text.len() as u64);
        let Ok(file) = &mut self.spool else { return };
        if self.octets > self.most {
            let most = self.most;
            self.spool =
                Err(Error::new(Kind::Permanent, format!("a message of more than {most} octets was refused"))
                    .tell(format!("the message is larger than {most} octets")));
        } else if let Err(cause) = file.write_all(text) {
            self.spool = Err(Error::io("cannot keep a message for sendmail", cause)
                .tell("there is no room to receive the message now"));
        }
    }
}

/// Asks the monitor to send the message.
fn send(session: &Session<'_>, mut file: File, octets: u64) -> Result<Sent> {
    let failed = |cause| {
        Error::io("cannot ask for sendmail", cause)
            .of_kind(Kind::Temporary)
            .tell("the message cannot be sent now")
    };
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let (here, there) = socket::pair().map_err(failed)?;
    let request = Notice::Transmit(octets);
    session.surroundings.send(&request, &[there.as_fd(), file.as_fd()]).map_err(failed)?;
    drop(there);
    let mut buffer = [0; 64];
    if !socket::wait(&here, Wait::Read, clock::now() + PATIENCE).map_err(failed)? {
        return Err(Error::new(Kind::Temporary, "sendmail did not end in time")
            .tell("sendmail takes too long, the message may be sent later"));
    }
    let answer = socket::receive(&here, &mut buffer, false).map_err(failed)?;
    Sent::from_bytes(&buffer[..answer.length]).map_err(|_| {
        Error::new(Kind::Temporary, "the monitor could not start sendmail")
            .tell("the message cannot be sent now")
    })
}
