//! `pop3d --sandbox-selftest`: each role is entered as the server enters it, and from inside tries what must fail.
//!
//! Every attempt has a process of its own, so that one that succeeds changes nothing for the next. What is reached for is made for the
//! test and removed afterwards: a spool, another user's mail, a port, a socket; the monitor is this process.

use super::login::Cell;
use super::message::{Mechanism, Message};
use super::monitor::become_child;
use super::notice::{Admitted, Notice};
use super::{errand, inetd, overhaul, places, recorder, sendmail, spool, vault, verifier};
use crate::auth::{self, Account};
use crate::config::{Config, Format};
use crate::error::{Error, Kind, Result};
use crate::log::SessionId;
use crate::sys::attempt::{Attempt, Targets};
use crate::sys::directory::Directory;
use crate::sys::privileges::{self, Ids};
use crate::sys::process::{Ended, fork, wait_for};
use crate::sys::sandbox::Missing;
use crate::sys::socket;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A role that strangers, or those who are logged in, could take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Login,
    /// The verifier's child that asks the secrets database.
    Secrets,
    Session,
    Helper,
    Sendmail,
    Recorder,
    /// A look into a maildrop for `mailusradm`.
    Errand,
    /// The work of `mailusradm` that makes a maildrop anew.
    Overhaul,
}

impl Role {
    const ALL: [Self; 8] = [
        Self::Login,
        Self::Secrets,
        Self::Session,
        Self::Helper,
        Self::Sendmail,
        Self::Recorder,
        Self::Errand,
        Self::Overhaul,
    ];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Secrets => "secrets",
            Self::Session => "session",
            Self::Helper => "spool helper",
            Self::Sendmail => "sendmail",
            Self::Recorder => "recorder",
            Self::Errand => "errand",
            Self::Overhaul => "overhaul",
        }
    }

    /// What must fail in it. Sendmail is a program of the user's choice of words, with all of the user's rights: no fence, and where
    /// there is one user only, nothing that is not that user's.
    fn attempts(self, alone: bool) -> Vec<Attempt> {
        let of_others = [Attempt::ReadMaildrop, Attempt::ReadNeighbour];
        let rights = [Attempt::Trace, Attempt::ReadMemory, Attempt::Signal, Attempt::BecomeRoot];
        match self {
            Self::Sendmail if alone => vec![Attempt::BecomeRoot],
            Self::Sendmail => of_others.into_iter().chain(rights).collect(),
            // They work in the spool, and no mailbox there is another user's.
            Self::Helper | Self::Errand | Self::Overhaul if alone => {
                Attempt::ALL.iter().copied().filter(|one| *one != Attempt::ReadNeighbour).collect()
            }
            _ => Attempt::ALL.to_vec(),
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was denied, with this error number.
    Denied(i32),
    /// It succeeded.
    Allowed,
    /// It failed for a reason that may not be there next time: an error number, or the process was ended by a signal.
    Unclear(Option<i32>),
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) role: Role,
    pub(crate) attempt: Attempt,
    pub(crate) outcome: Outcome,
}

/// What the test has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Each attempt of each role.
    pub(crate) trials: Vec<Trial>,
    /// What the kernel lacks.
    pub(crate) missing: Missing,
}

/// The status of a child whose attempt succeeded, or that is the program that it executed.
const ALLOWED: u8 = 0;
/// Of one that was not in its role.
const NOT_ENTERED: u8 = 255;
/// Of one whose error has no number.
const NO_NUMBER: u8 = 254;

/// Enters each role and tries. The configuration says where, and with which locks.
///
/// # Errors
/// A role cannot be entered, or what is reached for cannot be made.
pub(crate) fn run(config: &Config) -> Result<Findings> {
    let stage = Stage::make(config)?;
    let mut findings = Findings::default();
    for role in Role::ALL {
        let missing = stage.look(role)?;
        findings.missing.seccomp |= missing.seccomp;
        findings.missing.landlock |= missing.landlock;
        for attempt in role.attempts(stage.alone) {
            findings.trials.push(Trial { role, attempt, outcome: stage.try_one(role, attempt)? });
        }
    }
    Ok(findings)
}

/// What is there to be reached for, and who reaches.
struct Stage {
    place: PathBuf,
    config: Config,
    cell: Cell,
    account: Account,
    state: Directory,
    /// Who owns the secrets.
    owner: Option<Ids>,
    targets: Targets,
    /// Whether there are no other users: without root's rights.
    alone: bool,
    _listeners: (TcpListener, UnixListener),
}

/// A user id of nobody's, for the other user.
const OTHER_UID: u32 = 65_533;

impl Stage {
    fn make(given: &Config) -> Result<Self> {
        let alone = !privileges::is_root();
        let place = place(given, alone)?;
        let made = Self::furnish(given, &place, alone);
        if made.is_err() {
            let _ = fs::remove_dir_all(&place);
        }
        made
    }

    fn furnish(given: &Config, place: &Path, alone: bool) -> Result<Self> {
        let failed = |cause| Error::io(format!("cannot make what is needed in {}", place.display()), cause);
        let mut config = given.clone();
        config.run_dir = place.join("run");
        config.state_dir = place.join("state");
        config.auth.secrets = place.join("secrets/mailauth.db");
        config.auth.key = place.join("key/mailauth.key");
        config.maildrop.format = Format::Mbox;
        let cell = Cell {
            root: places::prepare(&config)?,
            ids: inetd::login_ids()?,
            memory: config.limits.max_login_memory,
        };
        let user = if alone { privileges::own() } else { nobody() };
        let account = Account {
            name: "selftest".to_owned(),
            uid: user.uid,
            gid: user.gid,
            home: place.join("state"),
            maildrop: Some(place.join("spool/selftest")),
            limits: Default::default(),
        };
        make_spool(&place.join("spool"), alone).map_err(failed)?;
        let owner = (!alone).then(|| privileges::first_user(&["pop"]).unwrap_or_else(nobody));
        make_directory(&place.join("key"), 0o755).map_err(failed)?;
        make_directory(&place.join("secrets"), 0o700).map_err(failed)?;
        let ids = owner.as_ref().map(|owner| (owner.uid, owner.gid)).unzip();
        chown(place.join("secrets"), ids.0, ids.1).map_err(failed)?;
        let own = account.mailbox(&config);
        let (neighbour, maildrop) = (place.join("spool/neighbour"), place.join("others/mail"));
        make_directory(&place.join("others"), 0o755).map_err(failed)?;
        make_directory(&place.join("open"), 0o1777).map_err(failed)?;
        for (path, uid) in [(&own, user.uid), (&neighbour, OTHER_UID), (&maildrop, OTHER_UID)] {
            make_mailbox(path, (!alone).then_some(uid)).map_err(failed)?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let socket = place.join("open/socket");
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).map_err(failed)?;
        let file = place.join("others/file");
        fs::write(&file, b"for everybody").map_err(failed)?;
        fs::set_permissions(&file, Permissions::from_mode(0o644)).map_err(failed)?;
        let targets = Targets {
            file,
            directory: place.join("open"),
            maildrop,
            neighbour,
            port: port.local_addr().map_err(failed)?,
            socket,
            monitor: std::process::id(),
        };
        let state = places::state_directory(&config, &account)?;
        let place = place.to_owned();
        Ok(Self { place, config, cell, account, state, owner, targets, alone, _listeners: (port, listener) })
    }

    fn admitted(&self) -> Admitted {
        Admitted {
            user: self.account.name.clone(),
            uid: self.account.uid,
            gid: self.account.gid,
            home: self.account.home.clone(),
            maildrop: self.account.mailbox(&self.config),
            mechanism: Mechanism::Pass,
            tls: String::new(),
        }
    }

    /// Enters a role, in a child, by the code with which the server enters it. What the role holds open is kept.
    fn enter(&self, role: Role) -> Result<(Missing, Box<dyn std::any::Any>)> {
        let path = self.account.mailbox(&self.config);
        Ok(match role {
            Role::Login => (self.cell.enter(false)?, Box::new(())),
            Role::Secrets => (auth::enter_as_owner(&self.config, self.owner.as_ref())?, Box::new(())),
            Role::Session => {
                let (found, missing) = verifier::confine(&self.account, &path, &self.state, &self.config)?;
                (missing, Box::new(found))
            }
            Role::Helper => {
                let (local, missing) = spool::enter(&self.admitted(), &self.config)?;
                (missing, Box::new(local))
            }
            Role::Recorder => {
                let (place, missing) = recorder::enter(self.cell.ids.as_ref(), &self.config, false)?;
                (missing, Box::new(place))
            }
            Role::Errand => {
                let (site, missing) = errand::enter(&self.config, &self.account)?;
                (missing, Box::new(site))
            }
            Role::Overhaul => {
                let state = places::state_directory(&self.config, &self.account)?;
                let (ground, missing) = overhaul::enter(&self.config, &self.account, state)?;
                (missing, Box::new(ground))
            }
            Role::Sendmail => (sendmail::enter(&self.admitted()).map(|()| Missing::default())?, Box::new(())),
        })
    }

    /// What a role lacks of its fence.
    fn look(&self, role: Role) -> Result<Missing> {
        let (ours, theirs) = socket::pair().map_err(|cause| Error::io("cannot make a socket pair", cause))?;
        let child = fork(|| {
            self.become_child(&[theirs.as_raw_fd()]);
            let answer = match self.enter(role) {
                Ok((missing, _)) => Notice::Remark(format!("{}{}", missing.seccomp, missing.landlock)),
                Err(error) => Notice::Fault(error),
            };
            // The parent waits for it.
            let _ = socket::send(&theirs, &answer.to_bytes(), &[], true);
            0
        })?;
        drop(theirs);
        let answer = vault::hear(&ours);
        wait_for(child);
        match answer {
            Some(Notice::Remark(text)) => {
                Ok(Missing { seccomp: text.starts_with("true"), landlock: text.ends_with("true") })
            }
            Some(Notice::Fault(error)) => Err(error),
            _ => Err(not_entered(role)),
        }
    }

    fn try_one(&self, role: Role, attempt: Attempt) -> Result<Outcome> {
        let child = fork(|| {
            self.become_child(&[]);
            let Ok(_held) = self.enter(role) else { return NOT_ENTERED };
            match attempt.make(&self.targets) {
                Ok(()) => ALLOWED,
                Err(error) => {
                    error.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(NO_NUMBER)
                }
            }
        })?;
        Ok(match wait_for(child) {
            Some(Ended::Status(0)) => Outcome::Allowed,
            Some(Ended::Status(number)) if number == i32::from(NOT_ENTERED) => return Err(not_entered(role)),
            Some(Ended::Status(number)) if number == i32::from(NO_NUMBER) => Outcome::Unclear(None),
            Some(Ended::Status(number)) if is_denial(number) => Outcome::Denied(number),
            Some(Ended::Status(number)) => Outcome::Unclear(Some(number)),
            Some(Ended::Signal(_)) | None => Outcome::Unclear(None),
        })
    }

    /// As for every role, but for the directory that the stage holds open for the session.
    fn become_child(&self, kept: &[i32]) {
        use std::os::fd::AsFd;
        let mut all = kept.to_vec();
        all.push(self.state.as_fd().as_raw_fd());
        become_child(&all);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed is of no use to anybody.
        let _ = fs::remove_dir_all(&self.place);
    }
}

/// Refused by a rule; or the kernel has no such call at all.
fn is_denial(number: i32) -> bool {
    use std::io::ErrorKind::{PermissionDenied, Unsupported};
    matches!(std::io::Error::from_raw_os_error(number).kind(), PermissionDenied | Unsupported)
}

fn not_entered(role: Role) -> Error {
    Error::new(Kind::Temporary, format!("the role {} cannot be entered", role.name()))
}

/// Below a directory that is root's alone, so that a user's helper gets the group of the spool; else where temporary files lie.
fn place(config: &Config, alone: bool) -> Result<PathBuf> {
    let temporary = std::env::temp_dir();
    let above = match alone {
        true => temporary,
        // What is not installed yet is not made.
        false => config.run_dir.ancestors().find(|above| above.exists()).map_or(temporary, Path::to_owned),
    };
    let place = above.join(format!("pop3d-selftest-{}", SessionId::random()?));
    make_directory(&place, 0o711)
        .map_err(|cause| Error::io(format!("cannot make {}", place.display()), cause))?;
    Ok(place)
}

fn nobody() -> Ids {
    let none = Ids { uid: 65_534, gid: 65_534, groups: Vec::new() };
    privileges::first_user(&["nobody"]).unwrap_or(none)
}

fn make_directory(path: &Path, mode: u32) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// As the system's spool: with its group and writable for it.
fn make_spool(path: &Path, alone: bool) -> std::io::Result<()> {
    make_directory(path, 0o755)?;
    if let Ok(system) = fs::metadata("/var/mail")
        && !alone
    {
        chown(path, None, Some(system.gid()))?;
        fs::set_permissions(path, Permissions::from_mode(0o2775))?;
    }
    Ok(())
}

/// For its owner alone.
fn make_mailbox(path: &Path, owner: Option<u32>) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    owner.map_or(Ok(()), |owner| std::os::unix::fs::fchown(&file, Some(owner), None))
}
