//! solid-pop3d's `.spop3d` (dot-spop3d(5)): lines `APOPSecret` with hexadecimal digits, which are the secret XORed with 0xff, and
//! the name of a mailbox unless it is the user's own. The user is the file's owner.

use super::pairs::flip;
use super::{Found, is_comment, lines, unhex};

const SECRET: &[u8] = b"APOPSecret";

const MAILDROP: &[u8] = b"MailDrop";

pub(super) fn read(octets: &[u8], owner: Option<&str>) -> Found {
    let mut found = Found::default();
    let owner = owner.unwrap_or_default();
    for (place, line) in lines(octets).filter(|(_, line)| !is_comment(line)) {
        let mut words = words(line);
        let keyword = words.next().unwrap_or_default();
        if keyword.eq_ignore_ascii_case(MAILDROP) {
            continue;
        }
        if !keyword.eq_ignore_ascii_case(SECRET) {
            found.fault(place, b"", "expected APOPSecret or MailDrop");
            continue;
        }
        let (digits, mailbox) = (words.next().unwrap_or_default(), words.next());
        match (unhex(digits).filter(|stored| !stored.expose().is_empty()), mailbox) {
            (None, _) => {
                found.fault(place, owner.as_bytes(), "the secret is not written in hexadecimal digits");
            }
            (Some(_), Some(mailbox)) => {
                let name = [owner.as_bytes(), b"+", mailbox].concat();
                found.leave_out(
                    place,
                    &name,
                    "this is for one mailbox of several, which there are none of here",
                );
            }
            (Some(_), None) if owner.is_empty() => {
                found.fault(
                    place,
                    b"",
                    "whose it is tells the file's owner, who has no name: import the user's own file",
                );
            }
            (Some(stored), None) => found.apop(place, owner.as_bytes(), flip(stored.expose())),
        }
    }
    found
}

/// Whether a line is one of these.
pub(super) fn is_like(line: &[u8]) -> bool {
    let keyword = words(line).next().unwrap_or_default();
    keyword.eq_ignore_ascii_case(SECRET) || keyword.eq_ignore_ascii_case(MAILDROP)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}
