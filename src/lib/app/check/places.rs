//! `--check`: the directories of the server's own (see `process/places.rs`, which makes and judges them alike).

use super::{Finding, Probes, Severity, quoted};
use crate::config::{Config, defaults};
use crate::error::Error;
use crate::sys;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How names begin that the server and its tools put into their directories.
const OUR_NAMES: [&str; 8] = ["auth", "check", "empty", "history", "maildrop", "run", "session", "verify"];

pub(super) fn findings(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let (state, run) = (&config.state_dir, &config.run_dir);
    if is_roots(state, probes) {
        return vec![not_judged(state)];
    }
    let mut findings = vec![directory("state_dir", state, &["maildrop"], probes)];
    let found = directory("run_dir", run, &["session", "empty"], probes);
    let usable = found.severity != Severity::Problem;
    let made = !run.exists();
    // The trial of locks says what becomes of one that is missing.
    if !made || found.severity != Severity::Ok {
        findings.push(found);
    }
    if usable {
        findings.push(locks(run, made, probes));
    }
    findings
}

/// Whether an ordinary user looks at a directory of a server that root runs.
fn is_roots(path: &Path, probes: &Probes<'_>) -> bool {
    let missing = || path == Path::new(defaults::STATE_DIR);
    !probes.root && fs::symlink_metadata(path).map_or_else(|_| missing(), |found| found.uid() == 0)
}

fn not_judged(path: &Path) -> Finding {
    let home = std::env::home_dir().unwrap_or_else(|| "/home/you".into());
    Finding::warning(
        format!("state_dir {} is for a server that root runs: not judged", path.display()),
        format!(
            "sudo pop3d --check; or, for a server of your own, a file with state_dir = \"{}/poptools\" and \
             --config with its name",
            home.display()
        ),
    )
}

fn directory(key: &str, path: &Path, inner: &[&str], probes: &Probes<'_>) -> Finding {
    let shown = path.display();
    let choose = || choose(key, probes);
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            Finding::problem(format!("{key} {shown} is a symbolic link, which is not followed"), choose())
        }
        Ok(found) if !found.is_dir() => {
            Finding::problem(format!("{key} {shown} is not a directory"), choose())
        }
        Ok(found) => {
            let below = inner.iter().map(|name| path.join(name)).find_map(|path| {
                let found = fs::symlink_metadata(&path).ok()?;
                wrong(key, &path, &found, probes)
            });
            wrong(key, path, &found, probes)
                .or(below)
                .or_else(|| movable(key, path, probes))
                .unwrap_or_else(|| Finding::ok(format!("{key} {shown}")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match cannot_be_made(path, probes) {
            Some(why) => Finding::problem(format!("{key} {shown} cannot be made: {why}"), choose()),
            None => movable(key, path, probes)
                .unwrap_or_else(|| Finding::ok(format!("{key} {shown}: will be made"))),
        },
        Err(error) => Finding::problem(Error::io(format!("{key} {shown}"), error).to_string(), choose()),
    }
}

/// What the server would refuse: another owner, or others who may write.
fn wrong(key: &str, path: &Path, found: &Metadata, probes: &Probes<'_>) -> Option<Finding> {
    let (shown, typed) = (path.display(), quoted(path));
    // What others use too, like /tmp, must not be taken from them.
    let shared = found.mode() & 0o1000 != 0 || holds_other_things(path);
    if found.uid() != sys::privileges::own().uid {
        let what = format!("{key} {shown} belongs to {}", sys::names::user(found.uid()));
        let mine = probes.root && found.is_dir() && !shared;
        return Some(Finding::problem(
            what,
            if mine { format!("chown root {typed}") } else { choose(key, probes) },
        ));
    }
    if found.mode() & 0o022 != 0 {
        let what = format!("{key} {shown} may be written by others (mode {:04o})", found.mode() & 0o7777);
        let fix = if shared { choose(key, probes) } else { format!("chmod go-w {typed}") };
        return Some(Finding::problem(what, fix));
    }
    None
}

/// The server serves then, but somebody can take its directory away while it does.
fn movable(key: &str, path: &Path, probes: &Probes<'_>) -> Option<Finding> {
    let own = sys::privileges::own().uid;
    let loose = path.ancestors().skip(1).find_map(|above| {
        let found = fs::metadata(above).ok()?;
        let others = found.mode() & 0o1022;
        let trusted = [0, own].contains(&found.uid()) && (others & 0o022 == 0 || others & 0o1000 != 0);
        (!trusted).then_some(above)
    })?;
    let (shown, above) = (path.display(), loose.display());
    Some(Finding::warning(
        format!("{key} {shown}: others may change {above}, and can move it away"),
        choose(key, probes),
    ))
}

/// Why a directory cannot be made, as far as modes tell.
fn cannot_be_made(path: &Path, probes: &Probes<'_>) -> Option<String> {
    let (above, found) =
        path.ancestors().skip(1).find_map(|above| Some((above, fs::metadata(above).ok()?)))?;
    let shown = above.display();
    if !found.is_dir() {
        return Some(format!("{shown} is not a directory"));
    }
    let own = sys::privileges::own();
    let bits = match () {
        () if found.uid() == own.uid => 0o300,
        () if found.gid() == own.gid => 0o030,
        () => 0o003,
    };
    let allowed = probes.root || found.mode() & bits == bits;
    (!allowed).then(|| format!("{shown} belongs to {}", sys::names::user(found.uid())))
}

fn holds_other_things(path: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(path) else { return true };
    entries.any(|entry| {
        entry.is_ok_and(|entry| {
            let name = entry.file_name();
            !OUR_NAMES.iter().any(|ours| name.to_string_lossy().starts_with(ours))
        })
    })
}

fn choose(key: &str, probes: &Probes<'_>) -> String {
    let file = probes.file().display();
    let default = if key == "run_dir" { defaults::RUN_DIR } else { defaults::STATE_DIR };
    if probes.root {
        format!("choose another {key} in {file}, a directory of the server's own such as \"{default}\"")
    } else {
        format!("choose another {key} in {file}, a directory of yours")
    }
}

/// Whether the history that is on can be written: the log and the database in the state directory.
pub(super) fn history(config: &Config, probes: &Probes<'_>) -> Option<Finding> {
    let state = &config.state_dir;
    // A missing directory is made, or is spoken of already.
    if !config.log.history || !state.is_dir() {
        return None;
    }
    if !probes.root && fs::metadata(state).is_ok_and(|found| found.uid() != sys::privileges::own().uid) {
        return None;
    }
    let what = |place: &Path, why: &str| {
        format!("history = true, and {} {why}: sessions leave nothing in the history", quoted(place))
    };
    let off = || format!("or set history = false under [log] in {}", probes.file().display());
    if let Err(cause) = sys::file::may_write(state) {
        let why = Error::io("cannot be written", cause).to_string();
        let fix = format!("make {} writable, {}", quoted(state), off());
        return Some(Finding::warning(what(state, &why), fix));
    }
    let own = sys::privileges::own().uid;
    let bad = ["history.log", "history.db"].map(|name| state.join(name)).into_iter().find(|path| {
        let others = |found: &Metadata| !found.is_file() || found.uid() != own || found.mode() & 0o022 != 0;
        fs::symlink_metadata(path).is_ok_and(|found| others(&found))
    });
    bad.map(|path| {
        let fix = format!("chown {own} {0} && chmod 0600 {0}, or set it aside, {1}", quoted(&path), off());
        Finding::warning(what(&path, "is not a file that its owner alone can change"), fix)
    })
}

/// The kernel's locks, tried where sessions are locked.
fn locks(run: &Path, made: bool, probes: &Probes<'_>) -> Finding {
    let shown = run.display();
    let tried = sys::slots::SlotFile::open(run, "check").and_then(|file| file.try_take(0));
    let Err(error) = tried else {
        let how = if made { " (made now, to try them)" } else { "" };
        return Finding::ok(format!("locks in {shown}{how}"));
    };
    let place = quoted(run);
    let fix = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("make the file system writable, or {}", choose("run_dir", probes))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make room: df -h and df -i show the file system of {place}")
        }
        io::ErrorKind::Unsupported => {
            format!("{}, on a local file system", choose("run_dir", probes))
        }
        _ => choose("run_dir", probes),
    };
    Finding::problem(Error::io(format!("cannot lock files in {shown}"), error).to_string(), fix)
}
