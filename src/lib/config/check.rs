//! Values that the types alone do not check: ranges, and what contradicts what.

use super::{Announce, Config, Limits, Source, defaults};
use std::path::Path;
use std::time::Duration;

/// What is wrong with one key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// As in the file, such as `limits.idle_timeout`.
    pub(super) key: &'static str,
    /// The sentence behind it.
    pub(super) what: String,
}

/// The first fault of the values.
pub(super) fn check(config: &Config) -> Result<(), Fault> {
    fault("hostname", is_hostname(&config.hostname), || {
        format!("\"{}\" is no host name (letters, digits, - and . only)", config.hostname)
    })?;
    absolute("state_dir", &config.state_dir)?;
    absolute("run_dir", &config.run_dir)?;
    absolute("xtnd.sendmail", &config.xtnd.sendmail)?;
    absolute("auth.secrets", &config.auth.secrets)?;
    absolute("auth.key", &config.auth.key)?;
    announced(config)?;
    sources(config)?;
    tls(config)?;
    list("maildrop.locks", &config.maildrop.locks)?;
    list("auth.sources", &config.auth.sources)?;
    timeout("limits.idle_timeout", config.limits.idle_timeout)?;
    timeout("limits.login_timeout", config.limits.login_timeout)?;
    fault("auth.failure_delay", config.auth.failure_delay <= defaults::MAX_FAILURE_DELAY, || {
        format!("must be at most {} seconds", defaults::MAX_FAILURE_DELAY.as_secs())
    })?;
    fault("auth.failure_delay", config.auth.failure_delay < config.limits.login_timeout, || {
        "must be shorter than limits.login_timeout, or a refused client never gets its answer".to_owned()
    })?;
    fault(
        "limits.max_verifications",
        config.limits.max_verifications <= defaults::MAX_VERIFICATIONS,
        || format!("must be at most {}", defaults::MAX_VERIFICATIONS),
    )?;
    fault("limits.max_connections", config.limits.max_connections > 0, || "must be at least 1".to_owned())?;
    fault("limits.max_per_address", config.limits.max_per_address > 0, || "must be at least 1".to_owned())?;
    for (key, prefix, most) in [
        ("limits.prefix_v4", config.limits.prefix_v4, 32),
        ("limits.prefix_v6", config.limits.prefix_v6, 128),
    ] {
        fault(key, (1..=most).contains(&prefix), || format!("must be 1 to {most} bits"))?;
    }
    limits(&config.limits)?;
    fault("limits.max_message", config.limits.max_message >= defaults::MIN_MAX_MESSAGE, || {
        format!("must be at least {} octets", defaults::MIN_MAX_MESSAGE)
    })?;
    fault("limits.login_delay", config.limits.login_delay <= defaults::MAX_LOGIN_DELAY, || {
        format!("must be at most {} seconds", defaults::MAX_LOGIN_DELAY.as_secs())
    })?;
    lockout(config)?;
    fault("log.history_days", (1..=defaults::MAX_HISTORY_DAYS).contains(&config.log.history_days), || {
        format!("must be 1 to {} days; history = false keeps none", defaults::MAX_HISTORY_DAYS)
    })?;
    fault("log.history_size", config.log.history_size >= defaults::MIN_HISTORY_SIZE, || {
        format!("must be at least {} octets; history = false keeps none", defaults::MIN_HISTORY_SIZE)
    })
}

fn limits(limits: &Limits) -> Result<(), Fault> {
    let counts = defaults::COUNTS;
    for (key, value) in
        [("limits.max_errors", limits.max_errors), ("limits.max_refusals", limits.max_refusals)]
    {
        fault(key, counts.contains(&value), || format!("must be {} to {}", counts.start(), counts.end()))?;
    }
    for (key, octets) in
        [("limits.max_memory", limits.max_memory), ("limits.max_login_memory", limits.max_login_memory)]
    {
        fault(key, octets >= defaults::MIN_MEMORY, || {
            format!("must be at least {} octets", defaults::MIN_MEMORY)
        })?;
    }
    Ok(())
}

fn lockout(config: &Config) -> Result<(), Fault> {
    let lockout = &config.lockout;
    fault("lockout.failures", lockout.failures > 0, || "must be at least 1".to_owned())?;
    let sum = lockout.user_failures == 0 || lockout.user_failures >= lockout.failures;
    fault("lockout.user_failures", sum, || {
        "must not be less than lockout.failures: a range is locked out before the user; 0 is never".to_owned()
    })?;
    let range = defaults::LOCKOUT_SECONDS;
    for (key, value) in [
        ("lockout.first", lockout.first),
        ("lockout.longest", lockout.longest),
        ("lockout.forget", lockout.forget),
    ] {
        fault(key, range.contains(&value.as_secs()), || {
            format!("must be {} to {} seconds", range.start(), range.end())
        })?;
    }
    fault("lockout.longest", lockout.longest >= lockout.first, || {
        "must not be less than lockout.first".to_owned()
    })?;
    fault("lockout.forget", lockout.forget >= lockout.longest, || {
        "must not be less than lockout.longest, or a lock would be forgotten before it ends".to_owned()
    })?;
    for (key, prefix, range) in [
        ("lockout.prefix_v4", lockout.prefix_v4, defaults::PREFIXES_V4),
        ("lockout.prefix_v6", lockout.prefix_v6, defaults::PREFIXES_V6),
    ] {
        fault(key, range.contains(&prefix), || format!("must be {} to {} bits", range.start(), range.end()))?;
    }
    fault("lockout.max_delay", lockout.max_delay <= defaults::MAX_FAILURE_DELAY, || {
        format!("must be at most {} seconds", defaults::MAX_FAILURE_DELAY.as_secs())
    })?;
    let delays = config.auth.failure_delay + lockout.max_delay;
    fault("lockout.max_delay", !config.auth.is_enhanced() || delays < config.limits.login_timeout, || {
        "must with auth.failure_delay be shorter than limits.login_timeout, or a refused client never gets its answer"
            .to_owned()
    })
}

fn tls(config: &Config) -> Result<(), Fault> {
    let tls = &config.tls;
    let empty = |path: &Path| path.as_os_str().is_empty();
    fault("tls.key", empty(&tls.certificate) == empty(&tls.key), || {
        "certificate and key go together: name both or none".to_owned()
    })?;
    fault("tls.certificates", tls.is_configured() || tls.certificates.is_empty(), || {
        "needs certificate and key under [tls], for clients that name no server".to_owned()
    })?;
    fault("tls.client_ca", tls.is_configured() || empty(&tls.client_ca), || {
        "needs certificate and key under [tls]".to_owned()
    })?;
    fault("listen.pop3s", tls.is_configured() || config.listen.pop3s.is_empty(), || {
        "needs certificate and key under [tls]".to_owned()
    })?;
    for pair in tls.pairs() {
        absolute("tls.certificate", &pair.certificate)?;
        absolute("tls.key", &pair.key)?;
    }
    if empty(&tls.client_ca) { Ok(()) } else { absolute("tls.client_ca", &tls.client_ca) }
}

/// Keys of sources: a program that is not asked is a mistake as well as one that is missing.
fn sources(config: &Config) -> Result<(), Fault> {
    let auth = &config.auth;
    let (asked, named) =
        (auth.sources.contains(&Source::Checkpassword), !auth.checkpassword.as_os_str().is_empty());
    fault("auth.checkpassword", !asked || named, || {
        "auth.sources has \"checkpassword\": name the program".to_owned()
    })?;
    fault("auth.checkpassword", asked || !named, || "needs \"checkpassword\" in auth.sources".to_owned())?;
    if named {
        absolute("auth.checkpassword", &auth.checkpassword)?;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let service = &auth.pam_service;
    let good = !service.is_empty() && !service.starts_with('.') && service.bytes().all(plain);
    fault("auth.pam_service", good, || format!("\"{service}\" is no name of a file in /etc/pam.d"))
}

fn announced(config: &Config) -> Result<(), Fault> {
    let Announce::List(mechanisms) = &config.auth.announce else { return Ok(()) };
    let known = mechanisms.is_empty() || config.auth.sources.contains(&Source::Mailauth);
    fault("auth.announce", known, || "needs \"mailauth\" in auth.sources".to_owned())?;
    let twice = mechanisms.iter().enumerate().any(|(at, one)| mechanisms[..at].contains(one));
    fault("auth.announce", !twice, || "names one twice".to_owned())
}

/// Whether a name is fit for the greeting and for a challenge: labels of letters, digits and hyphens
/// (RFC 1123, section 2.1; design, section 3).
pub(super) fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= defaults::HOSTNAME_OCTETS && name.split('.').all(label)
}

fn fault(key: &'static str, good: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if good { Ok(()) } else { Err(Fault { key, what: what() }) }
}

fn absolute(key: &'static str, path: &Path) -> Result<(), Fault> {
    fault(key, path.is_absolute(), || format!("\"{}\" does not begin with /", path.display()))
}

fn timeout(key: &'static str, value: Duration) -> Result<(), Fault> {
    let range = defaults::TIMEOUT_SECONDS;
    fault(key, range.contains(&value.as_secs()), || {
        format!("must be {} to {} seconds", range.start(), range.end())
    })
}

fn list<T: PartialEq>(key: &'static str, values: &[T]) -> Result<(), Fault> {
    fault(key, !values.is_empty(), || "must name at least one".to_owned())?;
    let twice = values.iter().enumerate().any(|(at, value)| values[..at].contains(value));
    fault(key, !twice, || "names one twice".to_owned())
}
