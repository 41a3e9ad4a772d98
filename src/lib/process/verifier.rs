//! The verifier: a child of the monitor for one login attempt, which becomes the session when the credentials are right.
//!
//! Until the verdict it has root's rights, since only root can read the shadow database. It reads one message of the login process,
//! which it does not trust, and answers. After a yes it takes what needs root (the lock of the maildrop, the state
//! directory), tells the monitor whom it let in, becomes the user for good, closes its fence, opens the maildrop, and serves.
//! Whatever verification left in memory is overwritten before the client gets a word (a test searches for it).

use super::message::{Answer, Attempt, Credentials, LARGEST, Mechanism, Message};
use super::notice::{Admitted, Notice};
use super::places;
use super::role::Surroundings;
use super::session::{self, Visitor};
use super::spool::Remote;
use crate::auth::{self, Account, Verdict};
use crate::config::{Config, Sandbox};
use crate::error::{Error, Kind, Result};
use crate::log::{End, Report, SessionId};
use crate::maildrop::{self, Found, Maildrop};
use crate::protocol::name::UserName;
use crate::session::authorization::{Password, Proof};
use crate::sys::directory::Directory;
use crate::sys::process::end_first_when_out_of_memory;
use crate::sys::sandbox::{Fence, Missing, inside};
use crate::sys::socket::{self, Peer, Wait};
use crate::sys::{clock, memory, privileges};
use crate::transport::stream::Plain;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Who ends first when memory runs out: login processes (500) and verifiers before sessions, which may be in an update.
const VERIFIER_SCORE: i16 = 400;
const SESSION_SCORE: i16 = 0;

/// How long the login process may take for a message it has promised.
const PATIENCE: Duration = Duration::from_secs(30);

/// Verifies one attempt and, after a yes, serves the session. The role's exit status.
pub(crate) fn run(attempt: &OwnedFd, id: SessionId, peer: Peer, surroundings: &Surroundings<'_>) -> u8 {
    end_first_when_out_of_memory(VERIFIER_SCORE);
    let heap = memory::heap_end();
    // From the first secret on; `enter` turns it off when the last is gone.
    memory::overwrite_freed(true);
    let Ok((Attempt::Credentials(credentials), None)) = hear(attempt) else { return 76 };
    if matches!(credentials.proof, Proof::Salt { .. }) {
        return tell_salt(attempt, &credentials, surroundings);
    }
    let (mechanism, tls) = (Mechanism::of(&credentials.proof), credentials.encryption.version.clone());
    let name = credentials.user.clone();
    let verdict = verify(credentials, &peer, surroundings);
    memory::wipe_stack();
    match verdict {
        Ok(Right { signature: Some(signature), .. }) if !agrees(attempt, signature, surroundings) => {
            surroundings.tell(&Notice::Refused(name, mechanism, "cancelled".to_owned()));
            0
        }
        Ok(Right { account, .. }) => match enter(&account, id, &peer, mechanism, tls, surroundings) {
            Ok((maildrop, lock)) => {
                memory::trim(heap);
                let login_delay = account.login_delay(surroundings.config);
                let user = account.name;
                serve(attempt, Entry { user, id, maildrop, lock, login_delay }, surroundings)
            }
            Err(error) => unavailable(attempt, error, false, surroundings),
        },
        Err(No::Refused(delay)) => {
            say(attempt, &Answer::Refused(delay));
            0
        }
        Err(No::Unavailable(error)) => unavailable(attempt, error, true, surroundings),
    }
}

/// Credentials that are right.
struct Right {
    account: Account,
    /// What proves ourselves to the client (RFC 5802, section 3).
    signature: Option<[u8; 32]>,
}

/// Why nobody gets in.
enum No {
    /// Wrong credentials, which the log has been told; the refusal leaves so much later than others.
    Refused(Duration),
    Unavailable(Error),
}

/// SCRAM's first round: what the client has to know before it can prove something.
fn tell_salt(attempt: &OwnedFd, credentials: &Credentials, surroundings: &Surroundings<'_>) -> u8 {
    // Printable ASCII, or the login process broke a promise.
    let salt = auth::salt(surroundings.config, &String::from_utf8_lossy(&credentials.user));
    match salt {
        Ok((salt, iterations)) => {
            surroundings.tell(&Notice::Answered);
            say(attempt, &Answer::Salt(salt, iterations));
            0
        }
        Err(error) => unavailable(attempt, error, false, surroundings),
    }
}

/// SCRAM's last word is the client's: whether our signature is right too. Its turn is given back before, and no lock is held.
fn agrees(attempt: &OwnedFd, signature: [u8; 32], surroundings: &Surroundings<'_>) -> bool {
    surroundings.tell(&Notice::Answered);
    say(attempt, &Answer::Proven(signature));
    // The login process closes its end at the time limit of the login; it may be gone, too.
    let patience = surroundings.config.limits.login_timeout + PATIENCE;
    matches!(hear_within(attempt, patience), Ok((Attempt::Proceed, None)))
}

fn verify(
    credentials: Credentials,
    peer: &Peer,
    surroundings: &Surroundings<'_>,
) -> std::result::Result<Right, No> {
    let remark = |text: String| surroundings.remark(vec![text]);
    let client = peer.address.map(|address| address.ip().to_canonical());
    let inquiry = auth::Inquiry { config: surroundings.config, client, remark: &remark };
    // The login process has checked the name; what it says is not trusted.
    let name = UserName::parse(&credentials.user);
    let name = name.as_ref().map(UserName::as_str);
    let check = |proof: auth::Proof<'_>| auth::verify(&inquiry, name, proof);
    let found = match &credentials.proof {
        Proof::Password(password) | Proof::Plain(password) => by_password(password, check),
        Proof::Apop { challenge, digest } => {
            check(auth::Proof::Apop { challenge: challenge.as_bytes(), digest })
        }
        Proof::Cram { challenge, digest } => {
            check(auth::Proof::Cram { challenge: challenge.as_bytes(), digest })
        }
        Proof::Scram { claim, .. } => check(auth::Proof::Scram(claim)),
        Proof::External => check(auth::Proof::External),
        Proof::Salt { .. } => return Err(No::Refused(Duration::ZERO)),
    };
    let is_certain = matches!(credentials.proof, Proof::External);
    let (verdict, delay) = auth::settle(&inquiry, name, is_certain, found);
    match verdict {
        Verdict::Accepted(account) => Ok(Right { account, signature: None }),
        Verdict::Proven(account, signature) => Ok(Right { account, signature: Some(signature) }),
        Verdict::Refused(reason) => {
            let mechanism = Mechanism::of(&credentials.proof);
            surroundings.tell(&Notice::Refused(credentials.user, mechanism, reason.to_string()));
            Err(No::Refused(delay))
        }
        Verdict::Unavailable(error) => Err(No::Unavailable(error)),
    }
}

/// As the client sent it, and then as SASLprep has it where that differs. It costs twice, but what it costs depends on nothing but what
/// was sent.
fn by_password(password: &Password, check: impl Fn(auth::Proof<'_>) -> Verdict) -> Verdict {
    match (check(auth::Proof::Password(&password.given)), &password.prepared) {
        (Verdict::Refused(_), Some(prepared)) => check(auth::Proof::Password(prepared)),
        (verdict, _) => verdict,
    }
}

/// From root to the user, for good, with the maildrop open.
fn enter(
    account: &Account,
    id: SessionId,
    peer: &Peer,
    mechanism: Mechanism,
    tls: String,
    surroundings: &Surroundings<'_>,
) -> Result<(Box<dyn Maildrop>, File)> {
    let config = surroundings.config;
    let path = account.mailbox(config);
    surroundings.tell(&Notice::Admitted(Admitted {
        user: account.name.clone(),
        uid: account.uid,
        gid: account.gid,
        home: account.home.clone(),
        maildrop: path.clone(),
        mechanism,
        tls,
    }));
    let lock = places::take_for_login(config, account, id, peer)?;
    let state = places::state_directory(config, account)?;
    end_first_when_out_of_memory(SESSION_SCORE);
    let (found, missing) = confine(account, &path, &state, config)?;
    surroundings.warn_of_missing(&missing);
    memory::overwrite_freed(false);
    let mut maildrop =
        maildrop::open(found, &path, account.uid, state, Box::new(Remote::new(surroundings)?))?;
    surroundings.remark(maildrop.take_notes());
    Ok((maildrop, lock))
}

/// Becomes the user and closes the fence; what stands at the maildrop's place, opened as the user.
pub(super) fn confine(
    account: &Account,
    path: &Path,
    state: &Directory,
    config: &Config,
) -> Result<(Found, Missing)> {
    privileges::become_for_good(&places::session_ids(account))?;
    let found = maildrop::find(config.maildrop.format, path, account.uid)?;
    session::limits(config).apply()?;
    let mut directories = found.directories();
    directories.extend(inside(state));
    let require = config.sandbox == Sandbox::Require;
    let missing = Fence { calls: session::CALLS, directories: &directories, require }.close()?;
    drop(directories);
    Ok((found, missing))
}

/// Who was let in, and to what.
struct Entry {
    user: String,
    id: SessionId,
    maildrop: Box<dyn Maildrop>,
    lock: File,
    login_delay: Duration,
}

fn serve(attempt: &OwnedFd, entry: Entry, surroundings: &Surroundings<'_>) -> u8 {
    let Entry { user, id, maildrop, lock, login_delay } = entry;
    // A login process that does not hear the verdict sends no client; it sees the end of this process.
    let heard = say(attempt, &Answer::Ready);
    let client = match heard.then(|| hear(attempt)) {
        Some(Ok((Attempt::Client(unread, terms), Some(client)))) => {
            Plain::new(client).ok().map(|stream| (stream, unread, terms))
        }
        _ => None,
    };
    surroundings.tell(&Notice::Begun);
    let report = match client {
        Some((stream, unread, terms)) => {
            let offer = surroundings.offer(&terms, login_delay);
            let visitor =
                Visitor { user, id, stream: Box::new(stream), unread, offer, language: terms.language, lock };
            session::serve(visitor, maildrop, surroundings)
        }
        // The client left before the verdict.
        None => {
            Report { left: maildrop.count(), left_octets: maildrop.octets(), ..Report::ended(End::Dropped) }
        }
    };
    surroundings.tell(&Notice::Report(report));
    0
}

fn unavailable(attempt: &OwnedFd, error: Error, delayed: bool, surroundings: &Surroundings<'_>) -> u8 {
    let (reply, status) = (error.reply(), error.exit_status());
    surroundings.tell(&Notice::Fault(error));
    say(attempt, &Answer::Unavailable { reply, delayed });
    status
}

/// Says it to the login process; false when that cannot hear it. One that is gone has taken its client along.
fn say(attempt: &OwnedFd, answer: &Answer) -> bool {
    socket::send(attempt, &answer.to_bytes(), &[], true).is_ok()
}

/// The next message of the login process.
fn hear(attempt: &OwnedFd) -> Result<(Attempt, Option<OwnedFd>)> {
    hear_within(attempt, PATIENCE)
}

fn hear_within(attempt: &OwnedFd, patience: Duration) -> Result<(Attempt, Option<OwnedFd>)> {
    let broken = || Error::new(Kind::Temporary, "the login process sent no message that can be understood");
    if !socket::wait(attempt, Wait::Read, clock::now() + patience).unwrap_or(false) {
        return Err(broken());
    }
    let (buffer, mut received) = socket::receive_whole(attempt, LARGEST).map_err(|_| broken())?;
    let buffer = Zeroizing::new(buffer);
    let message = Attempt::from_bytes(&buffer[..received.length]).map_err(|_| broken())?;
    Ok((message, received.descriptors.pop()))
}
