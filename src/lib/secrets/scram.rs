//! Verifiers of SCRAM-SHA-256 (RFC 5802, RFC 7677), in the form that RFC 5803 gives them in a directory:
//! `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.

use crate::error::Result;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// The word in front of a verifier.
const SCHEME: &str = "SCRAM-SHA-256";

/// How often a client hashes at each login. RFC 7677, section 4, asks for 4096 or more. The client pays, an old telephone too, so
/// it is no more than four times that; who stole a copy of the database pays it for every guess.
pub(crate) const ITERATIONS: u32 = 16_384;

/// What is accepted when a verifier is read: a client would be kept busy for minutes by more.
const MOST_ITERATIONS: u32 = 10_000_000;

/// Octets of a new salt.
pub(crate) const SALT: usize = 16;

/// The longest salt that is read.
const LONGEST_SALT: usize = 256;

/// Octets of SHA-256.
pub(crate) const HASH: usize = 32;

/// What a server keeps of a secret for SCRAM-SHA-256 (RFC 5802, section 3). Who has it can guess at the secret, and can pretend to
/// be the server, but not to be the client.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    /// The salt.
    pub(crate) salt: Vec<u8>,
    /// How often the client hashes.
    pub(crate) iterations: u32,
    /// H(ClientKey).
    pub(crate) stored_key: Zeroizing<[u8; HASH]>,
    /// HMAC(SaltedPassword, "Server Key").
    pub(crate) server_key: Zeroizing<[u8; HASH]>,
}

impl Verifier {
    /// That of a secret, with a new salt.
    ///
    /// # Errors
    /// The kernel has no random octets.
    pub(crate) fn make(secret: &Secret) -> Result<Self> {
        let mut salt = [0; SALT];
        super::seal::fill(&mut salt)?;
        Ok(Self::with_salt(secret, &salt, ITERATIONS))
    }

    /// That of a secret, with this salt (RFC 5802, section 3). The secret is prepared by SASLprep (RFC 4013); one that cannot be,
    /// because it is no UTF-8 or has characters that are forbidden there, is taken as it is.
    pub(crate) fn with_salt(secret: &Secret, salt: &[u8], iterations: u32) -> Self {
        let prepared = prepare(secret.expose());
        let mut salted = Zeroizing::new([0; HASH]);
        pbkdf2::pbkdf2_hmac::<Sha256>(&prepared, salt, iterations, salted.as_mut_slice());
        let client_key = keyed(salted.as_slice(), b"Client Key");
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: Zeroizing::new(Sha256::digest(client_key.as_slice()).into()),
            server_key: keyed(salted.as_slice(), b"Server Key"),
        }
    }

    /// One that no secret has, for a name without an entry: by salt and iterations nobody tells it from another. `seed` stays the
    /// same for a name, so that the salt does.
    pub(super) fn made_up(seed: &[u8; HASH]) -> Self {
        Self {
            salt: made_up_salt(seed).to_vec(),
            iterations: ITERATIONS,
            stored_key: keyed(seed, b"Stored Key"),
            server_key: keyed(seed, b"Server Key"),
        }
    }

    /// Reads what `Display` writes; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (info, value) = text.strip_prefix(SCHEME)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = info.split_once(':')?;
        let (stored_key, server_key) = value.split_once(':')?;
        let digits = iterations.bytes().all(|octet| octet.is_ascii_digit());
        let iterations =
            iterations.parse().ok().filter(|count| digits && (1..=MOST_ITERATIONS).contains(count))?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| (1..=LONGEST_SALT).contains(&salt.len()))?;
        Some(Self { salt, iterations, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |octets: &[u8]| STANDARD.encode(octets);
        let (salt, stored) = (base64(&self.salt), base64(self.stored_key.as_slice()));
        write!(f, "{SCHEME}${}:{salt}${stored}:{}", self.iterations, base64(self.server_key.as_slice()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} iterations)", self.iterations)
    }
}

/// The salt of a name whose verifier is not stored.
pub(super) fn made_up_salt(seed: &[u8; HASH]) -> [u8; SALT] {
    let mut salt = [0; SALT];
    salt.copy_from_slice(&keyed(seed, b"Salt")[..SALT]);
    salt
}

/// HMAC-SHA-256.
pub(super) fn keyed(key: &[u8], message: &[u8]) -> Zeroizing<[u8; HASH]> {
    // HMAC takes keys of every length, so the other case does not happen.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return Zeroizing::new([0; HASH]) };
    Zeroizing::new(mac.chain_update(message).finalize().into_bytes().into())
}

fn key(text: &str) -> Option<Zeroizing<[u8; HASH]>> {
    Some(Zeroizing::new(STANDARD.decode(text).ok()?.try_into().ok()?))
}

fn prepare(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = std::str::from_utf8(secret).ok().and_then(|text| stringprep::saslprep(text).ok());
    Zeroizing::new(prepared.map_or_else(|| secret.to_vec(), |text| text.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn decoded(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    /// RFC 7677, section 3: the example, from the server's side.
    #[test]
    fn the_example_of_the_rfc_is_right() {
        let verifier = Verifier::with_salt(&secret("pencil"), &decoded("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let exchange = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        );
        let signature = keyed(verifier.server_key.as_slice(), exchange.as_bytes());
        assert_eq!(STANDARD.encode(signature.as_slice()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof = decoded("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let mask = keyed(verifier.stored_key.as_slice(), exchange.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(mask.iter()).map(|(one, other)| one ^ other).collect();
        assert_eq!(Sha256::digest(client_key).as_slice(), verifier.stored_key.as_slice());
        assert!(verifier.to_string().starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "RFC 5803");
    }

    #[test]
    fn a_verifier_is_read_as_it_was_written() {
        let verifier = Verifier::make(&secret("tanstaaf")).unwrap();
        let text = verifier.to_string();
        assert_eq!(Verifier::parse(&text), Some(verifier.clone()));
        assert_ne!(Verifier::make(&secret("tanstaaf")).unwrap().salt, verifier.salt, "a new salt each time");
        assert!(verifier.salt.len() == 16 && verifier.iterations >= 4096, "RFC 7677, section 4");
        for length in 0..text.len() {
            assert_eq!(Verifier::parse(&text[..length]), None, "{}", &text[..length]);
        }
        for wrong in [
            text.replace("SHA-256", "SHA-1"),
            text.replace("$16384:", "$0:"),
            text.replace("$16384:", "$+5000:"),
            text.replace("$16384:", "$4294967295:"),
            format!("{text}="),
            format!("{text} "),
        ] {
            assert_eq!(Verifier::parse(&wrong), None, "{wrong}");
        }
    }

    /// RFC 5802, section 2.2: secrets are prepared by SASLprep. RFC 4013, section 3: its examples.
    #[test]
    fn secrets_are_prepared() {
        let of = |octets: &[u8]| Verifier::with_salt(&Secret::new(octets.to_vec()), b"salt", 1).stored_key;
        assert_eq!(of("I\u{ad}X".as_bytes()), of(b"IX"), "a soft hyphen maps to nothing");
        assert_eq!(of("\u{2168}".as_bytes()), of(b"IX"), "NFKC");
        assert_ne!(of(b"user"), of(b"USER"), "case stays");
        assert_ne!(of(b"not utf-8 \xff"), of(b"not utf-8 \xfe"), "what cannot be prepared stays as it is");
        assert_ne!(of("\u{7}bell".as_bytes()), of(b"bell"));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let shown = format!("{:?}", Verifier::make(&secret("tanstaaf")).unwrap());
        assert_eq!(shown, "Verifier(16384 iterations)");
    }
}
