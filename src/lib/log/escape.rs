//! The only road to syslog and terminal: no control octet and no octet over 126 gets through.

use std::fmt::{self, Write};

/// A value of one `key=value`: it has no space, `=`, `"` or `\`, so a line is split at spaces and a value can
/// not be taken for another key. Such octets, control octets and those over 126 are `\xHH`. An empty value is `""`.
pub(crate) struct Value<'a>(pub(crate) &'a [u8]);

/// A sentence that goes on to the end of the line: spaces stay, `\`, control octets and those over 126 are `\xHH`.
pub(crate) struct Sentence<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("\"\"");
        }
        write(f, self.0, plain_in_value)
    }
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, |byte| matches!(byte, b' '..=b'~') && byte != b'\\')
    }
}

impl Value<'_> {
    /// The octets that a value was written from; none for what is no value.
    pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
        if text == "\"\"" {
            return Some(Vec::new());
        }
        let mut octets = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if let Some(escaped) = rest.strip_prefix("\\x") {
                let digits = escaped
                    .get(..2)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &escaped[2..];
            } else if plain_in_value(u8::try_from(character).ok()?) {
                octets.push(u8::try_from(character).ok()?);
                rest = &rest[1..];
            } else {
                return None;
            }
        }
        (!text.is_empty()).then_some(octets)
    }
}

/// Whether an octet stands for itself in a value.
const fn plain_in_value(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'=' | b'"' | b'\\')
}

fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8], plain: impl Fn(u8) -> bool) -> fmt::Result {
    for &byte in bytes {
        if plain(byte) {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_be_taken_for_a_key() {
        assert_eq!(Value(b"ann").to_string(), "ann");
        assert_eq!(Value(b"").to_string(), "\"\"");
        let forged = Value(b"x client=192.0.2.1\n\"").to_string();
        assert_eq!(forged, r"x\x20client\x3d192.0.2.1\x0a\x22");
    }

    #[test]
    fn only_a_value_reads_back() {
        for none in ["", "a b", "a=b", "\"", r"\x", r"\x0", r"\xgg", r"\x+1", "é", "a\n"] {
            assert_eq!(Value::read(none), None, "{none:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_control_octet_leaves(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            for text in [Value(&bytes).to_string(), Sentence(&bytes).to_string()] {
                assert!(text.bytes().all(|byte| (32..=126).contains(&byte)), "{text}");
            }
            assert!(!Value(&bytes).to_string().contains([' ', '=']));
            assert_eq!(Value::read(&Value(&bytes).to_string()), Some(bytes));
        }
    }
}
