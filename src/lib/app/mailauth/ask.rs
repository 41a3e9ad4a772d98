//! Where secrets come from, and whether a new one will do.

use super::{DATA, Failure, INTERRUPTED, IO};
use crate::auth::LoginPassword;
use crate::cli::mailauth::NewSecret;
use crate::error::Error;
use crate::secret::Secret;
use crate::secrets;
use crate::sys::{random, signals};
use crate::ui::{self, Refusal};
use std::io;

/// A new secret that keeps the rules. `login` is what the login password of the user is known by, where it is.
pub(super) fn new_secret(
    source: &NewSecret,
    user: &str,
    login: Option<&LoginPassword>,
) -> Result<Secret, Failure> {
    judged(entered(source, "--stdin and --generate need no terminal")?, source, user, login)
}

/// The secret, when it keeps the rules.
pub(super) fn judged(
    secret: Secret,
    source: &NewSecret,
    user: &str,
    login: Option<&LoginPassword>,
) -> Result<Secret, Failure> {
    let fault = if source.force { secrets::impossible(&secret) } else { secrets::fault(user, &secret) };
    if let Some(fault) = fault {
        let hint = if secrets::impossible(&secret).is_none() { "; --force overrides this" } else { "" };
        return Err(Failure::new(DATA, format!("{fault}; nothing was changed{hint}")));
    }
    if !source.force && !source.generate && login.is_some_and(|login| login.is(&secret)) {
        let why = "this is the login password, which a secret must not give away";
        return Err(Failure::new(DATA, format!("{why}; nothing was changed; --force overrides this")));
    }
    Ok(secret)
}

/// A new secret as it was made, read or typed; nobody has judged it. `hint` is how to do without a terminal.
pub(super) fn entered(source: &NewSecret, hint: &str) -> Result<Secret, Failure> {
    if source.generate {
        let mut octets = [0; 24];
        random::fill(&mut octets).map_err(|cause| Error::io("cannot get random octets", cause))?;
        Ok(ui::generate(&octets))
    } else if source.stdin {
        ui::secret_from(io::stdin().lock()).map_err(|refusal| failure(refusal, hint))
    } else {
        typed(ui::new_secret).map_err(|refusal| failure(refusal, hint))
    }
}

/// Prints a secret that was made here and is stored already; the only time that anybody sees it.
pub(super) fn tell(source: &NewSecret, secret: &Secret, user: &str) -> Result<(), Failure> {
    if source.generate {
        ui::say(&format!("{}\n", String::from_utf8_lossy(secret.expose()))).map_err(|cause| {
            let error = Error::io("cannot write the secret", cause);
            let what = format!("the secret of {user} was set, and nobody has seen it");
            Failure::new(IO, format!("{error}; {what}: mailauth passwd --generate {user} sets another"))
        })?;
    }
    Ok(())
}

/// A secret to try.
pub(super) fn secret(stdin: bool) -> Result<Secret, Failure> {
    let read = if stdin { ui::secret_from(io::stdin().lock()) } else { typed(|| ui::secret("Password: ")) };
    read.map_err(|refusal| failure(refusal, "--stdin needs no terminal"))
}

/// The secret that is to be changed, typed.
pub(super) fn old_secret(hint: &str) -> Result<Secret, Failure> {
    typed(|| ui::secret("Old password: ")).map_err(|refusal| failure(refusal, hint))
}

/// What somebody types. Ctrl-C is an octet then, for which the prompt sends itself SIGINT before it restores the terminal: without
/// an effect of that it goes on to restore it, and says that it was interrupted.
fn typed(prompt: impl FnOnce() -> Result<Secret, Refusal>) -> Result<Secret, Refusal> {
    signals::without_interrupts(prompt)
}

/// Why there is no secret, as the end of the program. Nothing has been done before anybody is asked.
fn failure(refusal: Refusal, hint: &str) -> Failure {
    match refusal {
        Refusal::Mismatch => Failure::new(DATA, "Mismatch - password unchanged."),
        Refusal::Unusable(why) => Failure::new(DATA, why),
        Refusal::Failed(cause) if cause.kind() == io::ErrorKind::Interrupted => {
            Failure::new(INTERRUPTED, "interrupted; nothing was changed")
        }
        Refusal::Failed(cause) => {
            let error = Error::io("cannot read a secret", cause);
            Failure::new(IO, format!("{error}; {hint}"))
        }
    }
}
