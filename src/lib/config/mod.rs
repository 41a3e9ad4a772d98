//! The configuration: one type, read once, passed by reference. Fields are named as the keys of `pop3d.toml`.

mod address;
mod check;
mod cores;
pub(crate) mod defaults;
mod file;
mod hint;
mod hours;
mod network;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use address::Address;
pub(crate) use cores::cores;
pub(crate) use file::{only_root_changes, only_root_replaces, only_root_writes};
pub(crate) use hours::{Hours, WallTime};
pub(crate) use network::{Network, Networks};
pub(crate) use template::Template;

use crate::sys::socket::Peer;
use serde::Deserialize;
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
    /// `[lockout]`
    pub(crate) lockout: Lockout,
    /// `[listen]`
    pub(crate) listen: Listen,
    /// `[tls]`
    pub(crate) tls: Tls,
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
    /// The program that the source `checkpassword` runs; empty: there is none.
    pub(crate) checkpassword: PathBuf,
    /// The service that the source `pam` asks for.
    pub(crate) pam_service: String,
    /// The secrets database; below `state_dir` unless set.
    pub(crate) secrets: PathBuf,
    /// The file with its key.
    pub(crate) key: PathBuf,
    /// What is announced to clients before login.
    pub(crate) announce: Announce,
    /// The system user whose maildrops those of users are who are no system users; empty: there are none.
    pub(crate) virtual_owner: String,
    /// Whether more than credentials counts.
    pub(crate) security: Security,
    /// Last parts of login shells whose users are refused under enhanced security.
    pub(crate) refused_shells: Vec<String>,
}

/// What counts besides right credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Security {
    /// Locks and limits of the secrets database.
    Unix,
    /// Also the standing of the account, and wrong passwords of before.
    Enhanced,
}

impl Auth {
    /// Whether enhanced security is on.
    pub(crate) fn is_enhanced(&self) -> bool {
        self.security == Security::Enhanced
    }
}

/// `[lockout]`: what wrong passwords lead to under enhanced security. The file has seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lockout {
    /// Wrong passwords for a user from one address range; with each from this one on, the range is locked out for the user.
    pub(crate) failures: u32,
    /// Wrong passwords for a user from everywhere; with each from this one on, ranges that are not known are locked out. 0: never.
    pub(crate) user_failures: u32,
    /// How long the first lock holds; each further one twice as long.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) first: Duration,
    /// How long a lock holds at most.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) longest: Duration,
    /// Without a wrong password for so long, those of before are forgotten.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) forget: Duration,
    /// Days for which a range is known from which the user logged in.
    pub(crate) known_days: u32,
    /// Bits of an IPv4 address that make its range.
    pub(crate) prefix_v4: u8,
    /// Bits of an IPv6 address that make its range.
    pub(crate) prefix_v6: u8,
    /// Wrong passwords from one range for whomever whose refusals come without a further delay.
    pub(crate) delay_after: u32,
    /// The longest further delay.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) max_delay: Duration,
}

/// A source of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Source {
    /// passwd and shadow.
    Unix,
    /// The secrets database. Whoever has an entry there is decided there.
    Mailauth,
    /// A program with the interface of checkpassword.
    Checkpassword,
    /// PAM, where it was built in.
    Pam,
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
    /// Over TLS.
    Tls,
    /// Not at all: mechanisms that do not send the password are left.
    Never,
}

/// `[listen]`: where the standalone server takes connections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// In the clear, or with STLS.
    pub(crate) pop3: Vec<Address>,
    /// Over TLS from the first octet (RFC 8314, section 3.2).
    pub(crate) pop3s: Vec<Address>,
    /// Proxies that say for whom they come, and whose word is taken; none: there are none.
    #[serde(deserialize_with = "file::networks")]
    pub(crate) proxy: Option<Networks>,
}

impl Listen {
    /// Whether nothing is listened on.
    pub(crate) const fn is_empty(&self) -> bool {
        self.pop3.is_empty() && self.pop3s.is_empty()
    }

    /// Whether who is at the other end of a socket is such a proxy.
    pub(crate) fn is_proxy(&self, peer: &Peer) -> bool {
        let proxies = self.proxy.as_ref();
        peer.address.is_some_and(|at| proxies.is_some_and(|proxies| proxies.contain(at.ip())))
    }
}

/// `[tls]`: certificates and what clients must have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// The server's certificate and those of its issuers, PEM; empty: there is no TLS.
    pub(crate) certificate: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
    /// Further ones, for other names of the server.
    pub(crate) certificates: Vec<KeyPair>,
    /// The oldest version of the protocol that clients may speak.
    pub(crate) min_version: TlsVersion,
    /// The authorities whose certificates clients may show, PEM; empty: clients are not asked.
    pub(crate) client_ca: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyPair {
    /// The certificate and those of its issuers, PEM.
    pub(crate) certificate: PathBuf,
    /// The private key, PEM.
    pub(crate) key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum TlsVersion {
    /// RFC 5246.
    #[default]
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl Tls {
    /// Whether there is a certificate.
    pub(crate) fn is_configured(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }

    /// All certificates with their keys, the one for clients that name no server first.
    pub(crate) fn pairs(&self) -> Vec<KeyPair> {
        if !self.is_configured() {
            return Vec::new();
        }
        let first = KeyPair { certificate: self.certificate.clone(), key: self.key.clone() };
        std::iter::once(first).chain(self.certificates.iter().cloned()).collect()
    }
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
    /// The same from one address, or one network.
    pub(crate) max_per_address: u32,
    /// New connections in a minute from one address, or one network; 0 is any number.
    pub(crate) max_rate: u32,
    /// How many bits of an IPv4 address make a network, for these limits.
    pub(crate) prefix_v4: u8,
    /// The same of an IPv6 address.
    pub(crate) prefix_v6: u8,
    /// Syntax errors before login; with the last one the connection closes.
    pub(crate) max_errors: u32,
    /// Refused logins on one connection; with the last one it closes.
    pub(crate) max_refusals: u32,
    /// Octets of address space of a session, and of a checkpassword program.
    pub(crate) max_memory: u64,
    /// The same of a login process.
    pub(crate) max_login_memory: u64,
    /// Octets of a message that XTND XMIT takes.
    pub(crate) max_message: u64,
    /// From a login to the next one of the same user; the file has seconds.
    #[serde(deserialize_with = "file::seconds")]
    pub(crate) login_delay: Duration,
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

/// `[log]`: what is written, besides the log itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Whether a session ends with a `Stats:` line (`-s`).
    pub(crate) statistics: bool,
    /// Whether sessions leave a line in the history.
    pub(crate) history: bool,
    /// How many days they are kept there.
    pub(crate) history_days: u32,
    /// The most octets that they take; the oldest go first.
    pub(crate) history_size: u64,
}

impl Config {
    /// Whether clients may prove by a certificate who they are. Where they may not, no process believes the login process that one
    /// did. A program or module of others is asked with a password, and cannot be asked about a name alone.
    pub(crate) fn takes_certificates(&self) -> bool {
        let knows = |source: &Source| matches!(source, Source::Unix | Source::Mailauth);
        !self.tls.client_ca.as_os_str().is_empty() && self.auth.sources.iter().any(knows)
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
            "checkpassword" => Ok(Self::Checkpassword),
            "pam" if cfg!(feature = "pam") => Ok(Self::Pam),
            "pam" => {
                let build = "cargo build --release --features pam";
                Err(format!("\"pam\" is not built into this program; build it with {build}"))
            }
            _ => Err(format!(
                "\"{value}\" is no source of credentials; use \"unix\", \"mailauth\", \"checkpassword\" or \"pam\""
            )),
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

impl TryFrom<String> for Security {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        match value.as_str() {
            "unix" => Ok(Self::Unix),
            "enhanced" => Ok(Self::Enhanced),
            _ => Err(format!("\"{value}\" is no level of security; use \"unix\" or \"enhanced\"")),
        }
    }
}

impl TryFrom<String> for Plaintext {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        match value.as_str() {
            "always" => Ok(Self::Always),
            "tls-or-loopback" => Ok(Self::TlsOrLoopback),
            "tls" => Ok(Self::Tls),
            "never" => Ok(Self::Never),
            _ => Err(format!(
                "\"{value}\" is no policy; use \"tls-or-loopback\", \"tls\", \"never\" or \"always\""
            )),
        }
    }
}

impl TryFrom<String> for TlsVersion {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        match value.as_str() {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            _ => Err(format!("\"{value}\" is no version of TLS that is safe; use \"1.2\" or \"1.3\"")),
        }
    }
}
