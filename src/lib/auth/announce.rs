//! What is announced before login, and the challenge of APOP.

use crate::config::{Announce, Config, Mechanism, Source};
use crate::secrets;
use crate::sys::random;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

/// Which mechanisms are worth announcing that not every user can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Whether the greeting carries a challenge.
    pub(crate) apop: bool,
}

/// What to announce now: by `auth.announce`, or what some entry of the secrets database can use (design, section 3). It reads a
/// small file beside the database, as root or as the one user; in the login process's fence that is not there any more.
pub(crate) fn announced(config: &Config) -> Announced {
    if !config.auth.sources.contains(&Source::Mailauth) {
        return Announced::default();
    }
    let apop = match &config.auth.announce {
        Announce::List(mechanisms) => mechanisms.contains(&Mechanism::Apop),
        Announce::Auto => secrets::announced(&config.auth.secrets).iter().any(|word| word == "APOP"),
    };
    Announced { apop }
}

/// A challenge without its angle brackets, never the same twice: 128 random bits, `@`, and the host's name, in letters, digits,
/// `.`, `-` and `@` alone (RFC 1939, section 7; some clients do not see a challenge with other characters).
pub(crate) fn challenge(host: &str) -> String {
    let mut bits = [0; 16];
    if random::fill(&mut bits).is_err() {
        // Each state has other keys, out of 128 bits that the kernel gave this process earlier.
        let number = || RandomState::new().hash_one(host);
        bits = (u128::from(number()) << 64 | u128::from(number())).to_le_bytes();
    }
    let mut text = String::with_capacity(33 + host.len());
    for octet in bits {
        // Writing to a string cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    text.push('@');
    text.extend(
        host.chars().filter(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-')),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design, section 3: 128 random bits, in letters, digits, `.`, `-` and `@` alone.
    #[test]
    fn challenges_are_plain_and_never_the_same() {
        let one = challenge("mail.example-1.org");
        let (random, host) = one.split_once('@').unwrap();
        assert_eq!((random.len(), host), (32, "mail.example-1.org"));
        assert!(random.bytes().all(|octet| octet.is_ascii_hexdigit()));
        assert_ne!(one, challenge("mail.example-1.org"));
        assert!(challenge("a b<c>_").ends_with("@abc"));
    }

    /// Design, section 3: what is announced is what works; `auth.announce` wins.
    #[test]
    fn the_configuration_wins_over_the_flag_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.auth.secrets = directory.path().join("mailauth.db");
        assert!(!announced(&config).apop, "no file");
        std::fs::write(directory.path().join("announce"), "SCRAM-SHA-256\nAPOP\n").unwrap();
        assert!(announced(&config).apop);
        config.auth.announce = Announce::List(Vec::new());
        assert!(!announced(&config).apop);
        std::fs::remove_file(directory.path().join("announce")).unwrap();
        config.auth.announce = Announce::List(vec![Mechanism::Apop]);
        assert!(announced(&config).apop);
        config.auth.sources = vec![Source::Unix];
        assert!(!announced(&config).apop, "nobody could use it");
        config.auth = crate::config::Auth { secrets: config.auth.secrets, ..Config::default().auth };
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("announce")).unwrap();
        assert!(!announced(&config).apop, "no link is followed");
    }
}
