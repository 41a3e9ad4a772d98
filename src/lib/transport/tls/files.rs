//! Certificates and keys as they lie in files, and the secret that tickets are made with.
//!
//! Whoever reads them is root and about to become a login process, or a child that ends at once: they are never in the
//! monitor's memory, and so never in that of a verifier or a session. Standalone they go through a file without a name, which the
//! monitor keeps open and does not read.

use super::Acceptor;
use crate::config::{self, Config, KeyPair};
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::{file, privileges, random};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// The largest file that is read: a chain has some kilobytes, a list of authorities some hundred.
const LARGEST: u64 = 4 << 20;

/// Octets of a PEM file; keys are among them.
type Pem = Zeroizing<Vec<u8>>;

/// What TLS needs, as octets.
pub(crate) struct Material {
    /// Certificates and their keys, the one for clients that name no server first, with the names for errors.
    pub(super) pairs: Vec<Pair>,
    /// Authorities of client certificates.
    pub(super) client_ca: Option<(String, Pem)>,
    /// What the keys of tickets come from.
    pub(super) seed: Zeroizing<[u8; 32]>,
}

/// A certificate's and a key's file.
pub(super) struct Pair {
    pub(super) certificate: (String, Pem),
    pub(super) key: (String, Pem),
}

impl Material {
    /// Reads the files that the configuration names; `None` when it names none.
    ///
    /// # Errors
    /// One cannot be read, or we are root and somebody else may write or replace it.
    pub(crate) fn read(config: &Config) -> Result<Option<Self>> {
        let tls = &config.tls;
        if !tls.is_configured() {
            return Ok(None);
        }
        let pairs = tls.pairs().iter().map(read_pair).collect::<Result<Vec<_>>>()?;
        let client_ca = config.takes_certificates().then(|| named(&tls.client_ca)).transpose()?;
        let mut seed = Zeroizing::new([0; 32]);
        random::fill(seed.as_mut_slice()).map_err(|cause| Error::io("cannot get random octets", cause))?;
        Ok(Some(Self { pairs, client_ca, seed }))
    }

    /// What is wrong with keys and certificates, without which they cannot be used.
    ///
    /// # Errors
    /// The first fault, with the file's name.
    pub(crate) fn check(&self, config: &Config) -> Result<()> {
        Acceptor::new(self, config.tls.min_version, Duration::ZERO).map(drop)
    }

    /// Writes it to a file without a name.
    ///
    /// # Errors
    /// As write(2).
    pub(crate) fn put(&self, mut to: &File) -> io::Result<()> {
        let mut parts: Vec<&[u8]> = vec![self.seed.as_slice()];
        for (name, octets) in self.pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]) {
            parts.extend([name.as_bytes(), octets]);
        }
        if let Some((name, octets)) = &self.client_ca {
            parts.extend([name.as_bytes(), octets]);
        }
        let counts = [self.pairs.len() as u64, u64::from(self.client_ca.is_some())];
        let mut all = Zeroizing::new(Vec::new());
        all.reserve_exact(16 + parts.iter().map(|part| part.len() + 8).sum::<usize>());
        counts.iter().for_each(|count| all.extend_from_slice(&count.to_le_bytes()));
        for part in parts {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
        to.write_all(&all)
    }

    /// Reads what [`Material::put`] wrote.
    ///
    /// # Errors
    /// It is not there as a whole.
    pub(crate) fn take(from: &File) -> Result<Self> {
        let failed = |cause| Error::io("cannot take over the certificates", cause);
        let length = usize::try_from(file::status(from).map_err(failed)?.identity.size).unwrap_or(0);
        let mut all = Zeroizing::new(vec![0; length]);
        file::read_at(from, &mut all, 0).map_err(failed)?;
        Self::decode(&mut all.as_slice()).map_err(failed)
    }

    fn decode(input: &mut &[u8]) -> io::Result<Self> {
        let (pairs, client_ca) = (number(input)?, number(input)? == 1);
        let mut seed = Zeroizing::new([0; 32]);
        let octets = part(input)?;
        if octets.len() != seed.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        seed.copy_from_slice(&octets);
        let pairs = (0..pairs)
            .map(|_| Ok(Pair { certificate: file_part(input)?, key: file_part(input)? }))
            .collect::<io::Result<Vec<_>>>()?;
        let client_ca = client_ca.then(|| file_part(input)).transpose()?;
        Ok(Self { pairs, client_ca, seed })
    }
}

fn number(input: &mut &[u8]) -> io::Result<u64> {
    let mut octets = [0; 8];
    input.read_exact(&mut octets)?;
    Ok(u64::from_le_bytes(octets))
}

fn part(input: &mut &[u8]) -> io::Result<Pem> {
    let length = usize::try_from(number(input)?).map_err(io::Error::other)?;
    let (part, rest) = input.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
    *input = rest;
    Ok(Zeroizing::new(part.to_vec()))
}

fn file_part(input: &mut &[u8]) -> io::Result<(String, Pem)> {
    let name = String::from_utf8_lossy(&part(input)?).into_owned();
    Ok((name, part(input)?))
}

fn read_pair(pair: &KeyPair) -> Result<Pair> {
    Ok(Pair { certificate: named(&pair.certificate)?, key: named(&pair.key)? })
}

fn named(path: &Path) -> Result<(String, Pem)> {
    Ok((path.display().to_string(), read_file(path)?.0))
}

/// The octets of a file, and its mode. Links are followed where root alone could have made them: an ordinary user's link could name a file
/// that only root can read.
///
/// # Errors
/// It cannot be read, or we are root and somebody else may write or replace it.
pub(crate) fn read_file(path: &Path) -> Result<(Pem, u32)> {
    let failed = |cause| Error::io(format!("cannot read {}", path.display()), cause).of_kind(Kind::Config);
    let root = privileges::is_root();
    if root {
        links_are_roots(path)?;
    }
    let real = std::fs::canonicalize(path).map_err(failed)?;
    let (Some(above), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err(Error::new(Kind::Config, format!("{} is not a regular file", path.display())));
    };
    let file = Directory::open(above).and_then(|directory| directory.open_to_read(name)).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::new(Kind::Config, format!("{} is not a regular file", path.display())));
    }
    if root {
        config::only_root_writes(path, &metadata)?;
    }
    let length = metadata.len();
    if length > LARGEST {
        let what = format!("{} is larger than {LARGEST} octets", path.display());
        return Err(Error::new(Kind::Config, what));
    }
    // Of the right size at once: a buffer that grew would leave parts of a key behind.
    let mut octets = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    let read = file::read_at(&file, &mut octets, 0).map_err(failed)?;
    octets.truncate(read);
    Ok((octets, metadata.mode() & 0o7777))
}

/// Follows the links one by one: each stands where root alone may write, and so does what they lead to.
fn links_are_roots(named: &Path) -> Result<()> {
    // More than that the kernel does not follow either (path_resolution(7)).
    const MOST_LINKS: usize = 40;
    let mut path = named.to_owned();
    for _ in 0..=MOST_LINKS {
        let above = path.parent().unwrap_or(Path::new("/"));
        config::only_root_changes(above, named)?;
        match std::fs::read_link(&path) {
            Ok(link) => path = above.join(link),
            Err(_) => return Ok(()),
        }
    }
    Err(Error::new(Kind::Config, format!("{} is a chain of too many links", named.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_survives_its_way_and_nothing_else_is_one() {
        let pem = |text: &str| (format!("/{text}.pem"), Zeroizing::new(text.as_bytes().to_vec()));
        let pair = |name: &str| Pair { certificate: pem(name), key: pem("key") };
        let material = Material {
            pairs: vec![pair("one"), pair("two")],
            client_ca: Some(pem("ca")),
            seed: Zeroizing::new([7; 32]),
        };
        let file = tempfile::tempfile().unwrap();
        material.put(&file).unwrap();
        let same = Material::take(&file).unwrap();
        assert_eq!((same.pairs.len(), same.seed.as_slice()), (2, &[7; 32][..]));
        assert_eq!(same.pairs[1].certificate, pem("two"));
        assert_eq!(same.client_ca, Some(pem("ca")));
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert!(Material::take(&file).is_err(), "cut short");
    }

    /// Design, section 2: nothing that root trusts lies where others can put something else in its place.
    #[test]
    fn a_key_that_others_could_plant_is_refused() {
        if !privileges::is_root() {
            return;
        }
        let place = tempfile::tempdir_in("/root").or_else(|_| tempfile::tempdir()).unwrap();
        let key = place.path().join("key.pem");
        std::fs::write(&key, "key").unwrap();
        let mode = |path: &Path, mode| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&key, 0o600);
        assert_eq!(read_file(&key).unwrap().0.as_slice(), b"key");
        let link = place.path().join("link.pem");
        std::os::unix::fs::symlink("key.pem", &link).unwrap();
        assert!(read_file(&link).is_ok(), "a link of root's, as certbot makes them");
        mode(&key, 0o620);
        assert!(read_file(&key).unwrap_err().to_string().contains("may be written by others"));
        mode(&key, 0o600);
        let open = place.path().join("open");
        std::fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
        std::os::unix::fs::symlink(&key, open.join("planted.pem")).unwrap();
        assert!(read_file(&open.join("planted.pem")).unwrap_err().to_string().contains("can be replaced"));
    }
}
