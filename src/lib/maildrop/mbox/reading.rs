//! The spool of who only looks: no lock is taken and no file made. What is read may be changing; who holds a lock is not
//! disturbed.

use super::spool::{Locked, Purpose, Replaced, Spool};
use crate::error::{Error, Kind, Result};
use crate::maildrop::Found;
use std::fs::File;
use std::io;

/// A mailbox that is open for reading.
pub(crate) struct Reading(Option<File>);

impl Reading {
    /// That of an mbox, if it is one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn of(found: Option<&Found>) -> Result<Self> {
        match found {
            Some(Found::Mbox(Some(file))) => Ok(Self(Some(copy(file)?))),
            _ => Ok(Self(None)),
        }
    }
}

impl Spool for Reading {
    fn lock(&mut self, purpose: Purpose) -> Result<Option<Locked>> {
        if purpose == Purpose::Update {
            return Err(read_only());
        }
        let file = self.0.as_ref().map(copy).transpose()?;
        Ok(file.map(|file| Locked { file, notes: Vec::new() }))
    }

    fn temporary(&mut self) -> Result<File> {
        Err(read_only())
    }

    fn replace(&mut self, _copied_to: u64) -> Result<Replaced> {
        Err(read_only())
    }

    fn unlock(&mut self) -> Result<()> {
        Ok(())
    }
}

fn copy(file: &File) -> Result<File> {
    file.try_clone().map_err(|error: io::Error| Error::io("cannot keep the mailbox open", error))
}

fn read_only() -> Error {
    Error::new(Kind::Permanent, "the maildrop is open for reading alone")
}
