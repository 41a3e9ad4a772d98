//! inetd mode: one connected socket, one login process, one session at most.

use super::login::Cell;
use super::monitor::Monitor;
use super::places;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{Log, SessionId};
use crate::sys::privileges;
use std::os::fd::OwnedFd;

/// Users that the login process may run as, in order of preference.
pub(crate) const LOGIN_USERS: &[&str] = &["pop3d", "nobody"];

/// Starts a login process for the client on this socket; the monitor that is left to run.
///
/// # Errors
/// Nothing can be served: directories, processes or descriptors are missing.
pub(crate) fn start<'a>(
    client: &OwnedFd,
    session: SessionId,
    config: &'a Config,
    log: Log,
) -> Result<Monitor<'a>> {
    let root = places::prepare(config)?;
    let ids = match privileges::is_root() {
        true => Some(privileges::first_user(LOGIN_USERS).ok_or_else(no_user)?),
        false => None,
    };
    let mut monitor = Monitor::new(config, log, session)?;
    monitor.start_login(client, session, &Cell { ids, root })?;
    Ok(monitor)
}

fn no_user() -> Error {
    Error::new(
        Kind::Config,
        "there is no user pop3d and no user nobody for the login process: useradd -r pop3d",
    )
}
