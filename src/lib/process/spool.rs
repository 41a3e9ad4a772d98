//! The spool helper: what needs the mailbox's directory, for one locked operation.
//!
//! In most spools whoever has the spool's group can read and delete everybody's mail, so the session does not have it. The helper does: it is
//! the monitor's child, runs as the user with the directory's group, parses nothing that a client or a mailbox says, and works on names that it
//! derives from what the verifier told the monitor. Landlock leaves it that directory; seccomp no process, no program, no socket.
//! It passes descriptors back, holds the locks, and ends with the session's end of the socket: then temporary file and dotlock go, and nothing is renamed.

use super::message::{Malformed, Message, Reader, Writer};
use super::notice::{Admitted, Notice};
use super::notice::{put_error, take_error};
use super::places;
use super::role::Surroundings;
use crate::config::{Config, Sandbox};
use crate::error::{Error, Kind, Result};
use crate::maildrop::mbox::local::{Local, LockSet};
use crate::maildrop::mbox::spool::{Locked, Purpose, Replaced, Spool, UNCERTAIN};
use crate::sys::directory::Directory;
use crate::sys::file::{Identity, Stamp};
use crate::sys::privileges::{self, Ids};
use crate::sys::process::Limits;
use crate::sys::sandbox::{Calls, Fence, Missing, inside};
use crate::sys::socket::{self, Wait};
use crate::sys::{clock, lock, signals};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// What this role may ask of the kernel.
pub(crate) const CALLS: &[Calls] = &[
    Calls::Base,
    Calls::Streams,
    Calls::Messages,
    Calls::OpenFiles,
    Calls::Names,
    Calls::Attributes,
    Calls::Processes,
];

/// A handful of descriptors, little memory.
const LIMITS: Limits =
    Limits { descriptors: Some(64), memory: Some(512 << 20), file_size: None, may_fork: false };

/// How often our dotlock is touched while the session works.
const TOUCH: Duration = Duration::from_secs(10);

/// How long a deliverer that opened the old mailbox is waited for, once the client has its answer.
const LATE: Duration = Duration::from_secs(60);

/// How long the session waits for an answer: the locks' patience of 30 s and some work.
const PATIENCE: Duration = Duration::from_secs(90);

/// The largest message between session and helper: numbers, and sentences for the log.
const LARGEST: usize = 16 * 1024;

/// Session to helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Lock(Purpose),
    Temporary,
    Replace(u64),
    Unlock,
}

/// Helper to session.
#[derive(Debug)]
pub(super) enum Response {
    Done,
    /// The locked mailbox comes with it, or there is none.
    Locked(Vec<String>),
    /// The temporary file comes with it.
    Temporary,
    Replaced(Replaced),
    Failed(Error),
}

/// The helper's part: serves one session's operation. The role's exit status.
pub(crate) fn run(session: &OwnedFd, admitted: &Admitted, surroundings: &Surroundings<'_>) -> u8 {
    match enter(admitted, surroundings.config) {
        // What the kernel lacks the session has told.
        Ok((mut local, _)) => {
            serve(session, &mut local, TOUCH);
            watch(&mut local, surroundings);
            0
        }
        Err(error) => {
            let status = error.exit_status();
            if receive::<Request>(session, PATIENCE).is_ok() {
                // This process ends in any case.
                let _ = answer(session, &Response::Failed(error), None);
            }
            status
        }
    }
}

/// From root to the user with the directory's group, for good.
pub(super) fn enter(admitted: &Admitted, config: &Config) -> Result<(Local, Missing)> {
    let directory = become_helper(admitted.uid, admitted.gid, &admitted.maildrop)?;
    LIMITS.apply()?;
    let require = config.sandbox == Sandbox::Require;
    let missing = Fence { calls: CALLS, directories: &inside(&directory), require }.close()?;
    Ok((Local::new(&admitted.maildrop, LockSet::of(config), admitted.uid)?, missing))
}

/// From root to the user with the group of the mailbox's directory, for good; that directory. Nothing ends the process any more but
/// its own work: the end of who asked ends it after what it has begun.
///
/// # Errors
/// The user may not have the directory, or the system refuses.
pub(super) fn become_helper(uid: u32, gid: u32, mailbox: &Path) -> Result<Directory> {
    signals::ignore_termination();
    lock::ignore_lease_breaks().map_err(|cause| Error::io("cannot ignore a signal", cause))?;
    let mut groups = vec![gid];
    groups.extend(places::spool_group(mailbox));
    privileges::become_for_good(&Ids { uid, gid, groups })?;
    let above = mailbox.parent().unwrap_or(Path::new("/"));
    Directory::open(above).map_err(|cause| Error::io(format!("cannot open {}", above.display()), cause))
}

/// Requests until the session's end closes; dropping `local` then undoes what is unfinished. The dotlock is touched this
/// often.
fn serve(session: &OwnedFd, local: &mut Local, touch: Duration) {
    loop {
        match receive::<Request>(session, touch) {
            // A session that does not hear the answer must not wait for it: it sees the end of this helper.
            Ok(Some((request, _))) if !obey(session, local, request) => break,
            Ok(Some(_)) => {}
            Ok(None) => local.touch(),
            Err(_) => break,
        }
    }
}

/// A deliverer that opened the old mailbox may still be waiting for its lock.
fn watch(local: &mut Local, surroundings: &Surroundings<'_>) {
    if let Err(error) = local.watch(LATE) {
        surroundings.tell(&Notice::Fault(error));
    }
}

/// Whether the session has its answer.
fn obey(session: &OwnedFd, local: &mut Local, request: Request) -> bool {
    let response = match request {
        Request::Lock(purpose) => local.lock(purpose).map(|locked| match locked {
            Some(locked) => (Response::Locked(locked.notes), Some(OwnedFd::from(locked.file))),
            None => (Response::Locked(Vec::new()), None),
        }),
        Request::Temporary => local.temporary().map(|file| (Response::Temporary, Some(OwnedFd::from(file)))),
        Request::Replace(copied) => local.replace(copied).map(|done| (Response::Replaced(done), None)),
        Request::Unlock => local.unlock().map(|()| (Response::Done, None)),
    };
    match response {
        Ok((response, file)) => answer(session, &response, file.as_ref().map(AsFd::as_fd)),
        Err(error) => answer(session, &Response::Failed(error), None),
    }
}

fn answer(session: &OwnedFd, response: &Response, file: Option<BorrowedFd<'_>>) -> bool {
    socket::send(session, &response.to_bytes(), file.as_slice(), true).is_ok()
}

/// The session's part: `Spool` by messages. Each locked operation has a helper of its own.
pub(crate) struct Remote {
    control: OwnedFd,
    helper: Option<OwnedFd>,
}

impl Remote {
    /// A spool that asks this role's monitor for helpers.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new(surroundings: &Surroundings<'_>) -> Result<Self> {
        let control = surroundings.control.try_clone().map_err(gone)?;
        Ok(Self { control, helper: None })
    }

    /// Asks a new helper for the locks; an error means that there is no answer.
    fn lock_once(&mut self, purpose: Purpose) -> Result<(Response, Option<File>)> {
        let (here, there) = socket::pair().map_err(gone)?;
        socket::send(&self.control, &Notice::Spool.to_bytes(), &[there.as_fd()], true).map_err(gone)?;
        drop(there);
        self.helper = Some(here);
        self.request(Request::Lock(purpose))?;
        self.response()
    }

    /// The same once one was killed: what that left is removed first.
    fn lock_again(&mut self, purpose: Purpose) -> Result<(Response, Option<File>)> {
        let recovered = self.lock_once(Purpose::Recover)?;
        if purpose != Purpose::Update {
            return Ok(recovered);
        }
        drop(recovered);
        self.unlock()?;
        self.lock_once(purpose)
    }

    fn ask(&mut self, request: Request) -> Result<(Response, Option<File>)> {
        self.request(request)?;
        match self.response()? {
            (Response::Failed(error), _) => Err(error),
            answered => Ok(answered),
        }
    }

    fn helper(&self) -> Result<&OwnedFd> {
        self.helper.as_ref().ok_or_else(|| gone(io::ErrorKind::NotConnected.into()))
    }

    fn request(&self, request: Request) -> Result<()> {
        socket::send(self.helper()?, &request.to_bytes(), &[], true).map_err(gone)
    }

    fn response(&self) -> Result<(Response, Option<File>)> {
        match receive::<Response>(self.helper()?, PATIENCE).map_err(gone)? {
            Some((response, file)) => Ok((response, file.map(File::from))),
            None => Err(gone(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Spool for Remote {
    fn lock(&mut self, purpose: Purpose) -> Result<Option<Locked>> {
        let begun = clock::now();
        let answered = self.lock_once(purpose).or_else(|error| {
            // One that is stuck is not asked twice: the client waits.
            if begun.elapsed() < PATIENCE { self.lock_again(purpose) } else { Err(error) }
        })?;
        match answered {
            (Response::Locked(notes), Some(file)) => Ok(Some(Locked { file, notes })),
            (Response::Locked(_), None) => Ok(None),
            (Response::Failed(error), _) => Err(error),
            _ => Err(out_of_step()),
        }
    }

    fn temporary(&mut self) -> Result<File> {
        match self.ask(Request::Temporary)? {
            (Response::Temporary, Some(file)) => Ok(file),
            _ => Err(out_of_step()),
        }
    }

    fn replace(&mut self, copied_to: u64) -> Result<Replaced> {
        self.request(Request::Replace(copied_to))?;
        // A helper whose answer cannot be had may be about to rename.
        match self.response().map_err(|error| error.tell(UNCERTAIN))? {
            (Response::Replaced(replaced), None) => Ok(replaced),
            (Response::Failed(error), _) => Err(error),
            _ => Err(out_of_step().tell(UNCERTAIN)),
        }
    }

    fn unlock(&mut self) -> Result<()> {
        if self.helper.is_none() {
            return Ok(());
        }
        let unlocked = self.ask(Request::Unlock);
        self.helper = None;
        unlocked.map(drop)
    }
}

fn gone(cause: io::Error) -> Error {
    Error::io("cannot reach the spool helper", cause).of_kind(Kind::Temporary)
}

fn out_of_step() -> Error {
    Error::new(Kind::Temporary, "the spool helper answered something else")
}

/// The next message within a time; none when the time is over.
fn receive<M: Message>(from: &OwnedFd, within: Duration) -> io::Result<Option<(M, Option<OwnedFd>)>> {
    if !socket::wait(from, Wait::Read, clock::now() + within)? {
        return Ok(None);
    }
    let mut buffer = [0; LARGEST];
    let mut received = socket::receive(from, &mut buffer, false)?;
    let message = M::from_bytes(&buffer[..received.length])
        .map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok(Some((message, received.descriptors.pop())))
}

impl Message for Request {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Lock(Purpose::Scan) => out.byte(1),
            Self::Lock(Purpose::Update) => out.byte(2),
            Self::Lock(Purpose::Recover) => out.byte(6),
            Self::Temporary => out.byte(3),
            Self::Replace(copied) => out.byte(4).number(*copied),
            Self::Unlock => out.byte(5),
        };
    }

    fn decode(input: &mut Reader<'_>) -> std::result::Result<Self, Malformed> {
        match input.byte()? {
            1 => Ok(Self::Lock(Purpose::Scan)),
            2 => Ok(Self::Lock(Purpose::Update)),
            3 => Ok(Self::Temporary),
            4 => Ok(Self::Replace(input.number()?)),
            5 => Ok(Self::Unlock),
            6 => Ok(Self::Lock(Purpose::Recover)),
            _ => Err(Malformed),
        }
    }
}

impl Message for Response {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Done => {
                out.byte(1);
            }
            Self::Locked(notes) => put_notes(out.byte(2), notes),
            Self::Temporary => {
                out.byte(3);
            }
            Self::Replaced(Replaced { identity, notes }) => {
                out.byte(4).number(identity.device).number(identity.inode).number(identity.size);
                put_stamp(out, identity.modified);
                put_stamp(out, identity.changed);
                put_notes(out, notes);
            }
            Self::Failed(error) => put_error(out.byte(5), error),
        }
    }

    fn decode(input: &mut Reader<'_>) -> std::result::Result<Self, Malformed> {
        match input.byte()? {
            1 => Ok(Self::Done),
            2 => Ok(Self::Locked(take_notes(input)?)),
            3 => Ok(Self::Temporary),
            4 => {
                let identity = Identity {
                    device: input.number()?,
                    inode: input.number()?,
                    size: input.number()?,
                    modified: take_stamp(input)?,
                    changed: take_stamp(input)?,
                };
                Ok(Self::Replaced(Replaced { identity, notes: take_notes(input)? }))
            }
            5 => Ok(Self::Failed(take_error(input)?)),
            _ => Err(Malformed),
        }
    }
}

fn put_stamp(out: &mut Writer, stamp: Stamp) {
    out.number(stamp.seconds.cast_unsigned()).number(stamp.nanoseconds.cast_unsigned());
}

fn take_stamp(input: &mut Reader<'_>) -> std::result::Result<Stamp, Malformed> {
    Ok(Stamp { seconds: input.number()?.cast_signed(), nanoseconds: input.number()?.cast_signed() })
}

/// Sentences for the log; a handful at most.
fn put_notes(out: &mut Writer, notes: &[String]) {
    let notes = &notes[..notes.len().min(8)];
    out.number(notes.len() as u64);
    for note in notes {
        out.bytes(&note.as_bytes()[..note.floor_char_boundary(1024)]);
    }
}

fn take_notes(input: &mut Reader<'_>) -> std::result::Result<Vec<String>, Malformed> {
    let count = input.number()?;
    (0..count.min(8)).map(|_| input.text()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_with_its_three_faces() {
        let error = Error::new(Kind::InUse, "/var/mail/ann is locked").tell("the mailbox is locked");
        let bytes = Response::Failed(error).to_bytes();
        let Ok(Response::Failed(error)) = Response::from_bytes(&bytes) else { panic!("not an error") };
        assert_eq!(error.to_string(), "/var/mail/ann is locked");
        assert_eq!(error.reply(), "[IN-USE] the mailbox is locked");
    }

    #[test]
    fn the_dotlock_is_touched_while_the_session_works() {
        use std::os::unix::fs::MetadataExt;
        // Design, section 4, "Locks": others take one that is not touched for stale.
        let folder = tempfile::tempdir().unwrap();
        let (mailbox, dotlock) = (folder.path().join("ann"), folder.path().join("ann.lock"));
        std::fs::write(&mailbox, b"").unwrap();
        let uid = std::fs::metadata(&mailbox).unwrap().uid();
        let mut local = Local::new(&mailbox, LockSet::default(), uid).unwrap();
        let (session, helper) = socket::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&helper, &mut local, Duration::from_millis(5)));
            // Closed whatever happens, so that the helper ends.
            let session = session;
            socket::send(&session, &Request::Lock(Purpose::Update).to_bytes(), &[], true).unwrap();
            assert!(receive::<Response>(&session, PATIENCE).unwrap().is_some());
            let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::options().write(true).open(&dotlock).unwrap().set_modified(long_ago).unwrap();
            let begun = clock::now();
            while std::fs::metadata(&dotlock).unwrap().modified().unwrap() == long_ago {
                assert!(begun.elapsed() < Duration::from_secs(20), "never touched");
                std::thread::yield_now();
            }
        });
    }
}
