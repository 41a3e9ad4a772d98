//! Random bits of the kernel.

use std::io;

/// Fills a buffer with random octets that nobody can guess.
///
/// # Errors
/// The kernel has none, which happens only where `getrandom` is forbidden.
pub(crate) fn fill(buffer: &mut [u8]) -> io::Result<()> {
    getrandom::fill(buffer).map_err(io::Error::from)
}

/// A random number of 64 bits.
///
/// # Errors
/// As [`fill`].
pub(crate) fn number() -> io::Result<u64> {
    let mut octets = [0; 8];
    fill(&mut octets)?;
    Ok(u64::from_le_bytes(octets))
}
