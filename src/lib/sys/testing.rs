//! What tests need of the system: other account databases, and the time that a thread computed.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The position in the shadow database is one for the process.
static DATABASES: Mutex<()> = Mutex::new(());

/// Runs `test` in a thread that sees the files `passwd` and `shadow` of a directory in the place of those in
/// `/etc`. `None` when we may not, which is said on stderr.
pub(crate) fn with_accounts<T: Send>(directory: &Path, test: impl FnOnce() -> T + Send) -> Option<T> {
    let _one = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = enter(directory) {
                eprintln!("not root, or without mount namespaces ({error}): not tried");
                return None;
            }
            Some(test())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn enter(directory: &Path) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&Path> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    for name in ["passwd", "shadow"] {
        mount(Some(&directory.join(name)), &Path::new("/etc").join(name), none, MsFlags::MS_BIND, none)?;
    }
    Ok(())
}

/// The processor time of this thread; unlike the wall clock it is the same on a busy machine.
pub(crate) fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
