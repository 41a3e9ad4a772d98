//! A Maildir: its directories, and files in them that are no messages.

use super::{Finding, Fix, Scene, state};
use crate::config::Format;
use crate::error::{Error, Result};
use crate::maildrop::index::Layout;
use crate::maildrop::maildir::staged::{self, IMPORTING};
use crate::maildrop::maildir::{Folders, strange};
use crate::maildrop::mbox::open::split;
use crate::sys::directory::Directory;
use crate::sys::file::FileKind;

/// The directories that a Maildir has.
pub(super) const NAMES: [&str; 3] = ["tmp", "new", "cur"];

/// So many names are listed at most; the rest is counted.
const LISTED: usize = 3;

/// What is missing where a Maildir should be; none where it is something else.
pub(super) fn missing(scene: &Scene<'_>) -> Option<Vec<Finding>> {
    if scene.format == Format::Mbox {
        return None;
    }
    let maildir = maildir(scene)?;
    let has = |name: &&str| maildir.has_directory(name);
    let there = NAMES.iter().filter(|name| has(name)).count();
    // A directory with none of them is something else, but where the configuration says what it is.
    let lacking: Vec<&&str> =
        NAMES.iter().filter(|name| maildir.status(name).is_ok_and(|found| found.is_none())).collect();
    if there == 0 && scene.format != Format::Maildir || lacking.is_empty() {
        return None;
    }
    Some(lacking.into_iter().map(|name| make(name)).collect())
}

fn make(name: &str) -> Finding {
    Finding::new(
        format!("the Maildir has no directory {name}"),
        "it is made, empty",
        Fix::Folder(name.to_owned()),
    )
}

pub(super) fn maildir(scene: &Scene<'_>) -> Option<Directory> {
    let (_, name) = split(scene.path).ok()?;
    scene.above?.open_directory(name).ok()
}

/// Looks at everything in the directories.
///
/// # Errors
/// They cannot be listed.
pub(super) fn look(scene: &Scene<'_>, folders: &Folders, findings: &mut Vec<Finding>) -> Result<()> {
    let cannot = |cause| Error::io("cannot list the Maildir", cause);
    if let Some(maildir) = maildir(scene)
        && maildir.status("tmp").is_ok_and(|found| found.is_none())
    {
        findings.push(make("tmp"));
    }
    if !state::regular(scene, IMPORTING) {
        let left = staged::left(folders).map_err(cannot)?;
        if left > 0 {
            findings.push(Finding::new(
                format!("files of an import that was killed, in new and cur: {left}; no client sees them"),
                "they are removed: nothing of that import was shown",
                Fix::Staged,
            ));
        }
    }
    for (name, folder) in [("new", &folders.new), ("cur", &folders.cur)] {
        let mut odd: Vec<(String, &str)> = Vec::new();
        let (mut count, mut closed) = (0_u64, Vec::new());
        folder
            .for_each_entry(|entry, _| {
                if entry.starts_with(b".") {
                    return;
                }
                let Ok(Some(found)) = folder.entry_status(entry) else { return };
                if let Some(why) = strange(&found, scene.uid) {
                    count += 1;
                    if odd.len() < LISTED {
                        odd.push((String::from_utf8_lossy(entry).into_owned(), why));
                    }
                } else if found.kind == FileKind::Regular
                    && found.mode & 0o400 == 0
                    && let Ok(entry) = std::str::from_utf8(entry)
                {
                    closed.push((entry.to_owned(), found.mode));
                }
            })
            .map_err(cannot)?;
        if !odd.is_empty() {
            let listed: Vec<String> =
                odd.iter().map(|(entry, why)| format!("{name}/{entry} {why}")).collect();
            let more = count - odd.len() as u64;
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            findings.push(Finding::refused(
                format!("{}{more}: no message", listed.join(", ")),
                "no client sees it; it is left to who put it there",
            ));
        }
        for (entry, mode) in closed {
            findings.push(Finding::new(
                format!("{name}/{entry} must not be read by its owner (mode {mode:04o}), so that no client sees it"),
                "its owner may read and write it again",
                Fix::Mode { name: format!("{name}/{entry}"), mode: mode | 0o600 },
            ));
        }
    }
    if let Some(mut index) = state::index(scene, Layout::Maildir, findings) {
        let mut whole = Ok(());
        for number in 0..index.header().count {
            let Ok(Some(record)) = index.records(number).map(|page| page.first().copied()) else {
                whole = Err(());
                break;
            };
            if index.note(&record).is_err() {
                whole = Err(());
                break;
            }
        }
        if whole.is_err() {
            findings.push(state::wrong_index("a page of the index is damaged"));
        }
    }
    Ok(())
}
