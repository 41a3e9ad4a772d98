//! `--check`: the mail spool. Nothing is made in it: what is possible follows from owners, groups and modes.

use super::{Finding, Probes, Severity, quoted};
use crate::config::{Config, Format, Lock};
use crate::error::Error;
use crate::process::places;
use crate::sys;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories of a hashed spool that are looked at.
const MOST_DIRECTORIES: usize = 4096;

/// Directories that a finding names.
const MOST_NAMED: usize = 6;

pub(super) fn findings(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let template = &config.maildrop.path;
    let Some(spool) = template.spool() else {
        return vec![Finding::ok(format!("maildrops {template}: each in a home directory"))];
    };
    let text = template.to_string();
    let below = text.strip_prefix(&*spool.to_string_lossy()).unwrap_or(&text);
    let levels = below.trim_start_matches('/').matches('/').count();
    if levels == 0 || !spool.is_dir() {
        return vec![finding(judge(spool, config, probes), &[spool])];
    }
    hashed(spool, levels, config, probes)
}

/// What is wrong with a directory of mailboxes.
struct Judgement {
    severity: Severity,
    what: String,
    /// The command that mends it, without the directory's name; or a whole sentence.
    fix: Fix,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fix {
    None,
    /// Owner, group and mode of a spool.
    Mode,
    Make,
    Say(String),
}

fn judge(spool: &Path, config: &Config, probes: &Probes<'_>) -> Judgement {
    let judged = |severity, what: String, fix| Judgement { severity, what, fix };
    let choose = || Fix::Say(format!("set another path under [maildrop] in {}", probes.file().display()));
    let found = match fs::metadata(spool) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => return judged(Severity::Problem, "is not a directory".to_owned(), choose()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && probes.root => {
            return judged(Severity::Problem, "is missing".to_owned(), Fix::Make);
        }
        Err(error) => {
            let what = Error::io("cannot be looked at", error).to_string();
            return judged(if probes.root { Severity::Problem } else { Severity::Warning }, what, choose());
        }
    };
    let mode = found.mode() & 0o7777;
    let (owner, group) = (sys::names::user(found.uid()), sys::names::group(found.gid()));
    if found.uid() != sys::privileges::own().uid {
        return match probes.root {
            true => judged(
                Severity::Problem,
                format!("belongs to {owner}, who can replace everybody's mail"),
                Fix::Mode,
            ),
            false => judged(
                Severity::Warning,
                format!("belongs to {owner}: not judged"),
                Fix::Say("sudo pop3d --check".to_owned()),
            ),
        };
    }
    if mode & 0o1002 == 0o0002 {
        let what = format!("has mode {mode:04o}: everybody can remove everybody's mail");
        return judged(Severity::Problem, what, Fix::Mode);
    }
    let maildirs = config.maildrop.format == Format::Maildir;
    if mode & 0o0002 != 0 {
        let planted = match maildirs {
            true => "users can plant Maildirs, which block logins",
            false => "users can plant mailboxes and lock files, which block logins and updates",
        };
        return judged(Severity::Warning, format!("has mode {mode:04o}: {planted}"), Fix::Mode);
    }
    let lacking = match probes.root {
        // Nothing is made beside a Maildir.
        _ if maildirs => None,
        true => no_helper(spool, &found),
        false => unwritable(mode),
    };
    match lacking {
        Some(why) => {
            let dotlock = config.maildrop.locks.contains(&Lock::Dotlock);
            let files = if dotlock { "lock files and temporary files" } else { "temporary files" };
            let what = format!(
                "{why}: sessions cannot make {files} in it, so QUIT can delete all messages or the newest, not others"
            );
            judged(Severity::Problem, what, Fix::Mode)
        }
        None => judged(Severity::Ok, format!("mode {mode:04o}, owner {owner}, group {group}"), Fix::None),
    }
}

/// Why the spool helper does not get the directory's group; the server's own rule decides.
fn no_helper(spool: &Path, found: &fs::Metadata) -> Option<String> {
    if places::spool_group(&spool.join("mailbox")).is_some() {
        return None;
    }
    Some(if found.gid() == 0 {
        "has group root, which no session gets".to_owned()
    } else if found.mode() & 0o020 == 0 {
        format!(
            "has mode {:04o}, so group {} may not write",
            found.mode() & 0o7777,
            sys::names::group(found.gid())
        )
    } else {
        "is below a directory that others than root can change".to_owned()
    })
}

/// Without root's rights all processes are the owner's.
fn unwritable(mode: u32) -> Option<String> {
    (mode & 0o300 != 0o300).then(|| format!("has mode {mode:04o}, so its owner may not write"))
}

fn finding(judgement: Judgement, directories: &[&Path]) -> Finding {
    let Judgement { severity, what, fix } = judgement;
    let shown = directories.first().map(|path| path.display().to_string()).unwrap_or_default();
    let others = match directories.len() {
        0 | 1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    let fix = match fix {
        Fix::None => None,
        Fix::Mode => Some(format!("chown root:mail {0} && chmod 2775 {0}", named(directories))),
        Fix::Make => Some(format!("install -d -o root -g mail -m 2775 {}", named(directories))),
        Fix::Say(what) => Some(what),
    };
    Finding { severity, what: format!("mail spool {shown}{others} {what}"), fix }
}

fn named(directories: &[&Path]) -> String {
    let mut names: Vec<String> = directories.iter().take(MOST_NAMED).map(|path| quoted(path)).collect();
    if directories.len() > MOST_NAMED {
        names.push("...".to_owned());
    }
    names.join(" ")
}

/// A spool with directories below it: those that are there, and those that the users of this machine need.
fn hashed(spool: &Path, levels: usize, config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let mut leaves = BTreeSet::new();
    walk(spool, levels, &mut leaves);
    leaves.extend(users(config, probes));
    let judged: Vec<(PathBuf, Judgement)> = leaves
        .into_iter()
        .map(|leaf| {
            let judgement = judge(&leaf, config, probes);
            (leaf, judgement)
        })
        .collect();
    let mut findings = Vec::new();
    let (missing, there): (Vec<_>, Vec<_>) =
        judged.into_iter().partition(|(_, judgement)| judgement.fix == Fix::Make);
    if !missing.is_empty() {
        // A user without it has an empty maildrop; what delivers cannot deliver.
        let what = "is missing, so mail for users of this machine has no place".to_owned();
        let directories: Vec<&Path> = missing.iter().map(|(leaf, _)| leaf.as_path()).collect();
        findings.push(finding(Judgement { severity: Severity::Warning, what, fix: Fix::Make }, &directories));
    }
    let mut there = there;
    while let Some((leaf, first)) = there.pop() {
        let (same, rest) =
            there.into_iter().partition(|(_, other): &(PathBuf, Judgement)| other.what == first.what);
        let same: Vec<(PathBuf, Judgement)> = same;
        let directories: Vec<&Path> =
            std::iter::once(leaf.as_path()).chain(same.iter().map(|(leaf, _)| leaf.as_path())).collect();
        findings.push(finding(first, &directories));
        there = rest;
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("mail spool {}: no directories yet", spool.display())));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn walk(directory: &Path, levels: usize, leaves: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if leaves.len() >= MOST_DIRECTORIES {
            return;
        }
        let path = entry.path();
        match levels {
            _ if !path.is_dir() => {}
            0 | 1 => {
                leaves.insert(path);
            }
            more => walk(&path, more - 1, leaves),
        }
    }
}

/// The directories of the mailboxes of users that passwd names and that may log in.
fn users(config: &Config, probes: &Probes<'_>) -> BTreeSet<PathBuf> {
    let passwd = fs::read_to_string(&probes.passwd).unwrap_or_default();
    passwd
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, _, _, home, shell] = fields.as_slice() else { return None };
            let uid = uid.parse::<u32>().ok()?;
            let person = (config.auth.min_uid.max(1)..65_000).contains(&uid)
                && !shell.ends_with("/nologin")
                && !shell.ends_with("/false");
            let mailbox = person.then(|| config.maildrop.path.expand(name, Path::new(home)))?;
            mailbox.parent().map(Path::to_owned)
        })
        .take(MOST_DIRECTORIES)
        .collect()
}
