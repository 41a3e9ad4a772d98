//! `pop3d --check`: what stands in the way of service, and what to type against it. It changes nothing but
//! `run_dir`, where a lock is tried.

use crate::config::{Config, Lock, Plaintext, Sandbox, defaults};
use crate::error::Error;
use crate::log::escape::Sentence;
use crate::log::{Log, Settings};
use crate::sys;
use std::fmt::Write;
use std::fs::{self, Metadata};
use std::io;
use std::net::ToSocketAddrs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// Service works, but somebody should know.
    Warning,
    /// Service does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What it is.
    pub(crate) what: String,
    /// What to type, or where it cannot be typed, what to do.
    pub(crate) fix: Option<String>,
}

/// What `check` asks of the machine beside its files; tests give other answers.
#[derive(Clone, Debug)]
pub(crate) struct Probes<'a> {
    /// The file that the configuration came from: `--config`, or `None` for the default one.
    pub(crate) config_file: Option<&'a Path>,
    /// Whether we are root.
    pub(crate) root: bool,
    /// Whether a system account exists.
    pub(crate) account: fn(&str) -> bool,
    /// Whether the kernel has Landlock.
    pub(crate) landlock: fn() -> bool,
    /// Whether the kernel has seccomp filters.
    pub(crate) seccomp: fn() -> bool,
    /// Where syslog listens; the system's place for `None`.
    pub(crate) syslog: Option<PathBuf>,
}

impl<'a> Probes<'a> {
    /// Those of this machine; the sandbox is asked by its own module.
    pub(crate) fn system(
        config_file: Option<&'a Path>,
        landlock: fn() -> bool,
        seccomp: fn() -> bool,
    ) -> Self {
        let account = |name: &str| matches!(sys::account::user(name), Ok(Some(_)));
        Self { config_file, root: sys::privileges::is_root(), account, landlock, seccomp, syslog: None }
    }

    fn file(&self) -> &Path {
        self.config_file.unwrap_or(Path::new(defaults::FILE))
    }
}

/// Looks at everything that a session needs, in the order in which it needs it.
pub(crate) fn check(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let mut findings = vec![configuration(probes), rights(probes), unprivileged(probes)];
    findings.push(directory("state_dir", &config.state_dir, "0755", probes));
    findings.push(directory("run_dir", &config.run_dir, "0711", probes));
    findings.push(kernel_locks(config));
    findings.push(spool(config));
    findings.extend(sendmail(config, probes));
    findings.push(syslog(probes));
    findings.push(sandbox(
        config,
        "Landlock",
        (probes.landlock)(),
        "boot with lsm=landlock in front of the list",
    ));
    findings.push(sandbox(config, "seccomp", (probes.seccomp)(), "use a kernel with CONFIG_SECCOMP_FILTER"));
    findings.push(hostname(config, probes));
    findings.push(libcrypt());
    findings.push(plaintext(config, probes));
    findings
}

/// The one finding when the configuration cannot be read.
pub(crate) fn unreadable(error: &Error) -> Finding {
    Finding::problem(format!("configuration: {error}"), "mend what is named here, then check again")
}

/// A line for each: `ok`, `warning` or `problem`, what it is, and how to mend it.
pub(crate) fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { severity, what, fix } in findings {
        let word = match severity {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        };
        let fix = fix.as_ref().map(|fix| format!("; fix: {fix}")).unwrap_or_default();
        let line = format!("{what}{fix}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{word:8} {}", Sentence(line.as_bytes()));
    }
    text
}

/// 0, or 78 (EX_CONFIG) when service does not work.
pub(crate) fn exit_status(findings: &[Finding]) -> u8 {
    if findings.iter().any(|finding| finding.severity == Severity::Problem) { 78 } else { 0 }
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, what: what.into(), fix: None }
    }

    fn warning(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), fix: Some(fix.into()) }
    }

    fn problem(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, what: what.into(), fix: Some(fix.into()) }
    }
}

fn configuration(probes: &Probes<'_>) -> Finding {
    let file = probes.file().display();
    match fs::metadata(probes.file()) {
        Ok(metadata) if metadata.mode() & 0o022 != 0 => Finding::warning(
            format!("configuration {file}: others may write it, and root refuses it then"),
            format!("chown root {file} && chmod go-w {file}"),
        ),
        Ok(_) => Finding::ok(format!("configuration {file}")),
        Err(_) => Finding::ok(format!("configuration: no {file}, all defaults")),
    }
}

fn rights(probes: &Probes<'_>) -> Finding {
    if probes.root {
        return Finding::ok("started as root");
    }
    let what = "not root: shadow cannot be read, so nobody can log in, and findings may be wrong";
    Finding::warning(what, "sudo pop3d --check")
}

fn unprivileged(probes: &Probes<'_>) -> Finding {
    const FIX: &str = "useradd --system --user-group --no-create-home --home-dir /nonexistent \
                       --shell /usr/sbin/nologin pop3d";
    match ((probes.account)("pop3d"), (probes.account)("nobody")) {
        (true, _) => Finding::ok("user pop3d: strangers are served by it"),
        (false, true) => {
            Finding::warning("user pop3d is missing: nobody is used, and others share that account", FIX)
        }
        (false, false) => Finding::problem("there is neither user pop3d nor user nobody", FIX),
    }
}

fn directory(key: &str, path: &Path, mode: &str, probes: &Probes<'_>) -> Finding {
    let shown = path.display();
    let owner = if probes.root { 0 } else { sys::privileges::own().uid };
    let make = format!("install -d -o {owner} -m {mode} {shown}");
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Finding::problem(
            format!("{key} {shown} is not a directory"),
            format!("mv {shown} {shown}.old && {make}"),
        ),
        Ok(metadata) => owned(key, path, &metadata, owner),
        Err(error) if error.kind() == io::ErrorKind::NotFound && can_be_made(path, owner) => {
            Finding::ok(format!("{key} {shown}: will be made"))
        }
        Err(error) => Finding::problem(Error::io(format!("{key} {shown}"), error).to_string(), make),
    }
}

fn owned(key: &str, path: &Path, metadata: &Metadata, owner: u32) -> Finding {
    let shown = path.display();
    if metadata.uid() != owner {
        let what = format!("{key} {shown} belongs to uid {}", metadata.uid());
        return Finding::problem(what, format!("chown {owner} {shown}"));
    }
    if metadata.mode() & 0o022 != 0 {
        let what = format!("{key} {shown} may be written by others (mode {:04o})", metadata.mode() & 0o7777);
        return Finding::problem(what, format!("chmod go-w {shown}"));
    }
    Finding::ok(format!("{key} {shown}"))
}

/// Whether the nearest directory above belongs to us; root makes its directories below root's own alone.
fn can_be_made(path: &Path, owner: u32) -> bool {
    let above = path.ancestors().skip(1).find_map(|above| fs::metadata(above).ok());
    above.is_some_and(|above| above.is_dir() && above.uid() == owner && above.mode() & 0o022 == 0)
}

/// The kernel's locks, tried where sessions are locked.
fn kernel_locks(config: &Config) -> Finding {
    let path = config.run_dir.display();
    let tried = sys::slots::SlotFile::open(&config.run_dir, "check").and_then(|file| file.try_take(0));
    match tried {
        Ok(_) => Finding::ok(format!("locks in {path}")),
        Err(error) => Finding::problem(
            Error::io(format!("cannot lock files in {path}"), error).to_string(),
            format!("install -d -m 0711 {path}, on a local file system"),
        ),
    }
}

/// The mail spool. Nothing is made in it: what is possible follows from its mode.
fn spool(config: &Config) -> Finding {
    let Some(spool) = config.maildrop.path.spool() else {
        return Finding::ok(format!("maildrops {}: each in a home directory", config.maildrop.path));
    };
    let shown = spool.display();
    let mend = format!("chgrp mail {shown} && chmod 2775 {shown}");
    let metadata = match fs::metadata(spool) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return Finding::problem(format!("mail spool {shown} is not a directory"), mend),
        Err(error) => {
            let what = Error::io(format!("mail spool {shown}"), error).to_string();
            return Finding::problem(what, format!("install -d -o root -g mail -m 2775 {shown}"));
        }
    };
    let mode = metadata.mode() & 0o7777;
    let direct = Path::new(&config.maildrop.path.to_string()).parent() == Some(spool);
    let dotlock = config.maildrop.locks.contains(&Lock::Dotlock);
    match mode {
        _ if !direct => {
            Finding::ok(format!("mail spool {shown}: hashed, look at the directories below it too"))
        }
        _ if mode & 0o1002 == 0o0002 => Finding::problem(
            format!("mail spool {shown} has mode {mode:04o}: everybody can remove everybody's mail"),
            mend,
        ),
        _ if mode & 0o0002 != 0 => Finding::warning(
            format!("mail spool {shown} has mode {mode:04o}: users can plant lock files that block updates"),
            mend,
        ),
        _ if mode & 0o0020 == 0 => Finding::warning(
            format!(
                "mail spool {shown} has mode {mode:04o}: users cannot make {}temporary files in it, so a session \
                 can delete all messages or the newest, not others",
                if dotlock { "lock files and " } else { "" }
            ),
            mend,
        ),
        _ => Finding::ok(format!("mail spool {shown}, mode {mode:04o}, group {}", metadata.gid())),
    }
}

fn sendmail(config: &Config, probes: &Probes<'_>) -> Option<Finding> {
    if !config.xtnd.xmit {
        return None;
    }
    let shown = config.xtnd.sendmail.display();
    let runs = fs::metadata(&config.xtnd.sendmail)
        .is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0);
    Some(if runs {
        Finding::ok(format!("sendmail {shown}"))
    } else {
        Finding::warning(
            format!("sendmail {shown} cannot be run: XTND XMIT fails"),
            format!("install a mail system, or set xmit = false under [xtnd] in {}", probes.file().display()),
        )
    })
}

fn syslog(probes: &Probes<'_>) -> Finding {
    let log = Log::open(&Settings { syslog: probes.syslog.clone(), ..Settings::default() });
    match log {
        Ok(log) if log.reaches_syslog() => Finding::ok("syslog answers"),
        _ => Finding::warning("syslog does not answer: nothing is logged", "systemctl start rsyslog"),
    }
}

fn sandbox(config: &Config, name: &str, there: bool, fix: &str) -> Finding {
    match (there, config.sandbox) {
        (true, _) => Finding::ok(format!("{name} is available")),
        (false, Sandbox::Auto) => {
            Finding::warning(format!("{name} is not available: sessions run without that fence"), fix)
        }
        (false, Sandbox::Require) => {
            Finding::problem(format!("{name} is not available, but sandbox = \"require\""), fix)
        }
    }
}

fn hostname(config: &Config, probes: &Probes<'_>) -> Finding {
    let name = &config.hostname;
    match (name.as_str(), 0_u16).to_socket_addrs() {
        Ok(_) => Finding::ok(format!("host name {name}")),
        Err(_) => Finding::warning(
            format!("host name {name} has no address: clients see it in the greeting"),
            format!("set hostname = \"the name that clients use\" in {}", probes.file().display()),
        ),
    }
}

fn libcrypt() -> Finding {
    match sys::crypt::Libcrypt::load() {
        Some(_) => Finding::ok("libcrypt is used for password hashes"),
        None => Finding::warning(
            "libcrypt is missing: gost-yescrypt, scrypt and sunmd5 hashes cannot be checked, yescrypt is slower",
            "apt-get install libcrypt1",
        ),
    }
}

fn plaintext(config: &Config, probes: &Probes<'_>) -> Finding {
    let file = probes.file().display();
    match config.auth.plaintext {
        Plaintext::TlsOrLoopback => Finding::warning(
            "plaintext = \"tls-or-loopback\": clients from elsewhere cannot log in without TLS, which this \
             version does not have",
            format!(
                "put it behind a TLS proxy on this machine, or set plaintext = \"always\" under [auth] in {file}"
            ),
        ),
        Plaintext::Always => Finding::warning(
            "plaintext = \"always\": passwords cross the network readable for everybody on the way",
            format!("set plaintext = \"tls-or-loopback\" under [auth] in {file} and use a TLS proxy"),
        ),
    }
}
