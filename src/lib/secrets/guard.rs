//! Owner and mode of what holds secrets, looked at whenever it is opened: ours alone, or it is not used.

use super::{failed, refused};
use crate::error::Result;
use crate::sys::directory::Directory;
use crate::sys::file::{self, FileKind, Status};
use crate::sys::privileges;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Opens a directory that only we may use; its path without links.
///
/// # Errors
/// It is missing, or somebody else may use it.
pub(super) fn directory(path: &Path) -> Result<(PathBuf, Directory)> {
    let real = std::fs::canonicalize(path).map_err(|cause| failed("open", path, cause))?;
    let directory = Directory::open(&real).map_err(|cause| failed("open", path, cause))?;
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
    let opened = opened.map_err(|cause| failed("open", path, cause))?;
    let status = file::status(&opened).map_err(|cause| failed("look at", path, cause))?;
    if status.kind != FileKind::Regular || status.links != 1 {
        return Err(refused(format!("{} is not a regular file with one name", path.display())));
    }
    ours(path, &status, mode)?;
    Ok(opened)
}

fn ours(path: &Path, status: &Status, mode: &str) -> Result<()> {
    let (shown, own) = (path.display(), privileges::own());
    if status.uid != own.uid {
        return Err(refused(format!(
            "{shown} belongs to uid {} and not to {}: chown {}:{} {shown}",
            status.uid, own.uid, own.uid, own.gid
        )));
    }
    if status.mode & 0o077 != 0 {
        return Err(refused(format!(
            "{shown} may be used by others (mode {:04o}): chmod {mode} {shown}",
            status.mode
        )));
    }
    Ok(())
}
