//! A directory that is held open: every name is looked up relative to it, and no link is followed.

mod entries;

use super::file::{FileKind, Status};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, fsync, linkat, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An open directory. Names are single components.
#[derive(Debug)]
pub(crate) struct Directory {
    descriptor: OwnedFd,
    access: Access,
}

/// What may be done in a directory; the system may allow less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Everything.
    Change,
    /// Nothing is made, renamed or removed, and files are opened for reading alone.
    Read,
    /// It stands for a directory that does not exist: there is no name in it, and none can be made.
    Nothing,
}

impl From<OwnedFd> for Directory {
    fn from(descriptor: OwnedFd) -> Self {
        Self { descriptor, access: Access::Change }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Directory {
    /// The same directory for reading alone: whatever would change something in it fails with EROFS.
    pub(crate) fn read_only(self) -> Self {
        Self { access: Access::Read, ..self }
    }

    /// A directory that does not exist.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn nowhere() -> io::Result<Self> {
        Ok(Self { access: Access::Nothing, ..Self::open(Path::new("/"))? })
    }

    /// Whether something in it may be changed.
    pub(crate) fn may_change(&self) -> bool {
        self.access == Access::Change
    }

    /// Whether it stands for none.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.access == Access::Nothing
    }

    fn change(&self) -> io::Result<()> {
        if self.may_change() { Ok(()) } else { Err(Errno::EROFS.into()) }
    }

    fn look(&self) -> io::Result<()> {
        if self.is_nowhere() { Err(Errno::ENOENT.into()) } else { Ok(()) }
    }

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
        Ok(opened?.into())
    }

    /// Opens a directory in this one; a link is not followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_directory(&self, name: &str) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        self.look()?;
        Ok(Self { descriptor: openat(self, name, flags, Mode::empty())?, access: self.access })
    }

    /// Opens a file for reading and writing, made when it is missing; a link is not followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_or_create(&self, name: &str, mode: u32) -> io::Result<File> {
        self.change()?;
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
        self.change()?;
        Ok(fchownat(
            self,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?)
    }

    /// Opens what the name stands for, for reading and, unless the directory is for reading alone, writing: no link is followed, nothing blocks, and the
    /// time of last reading stays as it is where that is allowed.
    ///
    /// # Errors
    /// The system's: ELOOP for a symbolic link, EISDIR for a directory.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        let access = if self.may_change() { OFlag::O_RDWR } else { OFlag::O_RDONLY };
        self.open_as(name, access | OFlag::O_NOATIME).or_else(|error| match Errno::try_from(error) {
            // O_NOATIME is for the owner (open(2)).
            Ok(Errno::EPERM) => self.open_as(name, access),
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
        self.look()?;
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(self, name, flags, Mode::empty())?))
    }

    /// Makes a new file, open for reading and writing.
    ///
    /// # Errors
    /// The system's: EEXIST when the name is taken, even by a link to nowhere.
    pub(crate) fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        self.change()?;
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
        if self.is_nowhere() {
            return Ok(None);
        }
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
        self.change()?;
        Ok(renameat(self, from, self, to)?)
    }

    /// Renames within the directory, unless the new name is taken.
    ///
    /// # Errors
    /// The system's: EEXIST when the new name is taken.
    pub(crate) fn rename_to_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.change()?;
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
        self.change()?;
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

    /// Sets the permission bits of what has this name. A link is followed: whoever calls has the rights of the owner alone, who could do
    /// the same.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn set_mode(&self, name: &str, mode: u32) -> io::Result<()> {
        self.change()?;
        Ok(fchmodat(self, name, Mode::from_bits_truncate(mode & 0o777), FchmodatFlags::FollowSymlink)?)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn make_directory(&self, name: &str, mode: u32) -> io::Result<()> {
        self.change()?;
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
        self.look()?;
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
        assert!(directory.names(".bob.").unwrap().is_empty());
        directory.make_directory("sub", 0o700).unwrap();
        assert!(directory.has_directory("sub") && directory.remove("sub").unwrap());
    }

    /// Who only looks cannot change anything, whatever the system would allow.
    #[test]
    fn a_directory_for_reading_alone_stays_as_it_is() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"x").unwrap();
        let directory = Directory::open(folder.path()).unwrap().read_only();
        let refused = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
        refused(directory.create("new", 0o600).unwrap_err());
        refused(directory.open_or_create("new", 0o600).unwrap_err());
        refused(directory.rename("file", "new").unwrap_err());
        refused(directory.rename_to_new("file", "new").unwrap_err());
        refused(directory.remove("file").unwrap_err());
        refused(directory.remove_entry(b"file").unwrap_err());
        refused(directory.move_entry(b"file", &directory, b"new").unwrap_err());
        refused(directory.make_directory("new", 0o700).unwrap_err());
        refused(directory.give_to("file", 0, 0).unwrap_err());
        assert!(directory.open_file("file").unwrap().write_all(b"y").is_err());
        assert_eq!(directory.names("").unwrap().iter().filter(|name| !name.starts_with('.')).count(), 1);
        let nowhere = Directory::nowhere().unwrap();
        assert!(nowhere.status("etc").unwrap().is_none() && nowhere.open_directory("etc").is_err());
        assert!(nowhere.open_to_read("etc").is_err() && nowhere.create("new", 0o600).is_err());
        assert!(
            nowhere.open_entry(b"etc").unwrap().is_none() && nowhere.entry_status(b"etc").unwrap().is_none()
        );
    }
}
