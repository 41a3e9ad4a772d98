//! SCRAM (RFC 5802) for the users of the secrets database. Everything is the same for a name that nobody has: a salt that stays, the
//! time that a check takes, and the answer.

use super::{Answer, No, locked, yes};
use crate::error::Result;
use crate::protocol::sasl::scram::{Claim, ITERATIONS};
use crate::secrets::{Places, SecretType, Store, Use};
use sha2::{Digest, Sha256};

/// What a name has where there is no database.
pub(super) fn nobodys(name: &str) -> (Vec<u8>, u32) {
    let digest = Sha256::digest(name);
    (digest.iter().copied().take(16).collect(), ITERATIONS)
}

/// Salt and iterations of a name.
pub(super) fn salt(store: &Store, places: &Places, sent: &str) -> Result<Answer> {
    let (user, key) = store.user_with_key(places, sent)?;
    let verifier = store.scram(&key, sent, user.as_ref())?;
    Ok(Answer::Salt { salt: verifier.salt, iterations: verifier.iterations })
}

/// Whether the claim is true; `used` gets the entry when it is.
pub(super) fn check(
    store: &Store,
    places: &Places,
    sent: &str,
    claim: &Claim,
    used: &mut Option<Use>,
) -> Result<Answer> {
    let (user, key) = store.user_with_key(places, sent)?;
    let signature = store.scram(&key, sent, user.as_ref())?.check(claim);
    Ok(match (user, signature) {
        (None, _) => Answer::No(No::UnknownUser, false),
        (Some(user), _) if user.apop.is_none() => Answer::No(No::SecretMissing, false),
        (Some(user), _) if user.locked => Answer::No(locked(&user), false),
        (Some(_), None) => Answer::No(No::WrongProof, false),
        (Some(user), Some(signature)) => match yes(sent, user.owner, user.limits) {
            Answer::Yes { name, owner, limits, .. } => {
                *used = Some(Use { user: sent.to_owned(), kind: SecretType::Apop, label: String::new() });
                Answer::Yes { name, owner, signature: Some(signature), limits }
            }
            other => other,
        },
    })
}
