//! Password hashes: one table of prefix, scheme and verifier.

use crate::sys::crypt::Libcrypt;
use std::io;
use subtle::ConstantTimeEq;
use yescrypt::{Params, PasswordHasher, Yescrypt};
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Longer passwords are refused (libxcrypt's own limit).
pub(super) const MAX_PASSWORD: usize = 512;

/// Rounds of SHA-crypt and its kin. The default is 5000; this many take seconds, and the format's own limit of
/// 999,999,999 would take minutes.
const MAX_ROUNDS: u64 = 2_000_000;

/// log2 of bcrypt's rounds: 4 s on a slow core. The format's own limit is 31.
const MAX_BCRYPT_COST: u64 = 15;

/// BSDI iterations; the format's own limit is 16,777,215.
const MAX_BSDI_COUNT: u64 = 1_000_000;

/// log2 of yescrypt's and scrypt's N: 1 GiB of memory at their block size of 4 KiB.
const MAX_LOG2_N: u64 = 18;

/// What base 64 of crypt(3) is written in, from 0 to 63.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A yescrypt digest has 32 octets, 43 characters. Shorter ones would match more passwords, none at all would
/// match every one.
const YESCRYPT_DIGEST: usize = 43;

/// Who computes a scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verifier {
    /// The `pwhash` crate.
    Pwhash,
    /// The system's libcrypt.
    Libcrypt,
    /// libcrypt, which is twice as fast, or the `yescrypt` crate where it is missing.
    Yescrypt,
}

/// One line of the table.
struct Scheme {
    prefix: &'static str,
    name: &'static str,
    verifier: Verifier,
    /// Where the salt begins, so that what is before it can be kept in a dummy.
    salt_at: fn(&str) -> usize,
    /// Whether the hash can be computed in reasonable time.
    bearable: fn(&str) -> bool,
}

const SCHEMES: &[Scheme] = &[
    scheme("$y$", "yescrypt", Verifier::Yescrypt, third_field, yescrypt_cost),
    scheme("$gy$", "gost-yescrypt", Verifier::Libcrypt, third_field, yescrypt_cost),
    scheme("$7$", "scrypt", Verifier::Libcrypt, |_| "$7$".len() + SCRYPT_PARAMS, scrypt_cost),
    scheme("$2b$", "bcrypt", Verifier::Pwhash, third_field, bcrypt_cost),
    scheme("$2a$", "bcrypt-a", Verifier::Pwhash, third_field, bcrypt_cost),
    scheme("$2y$", "bcrypt-y", Verifier::Pwhash, third_field, bcrypt_cost),
    scheme("$2x$", "bcrypt-x", Verifier::Libcrypt, third_field, bcrypt_cost),
    scheme("$6$", "sha512-crypt", Verifier::Pwhash, behind_rounds, rounds_cost),
    scheme("$5$", "sha256-crypt", Verifier::Pwhash, behind_rounds, rounds_cost),
    scheme("$1$", "md5-crypt", Verifier::Pwhash, |_| "$1$".len(), |_| true),
    scheme("$sha1$", "sha1-crypt", Verifier::Libcrypt, third_field, sha1_cost),
    scheme("$md5", "sunmd5", Verifier::Libcrypt, second_field, rounds_cost),
    scheme("$3$", "nt", Verifier::Libcrypt, |_| "$3$$".len(), |_| true),
    scheme("_", "bsdi-crypt", Verifier::Pwhash, |_| "_J9..".len(), bsdi_cost),
];

/// The scheme without a prefix: 13 characters of crypt's alphabet.
const DES: Scheme = scheme("", "des-crypt", Verifier::Pwhash, |_| 0, |_| true);

const DES_OCTETS: usize = 13;

/// N, r and p in scrypt's `$7$`.
const SCRYPT_PARAMS: usize = 11;

const fn scheme(
    prefix: &'static str,
    name: &'static str,
    verifier: Verifier,
    salt_at: fn(&str) -> usize,
    bearable: fn(&str) -> bool,
) -> Scheme {
    Scheme { prefix, name, verifier, salt_at, bearable }
}

/// Why a hash could not be checked.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no hash: the account has no usable password (`!`, `*`, `x`, empty).
    Locked,
    /// Nobody here can compute it; the scheme's name, never a part of the hash behind it.
    Unsupported(String),
    /// It would take too long; the scheme's name.
    TooCostly(&'static str),
    /// Not now: no memory.
    System(io::Error),
}

/// Loads libcrypt, if there is one: behind a fence nothing can be loaded.
pub(super) fn prepare() {
    let _ = Libcrypt::load();
}

/// Whether the password belongs to the hash. Passwords with a NUL and those over 512 octets belong to none, but
/// are computed at the same cost.
///
/// # Errors
/// The hash cannot be checked.
pub(super) fn verify(hash: &[u8], password: &[u8]) -> Result<bool, Failure> {
    verify_with(Libcrypt::load, hash, password)
}

/// As [`verify`], with another way to find libcrypt.
fn verify_with(
    libcrypt: impl Fn() -> Option<Libcrypt>,
    hash: &[u8],
    password: &[u8],
) -> Result<bool, Failure> {
    let (scheme, hash) = find(hash)?;
    if !(scheme.bearable)(hash) {
        return Err(Failure::TooCostly(scheme.name));
    }
    let acceptable = password.len() <= MAX_PASSWORD && !password.contains(&0);
    let password = if acceptable { password } else { b"" };
    let right = match scheme.verifier {
        Verifier::Pwhash if is_plain(scheme, hash) => by_pwhash(hash, password),
        Verifier::Pwhash => by_libcrypt(libcrypt(), scheme, hash, password)?,
        Verifier::Libcrypt => by_libcrypt(libcrypt(), scheme, hash, password)?,
        Verifier::Yescrypt => match libcrypt() {
            Some(library) => by_libcrypt(Some(library), scheme, hash, password)?,
            None => by_yescrypt(hash, password),
        },
    };
    Ok(right && acceptable)
}

/// A hash of the same scheme and cost that no password is known for: salt and digest are dots. `None` when the
/// field is no hash that can be checked here.
pub(super) fn dummy_of(hash: &[u8]) -> Option<String> {
    let (scheme, hash) = find(hash).ok()?;
    let known = scheme.verifier != Verifier::Libcrypt || Libcrypt::load().is_some();
    if !known || !(scheme.bearable)(hash) {
        return None;
    }
    let (setting, rest) = hash.split_at_checked((scheme.salt_at)(hash))?;
    let hidden = rest.bytes().map(|byte| if byte == b'$' { '$' } else { '.' });
    Some(setting.chars().chain(hidden).collect())
}

/// A dummy for `ENCRYPT_METHOD` of login.defs; yescrypt where it is not known.
pub(super) fn dummy_named(method: &str) -> String {
    let (setting, salt, digest) = match method.to_ascii_uppercase().as_str() {
        "SHA512" => ("$6$", 16, 86),
        "SHA256" => ("$5$", 16, 43),
        "MD5" => ("$1$", 8, 22),
        "DES" => return ".".repeat(DES_OCTETS),
        "BCRYPT" => return format!("$2b$13${}", ".".repeat(53)),
        _ => ("$y$j9T$", 22, YESCRYPT_DIGEST),
    };
    format!("{setting}{}${}", ".".repeat(salt), ".".repeat(digest))
}

/// A hash of a new password by `ENCRYPT_METHOD` of login.defs: SHA-512 and SHA-256 where it says so, else yescrypt.
///
/// # Errors
/// The hash cannot be computed.
pub(super) fn make(method: &str, password: &[u8], random: &[u8; 16]) -> Result<String, Failure> {
    let salt = encode(random);
    let setting = match method.to_ascii_uppercase().as_str() {
        "SHA512" => format!("$6${}$", salt.get(..16).unwrap_or_default()),
        "SHA256" => format!("$5${}$", salt.get(..16).unwrap_or_default()),
        _ => format!("$y$j9T${salt}"),
    };
    let computed = match Libcrypt::load() {
        Some(library) => library.crypt(password, setting.as_bytes()).map(|hash| hash.to_vec()),
        None => make_without_library(&setting, password, random),
    };
    let hash = String::from_utf8(computed.map_err(Failure::System)?).map_err(|_| Failure::Locked)?;
    // What cannot be verified must not be stored.
    if verify(hash.as_bytes(), password)? { Ok(hash) } else { Err(Failure::Locked) }
}

fn make_without_library(setting: &str, password: &[u8], salt: &[u8]) -> io::Result<Vec<u8>> {
    if !setting.starts_with("$y$") {
        return pwhash::unix::crypt(password, setting).map(String::into_bytes).map_err(io::Error::other);
    }
    let params = "j9T".parse::<Params>().map_err(io::Error::other)?;
    let hash = Yescrypt::from(params).hash_password_with_salt(password, salt).map_err(io::Error::other)?;
    Ok(hash.as_str().as_bytes().to_vec())
}

/// Octets in crypt's base 64, lowest bits first; what [`decode`] reads.
fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 4 / 3 + 1);
    for group in octets.chunks(3) {
        let bits = group.iter().rev().fold(0, |bits, octet| bits << 8 | usize::from(*octet));
        text.extend((0..=group.len()).map(|at| char::from(ALPHABET[bits >> (6 * at) & 63])));
    }
    text
}

/// The scheme of a password field.
fn find(hash: &[u8]) -> Result<(&'static Scheme, &str), Failure> {
    let hash = std::str::from_utf8(hash).ok().filter(|hash| hash.is_ascii()).ok_or(Failure::Locked)?;
    if let Some(scheme) = SCHEMES.iter().find(|scheme| hash.starts_with(scheme.prefix)) {
        return Ok((scheme, hash));
    }
    if hash.len() == DES_OCTETS && hash.bytes().all(|byte| ALPHABET.contains(&byte)) {
        return Ok((&DES, hash));
    }
    match hash.strip_prefix('$').and_then(|rest| rest.split_once('$')) {
        Some((name, _)) => Err(Failure::Unsupported(format!("${}$", name.get(..16).unwrap_or(name)))),
        None => Err(Failure::Locked),
    }
}

/// Whether salt and digest have nothing but crypt's alphabet and one `$` at most between them. The crate
/// panics at salts of other characters, which crypt(3) allows for SHA-crypt and MD5.
fn is_plain(scheme: &Scheme, hash: &str) -> bool {
    let rest = hash.get((scheme.salt_at)(hash)..).unwrap_or_default();
    let separators = usize::from(matches!(scheme.prefix, "$1$" | "$5$" | "$6$"));
    let alphabet = rest.bytes().all(|byte| byte == b'$' || ALPHABET.contains(&byte));
    alphabet && rest.matches('$').count() == separators
}

fn by_pwhash(hash: &str, password: &[u8]) -> bool {
    pwhash::unix::crypt(password, hash)
        .map(|computed| Zeroizing::new(computed.into_bytes()))
        .is_ok_and(|computed| computed.ct_eq(hash.as_bytes()).into())
}

fn by_libcrypt(
    library: Option<Libcrypt>,
    scheme: &Scheme,
    hash: &str,
    password: &[u8],
) -> Result<bool, Failure> {
    let unsupported = || Failure::Unsupported(scheme.name.to_owned());
    let library = library.ok_or_else(unsupported)?;
    match library.crypt(password, hash.as_bytes()) {
        Ok(computed) => Ok(computed.ct_eq(hash.as_bytes()).into()),
        Err(error) => match error.kind() {
            io::ErrorKind::OutOfMemory => Err(Failure::System(error)),
            // ERANGE has no kind: a password of 512 octets is one too long for the library.
            _ if password.len() >= MAX_PASSWORD => Ok(false),
            _ => Err(unsupported()),
        },
    }
}

/// The crate's own check takes digests of any length; so the hash is computed anew and compared as a whole.
fn by_yescrypt(hash: &str, password: &[u8]) -> bool {
    let mut fields = hash.split('$').skip(2);
    let (Some(params), Some(salt), Some(digest)) = (fields.next(), fields.next(), fields.next()) else {
        return false;
    };
    let (Ok(params), Some(salt)) = (params.parse::<Params>(), decode(salt)) else { return false };
    if digest.len() != YESCRYPT_DIGEST {
        return false;
    }
    Yescrypt::from(params)
        .hash_password_with_salt(password, &salt)
        .is_ok_and(|computed| computed.as_str().as_bytes().ct_eq(hash.as_bytes()).into())
}

/// Octets from crypt's base 64, lowest bits first.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for (at, character) in group.iter().enumerate() {
            bits |= digit(*character)? << (6 * at);
        }
        octets.extend_from_slice(bits.to_le_bytes().get(..group.len() * 6 / 8)?);
    }
    Some(octets)
}

fn digit(character: u8) -> Option<u64> {
    ALPHABET.iter().position(|known| *known == character).and_then(|at| u64::try_from(at).ok())
}

/// A number in crypt's base 64, lowest digit first.
fn number(text: Option<&str>) -> Option<u64> {
    text?.bytes().rev().try_fold(0, |sum, character| Some(sum * 64 + digit(character)?))
}

/// Behind `$y$j9T$`.
fn third_field(hash: &str) -> usize {
    hash.match_indices('$').nth(2).map_or(hash.len(), |(at, _)| at + 1)
}

/// Behind `$md5,rounds=5000$`.
fn second_field(hash: &str) -> usize {
    hash.match_indices('$').nth(1).map_or(hash.len(), |(at, _)| at + 1)
}

/// Behind `$6$` or `$6$rounds=5000$`.
fn behind_rounds(hash: &str) -> usize {
    if hash.get(3..).is_some_and(|rest| rest.starts_with("rounds=")) { third_field(hash) } else { 3 }
}

fn rounds_cost(hash: &str) -> bool {
    let Some((_, rest)) = hash.split_once("rounds=") else { return true };
    rest.split('$')
        .next()
        .and_then(|digits| digits.parse().ok())
        .is_some_and(|rounds: u64| rounds <= MAX_ROUNDS)
}

fn sha1_cost(hash: &str) -> bool {
    let rounds = hash.split('$').nth(2).and_then(|digits| digits.parse().ok());
    rounds.is_some_and(|rounds: u64| rounds <= MAX_ROUNDS)
}

fn bcrypt_cost(hash: &str) -> bool {
    hash.get(4..6).and_then(|digits| digits.parse().ok()).is_some_and(|cost: u64| cost <= MAX_BCRYPT_COST)
}

fn bsdi_cost(hash: &str) -> bool {
    number(hash.get(1..5)).is_some_and(|count| count <= MAX_BSDI_COUNT)
}

/// Flags, log2 N less one, and r, a character each; the longer forms of yescrypt are not made by crypt(3).
fn yescrypt_cost(hash: &str) -> bool {
    let params = hash.split('$').nth(2).unwrap_or_default();
    params.len() == 3 && number(params.get(1..2)).is_some_and(|log2| log2 < MAX_LOG2_N)
}

/// log2 N in one character, r and p in five each.
fn scrypt_cost(hash: &str) -> bool {
    let (log2, r, p) = (number(hash.get(3..4)), number(hash.get(4..9)), number(hash.get(9..14)));
    log2.is_some_and(|log2| log2 <= MAX_LOG2_N) && r.is_some_and(|r| r <= 32) && p.is_some_and(|p| p <= 4)
}
