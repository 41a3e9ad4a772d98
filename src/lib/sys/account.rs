//! Accounts of the system: passwd and shadow, from their files or by NSS.

mod files;

use crate::secret::Secret;
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;
use zeroize::Zeroizing;

/// Enough for the usual entry; it grows when NSS asks for more.
const BUFFER: usize = 4096;

/// An entry longer than this is an error of NSS, not an entry.
const MAX_BUFFER: usize = 1024 * 1024;

/// A database of a whole company is not searched to its end for a password hash to imitate.
const MAX_ENTRIES: usize = 4096;

/// An entry of passwd.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// As the database writes it.
    pub(crate) name: String,
    /// Numeric user id.
    pub(crate) uid: u32,
    /// Numeric primary group id.
    pub(crate) gid: u32,
    /// Home directory.
    pub(crate) home: PathBuf,
    /// Login shell.
    pub(crate) shell: String,
    /// The password field: `x` where the hash is in shadow.
    pub(crate) hash: Secret,
}

/// An entry of shadow.
#[derive(Clone, Debug)]
pub(crate) struct Shadow {
    /// The password field.
    pub(crate) hash: Secret,
    /// The day of the last change of the password; 0: it has to be changed. Days are counted from 1970, `None` where the field is empty.
    pub(crate) last_change: Option<i64>,
    /// Days after which the password has to be changed.
    pub(crate) most_days: Option<i64>,
    /// Days after that until nobody can log in any more.
    pub(crate) inactive: Option<i64>,
    /// The day on which the account ends.
    pub(crate) expire: Option<i64>,
}

/// The passwd entry of a name.
///
/// # Errors
/// A database cannot be asked.
pub(crate) fn user(name: &str) -> io::Result<Option<User>> {
    files::user(name).map_or_else(|| user_by_nss(name), |user| Ok(Some(user)))
}

/// The same by `getpwnam_r`.
fn user_by_nss(name: &str) -> io::Result<Option<User>> {
    let mut buffer = buffer();
    // SAFETY: getpwnam_r(3) is such a function.
    let found = unsafe { lookup(&mut buffer, name, libc::getpwnam_r) }?;
    Ok(found.as_ref().map(from_passwd))
}

fn from_passwd(found: &Found<'_, libc::passwd>) -> User {
    let entry = &found.entry;
    // SAFETY: all three are strings of this entry.
    let (name, home, hash) =
        unsafe { (found.text(entry.pw_name), found.text(entry.pw_dir), found.text(entry.pw_passwd)) };
    // SAFETY: and this one.
    let shell = unsafe { found.text(entry.pw_shell) };
    User {
        name: String::from_utf8_lossy(name).into_owned(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: PathBuf::from(OsStr::from_bytes(home)),
        shell: String::from_utf8_lossy(shell).into_owned(),
        hash: Secret::new(hash.to_vec()),
    }
}

/// All users that the system lists (`getpwent_r`). Some databases know users by name and list none.
pub(crate) fn users() -> Vec<User> {
    // SAFETY: no arguments; the database's position is one for the process, and one thread asks for it.
    unsafe { libc::setpwent() };
    let mut users = Vec::new();
    // SAFETY: the call does what getpwent_r(3) does, which is such a function but for the name.
    unsafe {
        walk(usize::MAX, next_passwd, |found| {
            users.push(from_passwd(found));
            false
        });
    }
    // SAFETY: no arguments; it closes what setpwent opened.
    unsafe { libc::endpwent() };
    users
}

#[cfg(target_env = "gnu")]
unsafe fn next_passwd(entry: *mut libc::passwd, buffer: &mut [u8], found: &mut *mut libc::passwd) -> c_int {
    // SAFETY: the caller's promise: entry and buffer are writable and live as long as the entry is read.
    unsafe { libc::getpwent_r(entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
}

/// Other C libraries cannot list users in this way; the spool names them.
#[cfg(not(target_env = "gnu"))]
unsafe fn next_passwd(_: *mut libc::passwd, _: &mut [u8], _: &mut *mut libc::passwd) -> c_int {
    libc::ENOENT
}

/// The name of the real user that runs this program (`getpwuid_r`); never what the environment says.
///
/// # Errors
/// A database cannot be asked.
pub(crate) fn own_name() -> io::Result<Option<String>> {
    Ok(nix::unistd::User::from_uid(nix::unistd::getuid())?.map(|found| found.name))
}

/// The shadow entry of a name. Only root may ask.
///
/// # Errors
/// The database cannot be asked, or we may not.
pub(crate) fn shadow(name: &str) -> io::Result<Option<Shadow>> {
    files::shadow(name).map_or_else(|| shadow_by_nss(name), |entry| Ok(Some(entry)))
}

/// The same by `getspnam_r`.
fn shadow_by_nss(name: &str) -> io::Result<Option<Shadow>> {
    let mut buffer = buffer();
    // SAFETY: getspnam_r(3) is such a function.
    let found = unsafe { lookup(&mut buffer, name, libc::getspnam_r) }?;
    Ok(found.map(|found| {
        let entry = &found.entry;
        Shadow {
            hash: Secret::new(password(&found).to_vec()),
            last_change: day(entry.sp_lstchg),
            most_days: day(entry.sp_max),
            inactive: day(entry.sp_inact),
            expire: day(entry.sp_expire),
        }
    }))
}

/// A number of days; NSS gives -1 for a field that is empty.
fn day(value: impl Into<i64>) -> Option<i64> {
    Some(value.into()).filter(|days| *days >= 0)
}

fn password<'a>(found: &'a Found<'_, libc::spwd>) -> &'a [u8] {
    // SAFETY: a string of this entry.
    unsafe { found.text(found.entry.sp_pwdp) }
}

/// The first thing that `choose` makes of a password field of the shadow database, in the database's order.
pub(crate) fn first_shadow<T>(mut choose: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    // SAFETY: no arguments; the database's position is one for the process, and one thread asks for it.
    unsafe { libc::setspent() };
    let mut chosen = None;
    // SAFETY: the call does what getspent_r(3) does, which is such a function but for the name.
    unsafe {
        walk(MAX_ENTRIES, next_shadow, |found| {
            chosen = choose(password(found));
            chosen.is_some()
        });
    }
    // SAFETY: no arguments; it closes what setspent opened.
    unsafe { libc::endspent() };
    chosen
}

#[cfg(target_env = "gnu")]
unsafe fn next_shadow(entry: *mut libc::spwd, buffer: &mut [u8], found: &mut *mut libc::spwd) -> c_int {
    // SAFETY: the caller's promise: entry and buffer are writable and live as long as the entry is read.
    unsafe { libc::getspent_r(entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
}

/// Other C libraries cannot walk through shadow; the caller has another hash to imitate.
#[cfg(not(target_env = "gnu"))]
unsafe fn next_shadow(_: *mut libc::spwd, _: &mut [u8], _: &mut *mut libc::spwd) -> c_int {
    libc::ENOENT
}

/// What the strings of entries stand in; wiped when it goes.
type Buffer = Zeroizing<Vec<u8>>;

fn buffer() -> Buffer {
    Zeroizing::new(vec![0; BUFFER])
}

/// An entry, whose strings stand in a buffer that nobody else uses as long as it is there.
struct Found<'a, T> {
    entry: T,
    buffer: PhantomData<&'a mut [u8]>,
}

impl<T> Found<'_, T> {
    /// A string of the entry; empty where NSS left it out.
    ///
    /// # Safety
    /// The pointer is one of this entry's.
    unsafe fn text(&self, pointer: *const c_char) -> &[u8] {
        if pointer.is_null() {
            return &[];
        }
        // SAFETY: NSS writes strings that end in NUL into the buffer, which lives as long as what is returned, or gives constants.
        unsafe { CStr::from_ptr(pointer) }.to_bytes()
    }
}

/// Hands over the entries that a call gives one after the other, until `each` has enough or there have been so many. All of them pass
/// one buffer: to make and wipe one for each would take as long as a cheap password hash, in a walk that only who does not exist
/// costs.
///
/// # Safety
/// As [`ask`].
unsafe fn walk<T>(
    most: usize,
    next: unsafe fn(*mut T, &mut [u8], &mut *mut T) -> c_int,
    mut each: impl FnMut(&Found<'_, T>) -> bool,
) {
    let mut buffer = buffer();
    for _ in 0..most {
        // SAFETY: the caller's promise; entry and buffer are writable.
        let call =
            |entry: *mut T, buffer: &mut [u8], found: &mut *mut T| unsafe { next(entry, buffer, found) };
        // SAFETY: the caller's promise.
        let Ok(Some(found)) = (unsafe { ask(&mut buffer, call) }) else { return };
        if each(&found) {
            return;
        }
    }
}

/// A function such as getpwnam_r(3): name, entry, buffer, its length, what was found.
type Lookup<T> = unsafe extern "C" fn(*const c_char, *mut T, *mut c_char, usize, *mut *mut T) -> c_int;

/// The entry of a name.
///
/// # Safety
/// The function reads a name that ends in NUL, fills the entry and the buffer, and returns 0 with a pointer to the entry only when
/// all fields are filled, strings with pointers into the buffer.
unsafe fn lookup<'a, T>(
    buffer: &'a mut Buffer,
    name: &str,
    function: Lookup<T>,
) -> io::Result<Option<Found<'a, T>>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let call = |entry: *mut T, buffer: &mut [u8], found: &mut *mut T| {
        // SAFETY: the name ends in NUL, entry and buffer are writable and as long as told.
        unsafe { function(name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    };
    // SAFETY: the caller's promise.
    unsafe { ask(buffer, call) }
}

/// The entry that a call finds, which is given the place of the entry, a buffer, and the place of what was found.
///
/// # Safety
/// The call returns 0 and a pointer that is not null only when it has filled all fields of the entry, strings with pointers into
/// the buffer.
unsafe fn ask<T>(
    buffer: &mut Buffer,
    mut call: impl FnMut(*mut T, &mut [u8], &mut *mut T) -> c_int,
) -> io::Result<Option<Found<'_, T>>> {
    super::memory::overwrite_freed_by_libraries();
    let mut entry = MaybeUninit::uninit();
    let is_found = fill(buffer, |buffer, found: &mut *mut T| call(entry.as_mut_ptr(), buffer, found))?;
    // SAFETY: the caller's promise: an entry was found, so all its fields are filled.
    Ok(is_found.then(|| Found { entry: unsafe { entry.assume_init() }, buffer: PhantomData }))
}

/// Calls an `_r` function, with a larger and larger buffer when it asks for one; whether it found something, whose strings are in
/// the buffer then. A buffer that was too small is wiped.
fn fill<T>(buffer: &mut Buffer, mut call: impl FnMut(&mut [u8], &mut *mut T) -> c_int) -> io::Result<bool> {
    loop {
        let mut found = ptr::null_mut();
        match call(buffer, &mut found) {
            0 => return Ok(!found.is_null()),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < MAX_BUFFER => *buffer = Zeroizing::new(vec![0; 2 * buffer.len()]),
            libc::ENOENT | libc::ESRCH => return Ok(false),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name() {
        let root = user("root").unwrap().unwrap();
        assert_eq!((root.name.as_str(), root.uid, root.gid), ("root", 0, 0));
        assert!(user("no-such-user-here").unwrap().is_none());
        assert!(user("ro\0ot").unwrap().is_none());
    }

    #[test]
    fn shadow_is_for_root() {
        match shadow("root") {
            // nss-systemd makes up a locked entry for everybody who asks.
            Ok(Some(shadow)) => {
                assert!(crate::sys::privileges::is_root() || shadow.hash.expose().starts_with(b"!"));
            }
            Ok(None) => eprintln!("no shadow entry of root here"),
            Err(error) => assert!(!crate::sys::privileges::is_root(), "{error}"),
        }
    }

    #[test]
    fn a_buffer_grows_until_the_entry_fits() {
        let mut sizes = Vec::new();
        let (mut entry, mut buffer) = (0_u8, buffer());
        let found = fill(&mut buffer, |buffer, found: &mut *mut u8| {
            sizes.push(buffer.len());
            if buffer.len() < 3 * BUFFER {
                return libc::ERANGE;
            }
            *found = &raw mut entry;
            0
        });
        assert!(found.unwrap());
        assert_eq!(buffer.len(), 4 * BUFFER);
        assert_eq!(sizes, [BUFFER, 2 * BUFFER, 4 * BUFFER]);
    }

    #[test]
    fn a_walk_takes_all_entries_through_one_buffer() {
        // A call whose entries count what is in the buffer, so each finds what the one before has left.
        unsafe fn next(entry: *mut u8, buffer: &mut [u8], found: &mut *mut u8) -> c_int {
            buffer[0] += 1;
            // SAFETY: a place for an entry.
            unsafe { entry.write(buffer[0]) };
            *found = entry;
            0
        }
        let (mut all, mut some) = (Vec::new(), Vec::new());
        // SAFETY: the call fills the entry, which has no strings.
        unsafe {
            walk(5, next, |found| {
                all.push(found.entry);
                false
            });
            walk(5, next, |found| {
                some.push(found.entry);
                found.entry == 2
            });
        }
        assert_eq!(all, [1, 2, 3, 4, 5]);
        assert_eq!(some, [1, 2], "until there is enough");
    }
}
