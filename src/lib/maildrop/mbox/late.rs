//! Late deliverers: one that opened the old mailbox before it was replaced, waits for its lock and checks
//! nothing writes into a file without a name. The old file is watched until nobody else has it open, and what
//! it gained is brought over (design, section 4, "Update", 2).

use super::local::{Held, Local};
use super::spool::Purpose;
use crate::error::{Error, Kind, Result};
use crate::sys::file::{read_at, status};
use crate::sys::lock::{Lease, end_lease, lease};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often is looked whether the old file is free.
const TICK: Duration = Duration::from_millis(20);
/// How long the old file is watched.
const WATCHED: Duration = Duration::from_secs(60);
/// The same where the file system grants no leases.
const WATCHED_BLINDLY: Duration = Duration::from_secs(2);
/// How long the new mailbox's locks are waited for at a time.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// An old mailbox that may still get mail.
#[derive(Debug)]
pub(super) struct Late {
    old: File,
    /// Octets of it that are in the new one.
    copied_to: u64,
    begun: Instant,
    /// How long it is watched.
    span: Duration,
}

impl Late {
    pub(super) fn new(old: File, copied_to: u64) -> Self {
        Self { old, copied_to, begun: Instant::now(), span: WATCHED }
    }
}

impl Local {
    /// Watches the old mailbox for this long; true when there is nothing more to watch. SIGIO must be
    /// ignored (`sys::lock::ignore_lease_breaks`).
    ///
    /// # Errors
    /// Mail of a late deliverer could not be brought over; the watch is at its end.
    pub(crate) fn watch(&mut self, patience: Duration) -> Result<bool> {
        let begun = Instant::now();
        while let Some(late) = &mut self.late {
            let mut failed = None;
            match lease(&late.old) {
                Lease::Granted => match self.bring_over() {
                    Ok(()) => {
                        self.late = None;
                        return Ok(true);
                    }
                    Err(error) => failed = Some(error),
                },
                Lease::Busy => {}
                Lease::Refused => late.span = WATCHED_BLINDLY,
            }
            if self.late.as_ref().is_some_and(|late| late.begun.elapsed() >= late.span) {
                return failed.map_or_else(|| self.finish_watch(), Err);
            }
            if begun.elapsed() >= patience {
                return Ok(false);
            }
            sleep(TICK);
        }
        Ok(true)
    }

    /// The watch is over: what is there now is brought over, whoever has the old file open.
    fn finish_watch(&mut self) -> Result<bool> {
        let result = self.bring_over();
        self.late = None;
        result.map(|()| true)
    }

    /// Ends the watch now.
    ///
    /// # Errors
    /// Mail of a late deliverer could not be brought over, now or ever.
    pub(super) fn end_watch(&mut self) -> Result<()> {
        if self.late.is_some() { self.finish_watch().map(drop) } else { Ok(()) }
    }

    /// Appends what the old file gained to the mailbox, under the mailbox's locks.
    fn bring_over(&mut self) -> Result<()> {
        let Some(late) = &self.late else { return Ok(()) };
        let result = self.append_gained(late);
        end_lease(&late.old);
        let copied_to = result?;
        if let Some(late) = &mut self.late {
            late.copied_to = copied_to;
        }
        Ok(())
    }

    fn append_gained(&self, late: &Late) -> Result<u64> {
        let size = status(&late.old).map_err(|error| self.failed("look at the old", error))?.identity.size;
        if size <= late.copied_to {
            return Ok(late.copied_to);
        }
        let held = self.mailbox_for_late_mail()?;
        let before = status(&held.file).map_err(|error| self.failed("look at", error))?.identity.size;
        let result = copy_gained(late, size, &held.file, before);
        if result.is_err() {
            // All or nothing: the next try begins where this one did.
            let _ = held.file.set_len(before);
        }
        self.release(held);
        result.map_err(|error| self.failed("bring late mail over to", error))?;
        Ok(size)
    }

    fn mailbox_for_late_mail(&self) -> Result<Held> {
        if let Some(held) = self.acquire(Purpose::Update, LOCK_PATIENCE)? {
            return Ok(held);
        }
        // Another program removed the mailbox since.
        self.directory.create(&self.name, 0o600).map_err(|error| self.failed("make", error))?;
        let gone = || Error::new(Kind::Temporary, format!("{} comes and goes", self.path.display()));
        self.acquire(Purpose::Update, LOCK_PATIENCE)?.ok_or_else(gone)
    }
}

fn copy_gained(late: &Late, size: u64, mailbox: &File, before: u64) -> std::io::Result<()> {
    let mut target = before;
    let padding = super::update::missing_line_ends(mailbox, before)?;
    mailbox.write_all_at(padding, target)?;
    target += padding.len() as u64;
    let mut offset = late.copied_to;
    let mut buffer = vec![0; 64 * 1024];
    while offset < size {
        let count = read_at(&late.old, &mut buffer, offset)?;
        if count == 0 {
            break;
        }
        mailbox.write_all_at(&buffer[..count], target)?;
        offset += count as u64;
        target += count as u64;
    }
    mailbox.sync_all()
}
