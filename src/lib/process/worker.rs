//! A child that works in a maildrop for a program of the administrator's: how it is made, what it says, and how its words are
//! taken. An errand (`errand.rs`) and an overhaul (`overhaul.rs`) are two; they differ in the rights that the child gives up.

use super::message::LARGEST;
use crate::error::{Error, Kind, Result};
use crate::sys::descriptors::close_all_but;
use crate::sys::process::{self, ChildId};
use crate::sys::socket;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// How the child passes on a part of what it finds; a part has at most [`MOST`] octets in JSON.
pub(crate) type Tell<'a, P> = &'a mut dyn FnMut(&P) -> Result<()>;

/// The longest message of the child.
const MOST: usize = LARGEST - 1024;

/// What the child says, in JSON.
#[derive(Serialize, Deserialize)]
enum Said<P, T> {
    Part(P),
    Done(T),
    Failed { in_use: bool, temporary: bool, what: String },
}

/// The child, as who forked it sees it.
pub(super) struct Worker {
    child: ChildId,
    here: OwnedFd,
}

impl Worker {
    /// Forks the child, which keeps these descriptors alone, does its work and says what came of it.
    ///
    /// # Errors
    /// No child can be made.
    pub(super) fn start<P: Serialize, T: Serialize>(
        kept: &[RawFd],
        work: impl FnOnce(Tell<'_, P>) -> Result<T>,
    ) -> Result<Self> {
        let (here, there) = socket::pair().map_err(cannot)?;
        let child = process::fork(|| {
            close_all_but(&[kept, &[there.as_raw_fd()]].concat());
            let done = work(&mut |part| say::<&P, ()>(&there, &Said::Part(part)));
            let said = done.map_or_else(|error| failed(&error), Said::Done);
            u8::from(say::<(), T>(&there, &said).is_err())
        })?;
        Ok(Self { child, here })
    }

    /// What the child says, to its end; its words are those of a stranger.
    ///
    /// # Errors
    /// The work's and those of `part`, or the child ended without an answer.
    pub(super) fn hear<P: DeserializeOwned, T: DeserializeOwned>(
        &self,
        mut part: impl FnMut(P) -> Result<()>,
    ) -> Result<T> {
        let mut buffer = vec![0; LARGEST];
        loop {
            let length = socket::receive(&self.here, &mut buffer, true).map_err(cannot)?.length;
            if length == 0 {
                return Err(cannot(io::Error::other("the process that does ended without an answer")));
            }
            match serde_json::from_slice(&buffer[..length]) {
                Ok(Said::Part(told)) => part(told)?,
                Ok(Said::Done(done)) => return Ok(done),
                Ok(Said::Failed { in_use, temporary, what }) => {
                    let kind = match (in_use, temporary) {
                        (true, _) => Kind::InUse,
                        (_, true) => Kind::Temporary,
                        _ => Kind::Permanent,
                    };
                    return Err(Error::new(kind, what));
                }
                Err(_) => return Err(cannot(io::ErrorKind::InvalidData.into())),
            }
        }
    }

    /// Waits for the child's end.
    pub(super) fn wait(self) {
        process::wait_for(self.child);
    }

    /// Ends a child that is still at work, whose words nobody hears any more.
    pub(super) fn stop(self) {
        drop(self.here);
        self.child.terminate();
        process::wait_for(self.child);
    }
}

fn say<P: Serialize, T: Serialize>(there: &OwnedFd, said: &Said<P, T>) -> Result<()> {
    let octets = serde_json::to_vec(said).map_err(|error| cannot(error.into()))?;
    socket::send(there, &octets, &[], true).map_err(cannot)
}

fn failed<T>(error: &Error) -> Said<(), T> {
    let mut what = error.to_string();
    what.truncate(what.floor_char_boundary(MOST / 8));
    let kind = error.kind();
    Said::Failed { in_use: kind == Kind::InUse, temporary: kind == Kind::Temporary, what }
}

/// Why nothing can be done in the maildrop.
pub(super) fn cannot(cause: io::Error) -> Error {
    Error::io("cannot work in the maildrop", cause)
}
