//! `pop3d --check`: what stands in the way of service, and what to type against it. It changes nothing but
//! `run_dir`, where a lock is tried. What it tells root to type must not harm anything else on the machine; an
//! ordinary user is told what works for an ordinary user.

mod account;
pub(crate) mod barriers;
mod drop;
pub(crate) mod login;
mod places;
mod secrets;
pub(crate) mod service;
mod sources;
mod spool;
#[cfg(test)]
mod tests;
mod tls;

use crate::config::{Config, Plaintext, Sandbox, defaults};
use crate::error::Error;
use crate::log::escape::Sentence;
use crate::log::{Log, Settings};
use crate::sys;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::ToSocketAddrs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

impl Severity {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
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
    /// Whom to become to look at the secrets database.
    pub(crate) owner: fn() -> Result<Option<sys::privileges::Ids>, Error>,
    /// Whether the kernel has Landlock.
    pub(crate) landlock: fn() -> bool,
    /// Whether the kernel has seccomp filters.
    pub(crate) seccomp: fn() -> bool,
    /// Where syslog listens; the system's place for `None`.
    pub(crate) syslog: Option<PathBuf>,
    /// The users of this machine.
    pub(crate) passwd: PathBuf,
}

impl<'a> Probes<'a> {
    /// Those of this machine.
    pub(crate) fn system(config_file: Option<&'a Path>) -> Self {
        let account = |name: &str| matches!(sys::account::user(name), Ok(Some(_)));
        let passwd = PathBuf::from("/etc/passwd");
        Self {
            config_file,
            root: sys::privileges::is_root(),
            account,
            owner: crate::secrets::owner,
            landlock: || !sys::sandbox::available().landlock,
            seccomp: || !sys::sandbox::available().seccomp,
            syslog: None,
            passwd,
        }
    }

    fn file(&self) -> &Path {
        self.config_file.unwrap_or(Path::new(defaults::FILE))
    }
}

/// Looks at everything that a session needs, in the order in which it needs it.
pub(crate) fn check(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let mut findings = vec![configuration(probes), rights(probes), unprivileged(probes)];
    findings.extend(places::findings(config, probes));
    findings.extend(spool::findings(config, probes));
    findings.extend(sendmail(config, probes));
    findings.push(syslog(probes));
    findings.extend(fences(config, probes));
    findings.push(hostname(config, probes));
    findings.push(libcrypt());
    findings.extend(tls::findings(config, probes));
    findings.push(plaintext(config, probes));
    findings.push(service::finding(config, probes, service::From::Elsewhere).no_worse_than_warning());
    findings.extend(secrets::findings(config, probes));
    findings.extend(secrets::counters(config, probes));
    findings.extend(places::history(config, probes));
    findings.extend(sources::findings(config, probes));
    findings
}

/// The one finding when the configuration cannot be read.
pub(crate) fn unreadable(mut error: Error) -> Finding {
    let fix = error.take_fix();
    let fix = fix.unwrap_or_else(|| "correct this, then check again; pop3d.toml(5) has every key".to_owned());
    Finding::problem(format!("configuration: {error}"), fix)
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@=,".contains(byte);
    let text = path.display().to_string();
    if path.as_os_str().as_bytes().iter().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A line for each: `ok`, `warning` or `problem`, what it is, and how to mend it.
pub(crate) fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { severity, what, fix } in findings {
        let word = severity.word();
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

    /// The same as something that somebody should know, where it stops nobody.
    fn no_worse_than_warning(mut self) -> Self {
        self.severity = self.severity.min(Severity::Warning);
        self
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
            format!("chmod go-w {}", quoted(probes.file())),
        ),
        Ok(_) => Finding::ok(format!("configuration {file}")),
        Err(_) => Finding::ok(format!("configuration: no {file}, all defaults")),
    }
}

fn rights(probes: &Probes<'_>) -> Finding {
    if probes.root {
        return Finding::ok("started as root");
    }
    let what = "not root: shadow cannot be read, so passwords of the system cannot be checked";
    Finding::warning(what, "sudo pop3d --check")
}

fn unprivileged(probes: &Probes<'_>) -> Finding {
    if !probes.root {
        return Finding::ok("all processes run as the user who starts the server");
    }
    match ((probes.account)("pop3d"), (probes.account)("nobody")) {
        (true, _) => Finding::ok("user pop3d: strangers are served by it"),
        (false, true) => Finding::warning(
            "user pop3d is missing: nobody is used, and others share that account",
            format!("{} pop3d", defaults::USERADD),
        ),
        (false, false) => Finding::problem(
            "there is neither user pop3d nor user nobody",
            format!("{} pop3d", defaults::USERADD),
        ),
    }
}

fn sendmail(config: &Config, probes: &Probes<'_>) -> Option<Finding> {
    if !config.xtnd.xmit {
        return None;
    }
    let program = &config.xtnd.sendmail;
    let shown = program.display();
    let without = format!("set xmit = false under [xtnd] in {}", probes.file().display());
    Some(match cannot_run(program) {
        None => Finding::ok(format!("sendmail {shown}")),
        Some((why, mend)) => Finding::warning(
            format!("sendmail {shown} {why}: XTND XMIT fails"),
            format!("{mend}, or {without}"),
        ),
    })
}

/// Why a program cannot be executed, and what to do about it.
fn cannot_run(program: &Path) -> Option<(String, String)> {
    let install = || "install a mail system".to_owned();
    match fs::metadata(program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(("is missing".to_owned(), install())),
        Err(error) => Some((Error::io("cannot be looked at", error).to_string(), install())),
        Ok(found) if !found.is_file() => Some(("is not a file".to_owned(), install())),
        // Every user has to be able to run it, whatever the owner may.
        Ok(found) if found.mode() & 0o001 == 0 => Some((
            format!("has mode {:04o}, and users cannot run it", found.mode() & 0o7777),
            format!("chmod 755 {}", quoted(program)),
        )),
        Ok(_) => {
            let interpreter = interpreter(program)?;
            let shown = interpreter.display().to_string();
            let runs =
                fs::metadata(&interpreter).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
            (!runs).then(|| {
                (format!("is a script for {shown}, which cannot be run"), format!("install {shown}"))
            })
        }
    }
}

/// The program behind the `#!` of a script.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut beginning = Vec::new();
    File::open(program).ok()?.take(256).read_to_end(&mut beginning).ok()?;
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().next().map(PathBuf::from)
}

fn syslog(probes: &Probes<'_>) -> Finding {
    let log = Log::open(&Settings { syslog: probes.syslog.clone(), ..Settings::default() });
    match log {
        Ok(log) if log.reaches_syslog() => Finding::ok("syslog answers"),
        _ => Finding::warning("syslog does not answer: nothing is logged", "systemctl start rsyslog"),
    }
}

/// What the kernel has of the sandbox.
fn fences(config: &Config, probes: &Probes<'_>) -> [Finding; 2] {
    let lsm = "boot with lsm=landlock in front of the list";
    [
        sandbox(config, "Landlock", (probes.landlock)(), lsm),
        sandbox(config, "seccomp", (probes.seccomp)(), "use a kernel with CONFIG_SECCOMP_FILTER"),
    ]
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
    let (file, policy, tls) = (probes.file().display(), &config.auth.plaintext, config.tls.is_configured());
    let certificate = format!("set certificate and key under [tls] in {file}");
    match (policy, tls) {
        (Plaintext::Always, _) => Finding::warning(
            "plaintext = \"always\": passwords cross the network readable for everybody on the way",
            format!(
                "set plaintext = \"tls-or-loopback\" under [auth]{}",
                if tls { format!(" in {file}") } else { format!(", and {certificate}") }
            ),
        ),
        (Plaintext::TlsOrLoopback, false) => Finding::warning(
            "plaintext = \"tls-or-loopback\": clients from elsewhere cannot log in without TLS, and there is no \
             certificate",
            format!("{certificate}, or set plaintext = \"always\" under [auth] there"),
        ),
        (Plaintext::Tls, false) => Finding::warning(
            "plaintext = \"tls\": nobody can log in with a password, since there is no certificate",
            certificate,
        ),
        (Plaintext::TlsOrLoopback | Plaintext::Tls, true) => Finding::ok("passwords are taken over TLS"),
        (Plaintext::Never, _) => {
            Finding::ok("passwords are not taken: clients use mechanisms that do not send them")
        }
    }
}
