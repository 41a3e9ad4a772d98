//! The test's own view of the machine: accounts, spool, run-time directories, `/dev/log`.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// From now on no mount of this thread is seen by others.
pub(crate) fn keep_mounts_private() {
    make_mounts_private().expect("mounts become private");
}

fn make_mounts_private() -> nix::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

/// Whether root may have mounts of its own here: not in a container without `CAP_SYS_ADMIN`, nor in a chroot whose
/// root is no mount point.
pub(crate) fn mounts_can_be_private() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    // In a thread of its own, which alone leaves the namespace.
    let attempt = || unshare(CloneFlags::CLONE_NEWNS).and_then(|()| make_mounts_private()).is_ok();
    *ANSWER.get_or_init(|| std::thread::spawn(attempt).join().unwrap())
}

/// Mounts of a [`super::World`], undone in reverse order.
#[derive(Default)]
pub(crate) struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// Shows `source` at `target`, which exists.
    pub(crate) fn bind(&mut self, source: &Path, target: &Path) {
        mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .unwrap_or_else(|why| panic!("cannot bind {} to {}: {why}", source.display(), target.display()));
        self.0.push(target.to_owned());
    }

    /// An empty file system at `target`.
    pub(crate) fn empty(&mut self, target: &Path, options: &str) {
        mount(Some("none"), target, Some("tmpfs"), MsFlags::empty(), Some(options))
            .unwrap_or_else(|why| panic!("cannot mount a tmpfs on {}: {why}", target.display()));
        self.0.push(target.to_owned());
    }

    /// Shows `text` instead of the system's file, owned by root and with the given mode.
    pub(crate) fn replace(&mut self, file: &str, text: &str, mode: u32, stage: &Path) {
        let copy = stage.join(Path::new(file).file_name().unwrap());
        write(&copy, text.as_bytes(), mode);
        self.bind(&copy, Path::new(file));
    }

    /// A `/dev` with the usual devices, in which a socket can be made without touching the machine's.
    pub(crate) fn private_devices(&mut self, stage: &Path) {
        let devices = stage.join("dev");
        make_directory(&devices, 0o755);
        self.empty(&devices, "mode=755");
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let system = Path::new("/dev").join(name);
            if system.exists() {
                let own = devices.join(name);
                write(&own, b"", 0o666);
                self.bind(&system, &own);
            }
        }
        make_directory(&devices.join("shm"), 0o755);
        self.bind(Path::new("/dev/shm"), &devices.join("shm"));
        self.terminals(&devices);
        for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            symlink(format!("/proc/self/{target}"), devices.join(name)).unwrap();
        }
        self.bind(&devices, Path::new("/dev"));
    }
}

impl Mounts {
    /// Terminals of the machine's own: the system's cannot be made in another place than their own, and in a container by root alone.
    fn terminals(&mut self, devices: &Path) {
        let own = devices.join("pts");
        make_directory(&own, 0o755);
        symlink("pts/ptmx", devices.join("ptmx")).unwrap();
        let options = "newinstance,ptmxmode=0666,mode=0620";
        mount(Some("none"), &own, Some("devpts"), MsFlags::empty(), Some(options))
            .unwrap_or_else(|why| panic!("cannot mount a devpts on {}: {why}", own.display()));
        self.0.push(own);
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for target in self.0.drain(..).rev() {
            // Detached: a process that still runs may keep it. What cannot be undone ends with the test's thread.
            let _ = umount2(&target, MntFlags::MNT_DETACH);
        }
    }
}

/// Writes a file of root's with this mode, whatever the umask is. One that can be executed can be so at once.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap_or_else(|why| panic!("cannot write {}: {why}", path.display()));
    chmod(path, mode);
    if mode & 0o111 != 0 {
        until_nobody_writes(path);
    }
}

/// Waits until no process has a program open for writing: it could not be executed (ETXTBSY). A child of another thread's has
/// it open between its fork and its exec, when it was forked while the program was being written.
pub(crate) fn until_nobody_writes(program: &Path) {
    let file = fs::File::open(program).unwrap();
    let lease = |kind: i32| {
        // SAFETY: a call with three numbers.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } == 0;
        done || std::io::Error::last_os_error().raw_os_error() != Some(libc::EAGAIN)
    };
    // A lease for reading is given when nobody writes (fcntl(2)).
    super::eventually("nobody writes the program any more", || lease(libc::F_RDLCK).then_some(()));
    lease(libc::F_UNLCK);
}

/// Makes a directory (its parent exists) with this mode, whatever the umask is.
pub(crate) fn make_directory(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap_or_else(|why| panic!("cannot make {}: {why}", path.display()));
    chmod(path, mode);
}

/// Sets the mode, set-group-id bit included.
pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The lines of a system's account file whose names are not in `ours`.
pub(crate) fn lines_of_others(file: &str, ours: &[&str]) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let others = text.lines().filter(|line| !ours.contains(&line.split(':').next().unwrap_or_default()));
    others.map(|line| format!("{line}\n")).collect()
}
