//! Who may log in: sources of credentials and the verdict on them.

mod crypt;

use crate::error::Error;
use std::path::PathBuf;

/// The system account that a session runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name that logged in.
    pub(crate) name: String,
    /// Numeric user id.
    pub(crate) uid: u32,
    /// Numeric primary group id.
    pub(crate) gid: u32,
    /// Home directory.
    pub(crate) home: PathBuf,
}

/// What verification found.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The credentials are right.
    Accepted(Account),
    /// They are not; the reason is for the log alone.
    Refused(Reason),
    /// They could not be checked: `[SYS/TEMP]` or `[SYS/PERM]`.
    Unavailable(Error),
}

/// Why a login was refused. Never told to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No source knows the name.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The account has no usable password (`!`, `*`, empty).
    Locked,
    /// The uid is root's or below `min_uid`.
    BelowMinUid,
    /// The hash is of a scheme that cannot be checked here; its name.
    UnsupportedScheme(String),
    /// No source can check this mechanism.
    NoSuchMechanism,
}
