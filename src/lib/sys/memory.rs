//! Memory that must not survive.

use std::hint::black_box;
use zeroize::Zeroize;

/// Stack that verification may have used; yescrypt and NSS stay far below.
const STACK: usize = 192 * 1024;

/// While on, freed memory is overwritten by the allocator (mallopt(3), `M_PERTURB`).
pub(crate) fn overwrite_freed(on: bool) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt has no memory arguments; the process has one thread.
    unsafe {
        libc::mallopt(libc::M_PERTURB, if on { 0x5a } else { 0 });
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = on;
}

/// Overwrites the part of the stack that calls below this one have left behind.
#[inline(never)]
pub(crate) fn wipe_stack() {
    let mut area = [0xffu8; STACK];
    black_box(&mut area).zeroize();
    black_box(&area);
}

/// Gives free memory back to the system, so that a session stays small after verification.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no memory arguments; the process has one thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
