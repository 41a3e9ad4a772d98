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
use crate::auth::{self, Account, Proof, Reason, Verdict};
use crate::error::{Error, Kind, Result};
use crate::log::{End, Report, SessionId};
use crate::maildrop::{self, Maildrop};
use crate::protocol::name::UserName;
use crate::sys::process::end_first_when_out_of_memory;
use crate::sys::sandbox::{Fence, inside};
use crate::sys::socket::{self, Peer, Wait};
use crate::sys::{clock, memory, privileges};
use crate::transport::stream::Plain;
use std::fs::File;
use std::os::fd::OwnedFd;
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
    // From the first secret on; `enter` turns it off when the last is gone.
    memory::overwrite_freed(true);
    let Ok((Attempt::Credentials(credentials), None)) = hear(attempt) else { return 76 };
    let (mechanism, tls) = (credentials.mechanism, credentials.encryption.version.clone());
    let encrypted = !tls.is_empty();
    let verdict = verify(credentials, surroundings);
    memory::wipe_stack();
    match verdict {
        Ok(account) => match enter(&account, id, &peer, mechanism, tls, surroundings) {
            Ok((maildrop, lock)) => {
                let user = account.name;
                serve(attempt, Entry { user, id, peer, encrypted, maildrop, lock }, surroundings)
            }
            Err(error) => unavailable(attempt, error, false, surroundings),
        },
        Err(None) => {
            say(attempt, &Answer::Refused);
            0
        }
        Err(Some(error)) => unavailable(attempt, error, true, surroundings),
    }
}

/// The account, or an error, or neither for wrong credentials (which the log has been told).
fn verify(
    credentials: Credentials,
    surroundings: &Surroundings<'_>,
) -> std::result::Result<Account, Option<Error>> {
    let config = surroundings.config;
    let refused = |reason: Reason| {
        let notice = Notice::Refused(credentials.user.clone(), credentials.mechanism, reason.to_string());
        surroundings.tell(&notice);
        Err(None)
    };
    // The login process has checked the name; what it says is not trusted.
    let name = UserName::parse(&credentials.user);
    let proof = match credentials.mechanism {
        Mechanism::Pass => Proof::Password(&credentials.proof),
        Mechanism::Apop => {
            Proof::Apop { challenge: &credentials.challenge, digest: credentials.proof.expose() }
        }
    };
    match auth::verify(config, name.as_ref().map(UserName::as_str), proof) {
        Verdict::Accepted(account) => Ok(account),
        Verdict::Refused(reason) => refused(reason),
        Verdict::Unavailable(error) => Err(Some(error)),
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
    let lock = places::take_maildrop(config, account, id, peer)?;
    let state = places::state_directory(config, account)?;
    end_first_when_out_of_memory(SESSION_SCORE);
    privileges::become_for_good(&places::session_ids(account))?;
    let found = maildrop::open_mailbox(config.maildrop.format, &path, account.uid)?;
    session::LIMITS.apply()?;
    let fence = Fence {
        calls: session::CALLS,
        directories: &inside(&state),
        require: surroundings.require_sandbox(),
    };
    surroundings.warn_of_missing(&fence.close()?);
    memory::wipe_stack();
    memory::overwrite_freed(false);
    memory::trim();
    let mut maildrop = maildrop::open(found, &path, state, Box::new(Remote::new(surroundings)?))?;
    surroundings.remark(maildrop.take_notes());
    Ok((maildrop, lock))
}

/// Who was let in, and to what.
struct Entry {
    user: String,
    id: SessionId,
    peer: Peer,
    encrypted: bool,
    maildrop: Box<dyn Maildrop>,
    lock: File,
}

fn serve(attempt: &OwnedFd, entry: Entry, surroundings: &Surroundings<'_>) -> u8 {
    let Entry { user, id, peer, encrypted, maildrop, lock } = entry;
    say(attempt, &Answer::Ready);
    let client = match hear(attempt) {
        Ok((Attempt::Client(unread), Some(client))) => Plain::new(client).ok().map(|stream| (stream, unread)),
        _ => None,
    };
    surroundings.tell(&Notice::Begun);
    let report = match client {
        Some((stream, unread)) => {
            let offer = surroundings.offer(&peer, encrypted);
            let visitor = Visitor { user, id, stream: Box::new(stream), unread, offer, lock };
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

fn say(attempt: &OwnedFd, answer: &Answer) {
    // A login process that is gone hears nothing, and its client is gone with it.
    let _ = socket::send(attempt, &answer.to_bytes(), &[], true);
}

/// The next message of the login process.
fn hear(attempt: &OwnedFd) -> Result<(Attempt, Option<OwnedFd>)> {
    let broken = || Error::new(Kind::Temporary, "the login process sent no message that can be understood");
    let mut buffer = Zeroizing::new(vec![0; LARGEST]);
    if !socket::wait(attempt, Wait::Read, clock::now() + PATIENCE).unwrap_or(false) {
        return Err(broken());
    }
    let mut received = socket::receive(attempt, &mut buffer, false).map_err(|_| broken())?;
    let message = Attempt::from_bytes(&buffer[..received.length]).map_err(|_| broken())?;
    Ok((message, received.descriptors.pop()))
}
