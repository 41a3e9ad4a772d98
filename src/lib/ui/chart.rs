//! Small charts out of block characters, for a terminal.

/// Eighths of a line, growing upwards.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Eighths of a character, growing to the right.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A line of so many characters at most whose height tells the values; more values are put together by their sums.
pub(crate) fn sparkline(values: &[u64], width: usize) -> String {
    let together = values.len().div_ceil(width.max(1)).max(1);
    let sums: Vec<u64> = values.chunks(together).map(|chunk| chunk.iter().sum()).collect();
    let most = sums.iter().copied().max().unwrap_or(0);
    sums.iter()
        .map(|value| match level(*value, most, 8) {
            0 => ' ',
            eighths => LEVELS[eighths - 1],
        })
        .collect()
}

/// A bar of so many characters when `value` is `most`.
pub(crate) fn bar(value: u64, most: u64, width: usize) -> String {
    let eighths = level(value, most, width * 8);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// The share of `most`, in steps; something is never shown as nothing.
fn level(value: u64, most: u64, steps: usize) -> usize {
    if value == 0 || most == 0 {
        return 0;
    }
    let steps = u128::try_from(steps).unwrap_or(u128::MAX);
    let level = (u128::from(value.min(most)) * steps).div_ceil(u128::from(most));
    usize::try_from(level).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_and_lengths_tell_the_values() {
        assert_eq!(sparkline(&[0, 1, 4, 8], 20), " ▁▄█");
        assert_eq!(sparkline(&[1, 1, 2, 2], 2), "▄█", "sums of two");
        assert_eq!((sparkline(&[], 5), sparkline(&[0], 5)), (String::new(), " ".to_owned()));
        assert_eq!(
            (bar(8, 8, 4), bar(1, 800, 4), bar(3, 8, 4), bar(0, 8, 4)),
            ("████".into(), "▏".into(), "█▌".into(), String::new())
        );
        assert_eq!(bar(u64::MAX, u64::MAX, 3), "███");
    }
}
