//! Enhanced security and LOGIN-DELAY by the real server and the real `mailauth` (design, section 5).
//!
//! No test waits for a lock to end: what was counted is given another time in `state.db`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/said.rs"]
mod said;

use common::world::{QUICK_HASH, Setup};
use common::{PASSWORD, World, isolated};
use said::{Said, run};
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const MAILAUTH: &str = env!("CARGO_BIN_EXE_mailauth");
const STATE: &str = "/run/lib/poptools/auth/state.db";
const AUTH: &str =
    "[auth]\nfailure_delay = 0\nkey = \"/run/lib/keys/mailauth.key\"\nvirtual_owner = \"bob\"\n";
const POP: u32 = 20_998;

/// A machine with ann, bob, pop and a database.
struct Site(World);

impl Site {
    fn enhanced() -> Self {
        Self::with(World::setup(), "security = \"enhanced\"\n[lockout]\nmax_delay = 0\n")
    }

    fn with(setup: Setup, config: &str) -> Self {
        let site = Self(setup.user_with_uid("pop", POP, "!").config(&format!("{AUTH}{config}")).start());
        site.run("init").well();
        site
    }

    fn run(&self, line: &str) -> Said {
        self.run_with(line, "")
    }

    fn run_with(&self, line: &str, input: &str) -> Said {
        let mut command = Command::new(MAILAUTH);
        // Words in single quotes are one.
        let words = line.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        });
        command.arg("--config").arg(&self.0.config).args(words);
        run(command, input)
    }

    /// The answer to PASS.
    fn pass(&self, user: &str, password: &str) -> String {
        self.pass_from("127.0.0.1:0", user, password)
    }

    fn pass_from(&self, address: &str, user: &str, password: &str) -> String {
        let mut client = self.0.connect_to(address);
        let reply = client.login(user, password);
        if reply.starts_with("+OK") {
            client.quit();
        }
        client.server_ends();
        reply
    }

    fn lets_in(&self, user: &str) {
        let reply = self.pass(user, PASSWORD);
        assert!(reply.starts_with("+OK"), "{user}: {reply}");
    }

    /// The right password is refused like a wrong one, and the log says why.
    fn refuses(&self, user: &str, reason: &str) {
        assert_eq!(self.pass(user, PASSWORD), refusal(user));
        self.says(user, reason);
    }

    /// The last refusal of the user in the log has this reason.
    fn says(&self, user: &str, reason: &str) {
        self.0.log_line(&["refused:", &format!("user={user} "), &format!("reason={reason}")]);
        let lines = self.0.log_lines();
        let last =
            lines.iter().rfind(|line| line.contains("refused:") && line.contains(&format!("user={user} ")));
        assert!(last.unwrap().contains(&format!("reason={reason}")), "{last:?}");
    }

    fn sql(&self, text: &str) {
        let database = rusqlite::Connection::open(STATE).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        database.execute_batch(text).unwrap();
    }

    fn number(&self, query: &str) -> i64 {
        rusqlite::Connection::open(STATE).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// As if so many seconds had passed since everything that was counted.
    fn later(&self, seconds: u32) {
        self.sql(&format!(
            "UPDATE range SET bad = bad - {seconds}, good = good - {seconds}; \
             UPDATE login SET counted = counted - {seconds}; UPDATE address SET bad = bad - {seconds};"
        ));
    }

    fn shown(&self, user: &str) -> serde_json::Value {
        serde_json::from_str(&self.run(&format!("show {user} --format json")).well()).unwrap()
    }
}

fn refusal(user: &str) -> String {
    format!("-ERR [AUTH] Password supplied for \"{user}\" is incorrect.")
}

fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400
}

/// Design, section 5: after some wrong passwords the right one is refused too, in the same words, until the lock ends.
#[test]
fn wrong_passwords_lock_out_and_unlock_ends_it() {
    isolated(|| {
        let site = Site::enhanced();
        site.lets_in("ann");
        for _ in 0..5 {
            assert_eq!(site.pass("ann", "wrong"), refusal("ann"));
            site.says("ann", "wrong-password");
        }
        site.refuses("ann", "locked-out");
        site.lets_in("bob");
        site.later(61);
        site.lets_in("ann");
        for _ in 0..5 {
            site.pass("ann", "wrong");
        }
        site.refuses("ann", "locked-out");
        let shown = site.shown("ann");
        assert_eq!(
            (shown["wrong_passwords"].as_u64(), shown["last_login_from"].as_str()),
            (Some(5), Some("127.0.0.1"))
        );
        assert_eq!(shown["last_refusal_from"].as_str(), Some("127.0.0.1"));
        assert!(shown["last_login"].is_string() && shown["last_refusal"].is_string());
        assert!(shown["ranges"][0]["locked_out_until"].is_string(), "{shown}");
        assert!(shown["locked_out_until"].is_null(), "the range alone");
        site.run("unlock ann").well();
        site.lets_in("ann");
    });
}

/// The counter cannot lock out everybody: strangers from everywhere lock new places alone.
#[test]
fn a_range_is_locked_out_before_the_user() {
    isolated(|| {
        let site = Site::enhanced();
        for _ in 0..5 {
            site.pass("ann", "wrong");
        }
        site.refuses("ann", "locked-out");
        let reply = site.pass_from("[::1]:0", "ann", PASSWORD);
        assert!(reply.starts_with("+OK"), "from another range: {reply}");
        site.sql("UPDATE login SET failures = 50 WHERE user = 'ann'; UPDATE range SET failures = 0");
        site.refuses("ann", "locked-out");
        let reply = site.pass_from("[::1]:0", "ann", PASSWORD);
        assert!(reply.starts_with("+OK"), "from where ann was before: {reply}");
    });
}

/// Checks at the same time count each other, and none is lost.
#[test]
fn parallel_wrong_passwords_count_each() {
    isolated(|| {
        let site = Site::with(
            World::setup(),
            "security = \"enhanced\"\n[lockout]\nfailures = 1000\nuser_failures = 0\nmax_delay = 0\n",
        );
        let mut clients: Vec<_> = (0..12).map(|_| site.0.connect()).collect();
        for client in &mut clients {
            client.send(b"USER ann\r\nPASS wrong\r\n");
        }
        for client in &mut clients {
            client.line();
            assert_eq!(client.line(), refusal("ann"));
        }
        assert_eq!(site.number("SELECT failures FROM range WHERE user = 'ann'"), 12);
        assert_eq!(site.number("SELECT failures FROM login WHERE user = 'ann'"), 12);
    });
}

/// shadow(5), and login shells that say themselves that nobody logs in.
#[test]
fn accounts_that_have_ended_are_refused() {
    isolated(|| {
        let day = today();
        let setup = World::setup()
            .user("ended", &format!("{QUICK_HASH}:{day}:0:99999:7::{day}:"))
            .user("old", &format!("{QUICK_HASH}:{}:0:30:7:::", day - 31))
            .user("asleep", &format!("{QUICK_HASH}:{}:0:30:7:5::", day - 36))
            .user("new", &format!("{QUICK_HASH}:0:0:99999:7:::"))
            .user("fine", &format!("{QUICK_HASH}:{}:0:30:7:5:{}:", day - 30, day + 1))
            .user("shell", QUICK_HASH)
            .shell("shell", "/usr/sbin/nologin");
        let site = Site::with(setup, "security = \"enhanced\"\n");
        for (user, reason) in [
            ("ended", "account-expired"),
            ("old", "password-expired"),
            ("asleep", "inactive"),
            ("new", "password-expired"),
            ("shell", "shell"),
        ] {
            site.refuses(user, reason);
        }
        site.lets_in("fine");
    });
}

/// Without the counters nobody gets in under enhanced security; otherwise everybody does.
#[test]
fn a_state_that_cannot_be_used_fails_closed() {
    isolated(|| {
        let site = Site::enhanced();
        site.lets_in("ann");
        fs::write(STATE, "ann".repeat(5000)).unwrap();
        let reply = site.pass("ann", PASSWORD);
        assert!(reply.starts_with("-ERR [SYS/PERM]") && !reply.contains("state.db"), "{reply}");
        assert_eq!(site.pass("nobody", "x"), reply, "for everybody alike");
        site.0.log_line(&["error:", STATE, "is no SQLite database; remove state.db"]);
        fs::remove_file(STATE).unwrap();
        site.lets_in("ann");
    });
    isolated(|| {
        let site = Site::with(World::setup(), "security = \"unix\"\n");
        fs::write(STATE, "ann".repeat(5000)).unwrap();
        site.lets_in("ann");
    });
}
