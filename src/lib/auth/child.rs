//! Verification in a child of the verifier's: what it read and computed ends with it.

use crate::error::{Error, Kind, Result};
use crate::sys::socket::{self, Wait};
use crate::sys::{clock, process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The longest answer: some paths and a name, and what a program complained of.
const LARGEST: usize = 16 * 1024;

/// Where the child says its answer.
pub(super) struct Listener<'a>(&'a OwnedFd);

impl Listener<'_> {
    /// Says it, once; false when nobody hears it.
    pub(super) fn tell(&self, answer: &impl Serialize) -> bool {
        // Without an answer the other side knows enough.
        let octets = serde_json::to_vec(answer).unwrap_or_default();
        socket::send(self.0, &octets, &[], true).is_ok()
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
    let child = process::fork(|| work(&Listener(&there)))?;
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
