//! Accounts of the system, by NSS: passwd and shadow.

use crate::secret::Secret;
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::io;
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
    /// The password field: `x` where the hash is in shadow.
    pub(crate) hash: Secret,
}

/// An entry of shadow.
#[derive(Clone, Debug)]
pub(crate) struct Shadow {
    /// The password field.
    pub(crate) hash: Secret,
}

/// The passwd entry of a name (`getpwnam_r`).
///
/// # Errors
/// A database cannot be asked.
pub(crate) fn user(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let buffer = with_buffer(|buffer, found: &mut *mut libc::passwd| {
        // SAFETY: the name ends in NUL, entry and buffer are writable and as long as told, and live until the
        // entry was read below.
        unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                found,
            )
        }
    })?;
    let Some(_buffer) = buffer else { return Ok(None) };
    // SAFETY: getpwnam_r said that it found an entry, so it has filled all fields.
    let entry = unsafe { entry.assume_init() };
    Ok(Some(User {
        name: String::from_utf8_lossy(field(entry.pw_name)).into_owned(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: PathBuf::from(OsStr::from_bytes(field(entry.pw_dir))),
        hash: Secret::new(field(entry.pw_passwd).to_vec()),
    }))
}

/// The shadow entry of a name (`getspnam_r`). Only root may ask.
///
/// # Errors
/// The database cannot be asked, or we may not.
pub(crate) fn shadow(name: &str) -> io::Result<Option<Shadow>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut entry = MaybeUninit::<libc::spwd>::uninit();
    let buffer = with_buffer(|buffer, found: &mut *mut libc::spwd| {
        // SAFETY: as in `user`.
        unsafe {
            libc::getspnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                found,
            )
        }
    })?;
    let Some(_buffer) = buffer else { return Ok(None) };
    // SAFETY: getspnam_r said that it found an entry, so it has filled all fields.
    let entry = unsafe { entry.assume_init() };
    Ok(Some(Shadow { hash: Secret::new(field(entry.sp_pwdp).to_vec()) }))
}

/// The first thing that `choose` makes of a password field of the shadow database, in the database's order.
pub(crate) fn first_shadow<T>(mut choose: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    // SAFETY: no arguments; the database's position is one for the process, and one thread asks for it.
    unsafe { libc::setspent() };
    let mut chosen = None;
    for _ in 0..MAX_ENTRIES {
        let mut entry = MaybeUninit::<libc::spwd>::uninit();
        let buffer = with_buffer(|buffer, found: &mut *mut libc::spwd| {
            // SAFETY: entry and buffer are writable and as long as told, and live until the entry was read.
            unsafe { next_shadow(entry.as_mut_ptr(), buffer, found) }
        });
        let Ok(Some(_buffer)) = buffer else { break };
        // SAFETY: the call said that it found an entry, so it has filled all fields.
        let entry = unsafe { entry.assume_init() };
        chosen = choose(field(entry.sp_pwdp));
        if chosen.is_some() {
            break;
        }
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

/// Calls an `_r` function with larger and larger buffers; `None` when nothing was found, else the buffer that
/// the entry points into. Each buffer is wiped when it goes.
fn with_buffer<T>(
    mut call: impl FnMut(&mut [u8], &mut *mut T) -> c_int,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut size = BUFFER;
    loop {
        let mut buffer = Zeroizing::new(vec![0; size]);
        let mut found = ptr::null_mut();
        match call(&mut buffer, &mut found) {
            0 if found.is_null() => return Ok(None),
            0 => return Ok(Some(buffer)),
            libc::EINTR => {}
            libc::ERANGE if size < MAX_BUFFER => size *= 2,
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// A string of an entry; empty where NSS left it out.
fn field<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: NSS writes strings that end in NUL into the buffer, which all callers keep until they have copied.
    unsafe { CStr::from_ptr(text) }.to_bytes()
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
        let mut entry = 0_u8;
        let buffer = with_buffer(|buffer, found: &mut *mut u8| {
            sizes.push(buffer.len());
            if buffer.len() < 3 * BUFFER {
                return libc::ERANGE;
            }
            *found = &raw mut entry;
            0
        });
        assert_eq!(buffer.unwrap().unwrap().len(), 4 * BUFFER);
        assert_eq!(sizes, [BUFFER, 2 * BUFFER, 4 * BUFFER]);
    }
}
