//! The header with which a proxy says for whom it comes: the PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`).
//!
//! It stands before everything else, TLS too. Nothing is kept between calls: the octets are looked at from the first on until the header
//! is complete, and there are at most [`LONGEST`] of them.

// Addresses alone: there is no socket in `core`.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is taken. Version 1 has at most 107 octets; in version 2 addresses have at most 216, and what proxies
/// add (TLVs with names and a client certificate's subject) stays far below the rest. The protocol would allow 64 KiB.
pub const LONGEST: usize = 16 + 4096;

/// The longest line of version 1, CRLF included (section 2.1).
const LONGEST_LINE: usize = 107;

/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// For whom a proxy comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// For itself (LOCAL): the connection's own address counts.
    Own,
    /// For a client with this address.
    Client(SocketAddr),
    /// For a client that it does not name (UNKNOWN, UNSPEC), or one of a UNIX socket, which has no address.
    Nameless,
}

/// What the octets are, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The beginning of a header.
    Begun,
    /// A header of so many octets, and perhaps more behind it.
    Complete(Source, usize),
}

/// The octets are no header, or not one that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the header at the beginning of the octets.
///
/// # Errors
/// They cannot become one, whatever comes behind them.
pub fn read(octets: &[u8]) -> Result<Progress, Malformed> {
    if begins(octets, WORD) {
        read_line(octets)
    } else if begins(octets, SIGNATURE) {
        read_binary(octets)
    } else {
        Err(Malformed)
    }
}

/// Whether one of the two is the beginning of the other.
fn begins(octets: &[u8], with: &[u8]) -> bool {
    octets.iter().zip(with).all(|(one, other)| one == other)
}

/// Version 1 (section 2.1): `PROXY TCP4 192.0.2.1 192.0.2.2 56324 110`.
fn read_line(octets: &[u8]) -> Result<Progress, Malformed> {
    let shown = octets.get(..LONGEST_LINE).unwrap_or(octets);
    let Some(end) = shown.windows(2).position(|pair| pair == b"\r\n") else {
        return if shown.len() < LONGEST_LINE { Ok(Progress::Begun) } else { Err(Malformed) };
    };
    let line = shown.get(WORD.len()..end).ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ');
    let source = match words.next() {
        // Whatever stands behind it is to be ignored.
        Some("UNKNOWN") => return Ok(Progress::Complete(Source::Nameless, end + 2)),
        Some("TCP4") => addresses::<Ipv4Addr>(&mut words)?,
        Some("TCP6") => addresses::<Ipv6Addr>(&mut words)?,
        _ => return Err(Malformed),
    };
    if words.next().is_some() { Err(Malformed) } else { Ok(Progress::Complete(source, end + 2)) }
}

/// Source and destination, then their ports; all must be there, and be well-formed.
fn addresses<'a, Ip>(words: &mut impl Iterator<Item = &'a str>) -> Result<Source, Malformed>
where
    Ip: std::str::FromStr + Into<IpAddr>,
{
    let mut next = || words.next().ok_or(Malformed);
    let address = |word: &str| word.parse::<Ip>().map(Into::into).map_err(|_| Malformed);
    let (source, _destination): (IpAddr, IpAddr) = (address(next()?)?, address(next()?)?);
    let (port, _) = (port(next()?)?, port(next()?)?);
    Ok(Source::Client(SocketAddr::new(source, port)))
}

/// 0 to 65535, in digits, without zeros before it.
fn port(word: &str) -> Result<u16, Malformed> {
    let plain = word.bytes().all(|octet| octet.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

/// Version 2 (section 2.2): signature, version and command, family and protocol, length, addresses, TLVs.
fn read_binary(octets: &[u8]) -> Result<Progress, Malformed> {
    let Some((head, behind)) = octets.split_first_chunk::<16>() else {
        // What is known already may be wrong already.
        return match octets.get(SIGNATURE.len()) {
            Some(version) if *version != 0x20 && *version != 0x21 => Err(Malformed),
            _ => Ok(Progress::Begun),
        };
    };
    let (command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if !matches!(command, 0x20 | 0x21) || head.len() + length > LONGEST {
        return Err(Malformed);
    }
    let Some(block) = behind.get(..length) else { return Ok(Progress::Begun) };
    let whole = head.len() + length;
    if command == 0x20 {
        // LOCAL: the proxy's own connection, to see whether we are here. The rest is to be ignored.
        return Ok(Progress::Complete(Source::Own, whole));
    }
    let (source, tlvs) = match family {
        0x00 => (Source::Nameless, block),
        0x11 => client::<4, 12>(block)?,
        0x21 => client::<16, 36>(block)?,
        0x31 => (Source::Nameless, block.get(216..).ok_or(Malformed)?),
        // Datagrams are not what POP3 comes in; others must not be sent.
        _ => return Err(Malformed),
    };
    check(octets.get(..whole).ok_or(Malformed)?, tlvs)?;
    Ok(Progress::Complete(source, whole))
}

/// Source and destination addresses of so many octets each, then the two ports; the TLVs behind them.
fn client<const LENGTH: usize, const ALL: usize>(block: &[u8]) -> Result<(Source, &[u8]), Malformed>
where
    IpAddr: From<[u8; LENGTH]>,
{
    let (known, tlvs) = block.split_first_chunk::<ALL>().ok_or(Malformed)?;
    let address = known.first_chunk::<LENGTH>().ok_or(Malformed)?;
    let ports = known.get(2 * LENGTH..).and_then(<[u8]>::first_chunk::<2>).ok_or(Malformed)?;
    let source = SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes(*ports));
    Ok((Source::Client(source), tlvs))
}

/// The checksum over the header, with zeros in its place (section 2.2.3).
const CRC32C: u8 = 0x03;
/// At most 128 octets (section 2.2.5).
const UNIQUE_ID: u8 = 0x05;

/// TLVs fill the rest exactly, and what they say of themselves is so.
fn check(header: &[u8], mut tlvs: &[u8]) -> Result<(), Malformed> {
    while let Some((start, behind)) = tlvs.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([start[1], start[2]]));
        let (value, rest) = behind.split_at_checked(length).ok_or(Malformed)?;
        match start[0] {
            CRC32C => {
                let sum = <[u8; 4]>::try_from(value).map_err(|_| Malformed)?;
                let before = header.get(..header.len() - rest.len() - sum.len()).ok_or(Malformed)?;
                if checksum(before, rest) != u32::from_be_bytes(sum) {
                    return Err(Malformed);
                }
            }
            UNIQUE_ID if length > 128 => return Err(Malformed),
            _ => {}
        }
        tlvs = rest;
    }
    if tlvs.is_empty() { Ok(()) } else { Err(Malformed) }
}

/// CRC-32C (RFC 9260, appendix A) of the octets before and behind the checksum, which counts as zeros.
fn checksum(before: &[u8], behind: &[u8]) -> u32 {
    let octets = before.iter().chain(&[0; 4]).chain(behind);
    !octets.fold(u32::MAX, |sum, octet| {
        (0..8).fold(
            sum ^ u32::from(*octet),
            |sum, _| {
                if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests;
