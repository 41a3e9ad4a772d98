//! CRAM-MD5 and SCRAM with the secrets of the database.

use super::*;
use crate::protocol::sasl::scram::{Claim, ClientFirst, Verifier};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

impl Site {
    fn cram(&self, user: &str, secret: &str) -> Answer {
        let digest = cram::digest(secret.as_bytes(), CHALLENGE);
        decide(&self.places, &[user.to_owned()], Proof::Cram { challenge: CHALLENGE, digest: &digest })
            .unwrap()
    }

    fn salt(&self, user: &str) -> (Vec<u8>, u32) {
        match super::super::decide(&self.places, &[user.to_owned()], Question::Salt).unwrap() {
            Answer::Salt { salt, iterations } => (salt, iterations),
            other => panic!("{other:?}"),
        }
    }

    /// What a client says that believes in this secret, with the salt that it is told.
    fn claim(&self, user: &str, secret: &str) -> Claim {
        let (salt, iterations) = self.salt(user);
        let first = ClientFirst::parse(format!("n,,n={user},r=abc").as_bytes()).unwrap();
        let answer = first.answer("def", &salt, iterations);
        let text = format!("n={user},r=abc,{},c=biws,r=abcdef", answer.text());
        let hmac = |key: &[u8], text: &[u8]| -> [u8; 32] {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().into()
        };
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(secret.as_bytes(), &salt, iterations, &mut salted);
        let mut proof = hmac(&salted, b"Client Key");
        let mask = hmac(&Sha256::digest(proof), text.as_bytes());
        proof.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
        Claim { auth_message: text, proof }
    }

    fn scram(&self, user: &str, secret: &str) -> Answer {
        decide(&self.places, &[user.to_owned()], Proof::Scram(&self.claim(user, secret))).unwrap()
    }

    fn store_scram(&self, text: &str) {
        let database = rusqlite::Connection::open(&self.places.database).unwrap();
        database.execute("UPDATE entry SET scram = ?1", [text]).unwrap();
    }
}

/// RFC 2195; the APOP entry's secret is the one.
#[test]
fn cram_md5_takes_the_apop_secret() {
    let site = Site::new();
    assert_eq!(site.cram("mrose", SECRET), yes("mrose"));
    assert_eq!(site.cram("mrose", "tanstaag"), Answer::No(No::WrongDigest, false));
    for name in ["nobody", "Mrose", ""] {
        assert_eq!(site.cram(name, SECRET), Answer::No(No::UnknownUser, false), "{name}");
    }
    site.lock();
    assert_eq!(site.cram("mrose", SECRET), Answer::No(No::Locked, false));
}

/// RFC 5802, section 3: a right proof is answered with the server's signature, which is right too.
#[test]
fn scram_takes_the_apop_secret() {
    let site = Site::new();
    let claim = site.claim("mrose", SECRET);
    let (salt, iterations) = site.salt("mrose");
    let signature = Verifier::of_password(SECRET.as_bytes(), &salt, iterations).check(&claim);
    assert!(signature.is_some());
    let right =
        Answer::Yes { name: "mrose".to_owned(), owner: None, signature, limits: LimitsText::default() };
    assert_eq!(site.scram("mrose", SECRET), right);
    assert_eq!(site.scram("mrose", "tanstaag"), Answer::No(No::WrongProof, false));
    assert_eq!(site.scram("nobody", SECRET), Answer::No(No::UnknownUser, false));
    site.lock();
    assert_eq!(site.scram("mrose", SECRET), Answer::No(No::Locked, false));
}

/// RFC 5803: the verifier that was stored with the secret decides, with its salt.
#[test]
fn a_stored_verifier_decides() {
    let site = Site::new();
    let base64 = crate::protocol::sasl::encode;
    let verifier = Verifier::of_password(b"another", b"sixteen octets..", 5000);
    let (stored, server) = (base64(verifier.stored_key.as_slice()), base64(verifier.server_key.as_slice()));
    site.store_scram(&format!("SCRAM-SHA-256$5000:{}${stored}:{server}", base64(b"sixteen octets..")));
    assert_eq!(site.salt("mrose"), (b"sixteen octets..".to_vec(), 5000));
    assert!(matches!(site.scram("mrose", "another"), Answer::Yes { signature: Some(_), .. }));
    assert_eq!(site.scram("mrose", SECRET), Answer::No(No::WrongProof, false));
    let claim = site.claim("mrose", "another");
    site.store_scram("damaged");
    let fault =
        super::super::decide(&site.places, &["mrose".to_owned()], Question::Verify(Proof::Scram(&claim)));
    assert!(fault.unwrap_err().to_string().contains("mailauth passwd mrose"), "it says what to type");
}

/// Issue of every SCRAM server: who asks for a salt must not learn who is there. It stays the same, and differs between names.
#[test]
fn everybody_has_a_salt_that_stays() {
    let site = Site::new();
    let (known, unknown, other) = (site.salt("mrose"), site.salt("nobody"), site.salt("nobodz"));
    assert_eq!((known.0.len(), known.1), (unknown.0.len(), unknown.1), "alike in length and iterations");
    assert_eq!(unknown, site.salt("nobody"), "asked again");
    assert!(known.0 != unknown.0 && unknown.0 != other.0);
    assert_ne!(Site::new().salt("nobody").0, unknown.0, "another installation has others");
    site.lock();
    assert_eq!(site.salt("mrose"), known, "a lock does not show");
}
