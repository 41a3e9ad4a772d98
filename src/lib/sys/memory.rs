//! Memory that must not survive.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroize;

/// Stack that verification may have used; yescrypt and NSS stay far below.
const STACK: usize = 192 * 1024;

/// Whether freed memory is overwritten.
static OVERWRITE: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which overwrites what is freed while that is asked for. glibc's `M_PERTURB` alone does not do it: chunks
/// of up to 1 KiB go to a cache of the thread as they are.
struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: every call goes to the system's allocator with the same arguments, or to `alloc` and `dealloc` of this one.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if OVERWRITE.load(Ordering::Relaxed) {
            // SAFETY: the caller gives up `layout.size()` octets at `memory`, which nobody uses any more.
            unsafe { std::slice::from_raw_parts_mut(memory, layout.size()) }.zeroize();
        }
        // SAFETY: the caller's promise about `memory` and `layout`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !OVERWRITE.load(Ordering::Relaxed) {
            // SAFETY: the caller's promise about all three.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: the caller promises that `size` with this alignment is a layout; the new block does not overlap the old one, and
        // both hold what is copied.
        unsafe {
            let grown = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !grown.is_null() {
                std::ptr::copy_nonoverlapping(memory, grown, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            grown
        }
    }
}

/// While on, freed memory is overwritten: ours at once, the C library's by its allocator (mallopt(3), `M_PERTURB`).
pub(crate) fn overwrite_freed(on: bool) {
    OVERWRITE.store(on, Ordering::Relaxed);
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt has no memory arguments; the process has one thread.
    unsafe {
        libc::mallopt(libc::M_PERTURB, if on { 0x5a } else { 0 });
    }
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
