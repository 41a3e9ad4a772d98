//! One header field of a message, for XTND XLST.

use memchr::memchr;

/// The longest value that is shown, in octets: with message number, name and CRLF the line stays within 512
/// octets (RFC 1939, section 3).
pub const MAX_VALUE: usize = 450;

/// The value of the first field called `name` (letters of either case), unfolded to one line (RFC 5322, section
/// 2.2.3), without the white space around it. Control bytes become spaces. `header` may be followed by the body:
/// the empty line ends the search. Line ends are LF or CRLF.
pub fn field(name: &str, header: &[u8]) -> Option<Vec<u8>> {
    let mut rest = header;
    loop {
        let (line, behind) = cut_line(rest)?;
        rest = behind;
        if let Some(value) = value_of(name, line) {
            return Some(unfold(value, rest));
        }
    }
}

/// The first line without its end, and what is behind it; `None` at the header's end.
fn cut_line(header: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = match memchr(b'\n', header) {
        Some(end) => (header.get(..end)?, header.get(end + 1..)?),
        None => (header, &[][..]),
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (!line.is_empty()).then_some((line, rest))
}

/// What stands behind the colon, when the line begins a field of that name.
fn value_of<'a>(name: &str, line: &'a [u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(memchr(b':', line)?)?;
    // A continuation line begins with white space, and no name does.
    let same = found.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes());
    same.then(|| value.get(1..).unwrap_or_default())
}

/// The value with its continuation lines from `rest`.
fn unfold(first: &[u8], mut rest: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    append(&mut value, first.trim_ascii());
    while value.len() < MAX_VALUE {
        let Some((line, behind)) = cut_line(rest) else { break };
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            break;
        }
        rest = behind;
        let line = line.trim_ascii();
        if !value.is_empty() && !line.is_empty() {
            append(&mut value, b" ");
        }
        append(&mut value, line);
    }
    value
}

/// Appends as much as the limit lets in, control bytes as spaces.
fn append(value: &mut Vec<u8>, text: &[u8]) {
    let room = MAX_VALUE.saturating_sub(value.len());
    value.extend(text.iter().take(room).map(|&octet| if octet.is_ascii_control() { b' ' } else { octet }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, header: &[u8]) -> Option<String> {
        field(name, header).map(|value| String::from_utf8(value).unwrap())
    }

    /// RFC 5322, section 2.2: a field is a name, a colon and a value; names know no case.
    #[test]
    fn the_first_field_of_that_name() {
        let header = b"X-From: no\nFROM:ann@example.org\nFrom: second\n\nSubject: in the body\n";
        assert_eq!(shown("from", header).unwrap(), "ann@example.org");
        assert_eq!(shown("subject", header), None);
        assert_eq!(shown("fro", header), None);
        assert_eq!(shown("Message-Id", b""), None);
        assert_eq!(shown("from", b"From : old form"), Some("old form".to_owned()), "RFC 5322, section 4.5");
        assert_eq!(shown("from", b"From:\r\n\r\n"), Some(String::new()));
    }

    /// RFC 5322, section 2.2.3: unfolding; history: folded headers are shown unfolded.
    #[test]
    fn a_folded_field_becomes_one_line() {
        let folded = "a b c";
        assert_eq!(shown("Subject", b"Subject: a\n b\n\tc\nTo: x\n").unwrap(), folded);
        assert_eq!(shown("Subject", b"Subject: a\r\n  b\r\n\tc\r\n\r\nbody").unwrap(), folded);
        assert_eq!(shown("Subject", b"Subject:\n a b\n c").unwrap(), folded);
        assert_eq!(shown("b", b"Subject: a\n b: c\n"), None, "a continuation is no field");
    }

    /// Design, section 3: no client sees control bytes of a message in a one-line answer.
    #[test]
    fn control_bytes_and_length_are_bounded() {
        assert_eq!(shown("A", b"A: x\0y\tz\x1b\x7f\r.\n").unwrap(), "x y z   .");
        let long = [b"A: ".as_slice(), &[b'x'; 9000], b"\n yyy\n"].concat();
        assert_eq!(field("A", &long).unwrap().len(), MAX_VALUE);
        assert_eq!(field("A", b"A: \xe4\n").unwrap(), b"\xe4", "8-bit stays");
    }
}
