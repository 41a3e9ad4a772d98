//! Verification in a child of the verifier's: what it read and computed ends with it.

use crate::config::Config;
use crate::error::{Error, Kind, Result};
#[cfg(feature = "pam")]
use crate::sys::descriptors;
use crate::sys::process::Limits;
use crate::sys::socket::{self, Wait};
use crate::sys::{clock, memory, process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
#[cfg(feature = "pam")]
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The longest answer: some paths and a name, and what a program complained of.
const LARGEST: usize = 16 * 1024;

/// What programs and modules of others may use: they need processes, and files of their own. None leaves a core file.
pub(super) const fn limits_of_others(config: &Config) -> Limits {
    let memory = Some(config.limits.max_memory);
    Limits { descriptors: Some(256), memory, file_size: Some(1 << 30), may_fork: true }
}

/// Where the child says its answer.
pub(super) struct Listener<'a>(&'a OwnedFd);

impl Listener<'_> {
    /// Says it, once; false when nobody hears it.
    pub(super) fn tell(&self, answer: &impl Serialize) -> bool {
        // Without an answer the other side knows enough.
        let octets = serde_json::to_vec(answer).unwrap_or_default();
        socket::send(self.0, &octets, &[], true).is_ok()
    }

    /// Closes all descriptors but this and the standard streams, in a child that ends with its answer and drops nothing.
    #[cfg(feature = "pam")]
    pub(super) fn close_all_others(&self) {
        descriptors::close_all_but(&[self.0.as_raw_fd()]);
    }
}

/// Runs `work` in a child and waits for what it tells, and for its end. One that takes longer than `patience` is ended.
///
/// # Errors
/// No child can be made, or it ended without an answer; `what` is what was wanted, such as `ask the secrets database`.
pub(super) fn ask<T: DeserializeOwned>(
    what: &str,
    patience: Duration,
    work: impl FnOnce(&Listener<'_>) -> u8,
) -> Result<T> {
    let failed =
        |cause| Error::io(format!("cannot {what}"), cause).of_kind(Kind::Temporary).tell(super::unix::TOLD);
    let (here, there) = socket::pair().map_err(failed)?;
    let child = process::fork(|| {
        memory::overwrite_freed_by_libraries();
        work(&Listener(&there))
    })?;
    drop(there);
    let answer = hear(&here, patience);
    if answer.is_none() {
        child.end();
    }
    process::wait_for(child);
    answer.ok_or_else(|| failed(io::Error::other("the process that does ended without an answer")))
}

fn hear<T: DeserializeOwned>(socket: &OwnedFd, patience: Duration) -> Option<T> {
    let mut buffer = vec![0; LARGEST];
    let ready = socket::wait(socket, Wait::Read, clock::now() + patience).unwrap_or(false);
    let received = ready.then(|| socket::receive(socket, &mut buffer, false).ok())??;
    serde_json::from_slice(&buffer[..received.length]).ok()
}
