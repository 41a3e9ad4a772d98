//! `mailauth verify`: whether a secret, or an answer to a challenge, is right.

use super::{DATA, Failure, NO, Outcome, ask, config_file, type_of};
use crate::app::check::barriers::{told, told_of_places};
use crate::app::outcome::complain;
use crate::auth::{self, Barrier, Reason, Visit};
use crate::cli::mailauth::Verify;
use crate::config::Config;
use crate::protocol::sasl::scram::Verifier;
use crate::secret::Secret;
use crate::secrets::{Key, Places, SecretType, Store, User};
use crate::ui;
use subtle::ConstantTimeEq;

/// Says which entry it belongs to, and what would refuse a login with it: `ended` is what the system says of the account. Nobody learns
/// more from a wrong one than that it is wrong.
pub(super) fn run(options: &Verify, config: &Config, places: &Places, ended: Option<Reason>) -> Outcome {
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
            let (how, retired) = if found.retired { ("retired", "--retired ") } else { ("locked", "") };
            let what = format!("right ({name}), but {user} is {how}: mailauth unlock {retired}{user}");
            Err(Failure::new(NO, what))
        }
        // mailauth(8): who has an APOP entry cannot use PASS.
        Some(name) if found.apop.is_some() && name.starts_with(SecretType::Pop.as_str()) => {
            let what = format!("right ({name}), but {user} has an APOP entry, and so PASS is refused");
            Err(Failure::new(NO, format!("{what}: mailauth remove --type APOP {user}")))
        }
        // Other servers have limits of their own.
        Some(name) if name != SecretType::Imap.as_str() => usable(options, config, &found, ended, &name),
        Some(name) => say_right(&name),
    }
}

fn say_right(name: &str) -> Outcome {
    Ok(ui::say(&format!("right: {name}\n"))?)
}

/// Whether a login with a right secret would be let in now; what holds for some places is a remark where the place is not known.
fn usable(options: &Verify, config: &Config, found: &User, ended: Option<Reason>, name: &str) -> Outcome {
    let (user, file) = (options.user.as_str(), config_file());
    let limits = auth::limits_of(user, &found.limits)?;
    let visit = Visit { user, limits: &limits, from: options.from, is_certain: false };
    let barrier = match ended {
        Some(reason) => Some(Barrier::Ended(reason)),
        None => auth::barrier(config, &visit)?,
    };
    if let Some(barrier) = barrier {
        let (what, fix) = told(config, user, &barrier, file);
        return Err(Failure::new(NO, format!("right ({name}), but a login would be refused: {what}: {fix}")));
    }
    say_right(name)?;
    if options.from.is_none() {
        for barrier in auth::barriers_elsewhere(config, &visit)? {
            let (what, fix) = told_of_places(config, user, &barrier, file);
            complain("mailauth", &format!("{what}: {fix}"));
        }
    }
    Ok(())
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
