//! Owner and mode of what holds secrets, looked at whenever it is opened: ours alone, or it is not used.

use super::{failed, refused};
use crate::error::{Error, Result};
use crate::sys;
use crate::sys::directory::Directory;
use crate::sys::file::{self, FileKind, Status};
use crate::sys::privileges;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Opens a directory that only we may use; its path without links.
///
/// # Errors
/// It is missing, or somebody else may use it.
pub(super) fn directory(path: &Path) -> Result<(PathBuf, Directory)> {
    let real = fs::canonicalize(path).map_err(|cause| closed(path, "0700", cause))?;
    let directory = Directory::open(&real).map_err(|cause| closed(path, "0700", cause))?;
    let status = file::status(&directory).map_err(|cause| failed("look at", path, cause))?;
    ours(path, &status, "0700")?;
    Ok((real, directory))
}

/// Opens a file for reading that only we may use and that has one name.
///
/// # Errors
/// It is missing, is no regular file, or somebody else may use it.
pub(super) fn file(path: &Path, mode: &str) -> Result<File> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(refused(format!("{} is no name of a file", path.display())));
    };
    let opened = Directory::open(parent).and_then(|parent| parent.open_to_read(name));
    let opened = opened.map_err(|cause| closed(path, mode, cause))?;
    let status = file::status(&opened).map_err(|cause| failed("look at", path, cause))?;
    if status.kind != FileKind::Regular || status.links != 1 {
        return Err(refused(format!("{} is not a regular file with one name", path.display())));
    }
    ours(path, &status, mode)?;
    Ok(opened)
}

/// Why a path that may well be there cannot be reached: a directory on the way that we may not enter, and what to type.
pub(super) fn barred(path: &Path) -> Option<String> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let own = sys::names::user(privileges::own().uid);
    above.into_iter().find_map(|directory| {
        // Only who may enter a directory can look at it from within.
        let cause = fs::symlink_metadata(directory.join(".")).err()?;
        (cause.kind() == io::ErrorKind::PermissionDenied).then(|| {
            let (shown, mode) = (directory.display(), mode_of(directory));
            format!(
                "{own} cannot enter {shown} (mode {mode}), so not reach {}: chmod a+x {shown}",
                path.display()
            )
        })
    })
}

fn mode_of(path: &Path) -> String {
    fs::metadata(path).map_or_else(|_| "unknown".to_owned(), |found| format!("{:04o}", found.mode() & 0o7777))
}

/// Who else can take a file or directory away and put another in its place: a directory above it, and what to type.
pub(super) fn movable(path: &Path) -> Option<String> {
    // Of a link both ways matter: that of its name and that of what it leads to.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().skip(1).chain(real.ancestors().skip(1)).find_map(|above| {
        let found = fs::metadata(above).ok()?;
        let (shown, kept, mode) = (above.display(), path.display(), found.mode() & 0o7777);
        if ![0, privileges::own().uid].contains(&found.uid()) {
            let whose = sys::names::user(found.uid());
            return Some(format!("{shown} belongs to {whose}, who can replace {kept}: chown root {shown}"));
        }
        // With the sticky bit others cannot take away what is not theirs.
        (mode & 0o022 != 0 && mode & 0o1000 == 0).then(|| {
            format!("others may change {shown} (mode {mode:04o}) and so replace {kept}: chmod go-w {shown}")
        })
    })
}

/// What is in the way where something cannot be opened.
fn closed(path: &Path, mode: &str, cause: io::Error) -> Error {
    if cause.kind() != io::ErrorKind::PermissionDenied {
        return failed("open", path, cause);
    }
    if let Some(what) = barred(path) {
        return refused(what);
    }
    let own = privileges::own();
    match fs::symlink_metadata(path) {
        Ok(found) if found.uid() != own.uid => another(path, found.uid()),
        _ => failed("open", path, cause).with_fix(format!("chmod {mode} {}", path.display())),
    }
}

fn another(path: &Path, uid: u32) -> Error {
    let (shown, own) = (path.display(), privileges::own());
    refused(format!(
        "{shown} belongs to uid {uid} and not to {}: chown {}:{} {shown}",
        own.uid, own.uid, own.gid
    ))
}

fn ours(path: &Path, status: &Status, mode: &str) -> Result<()> {
    let (shown, own) = (path.display(), privileges::own());
    if status.uid != own.uid {
        return Err(another(path, status.uid));
    }
    if status.mode & 0o077 != 0 {
        return Err(refused(format!(
            "{shown} may be used by others (mode {:04o}): chmod {mode} {shown}",
            status.mode
        )));
    }
    Ok(())
}
