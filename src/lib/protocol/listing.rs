//! Lines of multi-line answers: LIST, UIDL, XTND XLST.

use super::MsgNo;
use std::io::Write;

/// What ends every multi-line answer (RFC 1939, section 3).
pub const END: &[u8] = b".\r\n";

/// Appends a line of LIST: `message octets` (RFC 1939, section 5).
pub fn write_list_line(message: MsgNo, octets: u64, out: &mut Vec<u8>) {
    write_decimal(u64::from(message.get()), out);
    out.push(b' ');
    write_decimal(octets, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a line of UIDL: `message identifier` (RFC 1939, section 7).
pub fn write_uidl_line(message: MsgNo, hash: u128, twin: u32, out: &mut Vec<u8>) {
    write_decimal(u64::from(message.get()), out);
    out.push(b' ');
    write_uidl(hash, twin, out);
    out.extend_from_slice(b"\r\n");
}

/// The same with an identifier that another server gave.
pub fn write_imported_line(message: MsgNo, id: &[u8], out: &mut Vec<u8>) {
    write_decimal(u64::from(message.get()), out);
    out.push(b' ');
    out.extend_from_slice(id);
    out.extend_from_slice(b"\r\n");
}

/// Appends a unique identifier: 32 hexadecimal digits, and `-N` for the second and later of several equal
/// messages. At most 43 of the 70 characters of RFC 1939, section 7.
pub fn write_uidl(hash: u128, twin: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 32];
    for (pair, octet) in digits.chunks_exact_mut(2).zip(hash.to_be_bytes()) {
        pair.copy_from_slice(&[hexadecimal(octet >> 4), hexadecimal(octet & 15)]);
    }
    out.extend_from_slice(&digits);
    if twin > 1 {
        out.push(b'-');
        write_decimal(u64::from(twin), out);
    }
}

/// The digit of a number below 16.
const fn hexadecimal(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + number - 10 }
}

/// Appends a number. Lists of a hundred thousand messages are mostly this, and the standard library takes several times as long.
fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    let (mut digits, mut start) = ([0_u8; 20], 20_usize);
    while let Some(digit) = start.checked_sub(1).and_then(|before| digits.get_mut(before)) {
        // Below ten, whatever the number.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        (number, start) = (number / 10, start - 1);
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends a line of XTND XLST: `message Name: value` (history). A message without the field has an empty value.
pub fn write_header_line(message: MsgNo, name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    append(out, format_args!("{} {name}: ", message.get()));
    out.extend_from_slice(value.unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}

/// Appends a multi-line answer's text lines and its end. A line that begins with `.` is stuffed.
pub fn write_lines(lines: &[String], out: &mut Vec<u8>) {
    for line in lines {
        let stuffing = if line.starts_with('.') { "." } else { "" };
        append(out, format_args!("{stuffing}{line}\r\n"));
    }
    out.extend_from_slice(END);
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32) -> MsgNo {
        MsgNo::new(number).unwrap()
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// RFC 1939, section 5: a scan listing is the number, a space, the octets.
    #[test]
    fn a_scan_listing() {
        assert_eq!(text(|out| write_list_line(message(2), 200, out)), "2 200\r\n");
    }

    /// RFC 1939, section 7: 1 to 70 characters from `!` to `~`; design, section 4: twins are numbered.
    #[test]
    fn a_unique_id_listing() {
        assert_eq!(text(|out| write_uidl_line(message(1), 0xab, 1, out)), format!("1 {:0>32}\r\n", "ab"));
        assert_eq!(text(|out| write_uidl(0xab, 2, out)), format!("{:0>32}-2", "ab"));
        let longest = text(|out| write_uidl(u128::MAX, u32::MAX, out));
        assert!(longest.len() <= 70 && longest.bytes().all(|octet| octet.is_ascii_graphic()));
    }

    /// RFC 1939, section 5: numbers are decimal; section 7: the id is the same in every session.
    #[test]
    fn numbers_are_what_the_standard_library_writes() {
        let powers = (0..20).map(|power| 10u64.pow(power));
        let near = powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]);
        for number in near {
            assert_eq!(text(|out| write_list_line(message(7), number, out)), format!("7 {number}\r\n"));
            let hash = u128::from(number).wrapping_mul(0x0123_4567_89ab_cdef_1357_9bdf_0246_8ace);
            assert_eq!(text(|out| write_uidl(hash, 1, out)), format!("{hash:032x}"));
        }
    }

    /// History: `n Header: value`. RFC 1939, section 3: at most 512 octets.
    #[test]
    fn a_header_line_fits_into_a_reply() {
        let plain = text(|out| write_header_line(message(3), "Subject", Some(b"x"), out));
        assert_eq!(plain, "3 Subject: x\r\n");
        assert_eq!(text(|out| write_header_line(message(3), "Subject", None, out)), "3 Subject: \r\n");
        let value = [b'x'; crate::protocol::header::MAX_VALUE];
        let longest = text(|out| write_header_line(message(u32::MAX), &"n".repeat(40), Some(&value), out));
        assert!(longest.len() <= 512);
    }

    /// RFC 1939, section 3: byte-stuffing holds for every multi-line answer.
    #[test]
    fn lines_end_with_a_dot() {
        assert_eq!(text(|out| write_lines(&["TOP".to_owned(), ".x".to_owned()], out)), "TOP\r\n..x\r\n.\r\n");
    }
}
