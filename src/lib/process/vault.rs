//! Certificates and keys of a generation of login processes, which the monitor keeps without seeing them.
//!
//! A child of the monitor's reads and checks them, writes them to a file that has no name, and ends. The monitor holds the descriptor
//! alone. Each login process of the generation reads the file while it is made, also one that takes the place of one that died: what lies
//! on the disk meanwhile does not matter. All others close the descriptor before they do anything.

use super::message::Message;
use super::monitor::become_child;
use super::notice::Notice;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::sys::process::{fork, wait_for};
use crate::sys::socket::{self, Wait};
use crate::sys::{clock, file};
use crate::transport::tls::files::Material;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long files may take to be read: longer than a disk needs, shorter than a service manager waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a generation of login processes has of TLS.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The file without a name.
    pub(crate) file: File,
    /// When it was made, for the age of what tickets are made with.
    pub(crate) since: Instant,
}

/// Has the configured files read and checked; `None` when there are none.
///
/// # Errors
/// They cannot be read or used; the error names the file.
pub(super) fn seal(config: &Config) -> Result<Option<Sealed>> {
    if !config.tls.is_configured() {
        return Ok(None);
    }
    let failed = |cause| Error::io("cannot have the certificates read", cause);
    let sealed = file::anonymous(c"certificates").map_err(failed)?;
    let (ours, theirs) = socket::pair().map_err(failed)?;
    let child = fork(|| {
        become_child(&[sealed.as_raw_fd(), theirs.as_raw_fd()]);
        let (answer, status) = match fill(config, &sealed) {
            Ok(()) => (Notice::Begun, 0),
            Err(error) => (Notice::Fault(error), 1),
        };
        // The monitor is there: it waits.
        let _ = socket::send(&theirs, &answer.to_bytes(), &[], true);
        status
    })?;
    drop(theirs);
    let answer = hear(&ours);
    if answer.is_none() {
        child.terminate();
    }
    wait_for(child);
    match answer {
        Some(Notice::Begun) => Ok(Some(Sealed { file: sealed, since: clock::now() })),
        Some(Notice::Fault(error)) => Err(error.of_kind(Kind::Config)),
        _ => Err(Error::new(Kind::Temporary, "reading the certificates takes too long, or failed")),
    }
}

fn fill(config: &Config, sealed: &File) -> Result<()> {
    let Some(material) = Material::read(config)? else { return Ok(()) };
    material.check(config)?;
    material.put(sealed).map_err(|cause| Error::io("cannot keep the certificates", cause))
}

/// What a child that was forked for one answer says; none when it says nothing in time.
pub(super) fn hear(answers: &OwnedFd) -> Option<Notice> {
    let mut buffer = [0; 4096];
    if !socket::wait(answers, Wait::Read, clock::now() + PATIENCE).ok()? {
        return None;
    }
    let received = socket::receive(answers, &mut buffer, false).ok()?;
    Notice::from_bytes(&buffer[..received.length]).ok()
}
