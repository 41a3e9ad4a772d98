//! Locks that somebody holds, as the kernel lists them (proc_locks(5)): a look disturbs nobody.

use super::file::Identity;
use std::fs;
use std::io;

/// Where the kernel lists them.
pub(crate) const LIST: &str = "/proc/locks";

/// What kind of lock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// flock(2).
    Flock,
    /// fcntl(2): of a process, or of an open file description.
    Record,
}

/// A lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// What kind.
    pub(crate) kind: Kind,
    /// Whether it shuts out readers too.
    pub(crate) exclusive: bool,
    /// The process that took it; none for one of an open file description.
    pub(crate) pid: Option<u32>,
    device: u64,
    inode: u64,
}

impl Held {
    /// Whether it is on this file. Some file systems (overlays, volumes) show another device number in the list: there `pid`, where
    /// it is known, has to do.
    pub(crate) fn is_on(&self, file: &Identity, pid: Option<u32>) -> bool {
        self.inode == file.inode && (self.device == file.device || (pid.is_some() && self.pid == pid))
    }
}

/// All locks that are held now, but for those of other process namespaces.
///
/// # Errors
/// There is no `/proc`.
pub(crate) fn all() -> io::Result<Vec<Held>> {
    Ok(parse(&fs::read_to_string(LIST)?))
}

/// `1: FLOCK  ADVISORY  WRITE 9602 00:31:12 0 EOF`; the lines of those that wait have an arrow.
fn parse(text: &str) -> Vec<Held> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let kind = match words.next()? {
            "FLOCK" => Kind::Flock,
            "POSIX" | "OFDLCK" => Kind::Record,
            _ => return None,
        };
        let exclusive = words.nth(1)? == "WRITE";
        let pid = words.next()?.parse().ok();
        let mut place = words.next()?.split(':');
        let mut number = || u64::from_str_radix(place.next()?, 16).ok();
        let device = nix::sys::stat::makedev(number()?, number()?);
        Some(Held { kind, exclusive, pid, device, inode: place.next()?.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file::status;
    use super::*;

    #[test]
    fn the_kernels_list_is_read() {
        let held = parse(
            "1: POSIX  ADVISORY  READ  812 fe:01:1034 0 EOF\n\
             1: -> POSIX  ADVISORY  WRITE 813 fe:01:1034 0 EOF\n\
             2: OFDLCK ADVISORY  WRITE -1 00:31:12 0 EOF\n\
             3: LEASE  ACTIVE    READ  9 00:31:13 0 EOF\n4: FLOCK",
        );
        let device = nix::sys::stat::makedev(0xfe, 1);
        let first = Held { kind: Kind::Record, exclusive: false, pid: Some(812), device, inode: 1034 };
        assert_eq!((held.len(), held[0]), (2, first));
        assert_eq!((held[1].pid, held[1].exclusive, held[1].inode), (None, true, 12));
    }

    #[test]
    fn a_lock_of_ours_is_in_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = Some(std::process::id());
        let is_held = || {
            let identity = status(file.as_file()).unwrap().identity;
            all().unwrap().iter().any(|held| held.is_on(&identity, own) && held.pid == own)
        };
        assert!(!is_held());
        file.as_file().lock().unwrap();
        assert!(is_held());
    }
}
