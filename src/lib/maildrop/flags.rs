//! What mail readers note of a message: in an mbox the fields `Status` and `X-Status`, in a Maildir the place and the letters behind
//! the name. Pure.

/// What both formats can say of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// A mail reader has taken note of it: `O`; in `cur`.
    pub(crate) old: bool,
    /// It was read: `R`; `S`.
    pub(crate) seen: bool,
    /// It was answered: `A`; `R`.
    pub(crate) answered: bool,
    /// It is important: `F`; `F`.
    pub(crate) flagged: bool,
    /// It is to be deleted: `D`; `T`.
    pub(crate) trashed: bool,
    /// It is a draft: `T`; `D`.
    pub(crate) draft: bool,
}

impl Flags {
    /// Those of a message in an mbox, by its header.
    pub(crate) fn of_header(header: &[u8]) -> Self {
        let mut flags = Self::default();
        for line in header.split(|octet| *octet == b'\n') {
            if line.is_empty() || line == b"\r" {
                break;
            }
            let Some((name, letters)) = field(line) else { continue };
            let status = name.eq_ignore_ascii_case(b"status");
            for letter in letters {
                match (status, letter) {
                    (true, b'R') => flags.seen = true,
                    (true, b'O') => flags.old = true,
                    (false, b'A') => flags.answered = true,
                    (false, b'F') => flags.flagged = true,
                    (false, b'D') => flags.trashed = true,
                    (false, b'T') => flags.draft = true,
                    _ => {}
                }
            }
        }
        flags.complete()
    }

    /// Those of a message in `cur` or `new` with this info behind its name's base (`:2,FS`).
    pub(crate) fn of_name(in_cur: bool, info: &[u8]) -> Self {
        let letters = info.strip_prefix(b":2,").unwrap_or_default();
        let has = |letter| letters.contains(&letter);
        let (answered, flagged, draft) = (has(b'R'), has(b'F'), has(b'D'));
        Self { old: in_cur, seen: has(b'S'), answered, flagged, trashed: has(b'T'), draft }.complete()
    }

    /// Whoever marked a message has taken note of it.
    const fn complete(mut self) -> Self {
        self.old |= self.seen || self.answered || self.flagged || self.trashed || self.draft;
        self
    }

    /// What stands behind a name in `cur`.
    pub(crate) fn info(self) -> Vec<u8> {
        // In the order of ASCII.
        let letters = [
            (self.draft, b'D'),
            (self.flagged, b'F'),
            (self.answered, b'R'),
            (self.seen, b'S'),
            (self.trashed, b'T'),
        ];
        let set = letters.into_iter().filter_map(|(is_set, letter)| is_set.then_some(letter));
        b":2,".iter().copied().chain(set).collect()
    }

    /// The header lines that say it, each with this line end.
    pub(crate) fn lines(self, line_end: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut line = |name: &[u8], letters: &[(bool, u8)]| {
            let set: Vec<u8> =
                letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| *letter).collect();
            if !set.is_empty() {
                lines.extend_from_slice(&[name, b": ", &set, line_end].concat());
            }
        };
        line(b"Status", &[(self.seen, b'R'), (self.old, b'O')]);
        line(
            b"X-Status",
            &[(self.answered, b'A'), (self.flagged, b'F'), (self.trashed, b'D'), (self.draft, b'T')],
        );
        lines
    }
}

/// Whether this header line says such things.
pub(crate) fn is_status(line: &[u8]) -> bool {
    field(line).is_some()
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().take(16).position(|octet| *octet == b':')?;
    let name = line[..colon].trim_ascii_end();
    let known = name.eq_ignore_ascii_case(b"status") || name.eq_ignore_ascii_case(b"x-status");
    known.then(|| (name, &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        for (header, in_cur, info) in [
            (&b"Subject: x\n\n"[..], false, &b""[..]),
            (b"Status: O\nSubject: x\n", true, b":2,"),
            (b"Subject: x\r\nStatus: RO\r\nX-Status: AF\r\n\r\n", true, b":2,FRS"),
            (b"STATUS: RO\nX-Status: DT\n\n", true, b":2,DST"),
        ] {
            let flags = Flags::of_header(header);
            assert_eq!(flags, Flags::of_name(in_cur, info));
            assert_eq!(flags.old, in_cur);
            assert!(!in_cur || flags.info() == info);
            assert_eq!(Flags::of_header(&flags.lines(b"\n")), flags);
        }
        assert_eq!(Flags::of_header(b"Subject: x\n\nStatus: R\n"), Flags::default(), "a body is no header");
        assert!(Flags::of_name(true, b":1,S").old && !Flags::of_name(true, b":1,S").seen);
        assert!(is_status(b"x-status : A") && !is_status(b"X-Statusx: A") && !is_status(b"Status"));
    }
}
