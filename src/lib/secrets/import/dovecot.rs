//! Dovecot's passwd-file: `user:{SCHEME}password:uid:gid:gecos:home:shell:extra`, of which name, password,
//! ids, home and `userdb_mail` count here.

use super::backup::leads_down;
use super::{Found, Owner, is_comment, lines, unhex};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::PathBuf;

/// What a password is without a scheme, unless the configuration there says otherwise.
const DEFAULT_SCHEME: &[u8] = b"CRYPT";

pub(super) fn read(octets: &[u8]) -> Found {
    let mut found = Found::default();
    for (place, line) in lines(octets).filter(|(_, line)| !is_comment(line)) {
        let mut fields = line.split(|&octet| octet == b':');
        let (Some(user), Some(field)) = (fields.next(), fields.next()) else {
            found.fault(place, b"", "expected user:{SCHEME}password");
            continue;
        };
        match password(field) {
            Password::Plain(secret) => {
                let before = found.records.len();
                found.apop(place, user, secret);
                if let Some(record) = found.records.get_mut(before) {
                    let (offered, lost) = own(fields);
                    record.offered = (offered != Owner::default()).then_some(offered);
                    record.remark = lost.join("; ");
                }
            }
            Password::Broken(why) => found.fault(place, user, why),
            Password::Useless(why) => found.leave_out(place, user, why),
        }
    }
    found
}

/// Ids, home and maildrop, of the fields behind the password, and what of them cannot be taken.
fn own<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> (Owner, Vec<String>) {
    let mut next = || fields.next().unwrap_or_default();
    let (mut uid, mut gid, _, mut home, _) = (next(), next(), next(), next(), next());
    // A location of mail has colons of its own.
    let rest = fields.collect::<Vec<_>>().join(&b':');
    let mut mail = &b""[..];
    for word in rest.split(u8::is_ascii_whitespace) {
        for (name, place) in [("uid", &mut uid), ("gid", &mut gid), ("home", &mut home), ("mail", &mut mail)]
        {
            let value = word.strip_prefix(b"userdb_").and_then(|word| word.strip_prefix(name.as_bytes()));
            *place = value.and_then(|value| value.strip_prefix(b"=")).unwrap_or(place);
        }
    }
    let (mut owner, mut lost) = (Owner::default(), Vec::new());
    if !uid.is_empty() || !gid.is_empty() {
        owner.ids = id(uid).zip(id(if gid.is_empty() { uid } else { gid }));
        if owner.ids.is_none() {
            lost.push("uid and gid are not taken: they are not two numbers other than root's".to_owned());
        }
    }
    if !home.is_empty() {
        owner.home = path(home);
        if owner.home.is_none() {
            lost.push("home is not taken: it is no absolute path without . and .. and %".to_owned());
        }
    }
    if !mail.is_empty() {
        owner.maildrop = maildrop(mail, owner.home.as_ref());
        if owner.maildrop.is_none() {
            lost.push(
                "userdb_mail is not taken: it is no maildir: or mbox: with an absolute path".to_owned(),
            );
        }
    }
    (owner, lost)
}

fn id(digits: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (1..=0xffff_fffe).contains(&number).then_some(number)
}

/// A path that this program may use as it stands. Variables of Dovecot's begin with a percent sign.
fn path(octets: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(std::str::from_utf8(octets).ok()?);
    (leads_down(&path) && !octets.contains(&b'%')).then_some(path)
}

/// The inbox of a location such as `maildir:~/Maildir` or `mbox:~/mail:INBOX=/var/mail/ann`.
fn maildrop(location: &[u8], home: Option<&PathBuf>) -> Option<PathBuf> {
    let mut parts = location.split(|&octet| octet == b':');
    let (format, root) = (parts.next()?, parts.next()?);
    let inbox = parts.find_map(|part| part.strip_prefix(b"INBOX="));
    let inbox = match format {
        b"maildir" => inbox.unwrap_or(root),
        // Without one the inbox is a file whose name depends on more than this line.
        b"mbox" => inbox?,
        _ => return None,
    };
    match inbox.strip_prefix(b"~/") {
        Some(below) => path(&[home?.to_str()?.as_bytes(), b"/", below].concat()),
        None => path(inbox),
    }
}

/// Whether a line has a password with a scheme, or crypt(3)'s form of one.
pub(super) fn is_like(line: &[u8]) -> bool {
    let mut fields = line.splitn(3, |&octet| octet == b':');
    let (Some(user), Some(password)) = (fields.next(), fields.next()) else { return false };
    !user.is_empty() && !user.contains(&b' ') && (password.starts_with(b"{") || password.starts_with(b"$"))
}

enum Password {
    Plain(Secret),
    Broken(&'static str),
    Useless(String),
}

fn password(field: &[u8]) -> Password {
    let (scheme, value) = match field.strip_prefix(b"{") {
        Some(rest) => match rest.iter().position(|&octet| octet == b'}') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return Password::Broken("the scheme has no closing brace"),
        },
        None => (DEFAULT_SCHEME, field),
    };
    let scheme = String::from_utf8_lossy(&scheme[..scheme.len().min(32)]).to_ascii_uppercase();
    let (name, encoding) = scheme.split_once('.').unwrap_or((&scheme, ""));
    match name {
        _ if value.is_empty() => Password::Useless("the password is empty".to_owned()),
        "PLAIN" | "CLEAR" | "CLEARTEXT" => plain(value, encoding),
        "CRAM-MD5" | "HMAC-MD5" => Password::Useless(format!(
            "{{{name}}} is what is left of a secret for CRAM-MD5, and APOP needs the secret itself: mailauth add makes a new one"
        )),
        _ => Password::Useless(format!(
            "{{{name}}} is a hash, and APOP needs the secret itself: mailauth add makes a new one"
        )),
    }
}

fn plain(value: &[u8], encoding: &str) -> Password {
    let secret = match encoding {
        "" => Some(Secret::new(value.to_vec())),
        "HEX" => unhex(value),
        "B64" | "BASE64" => {
            let mut plain = vec![0; value.len()];
            let decoded = STANDARD.decode_slice(value, &mut plain);
            let secret = Secret::new(plain);
            decoded.ok().map(|length| secret.first(length))
        }
        _ => return Password::Broken("the scheme's encoding is none of HEX, B64 and BASE64"),
    };
    secret.map_or(Password::Broken("the password is not in its scheme's encoding"), Password::Plain)
}
