//! `mailusradm kick`: ends a session.

use super::{Failure, NO, NO_PERMISSION, Outcome, account, remark};
use crate::app::outcome::TEMPORARY;
use crate::cli::mailusradm::Kick;
use crate::config::Config;
use crate::error::Error;
use crate::process::live::{self, Live};
use crate::sys::clock;
use crate::sys::pidfd::{End, Process};
use crate::ui;
use std::io;
use std::time::Duration;

/// How long the kernel may take to end a process that has no say in it.
const FORCED: Duration = Duration::from_secs(10);

/// Ends the session of a user.
pub(super) fn run(options: &Kick, config: &Config) -> Outcome {
    let user = &options.user;
    let Some(live) = find(config, user)? else {
        return Err(Failure::new(
            NO,
            format!("{user} has no session; mailusradm sessions lists those there are"),
        ));
    };
    let gone = || Failure::new(NO, format!("the session of {user} has just ended by itself"));
    // From here on the number is the process's own; then all is looked at again.
    let process = Process::open(live.pid).map_err(|cause| failed(&live, cause))?.ok_or_else(gone)?;
    if !live.is_still()? {
        return Err(gone());
    }
    if !process.end(End::Asked).map_err(|cause| failed(&live, cause))? {
        return Err(gone());
    }
    let ended = |within| process.has_ended_by(clock::now() + within).map_err(|cause| failed(&live, cause));
    if ended(Duration::from_secs(options.wait))? {
        return done(&live, "has ended");
    }
    if !options.force {
        let text = format!(
            "the session of {user} (pid {}) was told to end and has not within {} s: it finishes an update, or stands \
             still; mailusradm kick --force {user} ends it at once",
            live.pid, options.wait
        );
        return Err(Failure::new(TEMPORARY, text));
    }
    remark(&format!("the session of {user} (pid {}) does not end by itself: SIGKILL", live.pid));
    process.end(End::Forced).map_err(|cause| failed(&live, cause))?;
    if ended(FORCED)? {
        done(&live, "was ended")
    } else {
        let text = format!("the session of {user} (pid {}) waits for the kernel, and ends then", live.pid);
        Err(Failure::new(TEMPORARY, text))
    }
}

fn done(live: &Live, how: &str) -> Outcome {
    let client = live.client.as_ref().map(|client| format!(" from {client}")).unwrap_or_default();
    Ok(ui::say(&format!("the session of {}{client} (pid {}) {how}\n", live.user, live.pid))?)
}

fn find(config: &Config, user: &str) -> Result<Option<Live>, Failure> {
    if live::may_see_all(config)
        && let Some(live) = live::all(config)?.into_iter().find(|live| live.user == user)
    {
        return Ok(Some(live));
    }
    Ok(live::of(config, &account(config, user)?)?)
}

fn failed(live: &Live, cause: io::Error) -> Failure {
    if cause.kind() == io::ErrorKind::PermissionDenied {
        let text = format!("only root and {0} may end a session of {0}", live.user);
        return Failure::new(NO_PERMISSION, text);
    }
    Error::io(format!("cannot end process {}", live.pid), cause).into()
}
