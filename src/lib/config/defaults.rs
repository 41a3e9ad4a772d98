//! Every default and every limit of the configuration, with its reason.

use super::{
    Announce, Auth, Config, Format, Limits, Listen, Lock, Lockout, Log, Maildrop, Plaintext, Sandbox,
    Security, Source, Template, Tls, Xtnd,
};
use crate::sys;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// What makes a system user for one of the roles; its name follows.
pub(crate) const USERADD: &str = "useradd --system --user-group --no-create-home --home-dir /nonexistent \
                       --shell /usr/sbin/nologin";

/// Read when no other file is named; may be missing.
pub(crate) const FILE: &str = "/etc/poptools/pop3d.toml";

/// A configuration of all keys has 2 KiB; what is larger is another file.
pub(super) const FILE_OCTETS: u64 = 1024 * 1024;

/// The file hierarchy standard's place for state.
pub(crate) const STATE_DIR: &str = "/var/lib/poptools";

/// The file hierarchy standard's place for what a restart of the machine clears.
pub(crate) const RUN_DIR: &str = "/run/poptools";

/// Where the mail spool is on Linux distributions.
const MAILDROP: &str = "/var/mail/{user}";

/// Where every mail system that replaces sendmail puts its command.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// RFC 1939, section 3: an autologout timer is of at least 10 minutes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Strangers get less: nobody types a password for longer than a minute.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// From one second, so that tests can use it, to a day, so that no session is for ever.
pub(crate) const TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=86_400;

/// Two seconds slow down guessing without annoying who mistyped.
const FAILURE_DELAY: Duration = Duration::from_secs(2);

/// A longer delay would run into the time-outs of clients (60 s in Thunderbird).
pub(super) const MAX_FAILURE_DELAY: Duration = Duration::from_secs(30);

/// Accounts of people begin at 1000 on Linux distributions (login.defs, `UID_MIN`).
const MIN_UID: u32 = 1000;

/// Linux-PAM's services are named as programs; `contrib/pam.d/pop3d` is this one.
const PAM_SERVICE: &str = "pop3d";

/// In a directory of its own, since SQLite makes its journal beside it.
pub(crate) const SECRETS: &str = "/var/lib/poptools/auth/mailauth.db";

/// The same below another `state_dir`.
pub(super) const SECRETS_BELOW: &str = "auth/mailauth.db";

/// Apart from the database: whoever gets hold of a copy or a backup of it has no key.
pub(crate) const KEY: &str = "/etc/poptools/mailauth.key";

/// The same below the `state_dir` of an ordinary user.
pub(super) const KEY_BELOW: &str = "mailauth.key";

/// One byte of a lock file each; more are never of use, since each takes a core.
pub(super) const MAX_VERIFICATIONS: u16 = 1024;

/// A few kilobytes each before login, and more than a busy site has at once.
const MAX_CONNECTIONS: u32 = 10_000;

/// A company behind one address polls with some dozens of clients.
const MAX_PER_ADDRESS: u32 = 50;

/// A thousand clients behind one address that poll every two minutes come 500 times; a guesser comes as often as it can.
const MAX_RATE: u32 = 600;

/// An IPv4 address is one customer's, or a company's.
const LIMITS_PREFIX_V4: u8 = 32;

/// The smallest network that one customer has of IPv6 (RFC 6177).
const LIMITS_PREFIX_V6: u8 = 64;

/// No client of users makes ten, and a scanner or a web browser's request is rid of quickly.
const MAX_ERRORS: u32 = 10;

/// A new connection costs a guesser more.
const MAX_REFUSALS: u32 = 3;

/// More is no limit: who sends them is served for as long as a login may take.
pub(super) const COUNTS: RangeInclusive<u32> = 1..=1000;

/// A session has buffers of fixed size, whatever its maildrop; this is room for an interpreter with its libraries, and an end for what
/// has gone wrong.
const MAX_MEMORY: u64 = 2 << 30;

/// Some thousand connections with TLS take a tenth of it.
const MAX_LOGIN_MEMORY: u64 = 1 << 30;

/// The program with its libraries has a quarter of it.
pub(super) const MIN_MEMORY: u64 = 64 << 20;

/// Verifications that wait, standalone; more than that would not have their turn in time (44 ms each).
pub(crate) const MAX_WAITING: usize = 2000;

/// What most mail systems take (Postfix: 10240000 octets).
const MAX_MESSAGE: u64 = 10 * 1024 * 1024;

/// A smaller limit would refuse a short text with its header.
pub(super) const MIN_MAX_MESSAGE: u64 = 1024;

/// Shells that say themselves that nobody logs in with them.
const REFUSED_SHELLS: [&str; 2] = ["nologin", "false"];

/// Who has forgotten a password tries the three that come to mind, and a client with an old one polls meanwhile.
const LOCKOUT_FAILURES: u32 = 5;

/// Ten ranges that guess until they are locked out. Fewer would let a handful of strangers lock a user out of new places.
const LOCKOUT_USER_FAILURES: u32 = 50;

/// Too short for somebody to call for help, and with five free guesses some 30 a day for a guesser.
const LOCKOUT_FIRST: Duration = Duration::from_secs(60);

/// Who finds the right password again waits for an hour at worst.
const LOCKOUT_LONGEST: Duration = Duration::from_secs(3600);

/// A day, after which most clients with an old password have been set right.
const LOCKOUT_FORGET: Duration = Duration::from_secs(86_400);

/// From a second, so that tests can use it, to a month, so that no lock is for ever: `mailauth lock` is.
pub(super) const LOCKOUT_SECONDS: RangeInclusive<u64> = 1..=31 * 86_400;

/// People come home from a journey within a month.
const KNOWN_DAYS: u32 = 30;

/// What a provider gives one customer, or neighbours, when addresses change.
const PREFIX_V4: u8 = 24;

/// The smallest network that one customer has (RFC 6177).
const PREFIX_V6: u8 = 64;

/// Wider ranges would lock out the world for what one address did.
pub(super) const PREFIXES_V4: RangeInclusive<u8> = 8..=32;

/// The same; a customer may have a /48, a provider has a /32.
pub(super) const PREFIXES_V6: RangeInclusive<u8> = 32..=128;

/// As many as a forgetful user has free.
const DELAY_AFTER: u32 = 5;

/// With `failure_delay` it is still less than the time-outs of clients (60 s in Thunderbird, 30 s in some).
const MAX_DELAY: Duration = Duration::from_secs(20);

/// Most users poll every few minutes, and an impatient one presses the button again.
const LOGIN_DELAY: Duration = Duration::ZERO;

/// A longer delay than a day is a lock.
pub(crate) const MAX_LOGIN_DELAY: Duration = Duration::from_secs(86_400);

/// A DNS name (RFC 1035, section 2.3.4).
pub(super) const HOSTNAME_OCTETS: usize = 255;

/// The port whose connections begin with TLS (RFC 8314, section 3.2).
pub(crate) const POP3S_PORT: u16 = 995;

/// A certificate that ends sooner than this is spoken of by `--check`: certificates for 90 days are renewed 30 days before.
pub(crate) const EXPIRES_SOON: Duration = Duration::from_secs(21 * 86_400);

/// A year, so that one month can be compared with the same a year ago.
const HISTORY_DAYS: u32 = 366;

/// A hundred years; more is a slip of the finger.
pub(super) const MAX_HISTORY_DAYS: u32 = 36_600;

/// Some two million sessions, and what every disk of a mail server has to spare.
const HISTORY_SIZE: u64 = 512 * 1024 * 1024;

/// An empty database of its tables and indexes has some ten pages.
pub(super) const MIN_HISTORY_SIZE: u64 = 1024 * 1024;

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: hostname(),
            state_dir: PathBuf::from(STATE_DIR),
            run_dir: PathBuf::from(RUN_DIR),
            sandbox: Sandbox::Auto,
            shy: false,
            maildrop: Maildrop::default(),
            auth: Auth::default(),
            lockout: Lockout::default(),
            listen: Listen::default(),
            tls: Tls::default(),
            limits: Limits::default(),
            xtnd: Xtnd::default(),
            log: Log::default(),
        }
    }
}

impl Default for Maildrop {
    fn default() -> Self {
        Self {
            path: Template::literal(MAILDROP),
            format: Format::Auto,
            locks: vec![Lock::Fcntl, Lock::Dotlock],
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            sources: vec![Source::Unix, Source::Mailauth],
            failure_delay: FAILURE_DELAY,
            plaintext: Plaintext::TlsOrLoopback,
            min_uid: MIN_UID,
            checkpassword: PathBuf::new(),
            pam_service: PAM_SERVICE.to_owned(),
            secrets: PathBuf::from(SECRETS),
            key: PathBuf::from(KEY),
            announce: Announce::Auto,
            virtual_owner: String::new(),
            security: Security::Unix,
            refused_shells: REFUSED_SHELLS.map(str::to_owned).to_vec(),
        }
    }
}

impl Default for Lockout {
    fn default() -> Self {
        Self {
            failures: LOCKOUT_FAILURES,
            user_failures: LOCKOUT_USER_FAILURES,
            first: LOCKOUT_FIRST,
            longest: LOCKOUT_LONGEST,
            forget: LOCKOUT_FORGET,
            known_days: KNOWN_DAYS,
            prefix_v4: PREFIX_V4,
            prefix_v6: PREFIX_V6,
            delay_after: DELAY_AFTER,
            max_delay: MAX_DELAY,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle_timeout: IDLE_TIMEOUT,
            login_timeout: LOGIN_TIMEOUT,
            max_verifications: 0,
            max_connections: MAX_CONNECTIONS,
            max_per_address: MAX_PER_ADDRESS,
            max_rate: MAX_RATE,
            prefix_v4: LIMITS_PREFIX_V4,
            prefix_v6: LIMITS_PREFIX_V6,
            max_errors: MAX_ERRORS,
            max_refusals: MAX_REFUSALS,
            max_memory: MAX_MEMORY,
            max_login_memory: MAX_LOGIN_MEMORY,
            max_message: MAX_MESSAGE,
            login_delay: LOGIN_DELAY,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { statistics: false, history: true, history_days: HISTORY_DAYS, history_size: HISTORY_SIZE }
    }
}

impl Default for Xtnd {
    fn default() -> Self {
        Self { xlst: true, xmit: true, sendmail: PathBuf::from(SENDMAIL) }
    }
}

/// The system's name; `localhost` where it is not fit for a greeting.
fn hostname() -> String {
    sys::host::name()
        .ok()
        .filter(|name| super::check::is_hostname(name))
        .unwrap_or_else(|| "localhost".to_owned())
}
