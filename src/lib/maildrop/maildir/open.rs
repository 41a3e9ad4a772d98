//! Opens a Maildir, and refuses what is none.

use super::listing::Folders;
use crate::config::Format;
use crate::error::{Error, Kind, Result};
use crate::maildrop::mbox::open::split;
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Status, status};
use std::io;
use std::path::Path;

/// Opens the directories of the Maildir with this path; none when there is none, or when it is not for us to say
/// (`auto`, and it is no directory).
///
/// # Errors
/// It is no Maildir though the format says so, or does not belong to `uid`.
pub(crate) fn folders(format: Format, path: &Path, uid: u32) -> Result<Option<Folders>> {
    let cannot = |error| Error::io(format!("cannot open {}", path.display()), error);
    if format == Format::Mbox {
        return Ok(None);
    }
    let (above, name) = split(path)?;
    let above = match Directory::open(above) {
        Ok(above) => above,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let Some(found) = above.status(name).map_err(cannot)? else { return Ok(None) };
    if found.kind != FileKind::Directory {
        let what = match found.kind {
            FileKind::Link => "is a symbolic link",
            _ => "is not a directory",
        };
        return if format == Format::Auto { Ok(None) } else { Err(refused(path, what)) };
    }
    check(&found, path, uid)?;
    let maildir = above.open_directory(name).map_err(cannot)?;
    if !maildir.has_directory("cur") || !maildir.has_directory("new") {
        return Err(refused(path, "is a directory, but no Maildir: it has no directories cur and new"));
    }
    let folder = |name| -> Result<_> {
        let inner = path.join(name);
        // Looked at first for the sake of the message.
        if let Some(found) = maildir.status(name).map_err(cannot)? {
            check(&found, &inner, uid)?;
        }
        let opened = maildir
            .open_directory(name)
            .map_err(|error| Error::io(format!("cannot open {}", inner.display()), error))?;
        Ok((opened, inner))
    };
    let ((new, new_path), (cur, cur_path)) = (folder("new")?, folder("cur")?);
    let mut notes = Vec::new();
    for (directory, path) in [(&maildir, path), (&new, &new_path), (&cur, &cur_path)] {
        let found = status(directory).map_err(cannot)?;
        check(&found, path, uid)?;
        if found.mode & 0o002 != 0 {
            let path = path.display();
            notes.push(format!(
                "{path} can be written by everybody, who can take mail away: chmod o-w {path}"
            ));
        }
    }
    Ok(Some(Folders { new, cur, notes }))
}

fn check(found: &Status, path: &Path, uid: u32) -> Result<()> {
    if found.uid == uid {
        return Ok(());
    }
    Err(refused(path, &format!("belongs to uid {}, not to uid {uid}", found.uid)))
}

fn refused(path: &Path, what: &str) -> Error {
    Error::new(Kind::Permanent, format!("{} {what}", path.display()))
}
