//! A directory that is held open: every name is looked up relative to it, and no link is followed.

mod entries;

use super::file::{FileKind, Status};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, fsync, linkat, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An open directory. Names are single components.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl From<OwnedFd> for Directory {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Directory {
    /// Opens the directory; links on the way to it are followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened =
            nix::fcntl::open(path, flags | OFlag::O_RDONLY, Mode::empty()).or_else(|error| match error {
                // One that may be passed through but not listed is good enough for names that are known.
                Errno::EACCES => nix::fcntl::open(path, flags | OFlag::O_PATH, Mode::empty()),
                error => Err(error),
            });
        Ok(Self(opened?))
    }

    /// Opens a directory in this one; a link is not followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_directory(&self, name: &str) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(openat(self, name, flags, Mode::empty())?))
    }

    /// Opens a file for reading and writing, made when it is missing; a link is not followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_or_create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(File::from(openat(self, name, flags, Mode::from_bits_truncate(mode & 0o777))?))
    }

    /// Opens a file for reading, and for writing at its end whoever else does so, made when it is missing; a link is not followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_to_append(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW;
        let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(self, name, flags, Mode::from_bits_truncate(mode & 0o777))?))
    }

    /// Gives what has this name to another owner; a link is not followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn give_to(&self, name: &str, uid: u32, gid: u32) -> io::Result<()> {
        Ok(fchownat(
            self,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?)
    }

    /// Opens what the name stands for, for reading and writing: no link is followed, nothing blocks, and the
    /// time of last reading stays as it is where that is allowed.
    ///
    /// # Errors
    /// The system's: ELOOP for a symbolic link, EISDIR for a directory.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        self.open_as(name, OFlag::O_RDWR | OFlag::O_NOATIME).or_else(|error| match Errno::try_from(error) {
            // O_NOATIME is for the owner (open(2)).
            Ok(Errno::EPERM) => self.open_as(name, OFlag::O_RDWR),
            Ok(error) => Err(error.into()),
            Err(error) => Err(error),
        })
    }

    /// The same for reading alone.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_to_read(&self, name: &str) -> io::Result<File> {
        self.open_as(name, OFlag::O_RDONLY)
    }

    fn open_as(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(self, name, flags, Mode::empty())?))
    }

    /// Makes a new file, open for reading and writing.
    ///
    /// # Errors
    /// The system's: EEXIST when the name is taken, even by a link to nowhere.
    pub(crate) fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(self, name, flags, Mode::from_bits_truncate(mode & 0o777))?))
    }

    /// Makes a new file (0600) whose name is `prefix` and 32 random hexadecimal digits.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn create_unguessable(&self, prefix: &str) -> io::Result<(String, File)> {
        let mut random = [0; 16];
        super::random::fill(&mut random)?;
        let name = format!("{prefix}{:032x}", u128::from_ne_bytes(random));
        let file = self.create(&name, 0o600)?;
        Ok((name, file))
    }

    /// What the name stands for (a link stands for itself); none when there is no such name.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn status(&self, name: &str) -> io::Result<Option<Status>> {
        match fstatat(self, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(raw) => Ok(Some(Status::from_raw(&raw))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames within the directory; what had the new name is replaced.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(self, from, self, to)?)
    }

    /// Renames within the directory, unless the new name is taken.
    ///
    /// # Errors
    /// The system's: EEXIST when the new name is taken.
    pub(crate) fn rename_to_new(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat2(self, from, self, to, RenameFlags::RENAME_NOREPLACE) {
            // Some file systems, network ones among them, cannot; a second link for a moment is as good.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                linkat(self, from, self, to, AtFlags::empty())?;
                Ok(unlinkat(self, from, UnlinkatFlags::NoRemoveDir)?)
            }
            result => Ok(result?),
        }
    }

    /// Lets two names in the directory change places, in one step.
    ///
    /// # Errors
    /// The system's: EINVAL where the file system cannot.
    pub(crate) fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        Ok(renameat2(self, one, self, other, RenameFlags::RENAME_EXCHANGE)?)
    }

    /// Removes the name, an empty directory's too; true when there was one.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn remove(&self, name: &str) -> io::Result<bool> {
        match unlinkat(self, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => match unlinkat(self, name, UnlinkatFlags::RemoveDir) {
                Err(error) => Err(error.into()),
                Ok(()) => Ok(true),
            },
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(true),
        }
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn make_directory(&self, name: &str, mode: u32) -> io::Result<()> {
        Ok(mkdirat(self, name, Mode::from_bits_truncate(mode & 0o7777))?)
    }

    /// Whether the name stands for a directory.
    pub(crate) fn has_directory(&self, name: &str) -> bool {
        matches!(self.status(name), Ok(Some(status)) if status.kind == FileKind::Directory)
    }

    /// Makes names durable.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(fsync(self)?)
    }

    /// The names that begin with `prefix`; names that are not UTF-8 are none of ours and left out.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn names(&self, prefix: &str) -> io::Result<Vec<String>> {
        // A description of its own: the reading position of a shared one would move under others.
        let mut listing = Dir::openat(self, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut found = Vec::new();
        for entry in listing.iter() {
            let entry = entry?;
            let name = OsString::from(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
            if let Ok(name) = name.into_string()
                && name.starts_with(prefix)
            {
                found.push(name);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("target"), b"x").unwrap();
        std::os::unix::fs::symlink("target", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        assert_eq!(directory.open_file("link").unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
        assert_eq!(directory.create("dangling", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(directory.status("link").unwrap().unwrap().kind, FileKind::Link);
        assert!(directory.status("absent").unwrap().is_none());
        assert!(directory.remove("link").unwrap() && !directory.remove("link").unwrap());
    }

    #[test]
    fn names_are_found_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let (name, _file) = directory.create_unguessable(".ann.poptools-").unwrap();
        assert_eq!(name.len(), ".ann.poptools-".len() + 32);
        for _ in 0..2 {
            assert_eq!(directory.names(".ann.").unwrap(), [name.as_str()]);
        }
        directory.make_directory("sub", 0o700).unwrap();
        assert!(directory.has_directory("sub") && directory.remove("sub").unwrap());
    }
}
