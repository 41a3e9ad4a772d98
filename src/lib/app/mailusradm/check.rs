//! `mailusradm check`: what is wrong with maildrops, and with `--repair` what can be done about it.
//!
//! The inside is looked at by an errand, and mended by an overhaul: children that have become the user. Here only places are looked
//! at: permissions, with the user's rights, and whether the state directory, whose parent is root's, is the user's.

use super::{Failure, Outcome, account, may_change, only_own, remark, write_or};
use crate::app::outcome::{NO, USAGE};
use crate::auth::{Account, roster};
use crate::cli::mailusradm::Check;
use crate::config::Config;
use crate::error::{Error, Kind as ErrorKind, Result as Told};
use crate::log::SessionId;
use crate::maildrop::inspect::{self, Finding, Fix, Outcome as Became, Scene};
use crate::maildrop::mbox::open::split;
use crate::process::{errand, overhaul, places};
use crate::sys::directory::Directory;
use crate::sys::file::FileKind;
use crate::sys::privileges;
use crate::sys::socket::Peer;
use crate::ui::{Column, Kind, Progress, Table};

const COLUMNS: &[Column] = &[
    Column::new("user", Kind::Text),
    Column::new("result", Kind::Text),
    Column::new("problem", Kind::Sentence),
    Column::new("repair", Kind::Sentence),
    Column::spare("copy", Kind::Sentence, 1),
];

/// Checks the maildrops, one after the other; one that cannot be looked at stops no other.
pub(super) fn run(options: &Check, config: &Config) -> Outcome {
    let accounts = accounts(options, config)?;
    let progress = Progress::new(accounts.len(), "maildrops");
    let (mut table, mut open, mut failure) = (Table::of(COLUMNS), 0_u32, None);
    for account in &accounts {
        match of(account, options, config) {
            Ok(findings) => {
                for finding in &findings {
                    open += u32::from(!matches!(finding.outcome, Became::Mended(_)));
                    table.row(row(account, finding, options.repair));
                }
            }
            Err(error) => {
                remark(&format!("{}: {error}", account.name));
                failure = Some(error.exit_status());
            }
        }
        progress.step();
    }
    drop(progress);
    let nothing = if failure.is_none() { "nothing is wrong\n" } else { "" };
    write_or(table, &options.listing, nothing)?;
    match (failure, open) {
        (Some(status), _) => Err(Failure::new(status, "not every maildrop could be looked at")),
        (None, 0) => Ok(()),
        (None, open) if options.repair => Err(Failure::new(NO, format!("problems that are left: {open}"))),
        (None, open) => Err(Failure::new(
            NO,
            format!("problems: {open}; mailusradm check --repair does what is said, and no more"),
        )),
    }
}

fn accounts(options: &Check, config: &Config) -> Result<Vec<Account>, Failure> {
    if options.all {
        let (accounts, wrong) = roster::accounts(config)?;
        wrong.iter().for_each(|error| remark(&error.to_string()));
        return Ok(accounts);
    }
    if options.users.is_empty() {
        return Err(Failure::new(USAGE, "name users, or --all: mailusradm check --all"));
    }
    let named = |name: &String| {
        let account = account(config, name)?;
        if options.repair { may_change(account) } else { only_own(account, "look at") }
    };
    options.users.iter().map(named).collect()
}

fn row(account: &Account, finding: &Finding, repair: bool) -> Vec<serde_json::Value> {
    let (result, more, kept) = match (&finding.outcome, &finding.fix) {
        (Became::Mended(kept), _) => ("repaired", finding.repair.clone(), kept.clone()),
        (Became::Failed(why), _) => ("failed", why.clone(), None),
        (Became::Found, Some(_)) if !repair => ("found", finding.repair.clone(), None),
        (Became::Found, _) => ("refused", finding.repair.clone(), None),
    };
    vec![account.name.clone().into(), result.into(), finding.what.clone().into(), more.into(), kept.into()]
}

/// What is wrong with one maildrop, and what became of it.
fn of(account: &Account, options: &Check, config: &Config) -> Told<Vec<Finding>> {
    let (mut findings, mut modes) = (state_directory(account, config)?, permissions(account, config)?);
    let closed = modes.iter().any(|finding| finding.what.contains(UNUSABLE));
    let seen = look(account, config)?;
    let can_be_mended = findings.iter().chain(&modes).chain(&seen).any(|finding| finding.fix.is_some());
    if !options.repair || !can_be_mended {
        findings.extend(modes);
        // What its owner cannot open looks like another's, and is said once.
        findings.extend(seen.into_iter().filter(|finding| !closed || finding.fix.is_some()));
        return Ok(findings);
    }
    // Nothing at all is done while somebody is logged in.
    places::prepare(config)?;
    drop(places::take_maildrop(config, account, SessionId::random()?, &Peer::direct(None))?);
    // What its owner cannot open cannot be looked at.
    mend_modes(account, config, &mut modes)?;
    let mut inside = overhaul::run(config, account, &[], |ground, _held| {
        let above = ground.path.parent().and_then(|above| Directory::open(above).ok());
        let scene = Scene {
            path: &ground.path,
            uid: ground.uid,
            format: config.maildrop.format,
            state: &ground.state,
            above: above.as_ref(),
        };
        let places = config.state_dir.join("maildrop").join(&account.name);
        inspect::mend(&scene, ground.locks, &places.to_string_lossy())
    })?;
    // The overhaul has put the state directory in order.
    findings.iter_mut().for_each(|finding| finding.outcome = Became::Mended(None));
    mend_modes(account, config, &mut inside)?;
    findings.extend(modes);
    findings.extend(inside);
    Ok(findings)
}

fn look(account: &Account, config: &Config) -> Told<Vec<Finding>> {
    let mut findings = Vec::new();
    let work = |site: errand::Site, tell: errand::Tell<'_, Finding>| {
        let scene = Scene {
            path: &site.path,
            uid: site.uid,
            format: config.maildrop.format,
            state: &site.state,
            above: site.above.as_ref(),
        };
        inspect::look(&scene, site.found)?.iter().try_for_each(tell)
    };
    errand::look(config, account, work, |finding| {
        findings.push(finding);
        Ok(())
    })?;
    Ok(findings)
}

/// Whether the state directory is the user's, and the user's alone.
fn state_directory(account: &Account, config: &Config) -> Told<Vec<Finding>> {
    let parent = config.state_dir.join("maildrop");
    let cannot = |cause| Error::io(format!("cannot look at {}/{}", parent.display(), account.name), cause);
    let above = match Directory::open(&parent) {
        Ok(above) => above,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cannot(cause)),
    };
    let Some(found) = above.status(&account.name).map_err(cannot)? else { return Ok(Vec::new()) };
    let place = format!("{}/{}", parent.display(), account.name);
    let fix = Fix::StateDirectory;
    Ok(if found.kind != FileKind::Directory || found.uid != account.uid {
        vec![Finding::new(
            format!("{place} is not a directory of uid {}", account.uid),
            "it is set aside and made anew",
            fix,
        )]
    } else if found.mode & 0o777 != 0o700 {
        vec![Finding::new(
            format!("{place} has mode {:04o}", found.mode),
            "others are kept out: mode 0700",
            fix,
        )]
    } else {
        Vec::new()
    })
}

/// What is said of a maildrop that its owner cannot open.
const UNUSABLE: &str = "so that its owner cannot use it";

/// Who may read and write the maildrop, as the user sees it.
fn permissions(account: &Account, config: &Config) -> Told<Vec<Finding>> {
    let path = account.mailbox(config);
    privileges::with_rights_of(&places::session_ids(account), || {
        let (above, name) = split(&path)?;
        let Ok(directory) = Directory::open(above) else { return Ok(Vec::new()) };
        let mut findings = Vec::new();
        let inner: &[&str] = if directory.has_directory(name) { &["", "new", "cur", "tmp"] } else { &[""] };
        for inner in inner {
            let name = below(name, inner);
            let Ok(Some(found)) = directory.status(&name) else { continue };
            let own = match found.kind {
                FileKind::Regular => 0o600,
                FileKind::Directory => 0o700,
                FileKind::Link | FileKind::Special => continue,
            };
            if found.uid != account.uid {
                continue;
            }
            let mode = found.mode & 0o777;
            let wanted = (mode | own) & !0o007;
            let place = above.join(&name).display().to_string();
            let fix = Fix::Mode { name: (*inner).to_owned(), mode: wanted };
            if mode & own != own {
                let what = format!("{place} has mode {mode:04o}, {UNUSABLE}");
                let repair = format!("its owner may read and write it: mode {wanted:04o}");
                findings.push(Finding::new(what, repair, fix));
            } else if mode & 0o007 != 0 {
                let what = format!("{place} has mode {mode:04o}: everybody may look at it");
                let repair = format!("others are kept out: mode {wanted:04o}");
                findings.push(Finding::new(what, repair, fix));
            }
        }
        Ok(findings)
    })?
}

/// A name below the directory that the maildrop lies in.
fn below(maildrop: &str, inner: &str) -> String {
    if inner.is_empty() { maildrop.to_owned() } else { format!("{maildrop}/{inner}") }
}

/// Sets permissions with the user's rights.
fn mend_modes(account: &Account, config: &Config, findings: &mut [Finding]) -> Told<()> {
    let path = account.mailbox(config);
    privileges::with_rights_of(&places::session_ids(account), || {
        let (above, own) = split(&path)?;
        let Ok(directory) = Directory::open(above) else { return Ok(()) };
        for finding in findings {
            let Some(Fix::Mode { name, mode }) = &finding.fix else { continue };
            let inner = below(own, name);
            let set = directory.set_mode(&inner, *mode);
            finding.outcome = match set {
                Ok(()) => Became::Mended(None),
                Err(cause) => {
                    let error = Error::io(format!("cannot set the mode of {inner}"), cause);
                    Became::Failed(error.of_kind(ErrorKind::Permanent).to_string())
                }
            };
        }
        Ok(())
    })?
}
