//! Lines of `history.log`, version 1. Pure: values to text and back.
//!
//! ```text
//! line    = "1 " kind 1*(" " key "=" value) " sum=" 16hex LF
//! session = id start seconds user client mechanism tls refused retrieved top octets deleted deleted_octets left left_octets end
//! refused = id number time user client mechanism reason
//! value   = as in the log (`log/event.rs`)
//! ```
//!
//! `sum` is the XXH3 of all octets before the blank in front of it: a line that was cut off, or that another was written into, is
//! not taken for a whole one. Keys that a reader does not know are ignored, so that a later program can add some.

use crate::log::escape::Value;
use crate::log::{End, Event, Report, SessionId, client_word};
use std::collections::HashMap;
use std::fmt::Write as _;
use twox_hash::XxHash3_64;

/// What the lines of this version begin with.
const VERSION: &str = "1";

/// The most octets of a text from outside that are kept: a user name is at most 64.
const MOST_TEXT: usize = 256;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A session that has ended.
    Session(Session),
    /// A login that was refused.
    Refused(Refusal),
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Its id, as in the log.
    pub(crate) id: SessionId,
    /// When it began, in seconds since 1970.
    pub(crate) start: i64,
    /// How long it was, by a clock that never goes back.
    pub(crate) seconds: u64,
    /// Who it was.
    pub(crate) user: String,
    /// The client's address; `local` for one without.
    pub(crate) client: String,
    /// How it logged in.
    pub(crate) mechanism: String,
    /// The version of TLS; `none` in the clear.
    pub(crate) tls: String,
    /// Logins that were refused before, on the same connection.
    pub(crate) refused: u32,
    /// What was done and how it ended.
    pub(crate) report: Report,
}

/// A login that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The connection's id, as in the log.
    pub(crate) id: SessionId,
    /// Tells the refusals of one connection apart.
    pub(crate) number: u32,
    /// When, in seconds since 1970.
    pub(crate) time: i64,
    /// The name that was tried.
    pub(crate) user: String,
    /// The client's address; `local` for one without.
    pub(crate) client: String,
    /// How it was tried.
    pub(crate) mechanism: String,
    /// Why it was refused, in the log's word.
    pub(crate) reason: String,
}

impl Refusal {
    /// That of an event of the log; none for other events.
    pub(crate) fn from_event(id: SessionId, number: u32, time: i64, event: &Event) -> Option<Self> {
        let Event::Refused { client, user, mechanism, reason } = event else { return None };
        Some(Self {
            id,
            number,
            time,
            user: String::from_utf8_lossy(user).into_owned(),
            client: client_word(*client),
            mechanism: (*mechanism).to_owned(),
            reason: reason.clone(),
        })
    }
}

impl Entry {
    /// When it was.
    pub(crate) const fn time(&self) -> i64 {
        match self {
            Self::Session(session) => session.start,
            Self::Refused(refusal) => refusal.time,
        }
    }

    /// The line, with its end.
    pub(crate) fn to_line(&self) -> String {
        let mut line = VERSION.to_owned();
        let done = match self {
            Self::Session(it) => {
                let report = &it.report;
                write!(
                    line,
                    " session id={} start={} seconds={} user={} client={} mechanism={} tls={} refused={} retrieved={} top={} \
                     octets={} deleted={} deleted_octets={} left={} left_octets={} end={}",
                    it.id,
                    it.start,
                    it.seconds,
                    text(&it.user),
                    text(&it.client),
                    text(&it.mechanism),
                    text(&it.tls),
                    it.refused,
                    report.retrieved,
                    report.top,
                    report.octets,
                    report.deleted,
                    report.deleted_octets,
                    report.left,
                    report.left_octets,
                    report.end.word(),
                )
            }
            Self::Refused(it) => write!(
                line,
                " refused id={} number={} time={} user={} client={} mechanism={} reason={}",
                it.id,
                it.number,
                it.time,
                text(&it.user),
                text(&it.client),
                text(&it.mechanism),
                text(&it.reason),
            ),
        };
        debug_assert!(done.is_ok(), "writing to a string cannot fail");
        let sum = sum(line.as_bytes());
        line + &format!(" sum={sum}\n")
    }

    /// Reads a line without its end; none for one that is torn, or not of this version.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (body, sealed) = line.rsplit_once(" sum=")?;
        if sealed != sum(body.as_bytes()) {
            return None;
        }
        let mut words = body.split(' ');
        let (version, kind) = (words.next()?, words.next()?);
        let fields: Fields<'_> = words.map(|word| word.split_once('=')).collect::<Option<_>>().map(Fields)?;
        match (version, kind) {
            (VERSION, "session") => fields.session().map(Self::Session),
            (VERSION, "refused") => fields.refusal().map(Self::Refused),
            _ => None,
        }
    }
}

/// What stands behind ` sum=`.
pub(super) fn sum(body: &[u8]) -> String {
    format!("{:016x}", XxHash3_64::oneshot(body))
}

/// A value as text, cut where somebody would fill the disk with it.
fn text(value: &str) -> Value<'_> {
    Value(&value.as_bytes()[..value.floor_char_boundary(MOST_TEXT)])
}

/// The keys of a line with their values.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl Fields<'_> {
    fn session(&self) -> Option<Session> {
        Some(Session {
            id: SessionId::parse(self.0.get("id")?.as_bytes())?,
            start: self.number("start")?,
            seconds: self.number("seconds")?,
            user: self.text("user")?,
            client: self.text("client")?,
            mechanism: self.text("mechanism")?,
            tls: self.text("tls")?,
            refused: self.number("refused")?,
            report: Report {
                retrieved: self.number("retrieved")?,
                top: self.number("top")?,
                octets: self.number("octets")?,
                deleted: self.number("deleted")?,
                deleted_octets: self.number("deleted_octets")?,
                left: self.number("left")?,
                left_octets: self.number("left_octets")?,
                end: End::from_word(self.0.get("end")?)?,
            },
        })
    }

    fn refusal(&self) -> Option<Refusal> {
        Some(Refusal {
            id: SessionId::parse(self.0.get("id")?.as_bytes())?,
            number: self.number("number")?,
            time: self.number("time")?,
            user: self.text("user")?,
            client: self.text("client")?,
            mechanism: self.text("mechanism")?,
            reason: self.text("reason")?,
        })
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.0.get(key)?.parse().ok()
    }

    fn text(&self, key: &str) -> Option<String> {
        Value::read(self.0.get(key)?).and_then(|bytes| String::from_utf8(bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends() -> impl Strategy<Value = End> {
        proptest::sample::select(&End::ALL[..])
    }

    fn sessions() -> impl Strategy<Value = Session> {
        let texts = ("\\PC{0,40}", "[0-9a-f:.]{1,39}|local", "[A-Z0-9-]{1,20}", "none|TLSv1\\.[23]");
        let counts = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
        let octets = (any::<u64>(), any::<u64>(), any::<u64>());
        let first = (any::<u64>(), any::<i64>(), any::<u64>());
        (first, texts, counts, octets, ends()).prop_map(|(first, texts, counts, octets, end)| Session {
            id: SessionId::from_bits(first.0),
            start: first.1,
            seconds: first.2,
            user: texts.0,
            client: texts.1,
            mechanism: texts.2,
            tls: texts.3,
            refused: counts.0,
            report: Report {
                retrieved: counts.1,
                top: counts.2,
                deleted: counts.3,
                left: counts.4,
                octets: octets.0,
                deleted_octets: octets.1,
                left_octets: octets.2,
                end,
            },
        })
    }

    fn refusals() -> impl Strategy<Value = Refusal> {
        let texts = (".{0,40}", "[0-9a-f:.]{1,39}|local", "[A-Z0-9-]{1,20}", "[a-z-]{1,20}");
        (any::<u64>(), any::<u32>(), any::<i64>(), texts).prop_map(|(id, number, time, texts)| Refusal {
            id: SessionId::from_bits(id),
            number,
            time,
            user: texts.0,
            client: texts.1,
            mechanism: texts.2,
            reason: texts.3,
        })
    }

    pub(in crate::history) fn entries() -> impl Strategy<Value = Entry> {
        prop_oneof![sessions().prop_map(Entry::Session), refusals().prop_map(Entry::Refused)]
    }

    proptest! {
        /// A line reads back as what it was written from, and is one line of ASCII whatever a client sent.
        #[test]
        fn a_line_reads_back(entry in entries()) {
            let line = entry.to_line();
            prop_assert!(line.bytes().all(|byte| (32..127).contains(&byte) || byte == b'\n'), "{line}");
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert_eq!(Entry::parse(&line.as_bytes()[..line.len() - 1]), Some(entry));
        }

        /// No part of a line, and no line with an octet changed, is taken for a whole one.
        #[test]
        fn a_torn_line_is_none(entry in entries(), at in any::<proptest::sample::Index>(), octet in any::<u8>()) {
            let line = entry.to_line();
            let whole = &line.as_bytes()[..line.len() - 1];
            let at = at.index(whole.len());
            prop_assert_eq!(Entry::parse(&whole[..at]), None);
            if at > 0 {
                prop_assert_eq!(Entry::parse(&whole[at..]), None);
            }
            let mut changed = whole.to_vec();
            changed[at] = octet;
            if changed != whole {
                prop_assert_eq!(Entry::parse(&changed), None);
            }
            prop_assert_eq!(Entry::parse(&[&whole[..at], whole].concat()).filter(|_| at > 0), None);
        }

        #[test]
        fn nothing_that_is_read_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Entry::parse(&bytes), None);
        }
    }

    #[test]
    fn a_later_version_is_foreign_and_a_later_key_is_not() {
        let sum = |body: &str| format!("{body} sum={:016x}", XxHash3_64::oneshot(body.as_bytes()));
        let body = "1 refused id=0000000001 number=1 time=-5 user=\"\" client=local mechanism=PASS reason=x";
        assert!(Entry::parse(sum(body).as_bytes()).is_some());
        assert!(Entry::parse(sum(&format!("{body} later=1")).as_bytes()).is_some());
        assert_eq!(Entry::parse(sum(&body.replacen('1', "2", 1)).as_bytes()), None);
        assert_eq!(Entry::parse(sum(&body.replace("refused", "moved")).as_bytes()), None);
    }
}
