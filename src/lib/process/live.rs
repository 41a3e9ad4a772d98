//! Sessions that live, seen from outside: by the locks of their maildrops.
//!
//! A lock that the kernel says is held is a session; the file it is on was written by root before the session had the user's rights,
//! and nobody else can open it. Nothing else is believed: not that a file is there (it is never removed), not a pid in it whose
//! process holds no lock, and no word of the session's own. An ordinary user cannot read the file, but the own maildrop's lock has
//! a name that can be computed, an owner in the kernel's list, and a time.

use super::places;
use crate::auth::Account;
use crate::config::{Config, defaults};
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{self, Identity, Status};
use crate::sys::held::{self, Held};
use crate::sys::{clock, privileges};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest line of a lock file that is read.
const LONGEST: u64 = 512;

/// What the program of a session is called.
const PROGRAM: &str = "pop3d";

/// A session that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    /// Who.
    pub(crate) user: String,
    /// The client's address, or `local`; none where we may not know.
    pub(crate) client: Option<String>,
    /// Since when, in seconds since 1970.
    pub(crate) since: u64,
    /// For how long it has done nothing; none where we may not know.
    pub(crate) idle: Option<Duration>,
    /// Its process.
    pub(crate) pid: u32,
    /// Its id in the log; none where we may not know.
    pub(crate) id: Option<String>,
    /// The lock that it holds.
    lock: PathBuf,
    identity: Identity,
}

/// The configuration as the server has it that root runs, for an ordinary user who looks at it: without root's rights a server has its
/// locks elsewhere.
pub(crate) fn as_served(mut config: Config) -> Config {
    let is_roots = || fs::symlink_metadata(&config.state_dir).is_ok_and(|found| found.uid() == 0);
    if !privileges::is_root() && is_roots() && config.run_dir == config.state_dir.join("run") {
        config.run_dir = defaults::RUN_DIR.into();
    }
    config
}

/// Whether we may see all sessions: root, and who owns the installation.
pub(crate) fn may_see_all(config: &Config) -> bool {
    privileges::is_root()
        || fs::metadata(config.run_dir.join("session"))
            .is_ok_and(|found| found.uid() == privileges::own().uid)
}

/// All sessions, the oldest first.
///
/// # Errors
/// The locks cannot be looked at.
pub(crate) fn all(config: &Config) -> Result<Vec<Live>> {
    let path = config.run_dir.join("session");
    let failed = |cause| Error::io(format!("cannot list {}", path.display()), cause);
    let directory = match Directory::open(&path) {
        Ok(directory) => directory,
        // No server has run since the machine started.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let names = directory.names("").map_err(failed)?;
    let locks = locks()?;
    let mut live: Vec<Live> =
        names.iter().filter_map(|name| look(&directory, &path, name, &locks, None)).collect();
    live.sort_by(|one, other| (one.since, &one.user).cmp(&(other.since, &other.user)));
    Ok(live)
}

/// The session of an account, if there is one.
///
/// # Errors
/// The locks cannot be looked at.
pub(crate) fn of(config: &Config, account: &Account) -> Result<Option<Live>> {
    let (path, name) = places::lock_of(config, account);
    let failed = |cause| Error::io(format!("cannot look at {}", path.display()), cause);
    match Directory::open(&path) {
        Ok(directory) => Ok(look(&directory, &path, &name, &locks()?, Some(account))),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed(cause)),
    }
}

fn locks() -> Result<Vec<Held>> {
    held::all().map_err(|cause| Error::io(format!("cannot read {}", held::LIST), cause))
}

/// The session that holds a lock. For an account of ours the file need not be readable.
fn look(
    directory: &Directory,
    path: &Path,
    name: &str,
    locks: &[Held],
    account: Option<&Account>,
) -> Option<Live> {
    let (found, line) = match directory.open_to_read(name) {
        Ok(mut file) => {
            let mut line = String::new();
            // What is no text was not written by a server.
            let _ = file.by_ref().take(LONGEST).read_to_string(&mut line);
            (file::status(&file).ok()?, line)
        }
        Err(_) => (directory.status(name).ok()??, String::new()),
    };
    let written = Written::parse(&line);
    let pid = holder(&found, written.as_ref().map(|written| written.pid), locks)?;
    // Between taking the lock and writing the line nothing is known but who holds it.
    let written = written.filter(|written| written.pid == pid);
    let lock = path.join(name);
    let changed = u64::try_from(found.identity.modified.seconds).unwrap_or(0);
    let since = written.as_ref().map_or(changed, |written| written.since);
    let user = written.as_ref().map(|written| written.user.clone());
    Some(Live {
        user: user.or_else(|| account.map(|account| account.name.clone()))?,
        client: written.as_ref().map(|written| written.client.clone()),
        since,
        idle: idle(pid, &found),
        pid,
        id: written.map(|written| written.id),
        lock,
        identity: found.identity,
    })
}

fn holder(lock: &Status, written: Option<u32>, locks: &[Held]) -> Option<u32> {
    let on_it = |held: &&Held| held.kind == held::Kind::Flock && held.is_on(&lock.identity, written);
    locks.iter().find(on_it)?.pid
}

/// What the verifier writes into the lock file.
struct Written {
    pid: u32,
    user: String,
    since: u64,
    id: String,
    client: String,
}

impl Written {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let mut next = || words.next().map(str::to_owned);
        Some(Self {
            pid: next()?.parse().ok()?,
            user: next()?,
            since: next()?.parse().ok()?,
            id: next()?,
            client: next()?,
        })
    }
}

/// For how long the session has done nothing: see `session/presence.rs`.
fn idle(pid: u32, lock: &Status) -> Option<Duration> {
    if lock.uid != 0 || !privileges::is_root() {
        let changed = lock.identity.modified.seconds;
        let touched = u64::try_from(changed).ok().map(Duration::from_secs);
        return touched.filter(|_| lock.uid != 0).map(|touched| whole(clock::wall().saturating_sub(touched)));
    }
    let shown = descriptors(pid)?.into_iter().find(|(_, identity)| identity.same_file(&lock.identity))?.0;
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{shown}")).ok()?;
    let position = info.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()?;
    // A session that has not begun yet has shown nothing.
    (position > 0).then(|| whole(clock::since_boot().saturating_sub(Duration::from_secs(position))))
}

fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// The open descriptors of a process with what they are on; none where we may not look.
fn descriptors(pid: u32) -> Option<Vec<(String, Identity)>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let each = entries.flatten().filter_map(|entry| {
        let found = fs::metadata(entry.path()).ok()?;
        let identity = Identity { device: found.dev(), inode: found.ino(), ..Identity::default() };
        Some((entry.file_name().into_string().ok()?, identity))
    });
    Some(each.collect())
}

impl Live {
    /// Whether this still is so: the same process holds the same lock, and is a server's.
    ///
    /// # Errors
    /// The locks cannot be looked at, or the process is another program's.
    pub(crate) fn is_still(&self) -> Result<bool> {
        let held = locks()?.into_iter().any(|held| {
            held.kind == held::Kind::Flock
                && held.pid == Some(self.pid)
                && held.is_on(&self.identity, held.pid)
        });
        let same = fs::symlink_metadata(&self.lock)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.identity.device, self.identity.inode));
        // Who may look sees the very descriptor.
        let open = descriptors(self.pid)
            .is_none_or(|all| all.iter().any(|(_, identity)| identity.same_file(&self.identity)));
        if !(held && same && open) {
            return Ok(false);
        }
        match program(self.pid) {
            Some(name) if name.contains(PROGRAM) => Ok(true),
            Some(name) => Err(Error::new(
                Kind::Permanent,
                format!(
                    "{} is locked by {name} (pid {}), which is no session",
                    self.lock.display(),
                    self.pid
                ),
            )),
            None => Ok(false),
        }
    }
}

/// The name of a process's program; what the process calls itself where we may not see it.
fn program(pid: u32) -> Option<String> {
    let file = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name =
        file.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    name.or_else(|| fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned()))
}
