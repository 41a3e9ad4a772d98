//! Dovecot's passwd-file: `user:{SCHEME}password:uid:gid:gecos:home:shell:extra`, of which name and password count here.

use super::{Found, is_comment, lines, unhex};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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
            Password::Plain(secret) => found.apop(place, user, secret),
            Password::Broken(why) => found.fault(place, user, why),
            Password::Useless(why) => found.leave_out(place, user, why),
        }
    }
    found
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
