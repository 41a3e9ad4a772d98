//! Rules for new secrets. Pure.

use crate::secret::Secret;

/// The shortest secret, in octets. The ancestor's rule for secrets of one class of letters.
pub(crate) const SHORTEST: usize = 6;

/// The longest secret, in octets. No client has a field for more.
pub(crate) const LONGEST: usize = 128;

/// What is wrong with a new secret, if anything.
pub(crate) fn fault(user: &str, secret: &Secret) -> Option<String> {
    let octets = secret.expose();
    let reversed: Vec<u8> = user.bytes().rev().collect();
    impossible(secret).or_else(|| {
        if octets.len() < SHORTEST {
            Some(format!("a secret has at least {SHORTEST} octets"))
        } else if octets.eq_ignore_ascii_case(user.as_bytes()) || octets.eq_ignore_ascii_case(&reversed) {
            Some("a secret is not the user's name, forwards or backwards".to_owned())
        } else if is_repeated(octets) {
            Some("a secret is not one or two characters, or one word three times, again and again".to_owned())
        } else {
            None
        }
    })
}

/// What is wrong with a secret that nobody may override: clients could not send it, or it could not be sealed.
pub(crate) fn impossible(secret: &Secret) -> Option<String> {
    let octets = secret.expose();
    if octets.is_empty() {
        Some("a secret is not empty".to_owned())
    } else if octets.len() > LONGEST {
        Some(format!("a secret has at most {LONGEST} octets"))
    } else if octets.contains(&0) {
        Some("a secret has no NUL".to_owned())
    } else {
        None
    }
}

/// Whether it is a run of one or two octets, or something longer at least three times.
fn is_repeated(octets: &[u8]) -> bool {
    (1..=octets.len() / 2).any(|period| {
        let again = octets.iter().zip(octets.iter().skip(period)).all(|(one, other)| one == other);
        again && (period <= 2 || octets.len() >= 3 * period)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    /// At least 6 octets, at most 128, no NUL, not the user's name, not obviously repeated.
    #[test]
    fn secrets_have_rules() {
        let fault = |text: &str| fault("annabel", &secret(text));
        for good in [
            "sixsix",
            "annabel2",
            "with space",
            "abcabd",
            &"0123456789abcdef".repeat(2),
            "\u{e9}\u{e8}\u{e9}",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            "fives",
            "annabel",
            "Annabel",
            "lebanna",
            "nul\0nul",
            "aaaaaa",
            "ababab",
            "abababa",
            "abcabcabc",
        ] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
        assert!(fault(&"0123456789abcdef".repeat(8)[1..]).is_some(), "a word eight times");
        assert!(fault(&format!("x{}", "y".repeat(128))).is_some(), "129 octets");
    }

    /// The administrator may override the rules, but not these.
    #[test]
    fn some_rules_cannot_be_overridden() {
        for bad in ["", "nul\0nul", &"x".repeat(129)] {
            assert!(impossible(&secret(bad)).is_some(), "{bad:?}");
        }
        for good in ["x", "aaaaaa", &"x".repeat(128)] {
            assert_eq!(impossible(&secret(good)), None, "{good}");
        }
    }
}
