//! Work that is done as the owner of the secrets, while the process that asks for it stays root: it has to make and rename files
//! where the owner may not.

use crate::error::{Error, Kind, Result};
use crate::sys::privileges::{self, Ids};
use crate::sys::{file, process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Seek, Write};

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Answer<T> {
    Done(T),
    Failed { temporary: bool, what: String },
}

/// Runs the work in a child that becomes `owner` for good, or here when there is nobody to become. What it answers passes a file
/// in memory, so it has no secret.
///
/// # Errors
/// The work's, or the child ended without an answer.
pub(crate) fn run<T: Serialize + DeserializeOwned>(
    owner: Option<&Ids>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(owner) = owner else { return work() };
    let failed = |cause| Error::io("cannot work as the owner of the secrets", cause);
    let mut answer = file::anonymous(c"answer").map_err(failed)?;
    let child = process::fork(|| {
        let answered = match privileges::become_for_good(owner).and_then(|()| work()) {
            Ok(done) => Answer::Done(done),
            Err(error) => {
                Answer::Failed { temporary: error.kind() == Kind::Temporary, what: error.to_string() }
            }
        };
        let octets = serde_json::to_vec(&answered).unwrap_or_default();
        // Without an answer the other side knows enough.
        u8::from((&answer).write_all(&octets).is_err())
    })?;
    process::wait_for(child);
    answer.rewind().map_err(failed)?;
    match serde_json::from_reader(io::BufReader::new(answer)) {
        Ok(Answer::Done(done)) => Ok(done),
        Ok(Answer::Failed { temporary, what }) => {
            Err(Error::new(if temporary { Kind::Temporary } else { Kind::Permanent }, what).tell(super::TOLD))
        }
        Err(_) => Err(failed(io::Error::other("the process that does ended without an answer"))),
    }
}
