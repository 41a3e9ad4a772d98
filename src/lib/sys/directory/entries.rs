//! Names that other programs chose: octets, not text. As everywhere in a [`Directory`], no link is followed and nothing
//! blocks.

use super::{Directory, Status};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use std::fs::File;
use std::io;

impl Directory {
    /// Calls `each` with every name but `.` and `..`, in no order, and whether it may be a regular file's, as far as
    /// the listing tells.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn for_each_entry(&self, mut each: impl FnMut(&[u8], bool)) -> io::Result<()> {
        self.look()?;
        // A description of its own: the reading position of a shared one would move under others.
        let mut listing = Dir::openat(self, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        for entry in listing.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                each(name, matches!(entry.file_type(), None | Some(Type::File)));
            }
        }
        Ok(())
    }

    /// What the name stands for (a link stands for itself); none when there is no such name.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn entry_status(&self, name: &[u8]) -> io::Result<Option<Status>> {
        if self.is_nowhere() {
            return Ok(None);
        }
        match fstatat(self, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(raw) => Ok(Some(Status::from_raw(&raw))),
            Err(Errno::ENOENT | Errno::ENAMETOOLONG) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens what the name stands for, for reading alone; the time of last reading stays as it is where that is
    /// allowed. None when there is no such name.
    ///
    /// # Errors
    /// The system's: ELOOP for a symbolic link.
    pub(crate) fn open_entry(&self, name: &[u8]) -> io::Result<Option<File>> {
        if self.is_nowhere() {
            return Ok(None);
        }
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let opened = match openat(self, name, flags | OFlag::O_NOATIME, Mode::empty()) {
            // O_NOATIME is for the owner (open(2)).
            Err(Errno::EPERM) => openat(self, name, flags, Mode::empty()),
            opened => opened,
        };
        match opened {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the name of a file; false when there was none.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn remove_entry(&self, name: &[u8]) -> io::Result<bool> {
        self.change()?;
        match unlinkat(self, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a file to another directory, unless its new name is taken there.
    ///
    /// # Errors
    /// The system's: EEXIST when the new name is taken, ENOENT when there is no such file any more.
    pub(crate) fn move_entry(&self, name: &[u8], to: &Self, new_name: &[u8]) -> io::Result<()> {
        self.change()?;
        match renameat2(self, name, to, new_name, RenameFlags::RENAME_NOREPLACE) {
            // Some file systems, network ones among them, cannot; a second link for a moment is as good.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                linkat(self, name, to, new_name, AtFlags::empty())?;
                Ok(unlinkat(self, name, UnlinkatFlags::NoRemoveDir)?)
            }
            result => Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn names_are_octets_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let odd = b"a b\n\xff:2,S";
        std::fs::write(folder.path().join(Path::new(std::ffi::OsStr::from_bytes(odd))), b"x").unwrap();
        symlink("nowhere", folder.path().join("link")).unwrap();
        let mut names = Vec::new();
        directory.for_each_entry(|name, regular| names.push((name.to_vec(), regular))).unwrap();
        names.sort();
        assert_eq!(names, [(odd.to_vec(), true), (b"link".to_vec(), false)]);
        assert!(directory.open_entry(odd).unwrap().is_some());
        assert_eq!(directory.open_entry(b"link").unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
        assert!(directory.open_entry(b"absent").unwrap().is_none());
        assert!(directory.entry_status(b"absent").unwrap().is_none());
        std::fs::write(folder.path().join("taken"), b"kept").unwrap();
        let error = directory.move_entry(odd, &directory, b"taken").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        directory.move_entry(odd, &directory, b"free").unwrap();
        assert_eq!(std::fs::read(folder.path().join("taken")).unwrap(), b"kept");
        assert!(directory.remove_entry(b"free").unwrap() && !directory.remove_entry(b"free").unwrap());
    }
}
