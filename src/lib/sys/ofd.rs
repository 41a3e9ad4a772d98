//! Locks of open file descriptions (fcntl(2), `F_OFD_SETLK`): they go with the last descriptor of the description.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;

/// Takes the write lock on `length` octets from `start` on without waiting; false when another description holds a lock on one of
/// them. A length of 0 means all octets behind `start`, however far the file grows. The file must be open for writing.
///
/// # Errors
/// The system's; a file system without locks, for one.
pub(super) fn try_lock_range(file: &File, start: u32, length: u32) -> io::Result<bool> {
    let range = range(libc::F_WRLCK, start, length);
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&range)) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the locks on the whole file back.
///
/// # Errors
/// The system's.
pub(super) fn unlock_all(file: &File) -> io::Result<()> {
    Ok(fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_UNLCK, 0, 0))).map(drop)?)
}

#[allow(clippy::cast_possible_truncation, reason = "the constants are below 3; their types vary")]
#[allow(clippy::unnecessary_cast, reason = "as above")]
fn range(kind: i32, start: u32, length: u32) -> libc::flock {
    // SAFETY: a structure of numbers; all zero is a valid value, and l_pid must be zero.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as _;
    range.l_whence = libc::SEEK_SET as _;
    range.l_start = start.into();
    range.l_len = length.into();
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_locked_one_by_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = File::options().read(true).write(true).open(file.path()).unwrap();
        let file = file.as_file();
        assert!(try_lock_range(file, 2, 1).unwrap());
        assert!(!try_lock_range(&other, 2, 1).unwrap() && try_lock_range(&other, 3, 1).unwrap());
        assert!(!try_lock_range(&other, 0, 0).unwrap(), "0 is the whole file");
        unlock_all(file).unwrap();
        assert!(try_lock_range(&other, 0, 0).unwrap() && !try_lock_range(file, 70_000, 1).unwrap());
    }
}
