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
    date(rest.rsplit(|&octet| octet == b' '), |_| ()).is_some()
}

/// The most words of a date: `Www Mmm dd hh:mm:ss zone zone yyyy remote from HOST`.
const MOST_WORDS: usize = 10;

/// What `of` says of the date that a line ends in; its words, with empty ones among them, come from the line's end on.
fn date<'a, T>(words: impl Iterator<Item = &'a [u8]>, of: impl FnOnce(&[&[u8]]) -> T) -> Option<T> {
    let mut last: [&[u8]; MOST_WORDS] = [b""; MOST_WORDS];
    let words = words.filter(|word| !word.is_empty());
    // The address may hold words that look like a day: the last date in the line counts.
    for (first, word) in (0..MOST_WORDS).rev().zip(words) {
        last[first] = word;
        if is_date(&last[first..]) {
            return Some(of(&last[first..]));
        }
    }
    None
}

/// When the message was received, in seconds since 1970, by its envelope line; 0 where that does not say so, or says a time
/// before 1970 or after 2105. A time without a numeric zone is taken as UTC (RFC 4155).
pub(crate) fn received(line: &[u8]) -> u32 {
    let line = &line[..line.len().min(LONGEST)];
    let seconds = date(line.rsplit(u8::is_ascii_whitespace), seconds).flatten();
    seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(0)
}

/// Seconds since 1970 of what [`is_date`] takes.
fn seconds(words: &[&[u8]]) -> Option<i64> {
    let [_, month, date, time, rest @ ..] = words else { return None };
    let month = MONTHS.chunks_exact(3).position(|name| name == *month)?;
    let year = i64::from(rest.iter().filter(|word| is_year(word)).find_map(|word| number(word))?);
    let day = i64::from(number(date)?);
    let mut clock = time.split(|&octet| octet == b':').map(|part| number(part).map_or(0, i64::from));
    let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next().unwrap_or(0));
    let zone = rest.iter().find_map(|word| offset(word)).unwrap_or(0);
    // Days of the Gregorian calendar, in years that begin with March.
    let march = (i64::try_from(month).ok()? + 10) % 12;
    let years = year - i64::from(march >= 10);
    let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * march + 2) / 5 + day - 1;
    Some((days - DAYS_TO_1970) * 86_400 + hour * 3600 + minute * 60 + second - zone)
}

/// Days from March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;

/// Seconds east of Greenwich: `+0130`.
fn offset(word: &[u8]) -> Option<i64> {
    let (sign, digits) = match word {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let number = i64::from(number(digits)?);
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// `Www Mmm dd hh:mm[:ss] [zone] yyyy [zone] [remote from HOST]`.
fn is_date(words: &[&[u8]]) -> bool {
    let [day, month, date, time, rest @ ..] = words else { return false };
    is_one_of(day, b"SunMonTueWedThuFriSat")
        && is_one_of(month, MONTHS)
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
    fn the_time_of_receipt_is_read() {
        for (line, seconds) in [
            ("From ann Sat Jan  3 01:05:34 2026\n", 1_767_402_334),
            ("From ann Sat Jan  3 01:05:34 +0100 2026\r\n", 1_767_398_734),
            ("From ann Sat Jan  3 01:05 2026 -0130 remote from x", 1_767_407_700),
            ("From \"ann b\"@x Thu Jan  1 00:00:00 1970", 0),
            ("From ann Tue Feb 29 12:00:00 2000", 951_825_600),
            ("From ann Wed Dec 31 23:59:59 MET DST 2025", 1_767_225_599),
            ("From ann Sat Jan  3 01:05:34 9999", 0),
            ("From here on it rains", 0),
            ("", 0),
        ] {
            assert_eq!(received(line.as_bytes()), seconds, "RFC 4155, appendix A: {line}");
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
