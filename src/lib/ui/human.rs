//! Sizes and times as people write and read them.

/// Letters behind numbers of octets, for the powers of 1024.
const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Octets with three digits at most and a letter, as `ls -h` has them: `999`, `4.2M`, `17G`.
pub(crate) fn octets(number: u64) -> String {
    let Some((letter, shift)) = UNITS.iter().rev().find(|(_, shift)| number >= 1 << shift) else {
        return number.to_string();
    };
    // Tenths, rounded up: nothing looks smaller than it is.
    let tenths = (u128::from(number) * 10).div_ceil(1 << shift);
    if tenths < 100 {
        format!("{}.{}{letter}", tenths / 10, tenths % 10)
    } else {
        format!("{}{letter}", tenths.div_ceil(10))
    }
}

/// Reads a number of octets: `4096`, `100M`, `1.5G`, `2GiB`.
///
/// # Errors
/// It is none; the sentence says what one looks like.
pub(crate) fn parse_octets(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no size; write 4096, 512K, 100M, 1.5G or 2T");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_uppercase();
    let unit = unit.trim_end_matches('B').trim_end_matches('I');
    let factor = match unit {
        "" => 1.0,
        letters => UNITS
            .iter()
            .find(|(letter, _)| letters.len() == 1 && letters.starts_with(*letter))
            .map(|(_, shift)| (1_u64 << shift) as f64)
            .ok_or_else(wrong)?,
    };
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number: f64 = plain.then(|| digits.parse().ok()).flatten().ok_or_else(wrong)?;
    // A float that is too large becomes the largest number.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok((number * factor) as u64)
}

/// Words for spans of time, in seconds; a month has 30 days, a year 365.
const SPANS: [(&[&str], u64); 7] = [
    (&["s", "sec", "second", "seconds"], 1),
    (&["min", "m", "minute", "minutes"], 60),
    (&["h", "hour", "hours"], 3600),
    (&["d", "day", "days"], 86_400),
    (&["w", "week", "weeks"], 604_800),
    (&["mo", "month", "months"], 2_592_000),
    (&["y", "year", "years"], 31_536_000),
];

/// A span of time with its largest unit up to days, rounded down: `45s`, `12min`, `3h`, `9d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Reads a span of time in seconds: `90s`, `15min`, `12h`, `7d`, `2w`, `6mo`, `1y`.
///
/// # Errors
/// It is none; the sentence says what one looks like.
pub(crate) fn parse_span(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no span of time; write 90s, 15min, 12h, 7d, 2w, 6mo or 1y");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let (_, seconds) = SPANS.iter().find(|(words, _)| words.contains(&unit)).ok_or_else(wrong)?;
    let number: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
    number.checked_mul(*seconds).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_can_be_read_again() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1min"), (7199, "1h"), (86_400, "1d")] {
            assert_eq!(span(seconds), text);
            assert!(parse_span(text).is_ok_and(|read| read <= seconds), "{text}");
        }
    }

    #[test]
    fn octets_are_short() {
        for (number, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (4_404_019, "4.2M"),
            (18_253_611_008, "17G"),
            (10 << 10, "10K"),
            (u64::MAX, "16777216T"),
        ] {
            assert_eq!(octets(number), text);
        }
    }

    #[test]
    fn sizes_and_spans_are_read() {
        for (text, number) in
            [("4096", 4096), ("100M", 100 << 20), ("1.5G", 3 << 29), ("2GiB", 2 << 30), ("7kb", 7168)]
        {
            assert_eq!(parse_octets(text), Ok(number), "{text}");
        }
        for (text, number) in [("90s", 90), ("7d", 604_800), ("6mo", 15_552_000), ("1y", 31_536_000)] {
            assert_eq!(parse_span(text), Ok(number), "{text}");
        }
        for wrong in ["", "M", "-1M", "1X", "1e9", "..", "1.2.3"] {
            assert!(parse_octets(wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["", "d", "5", "-5d", "1.5d", "6 fortnights", "99999999999999999999d", "9999999999999999y"]
        {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
