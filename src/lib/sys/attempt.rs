//! What a role must not be able to do, tried for `pop3d --sandbox-selftest`. Each attempt is harmless where it succeeds, and would
//! succeed for root without a fence.

use nix::unistd::{ForkResult, Pid};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What there is to reach for.
#[derive(Debug)]
pub(crate) struct Targets {
    /// A file that everybody may read.
    pub(crate) file: PathBuf,
    /// A directory in which everybody may make files.
    pub(crate) directory: PathBuf,
    /// Another user's mailbox, in a directory of its own.
    pub(crate) maildrop: PathBuf,
    /// Another user's mailbox in the spool.
    pub(crate) neighbour: PathBuf,
    /// A TCP port of this machine that listens.
    pub(crate) port: SocketAddr,
    /// A UNIX socket that listens, for everybody.
    pub(crate) socket: PathBuf,
    /// The process that plays the monitor.
    pub(crate) monitor: u32,
}

/// Something that must fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    OpenFile,
    MakeFile,
    ListDirectory,
    ReadMaildrop,
    ReadNeighbour,
    Connect,
    ConnectUnix,
    Listen,
    Execute,
    Fork,
    Trace,
    ReadMemory,
    Signal,
    BecomeRoot,
    MakeNamespace,
    ChangeRoot,
    MakeDevice,
    MakeCode,
    ChangeLimit,
    AllowDump,
    UseRing,
    UseKeys,
}

impl Attempt {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self::OpenFile,
        Self::MakeFile,
        Self::ListDirectory,
        Self::ReadMaildrop,
        Self::ReadNeighbour,
        Self::Connect,
        Self::ConnectUnix,
        Self::Listen,
        Self::Execute,
        Self::Fork,
        Self::Trace,
        Self::ReadMemory,
        Self::Signal,
        Self::BecomeRoot,
        Self::MakeNamespace,
        Self::ChangeRoot,
        Self::MakeDevice,
        Self::MakeCode,
        Self::ChangeLimit,
        Self::AllowDump,
        Self::UseRing,
        Self::UseKeys,
    ];

    /// What is tried, in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::OpenFile => "open a file elsewhere",
            Self::MakeFile => "make a file elsewhere",
            Self::ListDirectory => "list a directory elsewhere",
            Self::ReadMaildrop => "read another user's maildrop",
            Self::ReadNeighbour => "read another user's mailbox in the spool",
            Self::Connect => "connect to an address",
            Self::ConnectUnix => "connect to a UNIX socket",
            Self::Listen => "listen on a port",
            Self::Execute => "execute a program",
            Self::Fork => "make a process",
            Self::Trace => "trace the monitor",
            Self::ReadMemory => "read the monitor's memory",
            Self::Signal => "send the monitor a signal",
            Self::BecomeRoot => "regain root",
            Self::MakeNamespace => "make a namespace",
            Self::ChangeRoot => "change the root directory",
            Self::MakeDevice => "make a device",
            Self::MakeCode => "make memory executable",
            Self::ChangeLimit => "change a resource limit",
            Self::AllowDump => "allow a core file",
            Self::UseRing => "use io_uring",
            Self::UseKeys => "use the kernel's keys",
        }
    }

    /// Tries it. A program that is executed takes the place of this process and exits with 0.
    ///
    /// # Errors
    /// It failed, as it should.
    pub(crate) fn make(self, targets: &Targets) -> io::Result<()> {
        let monitor = Pid::from_raw(i32::try_from(targets.monitor).map_err(io::Error::other)?);
        match self {
            Self::OpenFile => File::open(&targets.file).map(drop),
            Self::MakeFile => {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600);
                let path = targets.directory.join(format!("file-{}", std::process::id()));
                options.open(path).map(drop)
            }
            Self::ListDirectory => std::fs::read_dir(&targets.directory).map(drop),
            Self::ReadMaildrop => File::open(&targets.maildrop).map(drop),
            Self::ReadNeighbour => File::open(&targets.neighbour).map(drop),
            Self::Connect => TcpStream::connect(targets.port).map(drop),
            Self::ConnectUnix => UnixStream::connect(&targets.socket).map(drop),
            Self::Listen => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop),
            Self::Execute => Ok(nix::unistd::execve(c"/bin/sh", &[c"sh", c"-c", c":"], &[c""; 0]).map(drop)?),
            Self::Fork => make_process(),
            Self::Trace => trace(monitor),
            Self::ReadMemory => read_memory(monitor),
            Self::Signal => Ok(nix::sys::signal::kill(monitor, None)?),
            Self::BecomeRoot => {
                let root = nix::unistd::Uid::from_raw(0);
                Ok(nix::unistd::setresuid(root, root, root)?)
            }
            // SAFETY: unshare takes a number.
            Self::MakeNamespace => checked(unsafe { libc::unshare(libc::CLONE_NEWUTS) }.into()),
            Self::ChangeRoot => Ok(nix::unistd::chroot("/")?),
            Self::MakeDevice => make_device(&targets.directory),
            Self::MakeCode => make_code(),
            Self::ChangeLimit => change_limit(),
            Self::AllowDump => Ok(nix::sys::prctl::set_dumpable(true)?),
            Self::UseRing => use_ring(),
            Self::UseKeys => use_keys(),
        }
    }
}

/// The name of an error number, as in errno(3).
pub(crate) fn error_name(number: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(number))
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn make_process() -> io::Result<()> {
    // SAFETY: this process has one thread, and the child does nothing but end.
    match unsafe { nix::unistd::fork() }? {
        // SAFETY: _exit takes a number and does not return.
        ForkResult::Child => unsafe { libc::_exit(0) },
        ForkResult::Parent { child } => Ok(nix::sys::wait::waitpid(child, None).map(drop)?),
    }
}

/// Without stopping it; the end of this process sets it free.
fn trace(monitor: Pid) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE takes a process id and no memory of ours.
    checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, monitor.as_raw(), none, none) })
}

/// The monitor runs the same program: what has a fixed place here has it there, too.
fn read_memory(monitor: Pid) -> io::Result<()> {
    static THERE: [u8; 8] = *b"monitor.";
    let mut here = [0_u8; 8];
    let local = libc::iovec { iov_base: here.as_mut_ptr().cast(), iov_len: here.len() };
    let remote = libc::iovec { iov_base: THERE.as_ptr().cast_mut().cast(), iov_len: THERE.len() };
    // SAFETY: both vectors describe eight octets; the kernel checks the remote ones and writes only to `here`.
    let count =
        unsafe { libc::process_vm_readv(monitor.as_raw(), &raw const local, 1, &raw const remote, 1, 0) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn make_device(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!("device-{}", std::process::id()));
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string that ends in NUL; 1, 3 is the null device.
    checked(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 3)) }.into())
}

fn make_code() -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: a new anonymous page, of which nothing is used.
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn change_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let none = std::ptr::null_mut::<libc::rlimit>();
    // SAFETY: the kernel writes one `rlimit`, which is ours.
    checked(unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, none, &raw mut limit) })?;
    // SAFETY: the kernel reads one `rlimit`, which is ours.
    checked(unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &raw const limit, none) })
}

fn use_ring() -> io::Result<()> {
    // `struct io_uring_params` has 120 octets.
    let mut parameters = [0_u64; 15];
    // SAFETY: the kernel reads and writes that structure, which is ours.
    checked(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })
}

fn use_keys() -> io::Result<()> {
    const GET_KEYRING_ID: libc::c_int = 0;
    const OWN_KEYRING: libc::c_int = -2;
    // SAFETY: this command takes numbers alone.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, OWN_KEYRING, 1) })
}
