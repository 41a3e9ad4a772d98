//! inetd mode: one connected socket, one login process, one session at most.

use super::intake::Limits;
use super::login::Cell;
use super::monitor::Monitor;
use super::places;
use crate::config::Config;
use crate::config::defaults::USERADD;
use crate::error::{Error, Kind, Result};
use crate::log::{Log, SessionId};
use crate::sys::privileges::{self, Ids};
use std::os::fd::OwnedFd;

/// Users that the login process may run as, in order of preference.
const LOGIN_USERS: &[&str] = &["pop3d", "nobody"];

/// Starts a login process for the client on this socket, who begins with TLS or not; the monitor that is left to run.
///
/// # Errors
/// Nothing can be served: directories, processes or descriptors are missing.
pub(crate) fn start(
    client: &OwnedFd,
    tls: bool,
    session: SessionId,
    config: Config,
    log: Log,
) -> Result<Monitor> {
    let cell =
        Cell { root: places::prepare(&config)?, ids: login_ids()?, memory: config.limits.max_login_memory };
    let mut monitor = Monitor::new(config, log, session, Limits::ONE)?;
    monitor.start_login(client, session, &cell, tls)?;
    Ok(monitor)
}

/// The ids of the login process; none without root's rights.
///
/// # Errors
/// Neither of its users exists.
pub(crate) fn login_ids() -> Result<Option<Ids>> {
    if privileges::is_root() {
        privileges::first_user(LOGIN_USERS).ok_or_else(no_user).map(Some)
    } else {
        Ok(None)
    }
}

fn no_user() -> Error {
    Error::new(
        Kind::Config,
        format!("there is no user pop3d and no user nobody for the login process: {USERADD} pop3d"),
    )
}
