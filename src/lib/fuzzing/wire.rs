//! What strangers and other roles send, and what other programs wrote.

use crate::process::message::any_message;
use crate::protocol::sasl::{self, TlsFacts, cram, plain, scram};
use crate::protocol::unstuff::Unstuffer;
use crate::protocol::{header, proxy};
use crate::secrets::import::{self, About, Format};

/// The messages of AUTH and SASLprep: a line, one message, or a whole exchange of SCRAM with a line for each message.
pub fn sasl(octets: &[u8]) {
    if let Some(decoded) = sasl::decode(octets) {
        assert_eq!(sasl::encode(&decoded).as_bytes(), octets, "one line for one message");
    }
    if let Some(message) = plain::parse(octets) {
        assert!(!message.name.is_empty() && !message.password.is_empty());
    }
    let _ = (cram::parse(octets), sasl::prepared_name(octets), sasl::prepared_password(octets));
    if let Ok(text) = std::str::from_utf8(octets)
        && let Some(verifier) = scram::Verifier::parse(text)
    {
        assert_eq!(scram::Verifier::parse(&verifier.to_string()), Some(verifier));
    }
    let mut lines = octets.splitn(2, |octet| *octet == b'\n');
    let (first, last) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Ok(first) = scram::ClientFirst::parse(first) else { return };
    let answer = first.answer("0123", b"salt", scram::ITERATIONS);
    let tls =
        TlsFacts { exporter: Some([7; 32]), end_point: Some(b"certificate".to_vec()), ..TlsFacts::default() };
    for facts in [None, Some(&tls)] {
        if let Ok(claim) = scram::Claim::parse(last, &first, &answer, facts) {
            assert!(claim.auth_message.contains(answer.text()), "of this exchange");
            assert!(facts.is_some() || !first.binding.is_used(), "bound to nothing that is not there");
        }
    }
}

/// The header of a proxy: what is complete stays so, whatever follows it, and is not complete before.
pub fn proxy(octets: &[u8]) {
    let found = proxy::read(octets);
    if let Ok(proxy::Progress::Complete(_, length)) = found {
        assert!(length <= octets.len() && length <= proxy::LONGEST);
        assert_eq!(proxy::read(&octets[..length]), found, "what follows does not matter");
        for shorter in 0..length {
            assert_eq!(proxy::read(&octets[..shorter]), Ok(proxy::Progress::Begun), "{shorter} octets");
        }
    } else if found == Ok(proxy::Progress::Begun) {
        assert!(octets.len() < proxy::LONGEST, "it ends some time");
    }
}

/// Messages between processes: what can be read means the same when it is written again.
pub fn message(octets: &[u8]) {
    any_message(octets);
}

/// What comes after XTND XMIT: however it comes, it is the same message.
pub fn xmit(octets: &[u8]) {
    let Some((&size, octets)) = octets.split_first() else { return };
    let (mut whole, mut message) = (Unstuffer::new(), Vec::new());
    let taken = whole.decode(octets, &mut message);
    assert!(message.len() <= octets.len() && (whole.is_finished() || taken == octets.len()));
    let (mut parts, mut same, mut count) = (Unstuffer::new(), Vec::new(), 0);
    for part in octets.chunks(usize::from(size).max(1)) {
        count += parts.decode(part, &mut same);
    }
    assert_eq!((same, count, parts.is_finished()), (message, taken, whole.is_finished()));
}

/// The field that XTND XLST shows; its name is the first line.
pub fn header(octets: &[u8]) {
    let mut lines = octets.splitn(2, |octet| *octet == b'\n');
    let name = String::from_utf8_lossy(lines.next().unwrap_or_default());
    if let Some(value) = header::field(&name, lines.next().unwrap_or_default()) {
        assert!(value.len() <= header::MAX_VALUE && !value.iter().any(u8::is_ascii_control), "one line");
    }
}

/// Secrets of other programs, in the format that the first octet chooses, or in the one that they seem to have.
pub fn import(octets: &[u8]) {
    const FORMATS: [Option<Format>; 10] = [
        None,
        Some(Format::Popauth),
        Some(Format::Gdbm),
        Some(Format::Db),
        Some(Format::Ndbm),
        Some(Format::Mailutils),
        Some(Format::Dovecot),
        Some(Format::Solid),
        Some(Format::Csv),
        Some(Format::Backup),
    ];
    let Some((&choice, octets)) = octets.split_first() else { return };
    let format = FORMATS[usize::from(choice) % FORMATS.len()];
    let about = About { name: "secrets", owner: Some("ann") };
    if let Ok((_, found)) = import::read(octets, about, format) {
        assert!(found.records.len() <= import::MOST_RECORDS);
    }
}
