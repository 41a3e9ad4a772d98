//! The source `unix`: passwd and shadow.

use super::crypt::{self, Failure};
use super::{Account, Finding, Reason, Verdict, policy};
use crate::config::Auth;
use crate::error::{Error, Kind};
use crate::secret::Secret;
use crate::secrets::Limits;
use crate::sys::account::{self, Shadow, User};
use crate::sys::clock;
use std::fs::File;
use std::io;

const PASSWD: &str = "/etc/passwd";

const SHADOW: &str = "/etc/shadow";

/// Names the scheme of new passwords where no hash is at hand to imitate.
const LOGIN_DEFS: &str = "/etc/login.defs";

/// What the client hears when the databases cannot be asked.
pub(super) const TOLD: &str = "logins are not possible now, try again later";

/// Checks a password by passwd and shadow.
pub(super) fn check(name: &str, password: &Secret, auth: &Auth) -> Finding {
    match verdict(name, password, auth) {
        Ok(finding) => finding,
        Err(error) => Finding::unavailable(error),
    }
}

/// Whether somebody who needs no password may log in under this name. A password that `passwd -l` locked locks that too; having none
/// does not.
pub(super) fn check_name(name: &str, auth: &Auth) -> Finding {
    verdict_on_name(name, auth).unwrap_or_else(Finding::unavailable)
}

fn verdict_on_name(name: &str, auth: &Auth) -> Result<Finding, Error> {
    Ok(match standing(name, auth.min_uid)? {
        Ok((account, hash, _)) if !hash.expose().starts_with(b"!") => {
            Finding { verdict: Verdict::Accepted(account), paid: false }
        }
        Ok(_) => Finding::refused(Reason::Locked),
        Err(reason) => Finding::refused(reason),
    })
}

/// Computes a hash of the site's kind for nothing, so that a refusal without one costs the same.
pub(super) fn compute_dummy(password: &Secret) {
    let dummy =
        account::first_shadow(crypt::dummy_of).unwrap_or_else(|| crypt::dummy_named(&encrypt_method()));
    // Only its time counts.
    let _ = crypt::verify(dummy.as_bytes(), password.expose());
}

/// An account, its password field and its shadow entry.
type Known = (Account, Secret, Option<Shadow>);

/// The account, the password field and the shadow entry of a name, or why it is refused whatever the password.
///
/// # Errors
/// The databases cannot be asked.
pub(super) fn standing(name: &str, min_uid: u32) -> Result<Result<Known, Reason>, Error> {
    let Some(user) = account::user(name).map_err(|error| unavailable(PASSWD, error))? else {
        readable(PASSWD)?;
        return Ok(Err(Reason::UnknownUser));
    };
    if user.uid == 0 || user.uid < min_uid {
        return Ok(Err(Reason::BelowMinUid));
    }
    let (hash, shadow) = hash_of(&user)?;
    Ok(hash.map(|hash| (accepted(name, user), hash, shadow)).ok_or(Reason::Locked))
}

fn verdict(name: &str, password: &Secret, auth: &Auth) -> Result<Finding, Error> {
    let free = |reason| Ok(Finding::refused(reason));
    let (account, hash, shadow) = match standing(name, auth.min_uid)? {
        Ok(found) => found,
        Err(reason) => return free(reason),
    };
    match crypt::verify(hash.expose(), password.expose()) {
        Ok(true) => {
            let verdict = too_old(shadow.as_ref(), auth).map_or(Verdict::Accepted(account), Verdict::Refused);
            Ok(Finding { verdict, paid: true })
        }
        Ok(false) => Ok(Finding { verdict: Verdict::Refused(Reason::WrongPassword), paid: true }),
        Err(Failure::Locked) => free(Reason::Locked),
        Err(Failure::Unsupported(scheme)) => free(Reason::UnsupportedScheme(scheme)),
        Err(Failure::TooCostly(scheme)) => {
            free(Reason::UnsupportedScheme(format!("{scheme}-with-too-high-cost")))
        }
        Err(Failure::System(error)) => {
            Err(Error::io("cannot compute a password hash", error).of_kind(Kind::Temporary).tell(TOLD))
        }
    }
}

/// Why the system's password is refused though it is right, under enhanced security.
pub(super) fn too_old(shadow: Option<&Shadow>, auth: &Auth) -> Option<Reason> {
    let shadow = shadow.filter(|shadow| auth.is_enhanced() && policy::password_expired(shadow, today()))?;
    // The account's own end is the better reason.
    Some(policy::expired(shadow, today()).unwrap_or(Reason::PasswordExpired))
}

/// What a login password is known by, to tell whether a new secret is the same.
pub(crate) struct LoginPassword(Secret);

impl LoginPassword {
    /// Whether this is the login password; no where that cannot be checked.
    pub(crate) fn is(&self, secret: &Secret) -> bool {
        crypt::verify(self.0.expose(), secret.expose()).unwrap_or(false)
    }
}

/// The login password of a user of the system; `None` where there is none or we may not see it.
pub(crate) fn login_password(name: &str) -> Option<LoginPassword> {
    let user = account::user(name).ok()??;
    hash_of(&user).ok()?.0.map(LoginPassword)
}

/// The password field: shadow's where passwd says `x`, else passwd's own, and the shadow entry. No field when shadow has no entry.
fn hash_of(user: &User) -> Result<(Option<Secret>, Option<Shadow>), Error> {
    if user.hash.expose() != b"x" {
        return Ok((Some(user.hash.clone()), None));
    }
    let shadow = account::shadow(&user.name).map_err(|error| unavailable(SHADOW, error))?;
    if shadow.is_none() {
        readable(SHADOW)?;
    }
    Ok((shadow.as_ref().map(|shadow| shadow.hash.clone()), shadow))
}

/// Why the account behind a name is refused whatever proves it, under enhanced security; virtual users have none.
///
/// # Errors
/// The databases cannot be asked.
pub(super) fn ended(name: &str, auth: &Auth) -> Result<Option<Reason>, Error> {
    let Some(user) = account::user(name).map_err(|error| unavailable(PASSWD, error))? else {
        readable(PASSWD)?;
        return Ok(None);
    };
    if policy::is_refused_shell(&user.shell, &auth.refused_shells) {
        return Ok(Some(Reason::Shell));
    }
    let (_, shadow) = hash_of(&user)?;
    Ok(shadow.and_then(|shadow| policy::expired(&shadow, today())))
}

/// Days since 1970, as shadow counts them.
fn today() -> i64 {
    i64::try_from(clock::wall().as_secs() / 86_400).unwrap_or(i64::MAX)
}

/// NSS goes on to the next database when it cannot open a file, and then says "not found". Without descriptors
/// or memory every user would be unknown, and clients would ask people for new passwords.
fn readable(path: &str) -> Result<(), Error> {
    match File::open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(path, error)),
        _ => Ok(()),
    }
}

fn unavailable(database: &str, cause: io::Error) -> Error {
    Error::io(format!("cannot read {database}"), cause).tell(TOLD)
}

/// Some databases find `Ann` under `ann`; the maildrop is under the name that the database writes. Any other
/// name than that is an alias, and what the login rules let through stays.
pub(super) fn accepted(name: &str, user: User) -> Account {
    let name = if user.name.eq_ignore_ascii_case(name) { user.name } else { name.to_owned() };
    Account { name, uid: user.uid, gid: user.gid, home: user.home, maildrop: None, limits: Limits::default() }
}

/// `ENCRYPT_METHOD` of login.defs; empty when it is not there.
pub(super) fn encrypt_method() -> String {
    let text = std::fs::read_to_string(LOGIN_DEFS).unwrap_or_default();
    let method = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("ENCRYPT_METHOD")).then(|| words.next().map(str::to_owned)).flatten()
    });
    method.unwrap_or_default()
}
