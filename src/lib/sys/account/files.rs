//! passwd and shadow as files, where the system's databases begin with them (nsswitch.conf(5)).
//!
//! The C library gets at the same lines through its own layers and reads the file line by line up to the one wanted: most of what a
//! login costs when there are thousands of users. What is not plain here, or not found, is asked of it.

use super::{Shadow, User};
use crate::secret::Secret;
use memchr::memmem;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Which databases are asked in which order.
const ORDER: &str = "/etc/nsswitch.conf";

const PASSWD: &str = "/etc/passwd";

const SHADOW: &str = "/etc/shadow";

/// Octets that are read at once; a line that does not fit is left to the C library.
const ROOM: usize = 8 * 1024;

/// The passwd entry of a name, if passwd is asked first and has it in plain form.
pub(super) fn user(name: &str) -> Option<User> {
    is_first(Path::new(ORDER), "passwd").then(|| parse_user(&line_of(Path::new(PASSWD), name)?))?
}

/// The same for shadow.
pub(super) fn shadow(name: &str) -> Option<Shadow> {
    is_first(Path::new(ORDER), "shadow").then(|| parse_shadow(&line_of(Path::new(SHADOW), name)?))?
}

/// Whether the files are asked first for a database, and their answer is the last word where they have one.
fn is_first(order: &Path, database: &str) -> bool {
    let Ok(text) = std::fs::read(order) else { return false };
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().filter_map(|line| line.split('#').next()?.trim().split_once(':'));
    let Some((_, sources)) = lines.find(|(name, _)| name.trim() == database) else { return false };
    let mut words = sources.split_whitespace();
    // What an action in brackets makes of an answer is the C library's business.
    words.next() == Some("files") && words.next().is_none_or(|word| !word.starts_with('['))
}

/// The line of a name, without its end; what else was read is wiped.
fn line_of(path: &Path, name: &str) -> Option<Zeroizing<Vec<u8>>> {
    // A sign before a name means something else in these files.
    if name.is_empty() || name.starts_with(['+', '-', '#']) || name.contains([':', '\n', '\0']) {
        return None;
    }
    let mut buffer = vec![0; ROOM];
    let mut most = 0;
    let line = search(File::open(path).ok()?, &format!("\n{name}:"), &mut buffer, &mut most);
    super::super::memory::wipe(buffer.get_mut(..most).unwrap_or_default());
    line
}

/// The line that begins with the needle, which begins with the end of the line before; `most` is how much of the buffer was used.
fn search(mut file: File, needle: &str, buffer: &mut [u8], most: &mut usize) -> Option<Zeroizing<Vec<u8>>> {
    let finder = memmem::Finder::new(needle);
    // As if a line had ended before the first.
    buffer[0] = b'\n';
    let mut filled = 1;
    loop {
        let octets = file.read(buffer.get_mut(filled..).filter(|room| !room.is_empty())?).ok()?;
        filled += octets;
        *most = filled.max(*most);
        let here = &buffer[..filled];
        let kept = match finder.find(here) {
            Some(at) => {
                let line = &here[at + 1..];
                match memchr::memchr(b'\n', line) {
                    Some(end) => return Some(Zeroizing::new(line[..end].to_vec())),
                    None if octets == 0 => return Some(Zeroizing::new(line.to_vec())),
                    None => filled - at,
                }
            }
            None if octets == 0 => return None,
            // The name may have begun.
            None => filled.min(needle.len() - 1),
        };
        buffer.copy_within(filled - kept..filled, 0);
        filled = kept;
    }
}

/// The fields of a line; none when there is another number of them.
fn fields<const COUNT: usize>(line: &[u8]) -> Option<[&[u8]; COUNT]> {
    let all: Vec<&[u8]> = line.split(|octet| *octet == b':').collect();
    all.try_into().ok()
}

/// A number in plain digits; the C library understands more.
fn number(field: &[u8]) -> Option<u32> {
    let plain = (1..=10).contains(&field.len()) && field.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(field).ok()?.parse().ok())?
}

fn parse_user(line: &[u8]) -> Option<User> {
    let [name, hash, uid, gid, _, home, shell] = fields(line)?;
    Some(User {
        name: String::from_utf8(name.to_vec()).ok()?,
        uid: number(uid)?,
        gid: number(gid)?,
        home: PathBuf::from(OsStr::from_bytes(home)),
        shell: String::from_utf8_lossy(shell).into_owned(),
        hash: Secret::new(hash.to_vec()),
    })
}

fn parse_shadow(line: &[u8]) -> Option<Shadow> {
    let [_, hash, last_change, _, most_days, _, inactive, expire, _] = fields(line)?;
    let day = |field: &[u8]| {
        if field.is_empty() { Some(None) } else { number(field).map(|day| Some(i64::from(day))) }
    };
    Some(Shadow {
        hash: Secret::new(hash.to_vec()),
        last_change: day(last_change)?,
        most_days: day(most_days)?,
        inactive: day(inactive)?,
        expire: day(expire)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::account;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn order(text: &str) -> bool {
        is_first(file(text.as_bytes()).path(), "passwd")
    }

    #[test]
    fn the_files_speak_first_only_where_the_system_says_so() {
        assert!(order("# comment\npasswd: files\n") && order("group: db\npasswd:\t files systemd # x\n"));
        assert!(!order("passwd: compat\n") && !order("passwd: sss files\n") && !order("passwd:\n"));
        assert!(!order("passwd: files [SUCCESS=merge] sss\n"), "an action");
        assert!(!order("#passwd: files\n") && !order("shadow: files\n") && !order(""));
        assert!(!is_first(Path::new("/nowhere/nsswitch.conf"), "passwd"));
    }

    #[test]
    fn a_line_is_found_wherever_it_stands_and_however_the_file_is_cut() {
        let find = |text: &[u8], name| {
            line_of(file(text).path(), name).map(|line| String::from_utf8(line.to_vec()).unwrap())
        };
        let text = b"ann:1\nbob:2\nbobby:3\ncarl:4";
        let found = |name| find(text, name);
        assert_eq!(found("ann").as_deref(), Some("ann:1"));
        assert_eq!(found("bob").as_deref(), Some("bob:2"));
        assert_eq!(found("bobby").as_deref(), Some("bobby:3"));
        assert_eq!(found("carl").as_deref(), Some("carl:4"), "no end of line at the end");
        for name in ["an", "obby", "dora", "", "ann:1\nbob", "+ann", "#ann"] {
            assert_eq!(found(name), None, "{name:?}");
        }
        assert_eq!(find(b"ann:1\nann:2\n", "ann").as_deref(), Some("ann:1"), "the first one counts");
        // Around the ends of what is read at once.
        for before in (ROOM - 40..ROOM + 10).chain(2 * ROOM - 60..2 * ROOM + 5) {
            let mut text = b"x:y\n".repeat(before / 4);
            text.extend(b"a".repeat(before % 4));
            text.extend(b"\nann:12345678:end\nbob:1\n");
            assert_eq!(find(&text, "ann").as_deref(), Some("ann:12345678:end"), "{before}");
        }
        let endless = [b"ann:", &b"x".repeat(2 * ROOM)[..]].concat();
        assert_eq!(find(&endless, "ann"), None, "a line without bounds is not for us");
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_system() {
        for line in [
            "ann:x:1:2::/home",
            "ann:x::2::/:/bin/sh",
            "ann:x:-1:2::/:/bin/sh",
            "ann:x:1:2::/:/bin/sh:",
            "ann:x:99999999999:2::/:",
        ] {
            assert!(parse_user(line.as_bytes()).is_none(), "{line}");
        }
        for line in ["ann:*", "ann:*:1:2:3", "ann:*:x::::::", "ann:*:1::::::::"] {
            assert!(parse_shadow(line.as_bytes()).is_none(), "{line}");
        }
        let shadow = parse_shadow(b"ann:$1$x:0:0:99999:7::20000:").unwrap();
        assert_eq!(shadow.hash.expose(), b"$1$x");
        assert_eq!((shadow.last_change, shadow.most_days), (Some(0), Some(99_999)));
        assert_eq!((shadow.inactive, shadow.expire), (None, Some(20_000)));
    }

    /// The C library and we say the same of everybody.
    #[test]
    fn the_answers_are_those_of_the_system() {
        let mut compared = 0;
        for known in account::users() {
            let (Some(ours), Ok(Some(theirs))) = (user(&known.name), account::user_by_nss(&known.name))
            else {
                continue;
            };
            compared += 1;
            let seen = |user: &User| {
                (
                    user.name.clone(),
                    user.uid,
                    user.gid,
                    user.home.clone(),
                    user.shell.clone(),
                    user.hash.expose().to_vec(),
                )
            };
            assert_eq!(seen(&ours), seen(&theirs));
            if let (Some(ours), Ok(Some(theirs))) = (shadow(&known.name), account::shadow_by_nss(&known.name))
            {
                let seen = |entry: &Shadow| {
                    (
                        entry.hash.expose().to_vec(),
                        entry.last_change,
                        entry.most_days,
                        entry.inactive,
                        entry.expire,
                    )
                };
                assert_eq!(seen(&ours), seen(&theirs), "{}", known.name);
            }
        }
        assert!(compared > 0 || !is_first(Path::new(ORDER), "passwd"), "nobody was compared");
    }
}
