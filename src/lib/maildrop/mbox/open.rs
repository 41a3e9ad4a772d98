//! Opens a mailbox, and refuses what is none.

use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Status, status};
use std::fs::File;
use std::io;
use std::path::Path;

/// Opens the mailbox with this path; none when there is no such name.
///
/// # Errors
/// It is no regular file with one name that belongs to `uid`, or must not be read and written.
pub(crate) fn mailbox(path: &Path, uid: u32) -> Result<Option<File>> {
    in_folder(path, |folder, name| file(&folder, name, path, uid))
}

/// The same for reading alone.
///
/// # Errors
/// As for [`mailbox`].
pub(crate) fn mailbox_to_read(path: &Path, uid: u32) -> Result<Option<File>> {
    in_folder(path, |folder, name| file(&folder.read_only(), name, path, uid))
}

/// What the system knows of it, without opening it.
///
/// # Errors
/// As for [`mailbox`].
pub(crate) fn look(path: &Path, uid: u32) -> Result<Option<Status>> {
    in_folder(path, |folder, name| {
        let found = folder
            .status(name)
            .map_err(|error| Error::io(format!("cannot look at {}", path.display()), error))?;
        found.map(|found| check(&found, path, uid).map(|()| found)).transpose()
    })
}

fn in_folder<T>(path: &Path, open: impl FnOnce(Directory, &str) -> Result<Option<T>>) -> Result<Option<T>> {
    let cannot = |error| Error::io(format!("cannot open {}", path.display()), error);
    let (folder, name) = split(path)?;
    let directory = match Directory::open(folder) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    open(directory, name)
}

/// The same in an open directory, and as that may be used.
///
/// # Errors
/// As for [`mailbox`].
pub(crate) fn file(directory: &Directory, name: &str, path: &Path, uid: u32) -> Result<Option<File>> {
    let cannot = |error| Error::io(format!("cannot open {}", path.display()), error);
    // Looked at first for the sake of the message; opening follows no link and does not block in any case.
    let Some(found) = directory.status(name).map_err(cannot)? else { return Ok(None) };
    check(&found, path, uid)?;
    let file = match directory.open_file(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    check(&status(&file).map_err(cannot)?, path, uid)?;
    Ok(Some(file))
}

/// Directory and name of a path.
///
/// # Errors
/// It has no name, or one that is not UTF-8.
pub(crate) fn split(path: &Path) -> Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let folder =
        path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    folder.zip(name).ok_or_else(|| refused(path, "is not the name of a file"))
}

fn check(found: &Status, path: &Path, uid: u32) -> Result<()> {
    match found.kind {
        FileKind::Regular => {}
        FileKind::Directory => return Err(refused(path, "is a directory")),
        FileKind::Link => return Err(refused(path, "is a symbolic link")),
        FileKind::Special => return Err(refused(path, "is not a regular file")),
    }
    if found.uid != uid {
        let what = format!("belongs to uid {}, not to uid {uid}", found.uid);
        return Err(refused(path, &what));
    }
    match found.links {
        // 0: another program put a new file in its place this moment; who holds the locks looks again.
        0 | 1 => Ok(()),
        links => Err(refused(path, &format!("has {links} hard links"))),
    }
}

fn refused(path: &Path, what: &str) -> Error {
    Error::new(Kind::Permanent, format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn what_is_no_mailbox_is_refused_without_blocking() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let uid = std::fs::metadata(folder.path()).unwrap().uid();
        std::fs::write(at("good"), b"").unwrap();
        std::fs::create_dir_all(at("maildir/cur")).unwrap();
        std::fs::create_dir_all(at("maildir/new")).unwrap();
        symlink("good", at("link")).unwrap();
        std::fs::write(at("twice"), b"").unwrap();
        std::fs::hard_link(at("twice"), at("other")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        assert!(mailbox(&at("good"), uid).unwrap().is_some());
        assert!(mailbox(&at("absent"), uid).unwrap().is_none(), "design, section 4: an empty maildrop");
        assert!(mailbox(&at("no/mail/yet"), uid).unwrap().is_none(), "nor has it a directory");
        for (name, why) in [
            ("maildir", "is a directory"),
            ("maildir/cur", "is a directory"),
            ("link", "is a symbolic link"),
            ("twice", "has 2 hard links"),
            ("fifo", "is not a regular file"),
        ] {
            let error = mailbox(&at(name), uid).unwrap_err();
            assert_eq!(error.kind(), Kind::Permanent);
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        let error = mailbox(&at("good"), uid + 1).unwrap_err();
        assert!(error.to_string().contains("belongs to"), "design, section 4: another user's file");
    }
}
