//! The envelope line that begins a message: `From ann@example.org Sat Jan  3 01:05:34 2026`.
//!
//! The form is that of RFC 4155 with what UW imapd, Dovecot and the old delivery agents write besides:
//! seconds may be missing, a zone may stand before or behind the year, `remote from HOST` may follow, and
//! the address may be empty or hold spaces. Everything is checked, since a line of text may begin with
//! `From ` as well.

/// The longest line that can be an envelope line, in octets.
const LONGEST: usize = 4096;

/// Whether this line (with or without its line end) is an envelope line.
pub(crate) fn is_envelope(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else { return false };
    if line.len() > LONGEST {
        return false;
    }
    let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
    let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    let words: Vec<&[u8]> = rest.split(|&octet| octet == b' ').filter(|word| !word.is_empty()).collect();
    // The address may hold words that look like a day: the last date in the line counts.
    (0..words.len()).rev().any(|first| is_date(&words[first..]))
}

/// `Www Mmm dd hh:mm[:ss] [zone] yyyy [zone] [remote from HOST]`.
fn is_date(words: &[&[u8]]) -> bool {
    let [day, month, date, time, rest @ ..] = words else { return false };
    is_one_of(day, b"SunMonTueWedThuFriSat")
        && is_one_of(month, b"JanFebMarAprMayJunJulAugSepOctNovDec")
        && matches!(number(date), Some(1..=31))
        && is_time(time)
        && is_year_and_zone(rest)
}

fn is_year_and_zone(words: &[&[u8]]) -> bool {
    match words {
        [year, rest @ ..] if is_year(year) => {
            is_end(rest) || matches!(rest, [zone, rest @ ..] if is_zone(zone) && is_end(rest))
        }
        [zone, year, rest @ ..] if is_zone(zone) && is_year(year) => is_end(rest),
        // `MET DST 1998` and `EST -0500 1998` are written by some.
        [zone, more, year, rest @ ..] if is_zone(zone) && is_zone(more) && is_year(year) => is_end(rest),
        _ => false,
    }
}

fn is_end(words: &[&[u8]]) -> bool {
    matches!(words, [] | [b"remote", b"from", _])
}

fn is_year(word: &[u8]) -> bool {
    word.len() == 4 && matches!(number(word), Some(1970..=9999))
}

/// `+0100`, `GMT`, `MESZ`.
fn is_zone(word: &[u8]) -> bool {
    match word {
        [b'+' | b'-', digits @ ..] => digits.len() == 4 && digits.iter().all(u8::is_ascii_digit),
        _ => (1..=5).contains(&word.len()) && word.iter().all(u8::is_ascii_alphabetic),
    }
}

fn is_time(word: &[u8]) -> bool {
    let mut parts = word.split(|&octet| octet == b':');
    let hour = parts.next().is_some_and(|part| part.len() <= 2 && matches!(number(part), Some(0..=23)));
    let minute = parts.next().is_some_and(|part| part.len() == 2 && matches!(number(part), Some(0..=59)));
    let second = parts.next().is_none_or(|part| part.len() == 2 && matches!(number(part), Some(0..=60)));
    hour && minute && second && parts.next().is_none()
}

fn is_one_of(word: &[u8], names: &[u8]) -> bool {
    word.len() == 3 && names.chunks_exact(3).any(|name| name == word)
}

fn number(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > 4 {
        return None;
    }
    word.iter().try_fold(0, |sum, octet| octet.is_ascii_digit().then(|| sum * 10 + u32::from(octet - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_delivery_agents_write_is_an_envelope_line() {
        for line in [
            "From ann@example.org Sat Jan  3 01:05:34 2026\n",
            "From ann Sat Jan  3 01:05:34 2026\r\n",
            "From ann Sat Jan 3 01:05:34 2026",
            "From ann Sat Jan  3 01:05 2026",
            "From MAILER-DAEMON Fri Dec 31 23:59:60 1999",
            "From ann Sat Jan  3 01:05:34 MET 2026",
            "From ann Sat Jan  3 01:05:34 MET DST 2026",
            "From ann Sat Jan  3 01:05:34 +0100 2026",
            "From ann Sat Jan  3 01:05:34 2026 +0100",
            "From ann Sat Jan  3 01:05:34 2026 remote from host",
            "From  Sat Jan  3 01:05:34 2026",
            "From \"ann b\"@example.org  Sat Jan  3 01:05:34 2026",
            "From Sat@x Sat Jan  3 1:05:34 2026",
        ] {
            assert!(is_envelope(line.as_bytes()), "RFC 4155, appendix A: {line}");
        }
    }

    #[test]
    fn text_is_not_an_envelope_line() {
        for line in [
            "From here on it rains.",
            "From ",
            "From: ann@example.org Sat Jan  3 01:05:34 2026",
            ">From ann Sat Jan  3 01:05:34 2026",
            "from ann Sat Jan  3 01:05:34 2026",
            "From ann Sat Jan 32 01:05:34 2026",
            "From ann Sat Jan  3 24:05:34 2026",
            "From ann Sat Jan  3 01:05:34 26",
            "From ann Sat Foo  3 01:05:34 2026",
            "From ann Sat Jan  3 01:05:34 2026 and so on",
            "From ann Sat Jan  3 2026",
        ] {
            assert!(!is_envelope(line.as_bytes()), "{line}");
        }
        let long = format!("From {} Sat Jan  3 01:05:34 2026", "a".repeat(1 << 20));
        assert!(!is_envelope(long.as_bytes()));
    }
}
