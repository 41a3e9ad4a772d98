//! `crypt_r` of the system's libcrypt, loaded when it is first needed and never unloaded.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Names of the library: `.2` of distributions that dropped the old symbols, `.1` of the others.
const LIBRARIES: [&CStr; 2] = [c"libcrypt.so.2", c"libcrypt.so.1"];

/// `struct crypt_data` has 32768 octets in libxcrypt and 131232 in old glibc; there is room for both.
const DATA_WORDS: usize = 256 * 1024 / 8;

type CryptR = unsafe extern "C" fn(*const c_char, *const c_char, *mut c_void) -> *mut c_char;

/// A loaded libcrypt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Libcrypt(CryptR);

impl Libcrypt {
    /// The system's library; `None` where there is none.
    pub(crate) fn load() -> Option<Self> {
        static LOADED: OnceLock<Option<Libcrypt>> = OnceLock::new();
        *LOADED.get_or_init(|| LIBRARIES.iter().find_map(|name| Self::open(name)))
    }

    fn open(name: &CStr) -> Option<Self> {
        const FLAGS: c_int = libc::RTLD_NOW | libc::RTLD_LOCAL;
        // SAFETY: the name ends in NUL; the library's constructors are those of the system's own libcrypt.
        let library = unsafe { libc::dlopen(name.as_ptr(), FLAGS) };
        if library.is_null() {
            return None;
        }
        // SAFETY: the handle is open and never closed; the name ends in NUL.
        let symbol = unsafe { libc::dlsym(library, c"crypt_r".as_ptr()) };
        if symbol.is_null() {
            return None;
        }
        // SAFETY: crypt_r has this signature in every libcrypt (crypt(3)), and the library stays loaded.
        Some(Self(unsafe { std::mem::transmute::<*mut c_void, CryptR>(symbol) }))
    }

    /// The hash of a password with a setting, which may be a whole hash.
    ///
    /// # Errors
    /// `EINVAL`: the setting is of no scheme that this library knows. `ERANGE`: the password is too long.
    /// `ENOMEM`: there is not enough memory.
    pub(crate) fn crypt(self, password: &[u8], setting: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        super::memory::overwrite_freed_by_libraries();
        let password = terminated(password)?;
        let setting = terminated(setting)?;
        let mut data = Zeroizing::new(vec![0_u64; DATA_WORDS]);
        nix::errno::Errno::clear();
        // SAFETY: both strings end in NUL, the data is zeroed, aligned to 8 and larger than any struct
        // crypt_data; nobody else uses it.
        let hash =
            unsafe { (self.0)(password.as_ptr().cast(), setting.as_ptr().cast(), data.as_mut_ptr().cast()) };
        let error = io::Error::last_os_error();
        if hash.is_null() {
            return Err(failure(error));
        }
        // SAFETY: crypt_r returns a string that ends in NUL, in `data`, which lives until the copy is made.
        let hash = unsafe { CStr::from_ptr(hash) }.to_bytes();
        if hash.starts_with(b"*") {
            return Err(failure(error));
        }
        Ok(Zeroizing::new(hash.to_vec()))
    }
}

/// A failure without a code is a setting that was not understood.
fn failure(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(0) | None => io::Error::from_raw_os_error(libc::EINVAL),
        Some(_) => error,
    }
}

/// A copy that ends in NUL and is wiped.
fn terminated(bytes: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    if bytes.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut copy = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    copy.extend_from_slice(bytes);
    copy.push(0);
    Ok(copy)
}
