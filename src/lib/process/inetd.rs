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

/// Serves the client on this socket until all that began with it has ended.
///
/// # Errors
/// Nothing can be served: directories, processes or descriptors are missing.
pub(crate) fn serve(client: OwnedFd, session: SessionId, config: &Config, log: Log, debug: bool) -> Result<()> {
    let root = places::prepare(config)?;
    let ids = match privileges::is_root() {
        true => Some(privileges::first_user(LOGIN_USERS).ok_or_else(no_user)?),
        false => None,
    };
    let mut monitor = Monitor::new(config, log, session, debug)?;
    monitor.start_login(client, session, &Cell { ids, root })?;
    monitor.run();
    Ok(())
}

fn no_user() -> Error {
    Error::new(Kind::Config, "there is no user pop3d and no user nobody for the login process: useradd -r pop3d")
}
