//! Open files: what they are, reading and writing at an offset, attributes.
//!
//! Nothing here uses a file's own position, and nothing maps a file into memory: another program may
//! truncate a mailbox while it is read.

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, fchown};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

/// The extended attribute that holds a file's access control list.
pub(crate) const ACL: &CStr = c"system.posix_acl_access";

/// A time stamp of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// Seconds since 1970.
    pub(crate) seconds: i64,
    /// Nanoseconds of the second.
    pub(crate) nanoseconds: i64,
}

/// What tells one state of a file from another (design, section 4, "Other writers").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The file system's device number.
    pub(crate) device: u64,
    /// The inode.
    pub(crate) inode: u64,
    /// Length in octets.
    pub(crate) size: u64,
    /// When its content was changed last.
    pub(crate) modified: Stamp,
    /// When its content or attributes were changed last.
    pub(crate) changed: Stamp,
}

impl Identity {
    /// Whether both are the same file, in whatever state.
    pub(crate) const fn same_file(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, socket or device.
    Special,
}

/// What the system knows of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    /// Which file it is, and in what state.
    pub(crate) identity: Identity,
    /// What kind of file.
    pub(crate) kind: FileKind,
    /// How many names it has.
    pub(crate) links: u64,
    /// The owner's numeric id.
    pub(crate) uid: u32,
    /// The group's numeric id.
    pub(crate) gid: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    /// When it was read last.
    pub(crate) accessed: Stamp,
}

impl Status {
    /// Reads it from the system's structure.
    pub(super) fn from_raw(raw: &FileStat) -> Self {
        let format = SFlag::from_bits_truncate(raw.st_mode & SFlag::S_IFMT.bits());
        let kind = match format {
            SFlag::S_IFREG => FileKind::Regular,
            SFlag::S_IFDIR => FileKind::Directory,
            SFlag::S_IFLNK => FileKind::Link,
            _ => FileKind::Special,
        };
        Self {
            identity: Identity {
                device: raw.st_dev,
                inode: raw.st_ino,
                size: u64::try_from(raw.st_size).unwrap_or(0),
                modified: Stamp { seconds: raw.st_mtime, nanoseconds: raw.st_mtime_nsec },
                changed: Stamp { seconds: raw.st_ctime, nanoseconds: raw.st_ctime_nsec },
            },
            kind,
            links: raw.st_nlink,
            uid: raw.st_uid,
            gid: raw.st_gid,
            mode: raw.st_mode & 0o7777,
            accessed: Stamp { seconds: raw.st_atime, nanoseconds: raw.st_atime_nsec },
        }
    }
}

/// What the system knows of an open file.
///
/// # Errors
/// The system's.
pub(crate) fn status(file: &impl AsFd) -> io::Result<Status> {
    Ok(Status::from_raw(&fstat(file)?))
}

/// Fills the buffer from `offset` on; fewer octets only where the file ends.
///
/// # Errors
/// The system's.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Copies up to `length` octets inside the kernel; returns how many, 0 when it cannot be done this way
/// (other file systems, old kernels) or the source ends.
///
/// # Errors
/// The system's, such as a full disk.
pub(crate) fn copy(from: &File, offset: u64, to: &File, target: u64, length: u64) -> io::Result<u64> {
    let mut input = i64::try_from(offset).map_err(io::Error::other)?;
    let mut output = i64::try_from(target).map_err(io::Error::other)?;
    // One call stays below the kernel's own limit of 2 GiB.
    let length = usize::try_from(length.min(1 << 30)).map_err(io::Error::other)?;
    loop {
        // SAFETY: both descriptors are open, and the kernel updates two live numbers.
        let answer = unsafe {
            libc::copy_file_range(
                from.as_raw_fd(),
                &raw mut input,
                to.as_raw_fd(),
                &raw mut output,
                length,
                0,
            )
        };
        match Errno::result(answer) {
            Ok(count) => return Ok(u64::try_from(count).unwrap_or(0)),
            Err(Errno::EINTR) => {}
            Err(Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM) => {
                return Ok(0);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sets the times of last reading and last change.
///
/// # Errors
/// The system's.
pub(crate) fn set_times(file: &File, accessed: Stamp, modified: Stamp) -> io::Result<()> {
    let time = |stamp: Stamp| TimeSpec::new(stamp.seconds, stamp.nanoseconds);
    Ok(futimens(file, &time(accessed), &time(modified))?)
}

/// Sets both times to now, by the file system's clock.
///
/// # Errors
/// The system's.
pub(crate) fn touch(file: &File) -> io::Result<()> {
    Ok(futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)?)
}

/// Whether this process may write there, as far as can be told without writing.
///
/// # Errors
/// It may not.
pub(crate) fn may_write(path: &std::path::Path) -> io::Result<()> {
    Ok(nix::unistd::access(path, nix::unistd::AccessFlags::W_OK)?)
}

/// Whether the file system of this path has a block and a file left for ordinary users.
///
/// # Errors
/// The system's.
pub(crate) fn has_room(path: &std::path::Path) -> io::Result<bool> {
    let found = nix::sys::statvfs::statvfs(path)?;
    // Some file systems count no files.
    Ok(found.blocks_available() > 0 && (found.files() == 0 || found.files_available() > 0))
}

/// Gives the file to a group.
///
/// # Errors
/// The system's, such as a group that the process is not in.
pub(crate) fn set_group(file: &File, gid: u32) -> io::Result<()> {
    Ok(fchown(file, None, Some(Gid::from_raw(gid)))?)
}

/// Sets the permission bits.
///
/// # Errors
/// The system's.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(fchmod(file, Mode::from_bits_truncate(mode & 0o777))?)
}

/// A file without a name that lives in memory until it is closed.
///
/// # Errors
/// The system's.
pub(crate) fn anonymous(name: &CStr) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// Gives `to` the access control list and the user attributes of `from`, and takes away a list that `to` has
/// from its directory's default and `from` has not. File systems without attributes are fine.
///
/// # Errors
/// The system's, such as no room.
pub(crate) fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    match attribute(from, ACL)? {
        Some(list) => set_attribute(to, ACL, &list)?,
        None => remove_attribute(to, ACL)?,
    }
    for name in attribute_names(from)? {
        if name.to_bytes().starts_with(b"user.")
            && let Some(value) = attribute(from, &name)?
        {
            set_attribute(to, &name, &value)?;
        }
    }
    Ok(())
}

/// The names of a file's extended attributes.
fn attribute_names(file: &File) -> io::Result<Vec<std::ffi::CString>> {
    let list = grown(|buffer| {
        // SAFETY: the descriptor is open, and the kernel writes at most `len` octets into the live buffer.
        unsafe { libc::flistxattr(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) }
    })?;
    let names = list.unwrap_or_default();
    Ok(names
        .split(|&octet| octet == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| std::ffi::CString::new(name).ok())
        .collect())
}

/// The value of an extended attribute, if there is one.
///
/// # Errors
/// The system's.
pub(crate) fn attribute(file: &File, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    grown(|buffer| {
        // SAFETY: the descriptor is open, the name ends in NUL, and the kernel writes at most `len` octets.
        unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
    })
}

/// Calls with growing buffers until the answer fits; none where there is no such thing.
fn grown(call: impl Fn(&mut [u8]) -> isize) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 1024];
    loop {
        match usize::try_from(call(&mut buffer)) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(_) => match Errno::last() {
                Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ENOSYS => return Ok(None),
                Errno::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
                error => return Err(error.into()),
            },
        }
    }
}

/// Sets an extended attribute.
///
/// # Errors
/// The system's.
pub(crate) fn set_attribute(file: &File, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the descriptor is open, the name ends in NUL, and the kernel reads `len` octets of a live slice.
    let answer =
        unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Ok(Errno::result(answer).map(drop)?)
}

fn remove_attribute(file: &File, name: &CStr) -> io::Result<()> {
    // SAFETY: the descriptor is open and the name ends in NUL.
    match Errno::result(unsafe { libc::fremovexattr(file.as_raw_fd(), name.as_ptr()) }) {
        Ok(_) | Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn attributes_and_times_go_from_file_to_file() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        if set_attribute(&from, c"user.poptools", b"kept").is_ok() {
            copy_attributes(&from, &to).unwrap();
            assert_eq!(attribute(&to, c"user.poptools").unwrap().unwrap(), b"kept");
        } else {
            eprintln!("skipped: the file system has no user attributes");
        }
        let stamp = Stamp { seconds: 1_000_000_000, nanoseconds: 5 };
        set_times(&to, stamp, stamp).unwrap();
        assert_eq!(status(&to).unwrap().identity.modified, stamp);
    }

    #[test]
    fn reading_is_short_only_where_the_file_ends() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(read_at(&file, &mut buffer, 0).unwrap(), 8);
        assert_eq!(read_at(&file, &mut buffer, 6).unwrap(), 4);
        assert_eq!(read_at(&file, &mut buffer, 20).unwrap(), 0);
        let memory = anonymous(c"test").unwrap();
        memory.write_all_at(b"x", 3).unwrap();
        assert_eq!(status(&memory).unwrap().identity.size, 4);
    }
}
