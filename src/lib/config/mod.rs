//! The configuration: one type, read once, passed by reference. Fields are named as the keys of `pop3d.toml`.

mod address;
mod check;
pub(crate) mod defaults;
mod file;
mod hint;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use address::Address;
pub(crate) use template::Template;

use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be configured in this version. `Config::default()` is what an empty file means.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The name in greeting and challenge; the system's name unless set.
    pub(crate) hostname: String,
    /// Where state lies that outlives a restart.
    pub(crate) state_dir: PathBuf,
    /// Where locks lie that do not.
    pub(crate) run_dir: PathBuf,
    /// Whether service goes on where the kernel has no sandbox.
    pub(crate) sandbox: Sandbox,
    /// Whether the greeting hides product and version.
    pub(crate) shy: bool,
    /// `[maildrop]`
    pub(crate) maildrop: Maildrop,
    /// `[auth]`
    pub(crate) auth: Auth,
    /// `[listen]`
    pub(crate) listen: Listen,
    /// `[limits]`
    pub(crate) limits: Limits,
    /// `[xtnd]`
    pub(crate) xtnd: Xtnd,
    /// `[log]`
    pub(crate) log: Log,
}

/// What to do where Landlock or seccomp is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sandbox {
    /// Use what the kernel has.
    Auto,
    /// Refuse service when a part is missing.
    Require,
}

/// `[maildrop]`: where mail lies and how it is locked.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Maildrop {
    /// The path of a user's maildrop.
    pub(crate) path: Template,
    /// What format it has.
    pub(crate) format: Format,
    /// The mailbox locks to take; at least one, none twice.
    pub(crate) locks: Vec<Lock>,
}

/// The format of maildrops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Format {
    /// By what is there: a directory with `cur` and `new` is a Maildir, a regular or missing file an mbox.
    Auto,
    /// One file with all messages.
    Mbox,
    /// A directory with a file for each message.
    Maildir,
}

/// One way to lock a mailbox against other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lock {
    /// The kernel's record lock (an OFD lock, which POSIX locks of others conflict with).
    Fcntl,
    /// A file `MAILBOX.lock` beside the mailbox.
    Dotlock,
}

/// `[auth]`: who may log in and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// Sources of credentials, asked in this order; at least one, none twice.
    pub(crate) sources: Vec<Source>,
    /// From the receipt of a refused password to the answer; the file has seconds.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) failure_delay: Duration,
    /// When passwords may come over an unencrypted connection.
    pub(crate) plaintext: Plaintext,
    /// The lowest uid that may log in. Root may not, whatever this says.
    pub(crate) min_uid: u32,
    /// The secrets database; below `state_dir` unless set.
    pub(crate) secrets: PathBuf,
    /// The file with its key.
    pub(crate) key: PathBuf,
    /// What is announced to clients before login.
    pub(crate) announce: Announce,
    /// The system user whose maildrops those of users are who are no system users; empty: there are none.
    pub(crate) virtual_owner: String,
}

/// A source of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Source {
    /// passwd and shadow.
    Unix,
    /// The secrets database. Whoever has an entry there is decided there.
    Mailauth,
}

/// Which mechanisms are announced that not every user can use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "file::WordOrList")]
pub(crate) enum Announce {
    /// Those that some entry of the secrets database can use.
    Auto,
    /// These, whatever the database holds.
    List(Vec<Mechanism>),
}

/// A mechanism that needs an entry in the secrets database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// RFC 1939, section 7.
    Apop,
    /// RFC 2195.
    CramMd5,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection.
    ScramSha256Plus,
}

/// When passwords may come over an unencrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Plaintext {
    /// From everywhere.
    Always,
    /// Over TLS or from loopback.
    TlsOrLoopback,
}

/// `[listen]`: where the standalone server takes connections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// In the clear.
    pub(crate) pop3: Vec<Address>,
}

/// `[limits]`: how much of what.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// The longest time for one command after login; the file has seconds.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) idle_timeout: Duration,
    /// The longest time from connection to login; the file has seconds.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) login_timeout: Duration,
    /// Password checks at once on this machine; 0 is twice the number of cores. See [`Limits::verifications`].
    pub(crate) max_verifications: u16,
    /// Connections and sessions at once, standalone.
    pub(crate) max_connections: u32,
    /// The same from one address (IPv6: from one network of 64 bits).
    pub(crate) max_per_address: u32,
    /// Octets of a message that XTND XMIT takes.
    pub(crate) max_message: u64,
}

/// `[xtnd]`: the extension commands.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Xtnd {
    /// Whether XTND XLST is there.
    pub(crate) xlst: bool,
    /// Whether XTND XMIT is there.
    pub(crate) xmit: bool,
    /// The program that takes XTND XMIT's messages.
    pub(crate) sendmail: PathBuf,
}

/// `[log]`: what is written. Nothing extra by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Whether a session ends with a `Stats:` line (`-s`).
    pub(crate) statistics: bool,
}

impl Config {
    /// Whether clients may prove by a certificate who they are. Where they may not, no process believes the login process that one
    /// did. This version has no TLS, and so no certificates.
    pub(crate) const fn takes_certificates(&self) -> bool {
        false
    }
}

impl Limits {
    /// How many password checks may run at once: `max_verifications`, or twice the number of cores for 0.
    pub(crate) fn verifications(&self) -> u16 {
        if self.max_verifications > 0 {
            return self.max_verifications;
        }
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        u16::try_from(cores.saturating_mul(2)).unwrap_or(u16::MAX)
    }
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        match value.as_str() {
            "auto" => Ok(Self::Auto),
            "mbox" => Ok(Self::Mbox),
            "maildir" => Ok(Self::Maildir),
            _ => Err(format!("\"{value}\" is no format; use \"auto\", \"mbox\" or \"maildir\"")),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        match value.as_str() {
            "unix" => Ok(Self::Unix),
            "mailauth" => Ok(Self::Mailauth),
            "pam" => Err("\"pam\" is not in this version; use \"unix\" or \"mailauth\"".to_owned()),
            _ => Err(format!("\"{value}\" is no source of credentials; use \"unix\" or \"mailauth\"")),
        }
    }
}

impl TryFrom<file::WordOrList> for Announce {
    type Error = String;

    fn try_from(value: file::WordOrList) -> Result<Self, String> {
        match value {
            file::WordOrList::Word(word) if word == "auto" => Ok(Self::Auto),
            file::WordOrList::Word(word) => Err(format!("\"{word}\" is neither \"auto\" nor a list")),
            file::WordOrList::List(words) => {
                words.iter().map(|word| mechanism(word)).collect::<Result<_, _>>().map(Self::List)
            }
        }
    }
}

fn mechanism(word: &str) -> Result<Mechanism, String> {
    match word {
        "APOP" => Ok(Mechanism::Apop),
        "CRAM-MD5" => Ok(Mechanism::CramMd5),
        "SCRAM-SHA-256" => Ok(Mechanism::ScramSha256),
        "SCRAM-SHA-256-PLUS" => Ok(Mechanism::ScramSha256Plus),
        _ => Err(format!(
            "\"{word}\" is no mechanism that can be listed; \
             use \"APOP\", \"CRAM-MD5\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-256-PLUS\""
        )),
    }
}

impl TryFrom<String> for Plaintext {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        match value.as_str() {
            "always" => Ok(Self::Always),
            "tls-or-loopback" => Ok(Self::TlsOrLoopback),
            "tls" | "never" => Err(format!(
                "with \"{value}\" nobody could log in, since this version has no TLS; \
                 use \"tls-or-loopback\" or \"always\""
            )),
            _ => Err(format!("\"{value}\" is no policy; use \"tls-or-loopback\" or \"always\"")),
        }
    }
}
