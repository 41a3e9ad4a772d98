//! The verifiers for SCRAM-SHA-256 that stand beside secrets for APOP, and those of names that have none.

use crate::error::Result;
use crate::protocol::sasl::scram::{ITERATIONS, Verifier};
use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Octets of a new salt.
pub(crate) const SALT: usize = 16;

/// Octets of SHA-256.
pub(super) const HASH: usize = 32;

/// The verifier of a secret, with a new salt.
///
/// # Errors
/// The kernel has no random octets.
pub(super) fn make(secret: &Secret) -> Result<Verifier> {
    let mut salt = [0; SALT];
    super::seal::fill(&mut salt)?;
    Ok(Verifier::of_password(secret.expose(), &salt, ITERATIONS))
}

/// One that no secret has, for a name without an entry: by salt and iterations nobody tells it from another. `seed` stays the
/// same for a name, so that the salt does.
pub(super) fn made_up(seed: &[u8; HASH]) -> Verifier {
    Verifier {
        salt: made_up_salt(seed).to_vec(),
        iterations: ITERATIONS,
        stored_key: keyed(seed, b"Stored Key"),
        server_key: keyed(seed, b"Server Key"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::Digest;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn decoded(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    /// RFC 7677, section 3: the example, from the server's side.
    #[test]
    fn the_example_of_the_rfc_is_right() {
        let verifier = Verifier::of_password(b"pencil", &decoded("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);
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
        let verifier = make(&secret("tanstaaf")).unwrap();
        let text = verifier.to_string();
        assert_eq!(Verifier::parse(&text), Some(verifier.clone()));
        assert_ne!(make(&secret("tanstaaf")).unwrap().salt, verifier.salt, "a new salt each time");
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
        let of = |octets: &[u8]| Verifier::of_password(octets, b"salt", 1).stored_key;
        assert_eq!(of("I\u{ad}X".as_bytes()), of(b"IX"), "a soft hyphen maps to nothing");
        assert_eq!(of("\u{2168}".as_bytes()), of(b"IX"), "NFKC");
        assert_ne!(of(b"user"), of(b"USER"), "case stays");
        assert_ne!(of(b"not utf-8 \xff"), of(b"not utf-8 \xfe"), "what cannot be prepared stays as it is");
        assert_ne!(of("\u{7}bell".as_bytes()), of(b"bell"));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let shown = format!("{:?}", make(&secret("tanstaaf")).unwrap());
        assert_eq!(shown, "Verifier(16384 iterations)");
    }
}
