//! Work that is done as the owner of the secrets, while the process that asks for it stays root: it has to make and rename files
//! where the owner may not.

use crate::error::{Error, Kind, Result};
use crate::sys::privileges::{self, Ids};
use crate::sys::{process, socket};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;

/// The longest answer of a child.
const LARGEST: usize = 64 * 1024;

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Answer<T> {
    Done(T),
    Failed { temporary: bool, what: String },
}

/// Runs the work in a child that becomes `owner` for good, or here when there is nobody to become. What it answers passes a socket
/// pair, so it has no secret.
///
/// # Errors
/// The work's, or the child ended without an answer.
pub(crate) fn run<T: Serialize + DeserializeOwned>(
    owner: Option<&Ids>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(owner) = owner else { return work() };
    let failed = |cause| Error::io("cannot work as the owner of the secrets", cause);
    let (here, there) = socket::pair().map_err(failed)?;
    let child = process::fork(|| {
        let answer = match privileges::become_for_good(owner).and_then(|()| work()) {
            Ok(done) => Answer::Done(done),
            Err(error) => {
                Answer::Failed { temporary: error.kind() == Kind::Temporary, what: error.to_string() }
            }
        };
        let octets = serde_json::to_vec(&answer).unwrap_or_default();
        // Without an answer the other side knows enough.
        u8::from(socket::send(&there, &octets, &[], true).is_err())
    })?;
    drop(there);
    let mut buffer = vec![0; LARGEST];
    // End of file when it died.
    let received = socket::receive(&here, &mut buffer, true);
    process::wait_for(child);
    let length = received.map_err(failed)?.length;
    match serde_json::from_slice(&buffer[..length]) {
        Ok(Answer::Done(done)) => Ok(done),
        Ok(Answer::Failed { temporary, what }) => {
            Err(Error::new(if temporary { Kind::Temporary } else { Kind::Permanent }, what).tell(super::TOLD))
        }
        Err(_) => Err(failed(io::Error::other("the process that does ended without an answer"))),
    }
}
