//! One error, three faces: the log line (with path and cause), the wire reply (without them), and
//! the exit status (`sysexits.h`).

use std::borrow::Cow;
use std::{fmt, io};

/// A result with this crate's error.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What kind of answer an error calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another session holds the maildrop: `[IN-USE]` (RFC 2449, section 8.1.2).
    InUse,
    /// The user logged in a moment ago: `[LOGIN-DELAY]` (RFC 2449, section 8.1.1).
    LoginDelay,
    /// It may work later: `[SYS/TEMP]` (RFC 3206).
    Temporary,
    /// Somebody has to mend it: `[SYS/PERM]` (RFC 3206).
    Permanent,
    /// The command line is wrong.
    Usage,
    /// The configuration is wrong.
    Config,
}

/// What went wrong. `Display` is the log line: `cannot open /var/mail/ann: Permission denied`.
#[derive(Debug)]
pub(crate) struct Error {
    kind: Kind,
    what: String,
    cause: Option<io::Error>,
    told: Cow<'static, str>,
    fix: Option<String>,
}

impl Error {
    /// An error with the sentence for the log, such as `/var/mail/ann is a directory`.
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        let told = match kind {
            Kind::InUse => "Maildrop lock busy!  Is another session active?",
            Kind::LoginDelay => "You logged in a moment ago, try again later",
            Kind::Temporary => "the maildrop is not available now, try again later",
            Kind::Permanent | Kind::Usage | Kind::Config => {
                "the maildrop is not available, please tell the administrator"
            }
        };
        Self { kind, what: what.into(), cause: None, told: told.into(), fix: None }
    }

    /// A failed system call: `what` is verb and object, such as `cannot open /var/mail/ann`. Errors that
    /// may pass (no space, no descriptors, no memory, input and output errors) are temporary, others permanent.
    pub(crate) fn io(what: impl Into<String>, cause: io::Error) -> Self {
        use io::ErrorKind as E;
        let kind = match cause.kind() {
            E::PermissionDenied | E::NotFound | E::NotADirectory | E::IsADirectory => Kind::Permanent,
            _ if cause.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => Kind::Permanent,
            _ => Kind::Temporary,
        };
        Self { cause: Some(cause), ..Self::new(kind, what) }
    }

    /// The same error with other words for the client: no path, no cause, no secret.
    pub(crate) fn tell(mut self, told: impl Into<Cow<'static, str>>) -> Self {
        self.told = told.into();
        self
    }

    /// The same error with what to type, or to do, against it.
    pub(crate) fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// What to type against it, taken out of the sentence.
    pub(crate) fn take_fix(&mut self) -> Option<String> {
        self.fix.take()
    }

    /// The same error as another kind.
    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The kind of answer it calls for.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The words for the client, without the response code; for passing an error to another role.
    pub(crate) fn told(&self) -> &str {
        &self.told
    }

    /// What stands behind `-ERR ` on the wire: response code and text.
    pub(crate) fn reply(&self) -> String {
        let code = match self.kind {
            Kind::InUse => "[IN-USE]",
            Kind::LoginDelay => "[LOGIN-DELAY]",
            Kind::Temporary => "[SYS/TEMP]",
            Kind::Permanent | Kind::Usage | Kind::Config => "[SYS/PERM]",
        };
        format!("{code} {}", self.told)
    }

    /// The exit status of a program that ends with this error (`sysexits.h`).
    pub(crate) const fn exit_status(&self) -> u8 {
        match self.kind {
            Kind::InUse | Kind::LoginDelay | Kind::Temporary => 75,
            Kind::Permanent => 74,
            Kind::Usage => 64,
            Kind::Config => 78,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {}", describe(cause))?;
        }
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The system's sentence for an error, without Rust's `(os error 13)`.
fn describe(cause: &io::Error) -> String {
    match cause.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_three_faces() {
        let error = Error::io("cannot open /var/mail/ann", io::Error::from_raw_os_error(13));
        assert_eq!(error.to_string(), "cannot open /var/mail/ann: Permission denied");
        assert!(error.reply().starts_with("[SYS/PERM] "), "RFC 3206: a fault that stays");
        assert!(!error.reply().contains("/var/mail"), "paths are not for clients");
        assert_eq!(error.exit_status(), 74);
    }
}
