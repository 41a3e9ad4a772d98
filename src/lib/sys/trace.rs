//! Opens the trace file of `-t`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file that lines are appended to, and makes it with mode 0600 when it is missing.
///
/// # Errors
/// It cannot be opened, or it is a symbolic link (`ELOOP`), no regular file, has another name too (a link that
/// somebody planted), belongs to another user, or may be written by others.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // O_NONBLOCK: a FIFO that nobody reads must not hold us up.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    let refused = if !metadata.is_file() {
        "it is not a regular file"
    } else if metadata.uid() != nix::unistd::geteuid().as_raw() {
        "it belongs to another user"
    } else if metadata.mode() & 0o022 != 0 {
        "others may write it"
    } else if metadata.nlink() != 1 {
        "it has more than one name"
    } else {
        return Ok(file);
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, refused))
}
