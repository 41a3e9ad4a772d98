//! Unique ids of another server, in the forms in which they can be had. Pure.

use crate::error::{Error, Kind, Result};
use crate::maildrop::uidl::twins::is_id;
use std::collections::HashMap;

/// Ids by what they are known by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The number of a message, from 1: what UIDL answers, or such a list.
    ByNumber(HashMap<u32, Vec<u8>>),
    /// What stays of a file's name in a Maildir: Dovecot's `dovecot-uidlist`.
    ByName(HashMap<Vec<u8>, Vec<u8>>),
    /// `X-UIDL` in the message.
    OfHeaders,
}

impl Ids {
    /// Reads a list: Dovecot's, or lines with number and id.
    ///
    /// # Errors
    /// A line is none; the error has its number.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let first = text.split(|octet| *octet == b'\n').next().unwrap_or_default();
        match words(first).as_slice() {
            [b"3", validity, ..] if validity.starts_with(b"V") => dovecot(text, number(&validity[1..])),
            [b"1", validity, next] if number(next).is_some() => dovecot(text, number(validity)),
            _ => numbered(text),
        }
    }
}

fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

fn number(word: &[u8]) -> Option<u32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn wrong(line: usize, what: &str) -> Error {
    Error::new(Kind::Permanent, format!("line {} of the unique ids: {what}", line + 1))
}

/// Lines with a number and an id. The answer of UIDL with `+OK` before and `.` behind is fine.
fn numbered(text: &[u8]) -> Result<Ids> {
    let mut ids = HashMap::new();
    for (at, line) in text.split(|octet| *octet == b'\n').enumerate() {
        let found = words(line);
        let (count, id) = match found.as_slice() {
            [] | [b"."] | [b"+OK", ..] => continue,
            [count, id] => (number(count).filter(|number| *number > 0), *id),
            _ => return Err(wrong(at, "not a number and an id")),
        };
        let count = count.ok_or_else(|| wrong(at, "it does not begin with a message's number"))?;
        if !is_id(id) {
            return Err(wrong(at, "an id has 1 to 70 characters from ! to ~"));
        }
        if ids.insert(count, id.to_vec()).is_some() {
            return Err(wrong(at, &format!("message {count} has an id already")));
        }
    }
    Ok(Ids::ByNumber(ids))
}

/// `dovecot-uidlist`: after the first line `UID [fields] :NAME`, or `UID NAME` in version 1. The id is a field `P`, or what
/// Dovecot makes of UID and UIDVALIDITY unless it is told otherwise (`pop3_uidl_format = %08Xu%08Xv`).
fn dovecot(text: &[u8], validity: Option<u32>) -> Result<Ids> {
    let validity = validity.ok_or_else(|| wrong(0, "no UIDVALIDITY"))?;
    let mut ids = HashMap::new();
    for (at, line) in text.split(|octet| *octet == b'\n').enumerate().skip(1) {
        if line.is_empty() {
            continue;
        }
        let (before, name) = match line.windows(2).position(|pair| pair == b" :") {
            Some(place) => (&line[..place], &line[place + 2..]),
            None => match line.iter().position(|octet| *octet == b' ') {
                Some(place) => (&line[..place], &line[place + 1..]),
                None => return Err(wrong(at, "no file name")),
            },
        };
        let fields = words(before);
        let uid = fields.first().and_then(|word| number(word)).ok_or_else(|| wrong(at, "no UID"))?;
        let given = fields.iter().skip(1).find_map(|field| field.strip_prefix(b"P"));
        let id = given.map_or_else(|| format!("{uid:08X}{validity:08X}").into_bytes(), <[u8]>::to_vec);
        if !is_id(&id) {
            return Err(wrong(at, "an id has 1 to 70 characters from ! to ~"));
        }
        let base = name.split(|octet| *octet == b':').next().unwrap_or_default();
        ids.insert(base.to_vec(), id);
    }
    Ok(Ids::ByName(ids))
}

/// Where lines of a header begin and end.
pub(crate) type Lines = (u64, u64);

/// The id in a message's header: the last `X-UIDL`, and where its line is when nothing stands behind it in the header.
pub(crate) fn of_header(header: &[u8]) -> Option<(Vec<u8>, Option<Lines>)> {
    let (mut found, mut position) = (None, 0);
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        let text = line.trim_ascii_end();
        if text.is_empty() {
            break;
        }
        let end = position + line.len();
        let is_field = text.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"x-uidl:"));
        if is_field {
            found = Some((text[7..].trim_ascii().to_vec(), Some((position as u64, end as u64))));
        } else if let Some((_, place)) = &mut found {
            *place = None;
        }
        position = end;
    }
    found.filter(|(id, _)| is_id(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let numbered = Ids::parse(b"+OK\r\n1 whqtswO00WBw418f9t5JxYwZ\r\n2\tx\r\n.\r\n").unwrap();
        let expected = [(1, b"whqtswO00WBw418f9t5JxYwZ".to_vec()), (2, b"x".to_vec())];
        assert_eq!(numbered, Ids::ByNumber(expected.into()));
        let list = b"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n\
            25006 W123 S120 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n\
            25017 Pold.id W2481 :1276533073.M242911P3632.kurkku:2,F\n";
        let expected = [
            (&b"1276528487.M364837P9451.kurkku,S=1355,W=1394"[..], "000061AE4C0907B0"),
            (b"1276533073.M242911P3632.kurkku", "old.id"),
        ];
        let expected = expected.map(|(name, id)| (name.to_vec(), id.as_bytes().to_vec()));
        assert_eq!(Ids::parse(list).unwrap(), Ids::ByName(expected.into()));
        let Ids::ByName(old) = Ids::parse(b"1 1275660208 3\n2 1276528487.M1.x:2,S\n").unwrap() else {
            panic!()
        };
        assert_eq!(old[&b"1276528487.M1.x"[..]], b"000000024C0907B0");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        for (text, what) in [
            (&b"1 a\nx b\n"[..], "line 2 of the unique ids: it does not begin with a message's number"),
            (b"1 a\n1 b\n", "line 2 of the unique ids: message 1 has an id already"),
            (b"1 a b c\n", "line 1 of the unique ids: not a number and an id"),
            (b"1 \xc3\xa4\n", "line 1 of the unique ids: an id has 1 to 70 characters from ! to ~"),
            (b"3 Vx N1\n", "line 1 of the unique ids: no UIDVALIDITY"),
            (b"3 V5 N1\nx :a\n", "line 2 of the unique ids: no UID"),
        ] {
            assert_eq!(Ids::parse(text).unwrap_err().to_string(), what);
        }
    }

    #[test]
    fn the_last_field_counts() {
        let header = b"X-UIDL: sender's\nSubject: x\nX-UIDL: ours\n\nX-UIDL: body\n";
        assert_eq!(of_header(header), Some((b"ours".to_vec(), Some((28, 41)))));
        assert_eq!(of_header(b"x-uidl: a\r\nTo: b\r\n\r\n"), Some((b"a".to_vec(), None)));
        assert_eq!(of_header(b"X-UIDL: a b\n\n"), None);
        assert_eq!(of_header(b"\nX-UIDL: a\n"), None);
    }
}
