//! The state directory: index, numbers of equal messages, and what was left there.

use super::{Finding, Fix, Scene};
use crate::error::{Error, Result};
use crate::maildrop::index::{self, Index, Layout};
use crate::maildrop::maildir::staged::IMPORTING;
use crate::maildrop::mbox::UPDATING;
use crate::maildrop::uidl::twins::{self, Twins};
use crate::sys::file::FileKind;

/// Names that are there while something is written.
const UNFINISHED: [(&str, &str); 2] =
    [(index::NEW_NAME, "a half-written index"), (twins::NEW_NAME, "a half-written uidl file")];

/// Looks at what is in the state directory, but for what needs the mailbox.
///
/// # Errors
/// The directory or a file in it cannot be read.
pub(super) fn look(scene: &Scene<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let cannot = |cause| Error::io("cannot look at the state directory", cause);
    let state = scene.state;
    for name in [index::NAME, twins::NAME, index::NEW_NAME, twins::NEW_NAME, UPDATING, IMPORTING] {
        let Some(found) = state.status(name).map_err(cannot)? else { continue };
        let unfinished = UNFINISHED.iter().find(|(new, _)| *new == name);
        let what = match found.kind {
            FileKind::Link => "is a symbolic link",
            FileKind::Directory => "is a directory",
            FileKind::Special => "is not a regular file",
            FileKind::Regular if found.links > 1 => "has another name",
            FileKind::Regular if found.uid != scene.uid => "belongs to somebody else",
            FileKind::Regular => match unfinished {
                Some((_, what)) => {
                    findings.push(Finding::new(
                        format!("{name} is {what}"),
                        "it is removed: what it was to become is there or made anew",
                        Fix::Remove(name.to_owned()),
                    ));
                    continue;
                }
                None => continue,
            },
        };
        findings.push(Finding::new(
            format!("{name} in the state directory {what}: somebody planted it"),
            "the name is removed, and nothing behind it is touched",
            Fix::Remove(name.to_owned()),
        ));
    }
    if regular(scene, UPDATING) {
        findings.push(Finding::new(
            "an update was interrupted",
            "the locks are taken and what it left is removed, as the next login does",
            Fix::Recover,
        ));
    }
    if regular(scene, IMPORTING) {
        findings.push(Finding::new(
            "an import was interrupted: some of its messages do not show yet",
            "they are shown, as the next login does",
            Fix::Import,
        ));
    }
    if regular(scene, twins::NAME) {
        let twins = Twins::load(state)?;
        if twins.is_damaged() {
            findings.push(Finding::new(
                "the uidl file is damaged: equal messages may have lost their numbers",
                "what can be read of it is written anew, and the damaged file is kept",
                Fix::Uidl,
            ));
        }
        if twins.pending().is_some() {
            findings.push(Finding::new(
                "the uidl file has an update that was neither done nor given up",
                "the mailbox shows whether it was done, and that is noted",
                Fix::Index,
            ));
        }
    }
    Ok(())
}

/// The index, for a look at what is in it; what is wrong when there is a file that is none.
pub(super) fn index(scene: &Scene<'_>, layout: Layout, findings: &mut Vec<Finding>) -> Option<Index> {
    if !regular(scene, index::NAME) {
        return None;
    }
    let index = Index::load_as(scene.state, layout);
    if index.is_none() {
        findings.push(Finding::new(
            "the index cannot be used: it is damaged, of another format, or of another version",
            "it is made anew; clients see no difference",
            Fix::Index,
        ));
    }
    index
}

/// What is said of an index that is not what it says.
pub(super) fn wrong_index(what: &str) -> Finding {
    Finding::new(what, "it is made anew; clients see what is in the maildrop", Fix::Index)
}

pub(super) fn regular(scene: &Scene<'_>, name: &str) -> bool {
    let found = scene.state.status(name).ok().flatten();
    found.is_some_and(|found| found.kind == FileKind::Regular && found.links == 1)
}
