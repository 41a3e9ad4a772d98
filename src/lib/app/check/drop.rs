//! One user's maildrop: in use, room, path, content, locks of others. The path is gone, and the file opened, with the user's rights,
//! as a login does it; what is in it is read by an errand, a child that has become the user behind a session's fence.

use super::{Finding, Probes, quoted};
use crate::auth::Account;
use crate::config::{Config, Format, Lock};
use crate::maildrop;
use crate::process::{errand, live, places};
use crate::sys::clock::{self, Zone};
use crate::sys::directory::Directory;
use crate::sys::held::{self, Held};
use crate::sys::{file, lock, names, privileges};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A dotlock that was not touched for so long is nobody's (`maildrop/mbox/dotlock.rs`).
const STALE: u64 = 300;

/// Whether a session has the maildrop now.
pub(super) fn in_use(config: &Config, account: &Account) -> Vec<Finding> {
    let user = &account.name;
    match live::of(config, account) {
        Ok(None) => vec![Finding::ok("no other session has the maildrop")],
        Ok(Some(live)) => {
            let since = Zone::local().time(i64::try_from(live.since).unwrap_or(i64::MAX));
            let client = live.client.map(|client| format!(" from {client}")).unwrap_or_default();
            vec![Finding::problem(
                format!("in use: {user} is logged in{client} since {since} (pid {})", live.pid),
                format!("wait for its end, or mailusradm kick {user}"),
            )]
        }
        Err(error) => {
            vec![Finding::warning(format!("session: {error}"), format!("sudo mailusradm why {user}"))]
        }
    }
}

/// Whether the last login was too short a time ago.
pub(super) fn delayed(config: &Config, account: &Account, probes: &Probes<'_>) -> Option<Finding> {
    let (user, left) = (&account.name, places::login_wait(config, account)?);
    Some(Finding::problem(
        format!("login delay: {user} logged in a moment ago and may again in {left} s"),
        format!(
            "wait, or let the client look less often; mailauth limit {user} --login-delay 0 or a lower login_delay under \
             [limits] in {} shortens it",
            probes.file().display()
        ),
    ))
}

/// Whether there is room for what a login writes.
pub(super) fn room(config: &Config, account: &Account) -> Vec<Finding> {
    let mailbox = account.mailbox(config);
    let state = config.state_dir.join("maildrop");
    let mut findings = Vec::new();
    let mut look = |what: &str, path: &Path, needed: bool| {
        let Some(path) = path.ancestors().find(|path| path.is_dir()) else { return };
        if file::has_room(path).unwrap_or(true) {
            return;
        }
        let finding = Finding::problem(
            format!("disk: the file system of {what} {} is full", path.display()),
            format!("make room: df -h {0} and df -i {0}", quoted(path)),
        );
        findings.push(if needed { finding } else { finding.no_worse_than_warning() });
    };
    look("run_dir", &config.run_dir, true);
    look("state_dir", &state, !state.join(&account.name).is_dir());
    // Logging in needs none there, deleting does.
    look("the maildrop in", mailbox.parent().unwrap_or(&mailbox), false);
    if findings.is_empty() {
        findings.push(Finding::ok("there is room for what a login writes"));
    }
    findings
}

/// Path, file and content.
pub(super) fn findings(config: &Config, account: &Account) -> Vec<Finding> {
    let path = account.mailbox(config);
    let ids = places::session_ids(account);
    let format = config.maildrop.format;
    let opened = privileges::with_rights_of(&ids, || {
        let found = maildrop::find(format, &path, account.uid);
        found.map(drop).map_err(|error| (error.to_string(), closed_at(&path)))
    });
    match opened {
        Ok(Ok(())) => {}
        Ok(Err((what, closed))) => return vec![not_opened(&what, closed.as_deref(), &path, account)],
        Err(error) => return vec![Finding::problem(format!("maildrop: {error}"), "sudo mailusradm why")],
    }
    let mut findings = Vec::new();
    let read = errand::look(
        config,
        account,
        |site, _: errand::Tell<'_, ()>| site.open().map(|drop| (drop.count(), drop.octets())),
        |()| Ok(()),
    );
    match read {
        Ok((count, octets)) => {
            findings
                .push(Finding::ok(format!("maildrop {}: {count} messages, {octets} octets", path.display())));
        }
        Err(error) => {
            let fix = format!("mailusradm check {}", account.name);
            return vec![Finding::problem(format!("maildrop: {error}"), fix)];
        }
    }
    if format != Format::Maildir && !path.is_dir() {
        findings.extend(held_by_others(config, account, &path));
    }
    findings
}

/// The first directory on the way that we may not enter.
fn closed_at(path: &Path) -> Option<String> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let closed = above.into_iter().find(|directory| {
        let looked = fs::symlink_metadata(directory.join("."));
        looked.is_err_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
    })?;
    Some(quoted(closed))
}

/// What a login says of something that is no maildrop of the user's, and what to type.
fn not_opened(what: &str, closed: Option<&str>, path: &Path, account: &Account) -> Finding {
    let shown = quoted(path);
    let found = fs::symlink_metadata(path).ok();
    let user = &account.name;
    let fix = match (closed, found) {
        (Some(directory), _) => format!("chmod a+x {directory}"),
        (None, Some(found)) if found.is_symlink() => {
            format!("ls -l {shown}: put the mailbox itself there, or set path under [maildrop]")
        }
        (None, Some(found)) if found.uid() != account.uid => {
            format!("ls -l {shown}, and if it is hers or his: chown {user} {shown}")
        }
        (None, Some(found)) if found.is_file() && found.nlink() > 1 => {
            format!(
                "find {} -samefile {shown}, and remove the other names",
                quoted(path.parent().unwrap_or(path))
            )
        }
        (None, Some(found)) if found.is_file() => format!("chmod u+rw {shown}"),
        (None, Some(found)) if found.is_dir() && what.contains("no Maildir") => {
            format!("mkdir {shown}/cur {shown}/new {shown}/tmp, or put the directory aside")
        }
        (None, Some(found)) if found.is_dir() => {
            format!("chmod u+rwx {shown}, or set format under [maildrop]")
        }
        (None, _) => format!("ls -l {shown}: put aside what is no mailbox"),
    };
    Finding::problem(format!("maildrop: {what}"), fix)
}

/// Locks that other programs have on a mailbox. A login to one that has not changed needs none.
fn held_by_others(config: &Config, account: &Account, path: &Path) -> Vec<Finding> {
    let ids = places::session_ids(account);
    let known = privileges::with_rights_of(&ids, || {
        let above = Directory::open(&config.state_dir.join("maildrop"));
        let state = above
            .and_then(|above| above.open_directory(&account.name))
            .or_else(|_| Directory::nowhere())
            .ok()?;
        maildrop::glance::glance(config.maildrop.format, path, account.uid, &state).ok()??.summary
    });
    let needed = !matches!(known, Ok(Some(_)));
    let judged = |finding: Finding| if needed { finding } else { finding.no_worse_than_warning() };
    let locks = &config.maildrop.locks;
    // Nothing in the spool is opened as root.
    let held = privileges::with_rights_of(&ids, || {
        let dotlock = locks.contains(&Lock::Dotlock).then(|| dotlock(path)).flatten();
        let kernel = locks.contains(&Lock::Fcntl).then(|| kernel_lock(path)).flatten();
        [dotlock, kernel]
    });
    let mut findings: Vec<Finding> = held.unwrap_or_default().into_iter().flatten().map(judged).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("no other program has the mailbox locked"));
    }
    findings
}

fn dotlock(path: &Path) -> Option<Finding> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = Path::new(&name);
    let found = fs::symlink_metadata(name).ok()?;
    let touched = u64::try_from(found.mtime()).unwrap_or(0);
    let age = clock::wall().as_secs().saturating_sub(touched);
    let (shown, owner) = (quoted(name), names::user(found.uid()));
    let directory = path.parent()?;
    let pid = found.is_file().then(|| pid_in(directory, name)).flatten();
    let lives = pid.is_some_and(lock::process_exists);
    if age >= STALE && !lives {
        return None;
    }
    let who =
        pid.map(|pid| format!(", process {pid}{}", if lives { "" } else { " (gone)" })).unwrap_or_default();
    Some(Finding::problem(
        format!("locks: the mailbox is locked by {shown} ({owner}{who}), touched {age} s ago"),
        format!("wait for the program that delivers mail, or if it is gone: rm {shown}"),
    ))
}

/// The number in a dotlock, which is for everybody to read; nothing blocks, no link is followed.
fn pid_in(directory: &Path, name: &Path) -> Option<i32> {
    let file = Directory::open(directory).ok()?.open_to_read(name.file_name()?.to_str()?).ok()?;
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn kernel_lock(path: &Path) -> Option<Finding> {
    let found = fs::symlink_metadata(path).ok()?;
    let identity = file::Identity { device: found.dev(), inode: found.ino(), ..file::Identity::default() };
    let held: Held = held::all()
        .ok()?
        .into_iter()
        .find(|held| held.kind == held::Kind::Record && held.is_on(&identity, None))?;
    let who = held.pid.map_or_else(|| "another program".to_owned(), |pid| format!("process {pid}"));
    Some(Finding::problem(
        format!("locks: {who} has the mailbox {} locked (fcntl)", quoted(path)),
        format!("wait for it, or see what it is: fuser -v {}", quoted(path)),
    ))
}
