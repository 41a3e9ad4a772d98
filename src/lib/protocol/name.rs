//! User names: the only client bytes that ever become part of a path.

use std::fmt;

/// The longest name, in octets (design, section 4).
pub const MAX_NAME: usize = 64;

/// A name that may become part of a path: 1 to 64 octets of `A-Z a-z 0-9 . _ + @ = -`, not beginning with `.`
/// or `-`. The same holds for each side of the last `@` (design, section 4, "Names that become paths").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(String);

impl UserName {
    /// The name, when the rules allow it.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let sides_allowed = match name.rsplit_once('@') {
            Some((local, domain)) => is_allowed(local) && is_allowed(domain),
            None => true,
        };
        (is_allowed(name) && sides_allowed).then(|| Self(name.to_owned()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the last `@`; the whole name when it has none.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or(self.as_str(), |(local, _)| local)
    }

    /// What stands behind the last `@`.
    pub fn domain(&self) -> Option<&str> {
        self.0.rsplit_once('@').map(|(_, domain)| domain)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_allowed(part: &str) -> bool {
    (1..=MAX_NAME).contains(&part.len()) && !part.starts_with(['.', '-']) && part.bytes().all(is_name_octet)
}

const fn is_name_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'+' | b'@' | b'=' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design, section 4: which names become paths.
    #[test]
    fn names_that_become_paths() {
        for good in ["a", "ann", "Ann.O-Neil+pop_3=x", "0", "_x", &"n".repeat(64)] {
            assert!(UserName::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            ".ann",
            "-ann",
            "an/n",
            "..",
            "a b",
            "a\0",
            "a\n",
            "ann\u{e9}",
            "a%b",
            "~ann",
            &"n".repeat(65),
        ] {
            assert!(UserName::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(UserName::parse(b"ann\xff").is_none(), "not even UTF-8");
    }

    /// Design, section 4: local part and domain are names too.
    #[test]
    fn the_sides_of_an_address_obey_too() {
        let name = UserName::parse(b"ann@example.org").unwrap();
        assert_eq!((name.local(), name.domain()), ("ann", Some("example.org")));
        let plain = UserName::parse(b"ann").unwrap();
        assert_eq!((plain.local(), plain.domain()), ("ann", None));
        for bad in ["ann@", "@example.org", "@", "ann@.hidden", "ann@-x", "ann@@x@"] {
            assert!(UserName::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert_eq!(UserName::parse(b"a@b@c").unwrap().local(), "a@b");
    }
}
