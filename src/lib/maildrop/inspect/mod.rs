//! Looks for damage of a maildrop, and mends it. What is looked at was written by others: it belongs into a process that has the
//! user's rights, behind a fence (`process/errand.rs`, `process/overhaul.rs`).
//!
//! Mending loses nothing: what is taken out of a mailbox is kept in a copy, what cannot be told from mail stays as it is, and a cache is
//! made anew. A finding says which; one without a fix is for somebody to decide.

mod folders;
mod mailbox;
mod mend;
mod state;

pub(crate) use mend::mend;

use super::{Found, mbox};
use crate::config::Format;
use crate::error::Result;
use crate::sys::directory::Directory;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// What is wrong.
    pub(crate) what: String,
    /// What would be done, or why nothing can be.
    pub(crate) repair: String,
    /// How; none: it is refused.
    pub(crate) fix: Option<Fix>,
    /// What was done about it.
    pub(crate) outcome: Outcome,
}

/// What became of a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Nothing has been tried.
    #[default]
    Found,
    /// It is mended; the path of what is kept of before.
    Mended(Option<String>),
    /// It could not be.
    Failed(String),
}

/// How something is mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fix {
    /// A name in the state directory goes.
    Remove(String),
    /// The index is made anew.
    Index,
    /// The numbers of equal messages that can be read are written anew.
    Uidl,
    /// The mailbox's locks are taken, which removes what somebody who was killed left.
    Recover,
    /// Line ends are put behind the last message.
    End,
    /// The mailbox is written anew, without `skip` octets at its beginning and `cut` at its end, with an envelope line in front
    /// where one is missing.
    Rewrite { skip: u64, cut: u64, envelope: bool },
    /// An import that was decided is finished.
    Import,
    /// What an import left that was not decided is removed.
    Staged,
    /// A directory of a Maildir is made.
    Folder(String),
    /// The state directory is put in order, as a login does.
    StateDirectory,
    /// Permission bits are set of a name below the maildrop's path; an empty one is the maildrop's own.
    Mode { name: String, mode: u32 },
}

impl Finding {
    /// Something that can be mended.
    pub(crate) fn new(what: impl Into<String>, repair: impl Into<String>, fix: Fix) -> Self {
        Self { what: what.into(), repair: repair.into(), fix: Some(fix), outcome: Outcome::Found }
    }

    /// Something that somebody has to decide.
    pub(crate) fn refused(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), repair: why.into(), fix: None, outcome: Outcome::Found }
    }
}

/// A maildrop to look at.
pub(crate) struct Scene<'a> {
    /// Its path.
    pub(crate) path: &'a Path,
    /// The user.
    pub(crate) uid: u32,
    /// What the configuration says it is.
    pub(crate) format: Format,
    /// The user's state directory.
    pub(crate) state: &'a Directory,
    /// The directory that the maildrop lies in, if the user may look at it.
    pub(crate) above: Option<&'a Directory>,
}

/// Everything that is wrong. Nothing is changed.
///
/// # Errors
/// The maildrop cannot be read.
pub(crate) fn look(scene: &Scene<'_>, found: Result<Found>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    state::look(scene, &mut findings)?;
    match found {
        Ok(Found::Mbox(Some(file))) => {
            spool(scene, &mut findings);
            mailbox::look(scene, &file, &mut findings)?;
        }
        // An update may have been interrupted whose mailbox is gone since.
        Ok(Found::Mbox(None)) => spool(scene, &mut findings),
        Ok(Found::Maildir(directories)) => folders::look(scene, &directories, &mut findings)?,
        Err(error) => match folders::missing(scene) {
            Some(missing) => findings.extend(missing),
            None => findings.push(Finding::refused(error.to_string(), place(&error.to_string()))),
        },
    }
    Ok(findings)
}

/// Why what is no maildrop stays as it is.
fn place(error: &str) -> &'static str {
    if error.contains("symbolic link") || error.contains("hard links") {
        "whoever made the link has to say what it is for; nothing behind it is touched"
    } else if error.contains("belongs to uid") {
        "only root may give it to its user: chown, when you know whose mail it is"
    } else if error.contains("Permission denied") {
        "the user may not open it: look at its mode and at the directories above it"
    } else {
        "what it is cannot be told; it is left as it is"
    }
}

/// What somebody left beside the mailbox who was killed.
fn spool(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let Some(above) = scene.above else { return };
    let Ok((_, name)) = mbox::open::split(scene.path) else { return };
    let left = mbox::leftovers(above, name, scene.uid);
    for temporary in left.temporary {
        findings.push(Finding::new(
            format!("{temporary} beside the mailbox was left by an update that was killed"),
            "it is removed: the mailbox is complete without it",
            Fix::Recover,
        ));
    }
    match left.dotlock {
        mbox::Left::Nothing => {}
        mbox::Left::Stale => findings.push(Finding::new(
            format!("{name}.lock is held by nobody, and stops deliveries"),
            "it is removed",
            Fix::Recover,
        )),
        mbox::Left::Planted(uid) => findings.push(Finding::refused(
            format!("{name}.lock belongs to uid {uid}, and stops deliveries and deletions"),
            format!("somebody else made it, and only root may remove it: rm {}.lock", scene.path.display()),
        )),
    }
}
