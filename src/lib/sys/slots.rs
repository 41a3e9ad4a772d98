//! A file of bytes that processes lock one by one. The kernel frees the byte of a dead process.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// An open slot file: one open description, so its locks are not those of another one in this process.
#[derive(Debug)]
pub(crate) struct SlotFile(File);

impl SlotFile {
    /// Opens the file `name` in a directory of ours, and makes both when they are missing (0711 and 0600).
    ///
    /// # Errors
    /// One cannot be made or opened, or another user could have made it: root must not trust it then.
    pub(crate) fn open(directory: &Path, name: &str) -> io::Result<Self> {
        let us = nix::unistd::geteuid().as_raw();
        DirBuilder::new().recursive(true).mode(0o711).create(directory)?;
        let metadata = fs::symlink_metadata(directory)?;
        if !metadata.is_dir() || metadata.uid() != us || metadata.mode() & 0o022 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write the directory"));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(directory.join(name))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != us {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not a file of ours"));
        }
        Ok(Self(file))
    }

    /// Takes a slot; false when another process has it. It is free again when the file is dropped.
    ///
    /// # Errors
    /// The file system has no locks.
    pub(crate) fn try_take(&self, slot: u16) -> io::Result<bool> {
        super::ofd::try_lock_range(&self.0, slot.into(), 1)
    }
}
