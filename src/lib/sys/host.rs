//! The machine's name.

use std::io;

/// A host name has at most 255 octets (RFC 1035, section 2.3.4); one more for the final NUL.
const OCTETS: usize = 256;

/// The name of this machine as the kernel has it (`gethostname`).
///
/// # Errors
/// The system call failed, or the name is not text.
pub(crate) fn name() -> io::Result<String> {
    let mut buffer = [0_u8; OCTETS];
    // SAFETY: the buffer is writable for OCTETS bytes, and the call writes no more than it is told.
    if unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), OCTETS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(OCTETS);
    String::from_utf8(buffer[..end].to_vec()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}
