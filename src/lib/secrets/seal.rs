//! Secrets that must be known to be checked are sealed (XChaCha20-Poly1305) under a key outside the database, so that a copy of
//! the database tells nothing. User and type are part of the seal: an entry that is moved to another user does not open.

use super::{LONGEST, SHORTEST, SecretType, failed, guard, refused};
use crate::error::Result;
use crate::secret::Secret;
use crate::sys::directory::Directory;
use crate::sys::privileges::Ids;
use crate::sys::{file, random};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::fchown;
use std::path::Path;
use zeroize::Zeroizing;

/// The key file: this, the key's id, the key.
const MAGIC: &[u8; 16] = b"poptools key 1\n\0";

const ID: usize = 8;

const KEY: usize = 32;

const KEY_FILE: usize = MAGIC.len() + ID + KEY;

const NONCE: usize = 24;

/// How the name of a key file begins that is not complete.
pub(super) const UNFINISHED: &str = ".mailauth.key-";

/// Before sealing every secret has this length, one octet that tells its own included: the sealed form does not tell it.
const PADDED: usize = 1 + LONGEST;

/// What to do without the right key.
pub(super) const LOST: &str = "bring it back from a backup, with owner and mode; without one, rm what is there, and mailauth init --clear \
                               makes a new key and removes all entries";

/// A sealed secret: nonce, what was padded, and a tag of 16 octets.
const SEALED: usize = NONCE + PADDED + 16;

/// Stands before the data that is bound to a sealed secret.
const DOMAIN: &[u8] = b"poptools sealed secret 1";

/// Octets that make up salts.
pub(super) const SALTS: usize = 32;

/// Which key sealed something.
pub(super) type KeyId = [u8; ID];

/// What is sealed once in each database, to tell whether a key is the database's.
const PROBE: &[u8] = b"this key opens this database";

/// The key of a secrets database.
pub(crate) struct Key {
    id: KeyId,
    octets: Zeroizing<[u8; KEY]>,
}

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// The kernel has no random octets.
    pub(crate) fn generate() -> Result<Self> {
        let mut key = Self { id: [0; ID], octets: Zeroizing::new([0; KEY]) };
        fill(&mut key.id)?;
        fill(key.octets.as_mut_slice())?;
        Ok(key)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// It is missing, somebody else may read it, or it is no key file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let file = guard::file(path, "0400")
            .map_err(|error| if is_missing(path) { error.with_fix(LOST) } else { error })?;
        let mut octets = Zeroizing::new(Vec::with_capacity(KEY_FILE + 1));
        file.take(KEY_FILE as u64 + 1)
            .read_to_end(&mut octets)
            .map_err(|cause| failed("read", path, cause))?;
        Self::parse(&octets)
            .ok_or_else(|| refused(format!("{} is no key of mailauth's", path.display())).with_fix(LOST))
    }

    /// The key in the octets of a key file.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        let (id, key) = octets.strip_prefix(MAGIC.as_slice())?.split_first_chunk()?;
        Some(Self { id: *id, octets: Zeroizing::new(key.try_into().ok()?) })
    }

    /// The octets of its key file.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([MAGIC.as_slice(), &self.id, self.octets.as_slice()].concat())
    }

    /// Writes a key file that is complete before it has its name, for `owner` (none: for ourselves).
    ///
    /// # Errors
    /// The name is taken, or the system's errors.
    pub(super) fn create(&self, path: &Path, owner: Option<&Ids>) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(refused(format!("{} is no name of a file", path.display())));
        };
        let failed = |cause| failed("make", path, cause);
        let directory = Directory::open(parent).map_err(failed)?;
        let (temporary, mut made) = directory.create_unguessable(UNFINISHED).map_err(failed)?;
        let named = (|| {
            made.write_all(&self.to_bytes())?;
            file::set_mode(&made, 0o400)?;
            if let Some(ids) = owner {
                fchown(&made, Some(ids.uid), Some(ids.gid))?;
            }
            made.sync_all()?;
            directory.rename_to_new(&temporary, name)?;
            directory.sync()
        })();
        if named.is_err() {
            // Gone already when it has its name.
            let _ = directory.remove(&temporary);
        }
        named.map_err(failed)
    }

    /// Its id, as the database has it.
    pub(super) const fn id(&self) -> &KeyId {
        &self.id
    }

    /// Seals a secret of at most [`LONGEST`] octets for a user and a type.
    ///
    /// # Errors
    /// It is longer, or the kernel has no random octets.
    pub(super) fn seal(&self, user: &str, kind: SecretType, secret: &Secret) -> Result<Vec<u8>> {
        self.seal_as(user, kind.as_str(), secret.expose())
    }

    /// Opens what [`Key::seal`] made for the same user and type; `None` when it is damaged, moved, or sealed by another key.
    pub(super) fn unseal(&self, user: &str, kind: SecretType, sealed: &[u8]) -> Option<Secret> {
        self.unseal_as(user, kind.as_str(), sealed)
    }

    /// What a new database keeps, so that a wrong key is noticed before anything is done with it.
    ///
    /// # Errors
    /// The kernel has no random octets.
    pub(super) fn probe(&self) -> Result<Vec<u8>> {
        self.seal_as("", "", PROBE)
    }

    /// Whether this key made the probe.
    pub(super) fn opens(&self, probe: &[u8]) -> bool {
        self.unseal_as("", "", probe).is_some_and(|opened| opened.expose() == PROBE)
    }

    /// A secret that is nobody's, at the cost of opening one.
    pub(crate) fn dummy(&self) -> Secret {
        self.unseal_as("", "", &[0; SEALED]).unwrap_or_else(|| Secret::new(vec![0; SHORTEST]))
    }

    fn seal_as(&self, user: &str, kind: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let (Ok(length), true) = (u8::try_from(secret.len()), secret.len() <= LONGEST) else {
            return Err(refused("a secret is too long to be sealed".to_owned()));
        };
        let mut padded = Zeroizing::new([0; PADDED]);
        padded[0] = length;
        padded[1..=secret.len()].copy_from_slice(secret);
        let mut nonce = [0; NONCE];
        fill(&mut nonce)?;
        let payload = Payload { msg: padded.as_slice(), aad: &self.bound(user, kind) };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| refused("a secret cannot be sealed".to_owned()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn unseal_as(&self, user: &str, kind: &str, sealed: &[u8]) -> Option<Secret> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: &self.bound(user, kind) };
        let padded = Zeroizing::new(self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()?);
        let (length, rest) = padded.split_first()?;
        Some(Secret::new(rest.get(..usize::from(*length))?.to_vec()))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.octets).into())
    }

    /// What is bound to a sealed secret: each part with its length, so that no two lists of parts are alike.
    fn bound(&self, user: &str, kind: &str) -> Vec<u8> {
        let mut bound = Vec::with_capacity(128);
        for part in [DOMAIN, user.as_bytes(), kind.as_bytes(), &self.id] {
            bound.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bound.extend_from_slice(part);
        }
        bound
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|cause| cause.kind() == ErrorKind::NotFound)
}

/// Fills a buffer with random octets.
///
/// # Errors
/// The kernel has none.
pub(super) fn fill(buffer: &mut [u8]) -> Result<()> {
    random::fill(buffer).map_err(|cause| crate::error::Error::io("cannot get random octets", cause))
}
