//! SCRAM (RFC 5802) for the users of the secrets database. Everything is the same for a name that nobody has: a salt that stays, the
//! time that a check takes, and the answer.

use super::{Answer, No, yes};
use crate::error::Result;
use crate::protocol::sasl::scram::{Claim, ITERATIONS, Verifier};
use crate::secrets::{Key, Places, Store, User};
use sha2::{Digest, Sha256};

/// What a name has where there is no database.
pub(super) fn nobodys(name: &str) -> (Vec<u8>, u32) {
    let digest = Sha256::digest(name);
    (digest.iter().copied().take(16).collect(), ITERATIONS)
}

/// Salt and iterations of a name.
pub(super) fn salt(store: &Store, places: &Places, sent: &str, user: Option<User>) -> Result<Answer> {
    let key = store.key(places)?;
    Ok(match user.as_ref().and_then(stored) {
        Some(verifier) => Answer::Salt { salt: verifier.salt, iterations: verifier.iterations },
        None => Answer::Salt { salt: key.made_up_salt(sent).to_vec(), iterations: ITERATIONS },
    })
}

/// Whether the claim is true.
pub(super) fn check(
    store: &Store,
    places: &Places,
    sent: &str,
    user: Option<User>,
    claim: &Claim,
) -> Result<Answer> {
    let key = store.key(places)?;
    let made = made(store, &key, sent, user.as_ref())?;
    let verifier = user.as_ref().and_then(stored).unwrap_or(made);
    let signature = verifier.check(claim);
    Ok(match (user, signature) {
        (None, _) => Answer::No(No::UnknownUser, false),
        (Some(user), _) if user.apop.is_none() => Answer::No(No::UnknownUser, false),
        (Some(user), _) if user.locked => Answer::No(No::Locked, false),
        (Some(_), None) => Answer::No(No::WrongProof, false),
        (Some(user), Some(signature)) => match yes(sent, user.owner) {
            Answer::Yes { name, owner, .. } => Answer::Yes { name, owner, signature: Some(signature) },
            other => other,
        },
    })
}

/// The verifier that was stored with the secret.
fn stored(user: &User) -> Option<Verifier> {
    user.scram.as_deref().and_then(Verifier::parse)
}

/// The verifier of the sealed secret, or of one that nobody has. It is made whether one is stored or not, since it takes the time.
fn made(store: &Store, key: &Key, name: &str, user: Option<&User>) -> Result<Verifier> {
    let secret = match user.and_then(|user| user.apop.as_deref()) {
        Some(sealed) => store.unseal(key, name, sealed)?,
        None => key.dummy(),
    };
    Ok(Verifier::of_password(secret.expose(), &key.made_up_salt(name), ITERATIONS))
}
