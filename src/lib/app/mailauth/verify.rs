//! `mailauth verify`: whether a secret, or an answer to a challenge, is right.

use super::{DATA, Failure, NO, Outcome, ask, type_of};
use crate::auth;
use crate::cli::mailauth::Verify;
use crate::protocol::sasl::scram::Verifier;
use crate::secret::Secret;
use crate::secrets::{Key, Places, SecretType, Store, User};
use crate::ui;
use subtle::ConstantTimeEq;

/// Says which entry it belongs to. Nobody learns more from a wrong one than that it is wrong.
pub(super) fn run(options: &Verify, places: &Places) -> Outcome {
    let user = options.user.as_str();
    if options.challenge.as_ref().is_some_and(|text| !(text.starts_with('<') && text.ends_with('>'))) {
        let what =
            "a challenge begins with < and ends with >, as it stands in the greeting: quote it with them";
        return Err(Failure::new(DATA, what));
    }
    let store = Store::open(places)?;
    let secret = if options.digest.is_some() { None } else { Some(ask::secret(options.stdin)?) };
    let (found, key) = store.user_with_key(places, user)?;
    let Some(found) = found else {
        return Err(Failure::new(NO, format!("{user} has no entry; mailauth list shows who has")));
    };
    let right = match (&secret, &options.challenge, &options.digest) {
        (Some(secret), ..) => {
            let kind = options.kind.map(type_of);
            by_secret(&store, &key, user, &found, kind, secret)?
        }
        (None, Some(challenge), Some(digest)) => {
            let right = match &found.apop {
                Some(sealed) => {
                    let secret = store.unseal(&key, user, sealed)?;
                    auth::apop_digest(challenge.as_bytes(), &secret).ct_eq(digest).into()
                }
                None => false,
            };
            right.then(|| SecretType::Apop.to_string())
        }
        (None, ..) => None,
    };
    match right {
        None => Err(Failure::new(NO, format!("this is no secret of {user}"))),
        Some(name) if found.locked => {
            Err(Failure::new(NO, format!("right ({name}), but {user} is locked: mailauth unlock {user}")))
        }
        // mailauth(8): who has an APOP entry cannot use PASS.
        Some(name) if found.apop.is_some() && name.starts_with(SecretType::Pop.as_str()) => {
            let what = format!("right ({name}), but {user} has an APOP entry, and so PASS is refused");
            Err(Failure::new(NO, format!("{what}: mailauth remove --type APOP {user}")))
        }
        Some(name) => Ok(ui::say(&format!("right: {name}\n"))?),
    }
}

/// The name of the entry that has this secret.
fn by_secret(
    store: &Store,
    key: &Key,
    user: &str,
    found: &User,
    kind: Option<SecretType>,
    secret: &Secret,
) -> Result<Option<String>, Failure> {
    let wanted = |other: SecretType| kind.is_none_or(|kind| kind == other);
    for (kind, sealed) in [(SecretType::Apop, &found.apop), (SecretType::Imap, &found.imap)] {
        if let (true, Some(sealed)) = (wanted(kind), sealed) {
            let stored = store.unseal_as(key, user, kind, sealed)?;
            if stored.expose().ct_eq(secret.expose()).into() {
                if kind == SecretType::Apop {
                    scram_fits(store, key, user, found, secret)?;
                }
                return Ok(Some(kind.to_string()));
            }
        }
    }
    for password in found.passwords.iter().filter(|_| wanted(SecretType::Pop)) {
        if auth::is_password(&password.verifier, secret)? {
            return Ok(Some(format!("{} {}", SecretType::Pop, password.label).trim_end().to_owned()));
        }
    }
    Ok(None)
}

/// The secret must be right for SCRAM too.
fn scram_fits(store: &Store, key: &Key, user: &str, found: &User, secret: &Secret) -> Outcome {
    let stored = store.scram(key, user, Some(found))?;
    if Verifier::of_password(secret.expose(), &stored.salt, stored.iterations) == stored {
        return Ok(());
    }
    let what = format!(
        "the SCRAM verifier of {user} does not fit the APOP secret: mailauth passwd {user} makes another"
    );
    Err(Failure::new(DATA, what))
}
