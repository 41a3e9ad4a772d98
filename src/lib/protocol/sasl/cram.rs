//! CRAM-MD5 (RFC 2195): HMAC-MD5 over a challenge, keyed with the shared secret.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

/// The challenge with these random letters, in the form of a message id (RFC 2195, section 2).
pub fn challenge(random: &str, host: &str) -> String {
    format!("<{random}@{host}>")
}

/// Name and digest of a response: the digest has 32 hexadecimal digits behind the last space.
pub fn parse(message: &[u8]) -> Option<(&[u8], [u8; 16])> {
    let space = message.iter().rposition(|&octet| octet == b' ')?;
    let (name, digits) = (message.get(..space)?, message.get(space + 1..)?);
    let digest = crate::protocol::command::digest(digits)?;
    (!name.is_empty()).then_some((name, digest))
}

/// What a client that knows the secret answers to the challenge.
pub fn digest(secret: &[u8], challenge: &[u8]) -> [u8; 16] {
    // HMAC takes keys of every length.
    Hmac::<Md5>::new_from_slice(secret)
        .map(|hmac| hmac.chain_update(challenge).finalize().into_bytes().into())
        .unwrap_or_default()
}
