//! Being started with more rights than the caller has: a program that is set-uid `pop`.
//!
//! The caller chose everything that this process was born with: arguments, environment, descriptors, limits, signals, directory. All
//! of it is put right before anything looks at it. Then the process has the caller's rights. Those of `pop` are kept in the saved id,
//! and only a child takes them on, wholly: while it holds a lock of the database, the caller can neither stop nor end it, since none
//! of its ids is the caller's any more (kill(2)).

use super::account::User;
use super::{descriptors, process};
use crate::error::{Error, Kind, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setresgid, setresuid};
use std::ffi::{CString, OsString};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the environment has from now on, besides [`KEPT`].
const PATH: &str = "/usr/bin:/bin";

/// What may stay when it is harmless: the terminal's kind, and language.
const KEPT: [&str; 4] = ["TERM", "LANG", "LANGUAGE", "LC_"];

/// Longer than any value of these.
const LONGEST_VALUE: usize = 64;

/// How the process was started.
#[derive(Debug)]
pub(crate) enum Start {
    /// With the caller's rights.
    Plain,
    /// By an ordinary user, set-uid: this user's own entry is all there is to do.
    Service(Service),
}

/// A caller whose rights the process has, and the owner of the database whom a child may become.
#[derive(Debug)]
pub(crate) struct Service {
    caller: Uid,
    owner: Uid,
}

/// Looks how the process was started; with foreign rights, everything that the caller chose is put right. To be called before
/// anything else is done. `owner` is the user whose rights the program may have.
///
/// # Errors
/// The program has been installed in a way that is of no use: the rights were given up.
pub(crate) fn enter(owner: &str) -> Result<Start> {
    let (user, group) = ids()?;
    // SAFETY: the call takes a number and gives one.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if !secure && user.real == user.effective && group.real == group.effective {
        return Ok(Start::Plain);
    }
    clean()?;
    let known = || nix::unistd::User::from_name(owner).ok().flatten().map(|found| found.uid);
    if user.real.is_root() {
        // Root may do everything anyway: as if the program had no bits.
        setresuid(user.real, user.real, user.real).map_err(|errno| failed("become root again", errno))?;
        give_up(user.real, group.real)?;
        return Ok(Start::Plain);
    }
    if user.real != user.effective && Some(user.effective) == known() {
        setresgid(group.real, group.real, group.real).map_err(|errno| failed("set the group", errno))?;
        setresuid(user.real, user.real, user.effective).map_err(|errno| failed("set the user", errno))?;
        hide()?;
        return Ok(Start::Service(Service { caller: user.real, owner: user.effective }));
    }
    let is_owner = Some(user.real) == known();
    give_up(user.real, group.real)?;
    if is_owner && user.real == user.effective {
        return Ok(Start::Plain);
    }
    // Database and key are the owner's alone: a group has no use for them, and with another user's rights there is nothing to do.
    Err(Error::new(Kind::Config, format!("this program has rights of another user or group than {owner}"))
        .with_fix(format!("chown {owner}:root mailauth && chmod 4755 mailauth lets users change their secrets, chmod 0755 does not")))
}

fn ids() -> Result<(nix::unistd::ResUid, nix::unistd::ResGid)> {
    let user = getresuid().map_err(|errno| failed("read the user ids", errno))?;
    Ok((user, getresgid().map_err(|errno| failed("read the group ids", errno))?))
}

/// Has the caller's rights and no others, for good.
fn give_up(user: Uid, group: Gid) -> Result<()> {
    setresgid(group, group, group).map_err(|errno| failed("set the group", errno))?;
    setresuid(user, user, user).map_err(|errno| failed("set the user", errno))?;
    hide()
}

impl Service {
    /// The caller, by what the kernel says: the account of the real user id. No name in the environment counts.
    pub(crate) fn caller(&self) -> Result<Option<User>> {
        let found =
            nix::unistd::User::from_uid(self.caller).map_err(|errno| failed("ask who you are", errno))?;
        Ok(found.map(|found| User {
            name: found.name,
            uid: found.uid.as_raw(),
            gid: found.gid.as_raw(),
            home: found.dir,
            shell: found.shell.to_string_lossy().into_owned(),
            hash: crate::secret::Secret::new(Vec::new()),
        }))
    }

    /// In a child that has just been forked: takes on the owner's user id for good, away from the caller's terminal and signals.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn become_owner(&self) -> Result<()> {
        process::detach();
        setresuid(self.owner, self.owner, self.owner).map_err(|errno| failed("set the user", errno))?;
        hide()?;
        let (user, _) = ids()?;
        if [user.real, user.effective, user.saved].iter().any(|id| *id != self.owner) {
            return Err(failed("become the owner of the database", Errno::EPERM));
        }
        // A limit of the caller's on the size of files is an error of the write, not the end of the process.
        set(Signal::SIGXFSZ, SigHandler::SigIgn);
        descriptors::silence_standard_streams()
    }
}

/// Puts right what the caller chose.
fn clean() -> Result<()> {
    hide()?;
    environment();
    standard_descriptors()?;
    descriptors::close_all_but(&[]);
    process::private_files();
    limits()?;
    signals();
    process::go_to(Path::new("/"));
    Ok(())
}

/// Nobody traces this process or looks into its memory, and it leaves no core file.
fn hide() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(|errno| failed("hide this process", errno))
}

fn environment() {
    let kept: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, value)| is_harmless(name.as_bytes(), value.as_bytes())).collect();
    // SAFETY: the process has one thread, and nobody holds a pointer into the environment.
    unsafe { libc::clearenv() };
    let path = (OsString::from("PATH"), OsString::from(PATH));
    for (name, value) in kept.into_iter().chain([path]) {
        let text = |text: &OsString| CString::new(text.as_bytes());
        if let (Ok(name), Ok(value)) = (text(&name), text(&value)) {
            // SAFETY: as above; both strings end in NUL and are copied.
            unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
        }
    }
}

/// A name that is kept, with a value that can be nothing but a word: no path, no format, no control octet.
fn is_harmless(name: &[u8], value: &[u8]) -> bool {
    let kept = KEPT
        .iter()
        .any(|kept| name == kept.as_bytes() || kept.ends_with('_') && name.starts_with(kept.as_bytes()));
    let word = |octet: &u8| octet.is_ascii_alphanumeric() || b"_.@-:".contains(octet);
    kept && name.len() <= LONGEST_VALUE && value.len() <= LONGEST_VALUE && value.iter().all(word)
}

/// A file that is opened must never become standard output or error.
fn standard_descriptors() -> Result<()> {
    let failed = |errno| failed("open /dev/null", errno);
    loop {
        let number = open("/dev/null", OFlag::O_RDWR, Mode::empty()).map_err(failed)?.into_raw_fd();
        // Whatever was closed below is open now, and the rest is closed with all that the caller left open.
        if number > 2 {
            return Ok(());
        }
    }
}

/// As much as the hard limits allow, which an ordinary user cannot raise; no core file.
fn limits() -> Result<()> {
    for resource in [
        Resource::RLIMIT_NOFILE,
        Resource::RLIMIT_AS,
        Resource::RLIMIT_DATA,
        Resource::RLIMIT_FSIZE,
        Resource::RLIMIT_CPU,
        Resource::RLIMIT_STACK,
    ] {
        if let Ok((_, hard)) = getrlimit(resource) {
            // What cannot be raised shows when it is reached.
            let _ = setrlimit(resource, hard, hard);
        }
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| failed("forbid core files", errno))
}

/// All signals do what they do in a fresh process, and none is blocked; no timer of the caller's goes off.
fn signals() {
    // SAFETY: the call takes a number.
    unsafe { libc::alarm(0) };
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        set(signal, SigHandler::SigDfl);
    }
    // As Rust's start has it: a reader that goes away is an error of the write.
    set(Signal::SIGPIPE, SigHandler::SigIgn);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

fn set(signal: Signal, effect: SigHandler) {
    let action = SigAction::new(effect, SaFlags::empty(), SigSet::empty());
    // SAFETY: only ever called with the default effect or none, so no handler of ours is installed.
    let _ = unsafe { sigaction(signal, &action) };
}

fn failed(what: &str, errno: Errno) -> Error {
    Error::io(format!("cannot {what}"), errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue "mailauth": the environment is cleaned but for the terminal's kind and the language.
    #[test]
    fn harmless_variables_are_words() {
        for (name, value, harmless) in [
            ("TERM", "xterm-256color", true),
            ("LANG", "de_DE.UTF-8", true),
            ("LC_ALL", "C", true),
            ("LC_ALL", "../../tmp/x", false),
            ("TERM", "/tmp/terminfo", false),
            ("LANG", "a\nb", false),
            ("LC_ALL%n", "", true),
            ("LD_PRELOAD", "x", false),
            ("TZ", "UTC", false),
            ("TERMCAP", "x", false),
            ("SQLITE_TMPDIR", "x", false),
        ] {
            assert_eq!(is_harmless(name.as_bytes(), value.as_bytes()), harmless, "{name}={value}");
        }
        assert!(!is_harmless(b"LANG", &[b'a'; 65]));
    }

    #[test]
    fn a_test_was_started_with_its_callers_rights() {
        assert!(matches!(enter("pop"), Ok(Start::Plain)));
    }
}
