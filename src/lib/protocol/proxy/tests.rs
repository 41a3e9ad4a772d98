use super::*;

fn complete(octets: &[u8]) -> Source {
    match read(octets) {
        Ok(Progress::Complete(source, length)) if length == octets.len() => source,
        other => panic!("{other:?} of {}", octets.escape_ascii()),
    }
}

fn at(text: &str) -> Source {
    Source::Client(text.parse().unwrap())
}

/// Version 2 with these command, family and block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, block].concat()
}

fn inet(tlvs: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&[192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0, 110][..], tlvs].concat())
}

#[test]
fn version_1_is_a_line() {
    // proxy-protocol.txt, section 2.1, and its examples.
    assert_eq!(
        complete(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
        at("255.255.255.255:65535")
    );
    let longest = b"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    assert_eq!(read(longest), Err(Malformed), "an address is written in full or as RFC 4291 has it");
    let six = b"PROXY TCP6 2001:db8::1 ::1 4711 110\r\n";
    assert_eq!(complete(six), at("[2001:db8::1]:4711"));
    assert_eq!(complete(b"PROXY UNKNOWN\r\n"), Source::Nameless);
    let unknown = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(unknown.len(), LONGEST_LINE, "the worst case of the document");
    assert_eq!(complete(unknown), Source::Nameless);
    let behind = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nUSER ann\r\n";
    assert_eq!(read(behind), Ok(Progress::Complete(at("192.0.2.1:1"), 36)), "what is behind it is left");
}

#[test]
fn version_1_has_one_form() {
    for wrong in [
        "USER ann\r\n",
        "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 2001:db8::1 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNS\r\n",
    ] {
        assert_eq!(read(wrong.as_bytes()), Err(Malformed), "{wrong}");
    }
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    assert_eq!(read(&endless[..LONGEST_LINE - 1]), Ok(Progress::Begun));
    assert_eq!(read(&endless[..LONGEST_LINE]), Err(Malformed), "at most 107 octets, CRLF included");
}

#[test]
fn version_2_is_binary() {
    // proxy-protocol.txt, section 2.2.
    assert_eq!(complete(&inet(&[])), at("192.0.2.1:56324"));
    let mut six = [0; 36];
    six[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    six[32..34].copy_from_slice(&4711_u16.to_be_bytes());
    assert_eq!(complete(&binary(0x21, 0x21, &six)), at("[2001:db8::1]:4711"));
    assert_eq!(complete(&binary(0x21, 0x31, &[b'/'; 216])), Source::Nameless);
    assert_eq!(complete(&binary(0x20, 0x00, &[])), Source::Own, "LOCAL");
    assert_eq!(complete(&binary(0x20, 0x11, b"whatever")), Source::Own, "what LOCAL brings along is ignored");
    assert_eq!(complete(&binary(0x21, 0x00, &[])), Source::Nameless, "UNSPEC");
}

#[test]
fn what_version_2_does_not_know_is_refused() {
    let twelve = [0; 12];
    for (command, family) in
        [(0x11, 0x11), (0x31, 0x11), (0x22, 0x11), (0x2f, 0x11), (0x21, 0x12), (0x21, 0x41)]
    {
        assert_eq!(read(&binary(command, family, &twelve)), Err(Malformed), "{command:x} {family:x}");
    }
    for (family, least) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
        assert_eq!(
            read(&binary(0x21, family, &vec![0; least - 1])),
            Err(Malformed),
            "{family:x}: addresses are cut"
        );
    }
    let mut long = inet(&[]);
    long[14..16].copy_from_slice(&4097_u16.to_be_bytes());
    assert_eq!(read(&long), Err(Malformed), "as soon as its length is known");
}

#[test]
fn tlvs_fill_the_header_exactly() {
    assert_eq!(complete(&inet(&[0x04, 0, 0, 0x02, 0, 2, b'm', b'x'])), at("192.0.2.1:56324"));
    for wrong in [&[0x04][..], &[0x04, 0], &[0x04, 0, 1], &[0x04, 0, 0, 0x02, 0xff, 0xff, 1]] {
        assert_eq!(read(&inet(wrong)), Err(Malformed), "{wrong:?}");
    }
    let id = [&[0x05, 0, 129][..], &[b'i'; 129]].concat();
    assert_eq!(read(&inet(&id)), Err(Malformed), "section 2.2.5: at most 128 octets");
    assert_eq!(complete(&inet(&[&[0x05, 0, 128][..], &[b'i'; 128]].concat())), at("192.0.2.1:56324"));
}

#[test]
fn a_checksum_is_checked() {
    assert_eq!(checksum(&[0; 28], b""), 0x8a91_36aa, "RFC 3720, B.4: 32 octets of zeros");
    let sealed = |tail: &[u8]| {
        let mut header = inet(&[&[0x03, 0, 4, 0, 0, 0, 0][..], tail].concat());
        let at = 16 + 12 + 3;
        let sum = checksum(&header[..at], &header[at + 4..]).to_be_bytes();
        header[at..at + 4].copy_from_slice(&sum);
        header
    };
    for tail in [&[][..], &[0x04, 0, 1, 9]] {
        let good = sealed(tail);
        assert_eq!(complete(&good), at("192.0.2.1:56324"));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Another type of TLV, another command or another length may be another header.
            if let Ok(Progress::Complete(source, _)) = read(&bad) {
                let kind = 16 + 12;
                assert!(
                    source == Source::Own || bad[kind] != 0x03 || bad[12] != 0x21,
                    "bit {bit}: {source:?}"
                );
            }
        }
    }
    assert_eq!(read(&inet(&[0x03, 0, 2, 0, 0])), Err(Malformed), "four octets");
}

#[test]
fn octet_by_octet_is_the_same() {
    for header in
        [b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(), inet(&[0x04, 0, 1, 0]), binary(0x20, 0, &[])]
    {
        for length in 0..header.len() {
            assert_eq!(read(&header[..length]), Ok(Progress::Begun), "{length} octets");
        }
        complete(&header);
    }
}
