//! Log grammar, version 1: the one place where log lines are worded.
//!
//! ```text
//! line  = name ":" 1*(" " key "=" value) | "Stats: " USER 4(" " number)
//! name  = 1*(a-z)            key = 1*(a-z | "_")
//! value = 1*(33..126 but not '=' '"' '\' | "\x" 2hex) | '""' (empty)
//! text  = the value of the key `text`, always the last: to the end of the line, with spaces, '=' and '"'
//! ```
//!
//! `client` comes first where there is one: `192.0.2.1`, `2001:db8::1` or `local` (no network socket), and then
//! its `port`. So a filter anchors at `refused: client=`, and nothing that a client sends can stand before it.
//! Sizes are octets, times seconds. A later version may add keys behind those of this one, before `text`.

use super::escape::{Sentence, Value};
use std::fmt;
use std::net::SocketAddr;

/// Something that is written to the log. Byte fields are as the client sent them; they are escaped here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A client came: `connect: client=192.0.2.1 port=4711`.
    Connect { client: Option<SocketAddr> },
    /// It logged in: `login: client=... port=... user=ann mechanism=PASS tls=none cipher=none`. The text is version and cipher suite
    /// of TLS, with a blank between; empty in the clear.
    Login { client: Option<SocketAddr>, user: Vec<u8>, mechanism: &'static str, tls: String },
    /// TLS failed: `handshake: client=... port=... text=...`.
    Handshake { client: Option<SocketAddr>, text: String },
    /// A login was refused: `refused: client=... port=... user=ann mechanism=PASS reason=wrong-password`.
    Refused { client: Option<SocketAddr>, user: Vec<u8>, mechanism: &'static str, reason: String },
    /// Something failed: `error: client=... port=... user=ann text=cannot open /var/mail/ann: ...`.
    Error { client: Option<SocketAddr>, user: Option<Vec<u8>>, text: String },
    /// A session ended; see [`Logout`].
    Logout(Logout),
    /// A client left before it logged in: `disconnect: client=... port=... seconds=3 reason=quit`.
    Disconnect { client: Option<SocketAddr>, seconds: u64, reason: &'static str },
    /// `USER` and then QUIT without a password: `probe: client=... port=... user=ann`.
    Probe { client: Option<SocketAddr>, user: Vec<u8> },
    /// XTND XMIT gave a message to sendmail: `xmit: client=... port=... user=ann octets=812 status=0`.
    Xmit { client: Option<SocketAddr>, user: Vec<u8>, octets: u64, status: i32 },
    /// Something the administrator may want to know: `notice: text=...`.
    Notice { text: String },
    /// What `-d` adds: `debug: text=...`.
    Debug { text: String },
    /// What `-s` adds, exactly as the original: `Stats: ann 0 0 3 1234`.
    Stats { user: Vec<u8>, deleted: u32, deleted_octets: u64, left: u32, left_octets: u64 },
}

/// `logout: client=... port=... user=ann retrieved=2 top=0 octets=812 deleted=2 deleted_octets=812 left=0
/// left_octets=0 seconds=1 end=quit`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logout {
    /// Who it was.
    pub(crate) client: Option<SocketAddr>,
    /// As whom.
    pub(crate) user: Vec<u8>,
    /// What was done.
    pub(crate) report: Report,
    /// From login to end.
    pub(crate) seconds: u64,
}

/// What a session did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Messages sent as a whole (RETR).
    pub(crate) retrieved: u32,
    /// Messages sent in part (TOP).
    pub(crate) top: u32,
    /// Octets sent to the client.
    pub(crate) octets: u64,
    /// Messages deleted for good.
    pub(crate) deleted: u32,
    /// Their octets.
    pub(crate) deleted_octets: u64,
    /// Messages left.
    pub(crate) left: u32,
    /// Their octets.
    pub(crate) left_octets: u64,
    /// How it ended.
    pub(crate) end: End,
}

impl Report {
    /// A session that did nothing.
    pub(crate) const fn ended(end: End) -> Self {
        Self { retrieved: 0, top: 0, octets: 0, deleted: 0, deleted_octets: 0, left: 0, left_octets: 0, end }
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By QUIT.
    Quit,
    /// The client went away.
    Dropped,
    /// The client was silent for too long.
    Idle,
    /// By a fault on our side.
    Failed,
    /// SIGTERM asked it to (`mailusradm kick`, the second SIGTERM to a standalone server).
    Terminated,
    /// By another signal, or without a word.
    Killed,
}

impl End {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Quit, Self::Dropped, Self::Idle, Self::Failed, Self::Terminated, Self::Killed];

    /// The end that a word of the log stands for.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.word() == word)
    }

    /// The word in the log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Dropped => "dropped",
            Self::Idle => "idle",
            Self::Failed => "failed",
            Self::Terminated => "terminated",
            Self::Killed => "killed",
        }
    }
}

/// How much an event matters; as syslog's severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// A fault of ours.
    Error,
    /// Somebody should look.
    Warning,
    /// The course of things.
    Notice,
    /// Only with `-d`.
    Debug,
}

impl Event {
    /// How much it matters.
    pub(crate) const fn severity(&self) -> Severity {
        match self {
            Self::Error { .. } => Severity::Error,
            Self::Debug { .. } => Severity::Debug,
            _ => Severity::Notice,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { client } => write!(f, "connect: {}", Client(client)),
            Self::Login { client, user, mechanism, tls } => {
                let (version, cipher) = tls.split_once(' ').unwrap_or(("none", "none"));
                let (version, cipher) = (Value(version.as_bytes()), Value(cipher.as_bytes()));
                write!(f, "login: {} user={} mechanism={mechanism} ", Client(client), Value(user))?;
                write!(f, "tls={version} cipher={cipher}")
            }
            Self::Handshake { client, text } => {
                write!(f, "handshake: {} text={}", Client(client), Sentence(text.as_bytes()))
            }
            Self::Refused { client, user, mechanism, reason } => {
                write!(f, "refused: {} user={} ", Client(client), Value(user))?;
                write!(f, "mechanism={mechanism} reason={}", Value(reason.as_bytes()))
            }
            Self::Error { client, user, text } => fault(f, client, user.as_deref(), text),
            Self::Logout(logout) => logout.fmt(f),
            Self::Disconnect { client, seconds, reason } => {
                write!(
                    f,
                    "disconnect: {} seconds={seconds} reason={}",
                    Client(client),
                    Value(reason.as_bytes())
                )
            }
            Self::Probe { client, user } => write!(f, "probe: {} user={}", Client(client), Value(user)),
            Self::Xmit { client, user, octets, status } => {
                write!(f, "xmit: {} user={} octets={octets} status={status}", Client(client), Value(user))
            }
            Self::Notice { text } => write!(f, "notice: text={}", Sentence(text.as_bytes())),
            Self::Debug { text } => write!(f, "debug: text={}", Sentence(text.as_bytes())),
            Self::Stats { user, deleted, deleted_octets, left, left_octets } => {
                write!(f, "Stats: {} {deleted} {deleted_octets} {left} {left_octets}", Sentence(user))
            }
        }
    }
}

impl fmt::Display for Logout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { retrieved, top, octets, deleted, deleted_octets, left, left_octets, end } = self.report;
        write!(f, "logout: {} user={} ", Client(&self.client), Value(&self.user))?;
        write!(f, "retrieved={retrieved} top={top} octets={octets} ")?;
        write!(
            f,
            "deleted={deleted} deleted_octets={deleted_octets} left={left} left_octets={left_octets} "
        )?;
        write!(f, "seconds={} end={}", self.seconds, end.word())
    }
}

fn fault(
    f: &mut fmt::Formatter<'_>,
    client: &Option<SocketAddr>,
    user: Option<&[u8]>,
    text: &str,
) -> fmt::Result {
    f.write_str("error:")?;
    if client.is_some() {
        write!(f, " {}", Client(client))?;
    }
    if let Some(user) = user {
        write!(f, " user={}", Value(user))?;
    }
    write!(f, " text={}", Sentence(text.as_bytes()))
}

/// A client's address as one word: an IPv4 client of an IPv6 socket as what it is.
pub(crate) fn client_word(client: Option<SocketAddr>) -> String {
    client.map_or_else(|| "local".to_owned(), |address| address.ip().to_canonical().to_string())
}

/// An IPv4 client of an IPv6 socket is shown as what it is, so that a filter finds its address.
struct Client<'a>(&'a Option<SocketAddr>);

impl fmt::Display for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "client={} port={}", address.ip().to_canonical(), address.port()),
            None => f.write_str("client=local"),
        }
    }
}
