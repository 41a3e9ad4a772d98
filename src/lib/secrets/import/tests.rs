//! Readers of other programs' secrets: what each format means, and that no octets at all upset them.

use super::*;
use proptest::prelude::*;

const ALL: [Format; 9] = [
    Format::Popauth,
    Format::Gdbm,
    Format::Db,
    Format::Ndbm,
    Format::Mailutils,
    Format::Dovecot,
    Format::Solid,
    Format::Csv,
    Format::Backup,
];

/// What an input has: user, type, label and secret of each record.
fn records(found: &Found) -> Vec<(String, &'static str, String, String)> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let one = |record: &Record| {
        (
            record.user.clone(),
            record.kind.as_str(),
            record.label.clone(),
            text(match &record.secret {
                Kept::Plain(secret) | Kept::Verifier(secret) => secret,
                Kept::Sealed(_) => panic!("{record:?}"),
            }),
        )
    };
    found.records.iter().map(one).collect()
}

/// The records of an input in which nothing is wrong, as `user secret`.
#[track_caller]
fn apop(octets: &[u8], name: &str, expected: Format) -> Vec<String> {
    let (format, found) = read(octets, About { name, owner: Some("ann") }, None).unwrap();
    assert_eq!((format, &found.faults), (expected, &Vec::new()));
    assert!(found.records.iter().all(|record| record.kind == SecretType::Apop));
    records(&found).into_iter().map(|(user, _, _, secret)| format!("{user} {secret}")).collect()
}

#[track_caller]
fn fault(octets: &[u8], format: Format) -> (usize, String) {
    let (_, found) = read(octets, About::default(), Some(format)).unwrap();
    let first = found.faults.first().unwrap_or_else(|| panic!("{found:?}"));
    (first.place, first.why.clone())
}

fn xor(secret: &str) -> Vec<u8> {
    secret.bytes().map(|octet| octet ^ 0xff).collect()
}

/// history: popauth's secrets are XORed with 0xff, and end in NUL.
#[test]
fn secrets_of_popauth_are_turned_back() {
    let mut lines = b"ann ".to_vec();
    lines.extend(xor("secret of ann"));
    lines.extend(b"\0\nbob:\t");
    lines.extend(xor("\u{fc}ber"));
    lines.push(b'\n');
    assert_eq!(apop(&lines, "x", Format::Popauth), ["ann secret of ann", "bob \u{fc}ber"]);
    assert_eq!(
        fault(b"ann plain\n", Format::Popauth).1,
        "this secret is not XORed with 0xff: is it --from mailutils?"
    );
}

/// What mailutils' `popauth --list` prints: the name, one blank, the secret as it is; the colon is of a file it was made from.
#[test]
fn lists_of_mailutils_are_plain() {
    let list = b"ann: secret one\nbob  begins with a blank\n\n# comment\njoe tab\there\n";
    assert_eq!(
        apop(list, "-", Format::Mailutils),
        ["ann secret one", "bob  begins with a blank", "joe tab\there"]
    );
    assert_eq!(
        fault(b"ann secret\nsecretalone\n", Format::Mailutils),
        (2, "expected a name, a blank and a secret".into())
    );
}

/// gdbm(3): `#:len=` and lines of base64, in turn a key and its value.
#[test]
fn dumps_of_gdbm_have_both_writings() {
    let dump = |first: &str, length: usize| {
        format!(
            "# GDBM dump file created by GDBM version 1.23\n#:version=1.1\n#:file=x\n#:format=standard\n# End of header\n\
             #:len=4\nYW5uAA==\n#:len={length}\n{first}\n#:count=1\n# End of data\n"
        )
    };
    assert_eq!(apop(dump("dGFuc3RhYWY=", 8).as_bytes(), "-", Format::Gdbm), ["ann tanstaaf"]);
    assert_eq!(
        apop(dump("i56RjIueno\nY=\n", 8).replace("\n\n", "\n").as_bytes(), "-", Format::Gdbm).len(),
        1
    );
    assert_eq!(
        apop(dump("i56RjIuenpkA", 9).as_bytes(), "-", Format::Gdbm),
        ["ann tanstaaf"],
        "XORed, with its NUL"
    );
    assert_eq!(
        fault(dump("i56RjIuenpkA", 8).as_bytes(), Format::Gdbm),
        (8, "the datum does not have its length".into())
    );
    assert_eq!(fault(dump("i56RjI*enpkA", 9).as_bytes(), Format::Gdbm).1, "the datum is no base64");
    let whole = dump("dGFuc3RhYWY=", 8);
    for cut in [whole.len() - 14, whole.len() - 30, whole.find("#:len=8").unwrap()] {
        assert!(fault(&whole.as_bytes()[..cut], Format::Gdbm).1.contains("cut off"), "{cut}");
    }
    assert!(fault(whole.replace("count=1", "count=2").as_bytes(), Format::Gdbm).1.contains("cut off"));
}

/// db_dump: hexadecimal digits, or with -p octets as they are and `\hh`.
#[test]
fn dumps_of_berkeley_db_have_two_forms() {
    let hex = b"VERSION=3\nformat=bytevalue\ntype=hash\nh_nelem=4\nHEADER=END\n 616e6e00\n 8b9e918c8b9e9e9900\nDATA=END\n";
    assert_eq!(apop(hex, "-", Format::Db), ["ann tanstaaf"]);
    let print = b"VERSION=3\nformat=print\ntype=btree\nHEADER=END\n ann\\00\n a\\\\b c\\7e\nDATA=END\n";
    assert_eq!(apop(print, "-", Format::Db), ["ann a\\b c~"]);
    let header = "VERSION=3\nformat=print\ntype=hash\nHEADER=END\n";
    for (rest, why) in [
        (" ann\nDATA=END\n", "the last name has no secret"),
        (" ann\n secret\n", "the dump is cut off: dump the database again"),
        (" an\\g0\n", "this is not what db_dump writes"),
        ("ann\n", "expected a blank and data, or DATA=END"),
    ] {
        assert_eq!(fault(format!("{header}{rest}").as_bytes(), Format::Db).1, why, "{rest}");
    }
}

/// A page of ndbm's with these data.
fn page(data: &[&[u8]], word: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let number = |length: usize| word(u16::try_from(length).unwrap());
    let (mut page, mut end) = (vec![0; 1024], 1024);
    page[..2].copy_from_slice(&number(data.len()));
    for (at, datum) in data.iter().enumerate() {
        end -= datum.len();
        page[end..end + datum.len()].copy_from_slice(datum);
        page[2 * at + 2..2 * at + 4].copy_from_slice(&number(end));
    }
    page
}

/// ndbm(3)'s pages, of machines of either order of octets.
#[test]
fn pages_of_ndbm_are_read() {
    for word in [u16::to_le_bytes, u16::to_be_bytes] {
        let (ann, bob) = ([xor("tanstaaf"), vec![0]].concat(), xor("other one"));
        let mut file = page(&[b"ann\0", &ann, b"bob\0", &bob], word);
        file.extend([0; 1024]);
        file.extend(page(&[b"joe", &ann], word));
        assert_eq!(
            apop(&file, "pop.auth.pag", Format::Ndbm),
            ["ann tanstaaf", "bob other one", "joe tanstaaf"]
        );
    }
    let mut wrong = page(&[b"ann\0", b"x"], u16::to_le_bytes);
    wrong[2] = 1;
    wrong[3] = 0;
    assert!(fault(&wrong, Format::Ndbm).1.contains("not those of ndbm"));
    assert!(fault(&wrong[..1000], Format::Ndbm).1.contains("pages of 1024 octets"));
}

/// Of Dovecot's schemes APOP can use those alone that keep the secret.
#[test]
fn dovecot_says_of_each_line_what_can_be_used() {
    let file = "ann:{PLAIN}secret one:1000:1000::/home/ann::\nbob:{CRAM-MD5}9186d855e11eba527a7a52ca82b313e180d62234f0acc9051b527243d41e2740\n\
                joe:{SHA512-CRYPT}$6$a$b::::::\neve:{plain.b64}c2VjcmV0IHR3bw==\nmax:$1$a$b\nkim:{PLAIN.HEX}4142\nnew:{PLAIN}\n";
    let (format, found) = read(file.as_bytes(), About::default(), None).unwrap();
    assert_eq!((format, found.faults.len()), (Format::Dovecot, 0));
    let secrets: Vec<_> = records(&found).into_iter().map(|(user, _, _, secret)| (user, secret)).collect();
    let expected = [("ann", "secret one"), ("eve", "secret two"), ("kim", "AB")];
    assert_eq!(secrets, expected.map(|(user, secret)| (user.to_owned(), secret.to_owned())));
    let left: Vec<_> = found.left_out.iter().map(|note| (note.place, note.user.as_str())).collect();
    assert_eq!(left, [(2, "bob"), (3, "joe"), (5, "max"), (7, "new")]);
    assert!(found.left_out[0].why.contains("{CRAM-MD5}") && found.left_out[2].why.contains("{CRYPT}"));
    assert_eq!(
        fault(b"ann:{PLAIN.b64}*\n", Format::Dovecot).1,
        "the password is not in its scheme's encoding"
    );
    assert_eq!(fault(b"ann\n", Format::Dovecot).1, "expected user:{SCHEME}password");
}

/// dot-spop3d(5): what `pop_auth` of solid-pop3d 0.15 wrote for the secret `tanstaaf`.
#[test]
fn solid_pop3d_has_a_file_for_each_user() {
    let file = b"MailDrop Mail/x mailbox\nAPOPSecret 8b9e918c8b9e9e99 \n";
    assert_eq!(apop(file, "/home/ann/.spop3d", Format::Solid), ["ann tanstaaf"]);
    let (_, found) = read(b"APOPSecret 8b9e box\n", About { name: "", owner: Some("ann") }, None).unwrap();
    assert_eq!((found.records.len(), found.left_out[0].user.as_str()), (0, "ann+box"));
    assert!(fault(b"APOPSecret 8b9\n", Format::Solid).1.contains("hexadecimal"));
    assert!(fault(b"APOPSecret 8b9e\n", Format::Solid).1.contains("file's owner"));
}

/// RFC 4180: fields in quotes may have commas, quotes and line ends.
#[test]
fn csv_has_types_and_labels() {
    let file =
        b"User,Type,Secret,Label\r\nann,APOP,\"a,\"\"b\"\r\nann,pop,for the phone,phone\r\nbob,imap,x\r\n";
    let (format, found) = read(file, About::default(), None).unwrap();
    assert_eq!((format, found.faults.len()), (Format::Csv, 0));
    let one = |user: &str, kind, label: &str, secret: &str| {
        (user.to_owned(), kind, label.to_owned(), secret.to_owned())
    };
    assert_eq!(
        records(&found),
        [
            one("ann", "APOP", "", "a,\"b"),
            one("ann", "POP", "phone", "for the phone"),
            one("bob", "IMAP", "", "x")
        ]
    );
    let lines: Vec<usize> = found.records.iter().map(|record| record.place).collect();
    assert_eq!(lines, [2, 3, 4]);
    for (line, why) in [
        ("ann,APOP", "expected user,type,secret or user,type,secret,label"),
        ("ann,SCRAM,x", "the type is none of APOP, POP and IMAP"),
        ("ann,APOP,x,phone", "a label is for type POP"),
        ("ann,POP,x,\u{1b}", "a label has 1 to 64 characters and none that control a terminal"),
    ] {
        assert_eq!(fault(line.as_bytes(), Format::Csv), (1, why.to_owned()), "{line}");
    }
}

/// A database that only its own library reads is named, with what to type.
#[test]
fn binary_files_are_named_with_what_dumps_them() {
    let gdbm = [&0x1357_9acf_u32.to_le_bytes()[..], &[0; 100]].concat();
    let db = [&[0; 12], &0x0006_1561_u32.to_le_bytes()[..], &[0; 100]].concat();
    for (octets, words) in
        [(gdbm, "gdbm_dump pop.auth - | mailauth import -"), (db, "db_dump pop.auth | mailauth import -")]
    {
        let about = About { name: "pop.auth", owner: None };
        let why = read(&octets, about, None).unwrap_err();
        assert!(why.contains(words), "{why}");
        assert!(read(&octets, about, Some(Format::Mailutils)).is_err(), "named wrongly too");
    }
    for (octets, words) in
        [(&b""[..], "no entries"), (b"# nothing\n", "no entries"), (b"one\n", "name it by --from")]
    {
        let why = read(octets, About::default(), None).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}

/// In one file secrets are written in one way; when that cannot be told, nobody guesses.
#[test]
fn a_mixture_is_refused() {
    let mixed = [&b"VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n 616e6e\n 8b9e918c\n 626f62\n 61626364\nDATA=END\n"[..]].concat();
    let (place, why) = fault(&mixed, Format::Db);
    assert!(place == 5 && why.contains("XORed"), "{place} {why}");
}

/// What `mailauth export --plain` writes.
const BACKUP: &[u8] =
    br#"{"header":{"format":"poptools secrets","version":1,"made":1790000000,"sealed":false}}
{"user":{"name":"ann","locked":true}}
{"user":{"name":"v","locked":false,"virtual":{"uid":5000,"gid":100,"maildrop":"/mail/v"}}}
{"entry":{"user":"ann","type":"APOP","made":1,"changed":1,"secret":"tanstaaf"}}
{"entry":{"user":"v","type":"POP","label":"phone","made":1,"changed":1,"verifier":"$6$a$b"}}
{"end":{"users":2,"entries":2}}
"#;

/// What is exported can be imported: users with what they have of their own, entries, locks; but only as a whole.
#[test]
fn backups_are_complete_or_none() {
    let (format, found) = read(BACKUP, About::default(), None).unwrap();
    assert_eq!((format, &found.faults), (Format::Backup, &Vec::new()));
    let one = |user: &str, kind, label: &str, secret: &str| {
        (user.to_owned(), kind, label.to_owned(), secret.to_owned())
    };
    assert_eq!(records(&found), [one("ann", "APOP", "", "tanstaaf"), one("v", "POP", "phone", "$6$a$b")]);
    assert_eq!(found.locked, [(2, "ann".to_owned())]);
    assert_eq!(found.records[1].owner.as_ref().unwrap().ids, Some((5000, 100)));
    let text = std::str::from_utf8(BACKUP).unwrap();
    let whole: Vec<&str> = text.lines().collect();
    for left_out in 1..whole.len() {
        let lines: Vec<&str> =
            whole.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
        assert!(
            !read(lines.join("\n").as_bytes(), About::default(), None).unwrap().1.faults.is_empty(),
            "{left_out}"
        );
    }
    for (from, to, why) in [
        ("\"version\":1", "\"version\":2", "newer version"),
        ("\"gid\":100", "\"gid\":0", "root's"),
        ("/mail/v", "/mail/../etc", "absolute path"),
        ("\"secret\":\"tanstaaf\"", "\"verifier\":\"x\"", "has not what its type needs"),
        ("\"type\":\"POP\"", "\"type\":\"X\"", "none of APOP"),
    ] {
        let (_, said) = fault(text.replace(from, to).as_bytes(), Format::Backup);
        assert!(said.contains(why), "{from}: {said}");
    }
}

proptest! {
    /// Any octets are read in any format without a panic, and no word about them has an octet of a secret's own line.
    #[test]
    fn no_octets_upset_a_reader(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        for format in ALL.map(Some).into_iter().chain([None]) {
            let _ = read(&octets, About { name: "x.pag", owner: Some("ann") }, format);
        }
    }

    /// The same for octets that look right at first.
    #[test]
    fn no_damage_upsets_a_reader(at in 0_usize..400, octet in any::<u8>(), which in 0_usize..7) {
        let whole: &[u8] = [
            &b"# GDBM dump file\n#:len=4\nYW5uAA==\n#:len=8\ndGFuc3RhYWY=\n#:count=1\n# End of data\n"[..],
            b"VERSION=3\nformat=print\ntype=btree\nHEADER=END\n ann\\00\n a\\\\b\\7e\nDATA=END\n",
            b"ann:{PLAIN.b64}c2VjcmV0IHR3bw==:1:1\nbob:{PLAIN.HEX}4142\n",
            b"APOPSecret 8b9e918c8b9e9e99 \nAPOPSecret 8b box\n",
            b"user,type,secret\nann,APOP,\"a,\"\"b\"\nbob,pop,x,y\n",
            b"ann: secret one\nbob two\n",
            BACKUP,
        ][which];
        let mut octets = whole.to_vec();
        let at = at % octets.len();
        octets[at] = octet;
        for cut in [octets.len(), at] {
            for format in ALL.map(Some).into_iter().chain([None]) {
                let _ = read(&octets[..cut], About { name: "x", owner: None }, format);
            }
        }
    }

    /// Pages of ndbm's with any offsets.
    #[test]
    fn no_page_upsets_ndbm(words in proptest::collection::vec(0_u16..1100, 1..40), big in any::<bool>()) {
        let mut page = vec![b'a'; 1024];
        for (at, word) in words.iter().enumerate() {
            page[2 * at..2 * at + 2].copy_from_slice(&if big { word.to_be_bytes() } else { word.to_le_bytes() });
        }
        let _ = read(&page, About { name: "x.pag", owner: None }, Some(Format::Ndbm));
    }
}
