//! Work that is done as the owner of the secrets, while the process that asks for it stays root: it has to make and rename files
//! where the owner may not. And the fence of those children that a login needs: what a client says, and a database that somebody damaged with
//! care, get no further than the directory of the secrets.

use super::Places;
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::privileges::{self, Ids};
use crate::sys::process::Limits;
use crate::sys::sandbox::{Calls, Fence, Missing};
use crate::sys::{file, process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// What a child that a login needs may ask of the kernel once it has become the owner.
pub(crate) const CALLS: &[Calls] =
    &[Calls::Base, Calls::Streams, Calls::Messages, Calls::OpenFiles, Calls::Names, Calls::Database];

/// Two databases with their journals and the key; memory for the dearest password hash that is computed.
const LIMITS: Limits =
    Limits { descriptors: Some(64), memory: Some(2 << 30), file_size: None, may_fork: false };

/// Becomes the owner for good, or nobody else where there is nobody to become, and closes the fence: the directory of the database can
/// be changed, that of the key read, and nothing else is left. What the kernel could not give is returned.
///
/// # Errors
/// The system refuses.
pub(crate) fn enter(owner: Option<&Ids>, places: &Places) -> Result<Missing> {
    owner.map_or(Ok(()), privileges::become_for_good)?;
    // What is not there, or not to be entered, is found out by who opens what is in it.
    let open = |path: &Path| path.parent().and_then(|above| Directory::open(above).ok());
    let (database, key) = (open(&places.database), open(&places.key));
    LIMITS.apply()?;
    let (database, key): (Vec<_>, Vec<_>) =
        (database.iter().map(AsFd::as_fd).collect(), key.iter().map(AsFd::as_fd).collect());
    // Where a fence is required, the server has ended before it heard of anybody.
    Fence { calls: CALLS, directories: &database, require: false }.close_but_read(&key)
}

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
    run_as(owner, privileges::become_for_good, work)
}

/// The same behind the fence of [`enter`], for work with what a stranger said.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_behind_fence<T: Serialize + DeserializeOwned>(
    owner: Option<&Ids>,
    places: &Places,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    run_as(owner, |owner| enter(Some(owner), places).map(drop), work)
}

fn run_as<T: Serialize + DeserializeOwned>(
    owner: Option<&Ids>,
    become_owner: impl FnOnce(&Ids) -> Result<()>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(owner) = owner else { return work() };
    let failed = |cause| Error::io("cannot work as the owner of the secrets", cause);
    let mut answer = file::anonymous(c"answer").map_err(failed)?;
    let child = process::fork(|| {
        let answered = match become_owner(owner).and_then(|()| work()) {
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
