//! The source `checkpassword`: a program of the administrator's with the interface of checkpassword, for directories and databases
//! that nothing here knows.
//!
//! A child of the verifier's runs it and watches it. On descriptor 3 the program reads name, password and a time stamp, each with a NUL
//! behind it; when they are right it takes on the user's ids, sets `USER`, `HOME` and `SHELL`, and executes its argument. That is
//! this server again, which tells the ids by a socket on descriptor 4 and ends: the kernel says whose they are. From the moment it has
//! the user's ids a user who can trace it may speak in its place: what it says of home and maildrop is the user's word, and of the
//! name nothing. What the program says on standard error goes to the log. Whatever it leaves running is ended.

mod reply;
mod run;

pub(crate) use reply::{ARGUMENT, reply};

use super::mailauth::{self, Own};
use super::{Account, Finding, Inquiry, Reason, Verdict, child, unix};
use crate::config::{self, Config};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::sys::account;
use crate::sys::privileges;
use crate::sys::program::Sender;
use reply::Reply;
use run::Outcome;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most octets that a checkpassword program reads.
const MOST_OCTETS: usize = 512;

/// Asks the program.
pub(super) fn check(inquiry: &Inquiry<'_>, name: &str, password: &Secret) -> Finding {
    match verdict(inquiry, name, password) {
        Ok(verdict) => Finding { verdict, paid: false },
        Err(error) => Finding::unavailable(error),
    }
}

fn verdict(inquiry: &Inquiry<'_>, name: &str, password: &Secret) -> Result<Verdict> {
    let config = inquiry.config;
    let program = &config.auth.checkpassword;
    let known = account::user(name).map_err(unasked)?;
    if known.is_some_and(|user| user.uid == 0) {
        return Ok(Verdict::Refused(Reason::BelowMinUid));
    }
    let Some(question) = run::question(name, password) else {
        return Ok(Verdict::Refused(Reason::WrongPassword));
    };
    trusted(program)?;
    let patience = inquiry.patience();
    let address = inquiry.client.map(|client| client.to_string());
    let run = run::Run { program, question, address, patience, limits: child::limits_of_others(config) };
    let outcome: Outcome =
        child::ask(&format!("run {}", program.display()), patience + run::GRACE, |listener| {
            u8::from(!listener.tell(&run.supervise()))
        })?;
    let complaint = run::without(&outcome.words, password);
    for line in complaint.lines().filter(|line| !line.trim().is_empty()) {
        (inquiry.remark)(format!("{}: {line}", program.display()));
    }
    let failed =
        |kind, what: &str| Err(Error::new(kind, format!("{}: {what}", program.display())).tell(unix::TOLD));
    match outcome.end {
        run::End::Admitted(sender, reply) => admit(config, name, sender, reply),
        run::End::Status(1) => Ok(Verdict::Refused(Reason::WrongPassword)),
        run::End::Status(2) => failed(Kind::Permanent, "it was not run as it wants to be (exit status 2)"),
        run::End::Status(111) => failed(Kind::Temporary, "it cannot answer now (exit status 111)"),
        run::End::Status(0) => failed(Kind::Permanent, "it ended without running its argument"),
        run::End::Status(status) => {
            failed(Kind::Temporary, &format!("it ended with the unknown exit status {status}"))
        }
        run::End::Signal(signal) => failed(Kind::Temporary, &format!("it was ended by signal {signal}")),
        run::End::Late => {
            let what = format!("it gave no answer within {} seconds and was ended", patience.as_secs());
            failed(Kind::Temporary, &what)
        }
        run::End::Trouble(what) => failed(Kind::Temporary, &what),
    }
}

/// The account of a user whom the program let in. The ids are those that it took on. One that kept root's may name them
/// (`userdb_uid`, `userdb_gid`); else they are those of the user of the system of that name, or of `virtual_owner`.
fn admit(config: &Config, name: &str, sender: Sender, reply: Reply) -> Result<Verdict> {
    let user = account::user(name).map_err(unasked)?;
    let ids = match (sender.uid, reply.ids()) {
        // Without root's rights there is one user for all.
        _ if !privileges::is_root() => None,
        (0, Some(named)) => Some(named),
        (0, None) => None,
        (uid, _) => Some((uid, sender.gid)),
    };
    let uid = ids.map(|(uid, _)| uid).or_else(|| user.as_ref().map(|user| user.uid));
    let is_owner = |uid| mailauth::virtual_owner(config).is_ok_and(|owner| owner.uid == uid);
    if uid.is_some_and(|uid| uid == 0 || uid < config.auth.min_uid && !is_owner(uid)) {
        return Ok(Verdict::Refused(Reason::BelowMinUid));
    }
    // The name is part of paths: nothing but the letters' case is the program's, while it is not yet the user's process.
    let is_programs = sender.uid == 0 || !privileges::is_root();
    let renamed = reply.user.as_deref().filter(|other| is_programs && other.eq_ignore_ascii_case(name));
    let name = renamed.unwrap_or(name);
    let (home, maildrop) = (reply.home(), reply.maildrop());
    let mut account: Account = match user {
        Some(user) if ids.is_none_or(|(uid, _)| uid == user.uid) => {
            Account { maildrop, ..unix::accepted(name, user) }
        }
        _ => mailauth::virtual_account(config, name.to_owned(), Own { ids, home: home.clone(), maildrop })?,
    };
    if let Some(home) = home {
        account.home = home;
    }
    Ok(Verdict::Accepted(account))
}

/// Who may write the program, or put another in its place, sees every password and says who may come in.
///
/// # Errors
/// It is none, or somebody besides root (or the one user whom all runs as) may.
pub(crate) fn trusted(program: &Path) -> Result<()> {
    let failed = |cause| {
        Error::io(format!("cannot run {}", program.display()), cause)
            .of_kind(Kind::Permanent)
            .tell(unix::TOLD)
    };
    let metadata = fs::metadata(program).map_err(failed)?;
    if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
        let what = format!("{} is no program", program.display());
        return Err(Error::new(Kind::Permanent, what).tell(unix::TOLD));
    }
    let judged = if privileges::is_root() {
        config::only_root_writes(program, &metadata).and_then(|()| config::only_root_replaces(program))
    } else if metadata.mode() & 0o022 == 0 && [0, privileges::own().uid].contains(&metadata.uid()) {
        Ok(())
    } else {
        Err(Error::new(Kind::Config, format!("{} may be written by others", program.display()))
            .with_fix(format!("chmod go-w {}", program.display())))
    };
    judged.map_err(|error| error.tell(unix::TOLD))
}

fn unasked(cause: std::io::Error) -> Error {
    Error::io("cannot ask for a user of the system", cause).tell(unix::TOLD)
}

/// The server's own program, which a checkpassword program executes. After an upgrade the running one has no name any more; the new one
/// under the same name does as well.
fn own_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let name = program.to_str()?;
    Some(PathBuf::from(name.strip_suffix(" (deleted)").unwrap_or(name)))
}
