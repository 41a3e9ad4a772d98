//! An mbox as a whole, for who makes another maildrop of it or it of another.

use super::local::Local;
use super::spool::{Locked, Purpose, Spool};
use super::{UPDATING, refresh, update};
use crate::error::{Error, Result};
use crate::maildrop::index::{Header, Index};
use crate::maildrop::uidl::twins::Twins;
use crate::sys::directory::Directory;
use crate::sys::file::{copy, read_at, status};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much is copied between two touches of the dotlock, in octets.
const CHUNK: u64 = 64 << 20;
/// The size of the buffer where the kernel cannot copy by itself.
const BUFFER: usize = 1 << 20;

/// Locks the mailbox, with the mark by which the next login removes what somebody leaves who is killed meanwhile.
///
/// # Errors
/// As for [`Spool::lock`].
pub(crate) fn lock(local: &mut Local, state: &Directory, purpose: Purpose) -> Result<Option<Locked>> {
    // Without room for the mark, a dotlock stays until it is old enough.
    let _ = state.create(UPDATING, 0o600);
    let locked = local.lock(purpose)?;
    if locked.is_none() {
        let _ = state.remove(UPDATING);
    }
    Ok(locked)
}

/// Gives up the locks.
///
/// # Errors
/// As for [`Spool::unlock`].
pub(crate) fn unlock(local: &mut Local, state: &Directory) -> Result<()> {
    local.unlock()?;
    let _ = state.remove(UPDATING);
    Ok(())
}

/// The index of a locked mailbox, brought up to it, and the numbers of equal messages.
///
/// # Errors
/// The mailbox cannot be read or is no mbox.
pub(crate) fn survey(file: &File, state: &Directory) -> Result<(Index, Twins)> {
    let identity = status(file).map_err(unreadable)?.identity;
    let mut twins = Twins::load(state)?;
    if identity.size == 0 {
        return Ok((Index::empty(identity), twins));
    }
    update::settle(&mut twins, state, file, &identity)?;
    let (index, _) = refresh::refresh(file, identity, Index::load(state), &twins, state)?;
    Ok((index, twins))
}

/// The index of a new mailbox with these numbers.
///
/// # Errors
/// It cannot be read or is no mbox.
pub(crate) fn index_of(file: &File, twins: &Twins, state: &Directory) -> Result<Index> {
    let identity = status(file).map_err(unreadable)?.identity;
    if identity.size == 0 {
        return Ok(Index::empty(identity));
    }
    let header = Header { identity, known: identity.size, ..Header::default() };
    Ok(refresh::whole(file, header, twins, state)?.0)
}

/// Where a message begins that was appended behind `known`; none where no message does.
///
/// # Errors
/// The system's.
pub(crate) fn begin_of_appended(file: &File, known: u64) -> io::Result<Option<u64>> {
    let mut window = [0; 64];
    let count = read_at(file, &mut window, known)?;
    let empty = window[..count].iter().take_while(|octet| matches!(octet, b'\n' | b'\r')).count();
    let start = known + empty as u64;
    Ok(refresh::begins_message(file, start)?.then_some(start))
}

fn unreadable(error: io::Error) -> Error {
    Error::io("cannot read the mailbox", error)
}

/// The hashes of the messages in a file that is no maildrop.
///
/// # Errors
/// It cannot be read or is no mbox.
pub(crate) fn hashes(file: &File) -> Result<Vec<u128>> {
    let (mut hashes, mut position) = (Vec::new(), 0);
    let fill = |buffer: &mut [u8]| {
        let count = read_at(file, buffer, position).map_err(unreadable)?;
        position += count as u64;
        Ok(count)
    };
    super::scan::scan(0, fill, |record| {
        hashes.push(record.hash);
        Ok(())
    })?;
    Ok(hashes)
}

/// What must stand behind `length` octets of a mailbox so that a message can follow.
///
/// # Errors
/// The system's.
pub(crate) fn padding(file: &File, length: u64) -> io::Result<&'static [u8]> {
    update::missing_line_ends(file, length)
}

/// Copies a range while others see that the dotlock's holder lives; how many octets.
///
/// # Errors
/// The system's.
pub(crate) fn transfer(
    from: &File,
    range: std::ops::Range<u64>,
    to: &File,
    at: u64,
    local: &Local,
) -> io::Result<u64> {
    let (mut position, mut target, mut buffer) = (range.start, at, Vec::new());
    while position < range.end {
        let wanted = (range.end - position).min(CHUNK);
        let mut count = copy(from, position, to, target, wanted)?;
        if count == 0 {
            buffer.resize(BUFFER, 0);
            let wanted = usize::try_from(wanted).unwrap_or(BUFFER).min(BUFFER);
            let read = read_at(from, &mut buffer[..wanted], position)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            to.write_all_at(&buffer[..read], target)?;
            count = read as u64;
        }
        local.touch();
        (position, target) = (position + count, target + count);
    }
    Ok(target - at)
}
