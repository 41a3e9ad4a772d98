//! Memory that must not survive.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};

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
            unsafe { overwrite(memory, layout.size()) };
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

/// Overwrites memory with zeros, by writes that no compiler leaves out.
///
/// # Safety
/// `length` octets from `memory` on are one allocation that nobody else uses. What they hold need not be initialised: there is no
/// reference to them, and nothing is read.
unsafe fn overwrite(memory: *mut u8, length: usize) {
    let (words, rest) = (length / size_of::<u64>(), length % size_of::<u64>());
    // Words where the memory is aligned for them, which it nearly always is; octets are eight times slower.
    let aligned = memory.cast::<u64>().is_aligned();
    let (words, rest) = if aligned { (words, rest) } else { (0, length) };
    for index in 0..words {
        // SAFETY: within the allocation, since index is below the number of whole words, and aligned.
        unsafe { memory.cast::<u64>().add(index).write_volatile(0) };
    }
    for index in length - rest..length {
        // SAFETY: within the allocation.
        unsafe { memory.add(index).write_volatile(0) };
    }
    compiler_fence(Ordering::SeqCst);
}

/// Whether the C library overwrites what it frees.
static PERTURBED: AtomicBool = AtomicBool::new(false);

/// Overwrites what nobody needs any more.
pub(super) fn wipe(octets: &mut [u8]) {
    // SAFETY: the slice is borrowed for this alone.
    unsafe { overwrite(octets.as_mut_ptr(), octets.len()) };
}

/// While on, freed memory is overwritten: ours at once, the C library's from [`overwrite_freed_by_libraries`] on.
pub(crate) fn overwrite_freed(on: bool) {
    OVERWRITE.store(on, Ordering::Relaxed);
    if !on && PERTURBED.swap(false, Ordering::Relaxed) {
        perturb(0);
    }
}

/// A library in C is about to get a secret or to read one: what it frees is overwritten while ours is, by the allocator of the C
/// library (mallopt(3), `M_PERTURB`). That call goes through the whole heap, which costs a process just forked a copy of much of it.
pub(crate) fn overwrite_freed_by_libraries() {
    if OVERWRITE.load(Ordering::Relaxed) && !PERTURBED.swap(true, Ordering::Relaxed) {
        perturb(0x5a);
    }
}

fn perturb(with: libc::c_int) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt has no memory arguments; the process has one thread.
    unsafe {
        libc::mallopt(libc::M_PERTURB, with);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = with;
}

/// Overwrites the part of the stack that calls below this one have left behind.
///
/// Pages that nobody calls any more are given back, and read as zeros from then on: to write them would first have the kernel make
/// those that were never used. What lies nearer is overwritten.
#[inline(never)]
pub(crate) fn wipe_stack() {
    let here = 0_u8;
    let page = page();
    // Below the frame of the call that gives back.
    let end = (std::ptr::from_ref(black_box(&here)).addr() & !(page - 1)).saturating_sub(page);
    // SAFETY: the area is below everything on this stack that is still used: the call's own frame is within the page that stays. The
    // process has one thread, and the kernel keeps a gap of 1 MiB below its stack, so the area is stack or nothing. A part that was
    // never used is ENOMEM, after the rest was given back.
    unsafe {
        libc::madvise(std::ptr::without_provenance_mut(end - STACK), STACK, libc::MADV_DONTNEED);
    }
    wipe_near();
}

/// Overwrites what lies between the caller's frame and the pages that were given back.
#[inline(never)]
fn wipe_near() {
    let mut area = std::mem::MaybeUninit::<[u64; 4 * 4096 / size_of::<u64>()]>::uninit();
    // SAFETY: the array is this call's own, and nothing reads it.
    unsafe { overwrite(area.as_mut_ptr().cast(), size_of_val(&area)) };
    black_box(&area);
}

/// The size of a page of memory.
fn page() -> usize {
    // SAFETY: sysconf has no memory arguments.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The end of the heap; 0 where it is not known.
pub(crate) fn heap_end() -> usize {
    #[cfg(target_env = "gnu")]
    // SAFETY: an increment of 0 changes nothing.
    return unsafe { libc::sbrk(0) }.addr();
    #[cfg(not(target_env = "gnu"))]
    0
}

/// So much more heap is worth a look at all of it.
const WORTH_TRIMMING: usize = 256 * 1024;

/// Gives free memory back to the system when the heap has grown since its end was looked at, so that a session stays small after
/// verification.
pub(crate) fn trim(since: usize) {
    #[cfg(target_env = "gnu")]
    if heap_end().saturating_sub(since) > WORTH_TRIMMING {
        // SAFETY: malloc_trim has no memory arguments; the process has one thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = (since, WORTH_TRIMMING);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_is_overwritten_and_no_other() {
        for start in 0..9 {
            for length in 0..40 {
                let mut area = [u64::MAX; 8];
                let octets = area.as_mut_ptr().cast::<u8>();
                // SAFETY: start and length stay within the 64 octets of the array, which only this test uses.
                unsafe { overwrite(octets.add(start), length) };
                let octets: Vec<u8> = area.iter().flat_map(|word| word.to_ne_bytes()).collect();
                let expected = |index: usize| if (start..start + length).contains(&index) { 0 } else { 0xff };
                assert!(octets.iter().enumerate().all(|(index, octet)| *octet == expected(index)));
            }
        }
    }
}
