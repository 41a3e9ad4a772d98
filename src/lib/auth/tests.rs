//! Verification by passwd and shadow (design, section 5), in a mount namespace with accounts of our own.

use super::*;
use crate::sys::testing::{thread_time, with_accounts};
use std::fs;
use std::path::Path;
use std::time::Duration;

const PASSWORD: &str = "correct horse";

/// bcrypt at cost 8: 16 ms, long enough to be seen beside everything else.
const NEIGHBOUR: &str = "$2b$08$abcdefghijklmnopqrstuu";

/// Of `ann`, `$6$` with the password above.
const ANN: &str = "$6$rounds=10000$abcdefgh$4QtuTRriJ3drZ4BfaTQD7R63rJSGHaht/poPXhZcaUXiAO/1Sq1c5nQsZMCg6WsanGq8pAvH.4NpzJCbVZRjJ1";

fn write_accounts(directory: &Path, shadow: &str) {
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nnext:x:1001:1001::/home/next:/bin/sh\n\
         ann:x:1002:100:Ann:/home/ann:/bin/sh\nlocked:x:1003:1003::/:/bin/sh\nempty:x:1004:1004::/:/bin/sh\n\
         old:{ANN}:1005:1005::/home/old:/bin/sh\nstar:*:1006:1006::/:/bin/sh\nlost:x:1007:1007::/:/bin/sh\n\
         argon:x:1008:1008::/:/bin/sh\ncostly:x:1009:1009::/:/bin/sh\n"
    );
    fs::write(directory.join("passwd"), passwd).unwrap();
    fs::write(directory.join("shadow"), shadow).unwrap();
}

fn shadow() -> String {
    let next = pwhash::bcrypt::hash_with(NEIGHBOUR, "neighbour").unwrap();
    format!(
        "daemon:*:1::::::\nroot:{ANN}:1::::::\nnext:{next}:1::::::\nann:{ANN}:1::::::\nlocked:!{ANN}:1::::::\n\
         empty::1::::::\nargon:$argon2id$v=19$m=1$c2FsdA$aGFzaA:1::::::\ncostly:$6$rounds=999999999$a$b:1::::::\n"
    )
}

struct Site {
    directory: tempfile::TempDir,
    config: Config,
}

impl Site {
    fn new(shadow: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_accounts(directory.path(), shadow);
        let mut config = Config { run_dir: directory.path().join("run"), ..Config::default() };
        config.auth.min_uid = 1000;
        config.auth.secrets = directory.path().join("auth/mailauth.db");
        Self { directory, config }
    }

    fn verify(&self, user: Option<&str>, password: &str) -> Verdict {
        let inquiry = Inquiry { config: &self.config, client: None, remark: &|_| () };
        verify(&inquiry, user, Proof::Password(&Secret::new(password.as_bytes().to_vec())))
    }

    fn run<T: Send>(&self, test: impl FnOnce() -> T + Send) -> Option<T> {
        with_accounts(self.directory.path(), test)
    }
}

fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refused(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_right_password_is_accepted() {
    let site = Site::new(&shadow());
    site.run(|| {
        for (name, uid, gid) in [("ann", 1002, 100), ("old", 1005, 1005)] {
            let Verdict::Accepted(account) = site.verify(Some(name), PASSWORD) else { panic!("{name}") };
            let home = PathBuf::from(format!("/home/{name}"));
            assert_eq!(
                account,
                Account { name: name.to_owned(), uid, gid, home, maildrop: None, limits: Limits::default() }
            );
        }
    });
}

#[test]
fn refusals_have_their_reasons() {
    let site = Site::new(&shadow());
    site.run(|| {
        for (user, password, word) in [
            (Some("ann"), "wrong", "wrong-password"),
            (Some("ann"), "correct horse\0", "wrong-password"),
            (Some("nobody-here"), PASSWORD, "unknown-user"),
            (None, PASSWORD, "unknown-user"),
            (Some("root"), PASSWORD, "below-min-uid"),
            (Some("daemon"), PASSWORD, "below-min-uid"),
            (Some("locked"), PASSWORD, "locked"),
            (Some("empty"), "", "locked"),
            (Some("star"), PASSWORD, "locked"),
            (Some("lost"), PASSWORD, "locked"),
            (Some("argon"), PASSWORD, "unsupported-scheme:$argon2id$"),
            (Some("costly"), PASSWORD, "unsupported-scheme:sha512-crypt-with-too-high-cost"),
        ] {
            assert_eq!(reason(site.verify(user, password)), word, "{user:?}");
        }
    });
}

#[test]
fn root_is_refused_whatever_min_uid_says() {
    let mut site = Site::new(&shadow());
    site.config.auth.min_uid = 0;
    site.run(|| assert_eq!(reason(site.verify(Some("root"), PASSWORD)), "below-min-uid"));
}

/// The first usable entry is `next`, so every refusal without a hash of its own costs one bcrypt of cost 8.
#[test]
fn refusals_cost_what_a_wrong_password_costs() {
    let next = pwhash::bcrypt::hash_with(NEIGHBOUR, "neighbour").unwrap();
    let site =
        Site::new(&format!("daemon:*:1::::::\nnext:{next}:1::::::\nlocked:!:1::::::\nann:{next}:1::::::\n"));
    let cost = |user: Option<&str>, password: &str| {
        let measure = || {
            let begun = thread_time();
            let _ = site.verify(user, password);
            thread_time() - begun
        };
        (0..5).map(|_| measure()).min().unwrap()
    };
    site.run(|| {
        let wrong = cost(Some("ann"), "wrong");
        assert!(wrong > Duration::from_millis(2), "{wrong:?}");
        let long = "x".repeat(600);
        for (user, password) in [
            (None, "wrong"),
            (Some("nobody-here"), "wrong"),
            (Some("root"), "wrong"),
            (Some("locked"), "wrong"),
            (Some("ann"), "nul\0"),
            (Some("ann"), long.as_str()),
            (Some("nobody-here"), long.as_str()),
        ] {
            let other = cost(user, password);
            assert!(
                other > wrong / 2 && other < wrong * 2,
                "{user:?}: {other:?}, a wrong password {wrong:?}"
            );
        }
        let right = cost(Some("ann"), "neighbour");
        assert!(right < wrong * 3 / 2, "success pays once: {right:?} {wrong:?}");
    });
}

#[test]
fn a_database_that_cannot_be_read_is_no_wrong_password() {
    let mut site = Site::new(&shadow());
    site.config.auth.min_uid = 1;
    if sys::privileges::is_root() || !matches!(sys::account::user("daemon"), Ok(Some(_))) {
        eprintln!("root reads every database: not tried as root, or without the user daemon");
        return;
    }
    let verdict = site.verify(Some("daemon"), PASSWORD);
    assert!(matches!(verdict, Verdict::Unavailable(_)), "only root may read shadow: {verdict:?}");
}

/// Names the directory with the accounts to the process that looks at its own memory.
const MEMORY_TEST: &str = "POPTOOLS_MEMORY_TEST";

/// A part of the neighbour's hash, backwards, so that this is not what is found.
const BACKWARDS: &[u8] = b"uutsrqponmlkjihgfedcba$80$b2$";

/// Design, section 2: nothing of the verification survives into the session. A process of its own, since other
/// tests leave hashes in the memory of this one.
#[test]
fn no_hash_of_a_neighbour_stays_in_memory() {
    let site = Site::new(&shadow());
    if site.run(|| ()).is_none() {
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "auth::tests::memory_after_an_accepted_login", "--nocapture"])
        .env(MEMORY_TEST, site.directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn memory_after_an_accepted_login() {
    let Some(directory) = std::env::var_os(MEMORY_TEST).map(PathBuf::from) else { return };
    let mut config = Config { run_dir: directory.join("run"), ..Config::default() };
    config.auth.min_uid = 1000;
    config.auth.secrets = directory.join("auth/mailauth.db");
    with_accounts(&directory, || {
        let password = Secret::new(PASSWORD.as_bytes().to_vec());
        let mut search = Search::new();
        let inquiry = Inquiry { config: &config, client: None, remark: &|_| () };
        let verdict = verify(&inquiry, Some("ann"), Proof::Password(&password));
        let found = search.count(BACKWARDS);
        assert!(matches!(verdict, Verdict::Accepted(_)));
        assert_eq!(found, 0, "places with a neighbour's hash");
        let planted: Vec<u8> = BACKWARDS.iter().rev().copied().collect();
        assert!(search.count(BACKWARDS) > 0, "the search finds what is there");
        drop(planted);
    })
    .expect("the parent looked whether it can");
}

/// Looks through the writable memory of this process. It allocates before the verification and not after it,
/// so that it does not itself overwrite what was freed.
struct Search {
    maps: fs::File,
    memory: fs::File,
    text: Vec<u8>,
    octets: Vec<u8>,
}

impl Search {
    /// Larger regions are our own buffers.
    const REGION: usize = 1 << 25;

    fn new() -> Self {
        let open = |path| fs::File::open(path).unwrap();
        let (maps, memory) = (open("/proc/self/maps"), open("/proc/self/mem"));
        Self { maps, memory, text: vec![0; 1 << 20], octets: vec![0; Self::REGION + 4096] }
    }

    /// How many regions hold these octets in the other order.
    fn count(&mut self, backwards: &[u8]) -> usize {
        use std::io::{Read, Seek};
        use std::os::unix::fs::FileExt;
        self.maps.rewind().unwrap();
        let mut length = 0;
        loop {
            match self.maps.read(&mut self.text[length..]).unwrap() {
                0 => break,
                more => length += more,
            }
        }
        let Self { memory, text, octets, .. } = self;
        let text = std::str::from_utf8(&text[..length]).unwrap();
        let mut found = 0;
        for line in text.lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            let (begin, end) = range.split_once('-').unwrap();
            let begin = u64::from_str_radix(begin, 16).unwrap();
            let size = usize::try_from(u64::from_str_radix(end, 16).unwrap() - begin).unwrap();
            if !rest.starts_with("rw") || size > Self::REGION {
                continue;
            }
            let region = &mut octets[..size];
            if memory.read_exact_at(region, begin).is_ok() {
                let there = |part: &[u8]| part.iter().eq(backwards.iter().rev());
                found += usize::from(region.windows(backwards.len()).any(there));
            }
        }
        found
    }
}
