//! What the other roles tell the monitor and ask of it. Pure.
//!
//! Each role may say only its own kinds (held by the monitor): the login process speaks of connections, the verifier of
//! one verdict, the session of its own needs and its end.

use super::message::{Malformed, Mechanism, Message, Reader, Writer};
use crate::error::{Error, Kind};
use crate::log::{End, Report, SessionId};
use crate::sys::socket::Peer;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// How a connection ended before login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// QUIT.
    Quit,
    /// The client went away.
    Dropped,
    /// No login in time.
    TimedOut,
    /// Too many syntax errors or refused logins.
    Expelled,
    /// TLS failed.
    Handshake,
    /// There are too many connections.
    Crowded,
    /// A proxy did not say for whom it comes.
    Header,
}

/// Who was let in, said once by the verifier, while it still has its privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The name that logged in.
    pub(crate) user: String,
    /// Numeric user id of the session.
    pub(crate) uid: u32,
    /// Numeric group id of the session.
    pub(crate) gid: u32,
    /// Home directory, for sendmail.
    pub(crate) home: PathBuf,
    /// Path of the maildrop.
    pub(crate) maildrop: PathBuf,
    /// How it proved itself.
    pub(crate) mechanism: Mechanism,
    /// TLS version; empty in the clear.
    pub(crate) tls: String,
}

/// What a role says to the monitor.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Login process: a client connected.
    Connected(SessionId, Peer),
    /// Login process: check credentials; the attempt's socket comes with it.
    /// The number stands for the name, so that those who log in as others need not wait for it.
    /// The text is version and cipher suite of TLS, with a blank between; empty in the clear.
    Attempt(SessionId, Peer, u64, String),
    /// Login process: TLS failed, with the reason.
    Handshake(SessionId, Peer, String),
    /// Login process: a client left without a session.
    Disconnected(SessionId, Peer, Departure, u64),
    /// Login process: this name, and no password; whether passwords are refused on that connection.
    Probe(SessionId, Peer, Vec<u8>, bool),
    /// Any role: a line for debugging.
    Debug(SessionId, String),
    /// Login process: credentials of this name that no verifier had to see, with the reason for the log.
    Rejected(SessionId, Peer, Vec<u8>, Mechanism, String),
    /// Verifier: it has said what was asked, and gives back its turn.
    Answered,
    /// Verifier: wrong credentials of this name, with the reason for the log.
    Refused(Vec<u8>, Mechanism, String),
    /// Verifier: right credentials.
    Admitted(Admitted),
    /// Verifier or session: something to mend or to know.
    Fault(Error),
    /// Verifier or session: something to know.
    Remark(String),
    /// Session: the client is here, the session begins.
    Begun,
    /// Session: a spool helper, please; its socket comes with it.
    Spool,
    /// Session: send a message of so many octets; the socket for the answer and the message come with it.
    Transmit(u64),
    /// Session: the end.
    Report(Report),
}

impl Message for Notice {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Connected(session, peer) => {
                out.byte(1).session(*session).peer(peer);
            }
            Self::Attempt(session, peer, user, tls) => {
                out.byte(2).session(*session).peer(peer).number(*user).bytes(tls.as_bytes());
            }
            Self::Disconnected(session, peer, departure, seconds) => {
                out.byte(3).session(*session).peer(peer).byte(*departure as u8).number(*seconds);
            }
            Self::Probe(session, peer, user, refused) => {
                out.byte(4).session(*session).peer(peer).bytes(user).byte(u8::from(*refused));
            }
            Self::Debug(session, text) => {
                out.byte(5).session(*session).bytes(text.as_bytes());
            }
            Self::Refused(user, mechanism, reason) => {
                out.byte(6).bytes(user).byte(mechanism.tag()).bytes(reason.as_bytes());
            }
            Self::Admitted(admitted) => admitted.encode(out.byte(7)),
            Self::Fault(error) => put_error(out.byte(8), error),
            Self::Remark(text) => {
                out.byte(9).bytes(text.as_bytes());
            }
            Self::Spool => {
                out.byte(10);
            }
            Self::Transmit(octets) => {
                out.byte(11).number(*octets);
            }
            Self::Report(report) => put_report(out.byte(12), report),
            Self::Begun => {
                out.byte(13);
            }
            Self::Answered => {
                out.byte(14);
            }
            Self::Rejected(session, peer, user, mechanism, reason) => {
                out.byte(15).session(*session).peer(peer).bytes(user);
                out.byte(mechanism.tag()).bytes(reason.as_bytes());
            }
            Self::Handshake(session, peer, reason) => {
                out.byte(16).session(*session).peer(peer).bytes(reason.as_bytes());
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match input.byte()? {
            1 => Self::Connected(input.session()?, input.peer()?),
            2 => Self::Attempt(input.session()?, input.peer()?, input.number()?, input.text()?),
            3 => Self::Disconnected(
                input.session()?,
                input.peer()?,
                match input.byte()? {
                    0 => Departure::Quit,
                    1 => Departure::Dropped,
                    2 => Departure::TimedOut,
                    3 => Departure::Expelled,
                    4 => Departure::Handshake,
                    5 => Departure::Crowded,
                    6 => Departure::Header,
                    _ => return Err(Malformed),
                },
                input.number()?,
            ),
            4 => Self::Probe(input.session()?, input.peer()?, input.bytes()?.to_vec(), input.byte()? == 1),
            5 => Self::Debug(input.session()?, input.text()?),
            6 => Self::Refused(input.bytes()?.to_vec(), Mechanism::from_tag(input.byte()?)?, input.text()?),
            7 => Self::Admitted(Admitted::decode(input)?),
            8 => Self::Fault(take_error(input)?),
            9 => Self::Remark(input.text()?),
            10 => Self::Spool,
            11 => Self::Transmit(input.number()?),
            12 => Self::Report(take_report(input)?),
            13 => Self::Begun,
            14 => Self::Answered,
            15 => Self::Rejected(
                input.session()?,
                input.peer()?,
                input.bytes()?.to_vec(),
                Mechanism::from_tag(input.byte()?)?,
                input.text()?,
            ),
            16 => Self::Handshake(input.session()?, input.peer()?, input.text()?),
            _ => return Err(Malformed),
        })
    }
}

impl Admitted {
    fn encode(&self, out: &mut Writer) {
        out.bytes(self.user.as_bytes()).number(u64::from(self.uid)).number(u64::from(self.gid));
        out.bytes(self.home.as_os_str().as_bytes()).bytes(self.maildrop.as_os_str().as_bytes());
        out.byte(self.mechanism.tag()).bytes(self.tls.as_bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        Ok(Self {
            user: input.text()?,
            uid: input.small()?,
            gid: input.small()?,
            home: path(input.bytes()?),
            maildrop: path(input.bytes()?),
            mechanism: Mechanism::from_tag(input.byte()?)?,
            tls: input.text()?,
        })
    }
}

impl Departure {
    /// The word in the log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Dropped => "dropped",
            Self::TimedOut => "timeout",
            Self::Expelled => "errors",
            Self::Handshake => "handshake",
            Self::Crowded => "limit",
            Self::Header => "proxy",
        }
    }
}

fn put_report(out: &mut Writer, report: &Report) {
    for count in [report.retrieved, report.top, report.deleted, report.left] {
        out.number(u64::from(count));
    }
    out.number(report.octets).number(report.deleted_octets).number(report.left_octets);
    out.byte(match report.end {
        End::Quit => 0,
        End::Dropped => 1,
        End::Idle => 2,
        End::Failed => 3,
        End::Killed => 4,
        End::Terminated => 5,
    });
}

fn take_report(input: &mut Reader<'_>) -> Result<Report, Malformed> {
    Ok(Report {
        retrieved: input.small()?,
        top: input.small()?,
        deleted: input.small()?,
        left: input.small()?,
        octets: input.number()?,
        deleted_octets: input.number()?,
        left_octets: input.number()?,
        end: match input.byte()? {
            0 => End::Quit,
            1 => End::Dropped,
            2 => End::Idle,
            3 => End::Failed,
            4 => End::Killed,
            5 => End::Terminated,
            _ => return Err(Malformed),
        },
    })
}

/// Puts an error into a message.
pub(crate) fn put_error(out: &mut Writer, error: &Error) {
    let kind = match error.kind() {
        Kind::InUse => 1,
        Kind::LoginDelay => 4,
        Kind::Temporary => 2,
        Kind::Permanent | Kind::Usage | Kind::Config => 3,
    };
    out.byte(kind).bytes(error.to_string().as_bytes()).bytes(error.told().as_bytes());
}

/// Takes an error out of a message.
pub(crate) fn take_error(input: &mut Reader<'_>) -> Result<Error, Malformed> {
    let kind = match input.byte()? {
        1 => Kind::InUse,
        4 => Kind::LoginDelay,
        2 => Kind::Temporary,
        3 => Kind::Permanent,
        _ => return Err(Malformed),
    };
    let what = input.text()?;
    Ok(Error::new(kind, what).tell(input.text()?))
}

/// The one descriptor that came with a notice.
///
/// # Errors
/// There is none, or more than one.
pub(super) fn only(descriptors: Vec<std::os::fd::OwnedFd>) -> Result<std::os::fd::OwnedFd, Error> {
    let [one] = <[std::os::fd::OwnedFd; 1]>::try_from(descriptors)
        .map_err(|_| Error::new(Kind::Temporary, "a request came without its socket"))?;
    Ok(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire_and_nothing_else_is_one() {
        let admitted = Admitted {
            user: "ann".to_owned(),
            uid: 1001,
            gid: 1002,
            home: "/home/ann".into(),
            maildrop: "/var/mail/ann".into(),
            mechanism: Mechanism::Pass,
            tls: String::new(),
        };
        let bytes = Notice::Admitted(admitted.clone()).to_bytes();
        assert!(matches!(Notice::from_bytes(&bytes), Ok(Notice::Admitted(same)) if same == admitted));
        for length in 0..bytes.len() {
            assert!(Notice::from_bytes(&bytes[..length]).is_err(), "cut to {length}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(Notice::from_bytes(&longer).is_err(), "a message ends where it ends");
    }
}
