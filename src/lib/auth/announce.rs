//! What is announced before login, and the challenge of APOP.

use crate::config::{Announce, Config, Mechanism, Source};
use crate::protocol::sasl::{self, Mechanisms};
use crate::secrets;
use crate::sys::random;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

/// Which mechanisms are worth announcing that not every user can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Whether the greeting carries a challenge.
    pub(crate) apop: bool,
    /// Those of AUTH.
    pub(crate) mechanisms: Mechanisms,
    /// The longest time between two logins, in seconds, that is set for some user; `None`: it is the same for all.
    pub(crate) login_delay: Option<u32>,
}

/// What to announce now: by `auth.announce`, or what some entry of the secrets database can use (design, section 3). It reads a
/// small file beside the database, as root or as the one user; in the login process's fence that is not there any more.
pub(crate) fn announced(config: &Config) -> Announced {
    if !config.auth.sources.contains(&Source::Mailauth) {
        return Announced::default();
    }
    let words = secrets::announced(&config.auth.secrets);
    let login_delay = words.iter().find_map(|word| word.strip_prefix("LOGIN-DELAY ")?.parse().ok());
    match &config.auth.announce {
        Announce::List(listed) => Announced {
            apop: listed.contains(&Mechanism::Apop),
            mechanisms: listed.iter().fold(Mechanisms::NONE, |all, mechanism| match mechanism {
                Mechanism::Apop => all,
                Mechanism::CramMd5 => all.with(sasl::Mechanism::CramMd5),
                Mechanism::ScramSha256 => all.with(sasl::Mechanism::ScramSha256),
                Mechanism::ScramSha256Plus => all.with(sasl::Mechanism::ScramSha256Plus),
            }),
            login_delay,
        },
        Announce::Auto => {
            let has = |word: &str| words.iter().any(|known| known == word);
            // An APOP entry's secret serves all of them.
            let (apop, scram) = (has("APOP"), has("APOP") || has("SCRAM-SHA-256"));
            let mechanisms = Mechanisms::NONE
                .with_if(apop || has("CRAM-MD5"), sasl::Mechanism::CramMd5)
                .with_if(scram, sasl::Mechanism::ScramSha256)
                .with_if(scram, sasl::Mechanism::ScramSha256Plus);
            Announced { apop, mechanisms, login_delay }
        }
    }
}

/// Random octets for the challenges of one connection.
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    if random::fill(&mut seed).is_err() {
        // Each state has other keys, out of 128 bits that the kernel gave this process earlier.
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&RandomState::new().hash_one("seed").to_le_bytes());
        }
    }
    seed
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
        let names = |config: &Config| {
            announced(config).mechanisms.iter().map(sasl::Mechanism::name).collect::<Vec<_>>().join(" ")
        };
        std::fs::write(directory.path().join("announce"), "SCRAM-SHA-256\n").unwrap();
        assert!(!announced(&config).apop);
        assert_eq!(names(&config), "SCRAM-SHA-256-PLUS SCRAM-SHA-256");
        std::fs::write(directory.path().join("announce"), "APOP\n").unwrap();
        assert!(announced(&config).apop);
        assert_eq!(names(&config), "SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5", "its secret serves them all");
        config.auth.announce = Announce::List(vec![Mechanism::CramMd5]);
        assert_eq!((announced(&config).apop, names(&config).as_str()), (false, "CRAM-MD5"));
        config.auth.announce = Announce::List(Vec::new());
        assert_eq!(announced(&config), Announced::default());
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
