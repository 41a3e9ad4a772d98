//! A glance at a maildrop: what its place and the header of its index say, without reading mail. Whoever glances has the
//! user's rights and nobody else's, opens no message and parses nothing but the header, which has a fixed form.

use super::index::{self, Index, Layout};
use super::mbox;
use super::{Summary, maildir};
use crate::config::Format;
use crate::error::{Error, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Stamp, status};
use std::path::Path;

/// What a glance tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Whether it is a Maildir.
    pub(crate) is_maildir: bool,
    /// What is in it; none where the index does not know its present state, so that it must be scanned.
    pub(crate) summary: Option<Summary>,
    /// Octets on disk; none where that is not known without a scan.
    pub(crate) disk: Option<u64>,
    /// When it was changed last.
    pub(crate) changed: Stamp,
    /// Whether others than the owner may read mail in it.
    pub(crate) is_open_to_all: bool,
    /// Whether an update was interrupted: the next login puts it in order.
    pub(crate) was_interrupted: bool,
}

/// Looks at the maildrop with this path as the user `uid`; none when there is none. `state` is the user's state directory.
///
/// # Errors
/// It is no maildrop of the user's, in the words of a login.
pub(crate) fn glance(format: Format, path: &Path, uid: u32, state: &Directory) -> Result<Option<Glance>> {
    if let Some(folders) = maildir::open::folders(format, path, uid)? {
        return at_maildir(&folders.read_only(), path, state).map(Some);
    }
    if format == Format::Maildir {
        return Ok(None);
    }
    let cannot = |error| Error::io(format!("cannot look at {}", path.display()), error);
    let Some(found) = mbox::open::look(path, uid)? else { return Ok(None) };
    let identity = found.identity;
    let was_interrupted = state.status(mbox::UPDATING).map_err(cannot)?.is_some();
    let summary = if identity.size == 0 {
        Some(Summary::default())
    } else {
        let index =
            read_index(state, Layout::Mbox).filter(|index| index.is_for(&identity) && !was_interrupted);
        index.map(|index| index.header().summary())
    };
    Ok(Some(Glance {
        is_maildir: false,
        summary,
        disk: Some(identity.size),
        changed: identity.modified,
        is_open_to_all: found.mode & 0o004 != 0,
        was_interrupted,
    }))
}

fn at_maildir(folders: &maildir::Folders, path: &Path, state: &Directory) -> Result<Glance> {
    let cannot = |error| Error::io(format!("cannot look at {}", path.display()), error);
    let (new, cur) = (status(&folders.new).map_err(cannot)?, status(&folders.cur).map_err(cannot)?);
    let seen = (new.identity, cur.identity);
    let index = read_index(state, Layout::Maildir)
        .filter(|index| (index.header().identity, index.header().second) == seen);
    let summary = index.map(|index| index.header().summary());
    Ok(Glance {
        is_maildir: true,
        summary,
        disk: summary.map(|summary| summary.stored),
        changed: seen.0.modified.max(seen.1.modified),
        is_open_to_all: new.mode & 0o005 == 0o005 || cur.mode & 0o005 == 0o005,
        was_interrupted: false,
    })
}

/// The index as it lies there: nothing is removed or made, no link is followed, nothing blocks.
fn read_index(state: &Directory, layout: Layout) -> Option<Index> {
    let file = state.open_to_read(index::NAME).ok()?;
    let found = status(&file).ok()?;
    if found.kind != FileKind::Regular || found.links != 1 {
        return None;
    }
    Index::from_file(file, layout)
}
