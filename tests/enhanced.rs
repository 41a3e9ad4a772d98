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
        database.busy_timeout(common::PATIENCE).unwrap();
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

/// Limits of the secrets database hold for users of the system without an entry too, and at every level of security.
#[test]
fn hours_and_networks_limit_right_passwords() {
    isolated(|| {
        let site = Site::with(World::setup(), "");
        site.lets_in("ann");
        site.run("limit ann --networks 192.0.2.0/24").well();
        site.refuses("ann", "network");
        site.run("limit ann --networks 192.0.2.0/24,127.0.0.0/8").well();
        site.lets_in("ann");
        let now = |day: i64| {
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            // Day 0 was a Thursday.
            days[usize::try_from((i64::try_from(today()).unwrap() + 3 + day).rem_euclid(7)).unwrap()]
        };
        site.run(&format!("limit ann --hours '{}'", now(3))).well();
        site.refuses("ann", "outside-hours");
        let shown = site.shown("ann");
        assert_eq!(shown["networks"], "192.0.2.0/24,127.0.0.0/8", "what is not named stays");
        assert_eq!(shown["hours"], format!("{} 00:00-24:00", now(3)));
        site.run(&format!("limit ann --hours '{}-{} 00:00-24:00'", now(-1), now(1))).well();
        site.lets_in("ann");
        assert_eq!(site.run("list").well(), "ann\t-\t\tno\tno\t-\n", "limited, without an entry");
        site.run("limit ann --hours any --networks any").well();
        assert_eq!(site.run("list").well(), "");
        site.run("limit stranger --hours any")
            .refused(67, "neither the system nor the database has a user stranger");
        site.run_with("add --virtual v --type POP --stdin", PASSWORD).well();
        site.run("limit v --networks 192.0.2.1").well();
        site.refuses("v", "network");
    });
}

/// A limit that cannot be read lets nobody in.
#[test]
fn damaged_limits_fail_closed() {
    isolated(|| {
        let site = Site::with(World::setup(), "");
        site.run("limit ann --hours mon").well();
        let database = rusqlite::Connection::open("/run/lib/poptools/auth/mailauth.db").unwrap();
        database.execute("UPDATE user SET hours = 'whenever'", []).unwrap();
        drop(database);
        let reply = site.pass("ann", PASSWORD);
        assert!(reply.starts_with("-ERR [SYS/PERM]"), "{reply}");
        site.0.log_line(&["error:", "the limits of ann are damaged", "mailauth limit ann"]);
        let said = site.run("check");
        assert!(said.status == 1 && said.out.contains("the limits are damaged"), "{said:?}");
        site.run("limit ann --hours any").well();
        site.lets_in("ann");
    });
}

/// mailauth(8): a lock for good, which unlock alone does not undo.
#[test]
fn retired_users_stay_locked() {
    isolated(|| {
        let site = Site::with(World::setup(), "");
        site.run("lock --retire ann").well();
        site.refuses("ann", "retired");
        site.run("unlock ann").refused(1, "ann is retired");
        assert_eq!(site.shown("ann")["retired"], true);
        site.run("lock ann").well();
        site.refuses("ann", "retired");
        site.run("unlock --retired ann").well();
        site.lets_in("ann");
    });
}

/// Limits and who is retired are in backups, and come back with them.
#[test]
fn backups_have_limits() {
    isolated(|| {
        let site = Site::with(World::setup(), "");
        site.run("limit ann --hours 'mon 08:00-09:00' --login-delay 60").well();
        site.run("lock --retire bob").well();
        let file = site.0.directory().join("backup");
        site.run(&format!("export {}", file.display())).well();
        site.run("init --clear").well();
        site.run(&format!("import {}", file.display())).well();
        let shown = site.shown("ann");
        assert_eq!(
            (shown["hours"].as_str(), shown["login_delay"].as_u64()),
            (Some("mon 08:00-09:00"), Some(60))
        );
        assert_eq!(
            (site.shown("bob")["retired"].as_bool(), site.shown("bob")["locked"].as_bool()),
            (Some(true), Some(true))
        );
    });
}

/// Names that nobody has are counted nowhere by name.
#[test]
fn unknown_names_are_not_kept() {
    isolated(|| {
        let site = Site::enhanced();
        for number in 0..7 {
            let user = format!("stranger{number}");
            assert_eq!(site.pass(&user, "x"), refusal(&user));
            site.says(&user, "unknown-user");
        }
        let octets = fs::read(STATE).unwrap();
        assert!(!octets.windows(8).any(|part| part == b"stranger"));
        assert_eq!(site.number("SELECT failures FROM address"), 7, "their range is counted");
    });
}

/// Refusals to one range come later and later, for right names and others alike; a right password comes at once.
#[test]
fn refusals_to_a_range_are_delayed() {
    isolated(|| {
        let site = Site::with(
            World::setup(),
            "security = \"enhanced\"\n[lockout]\ndelay_after = 2\nmax_delay = 20\n",
        );
        let took = |user: &str, password: &str| {
            let before = std::time::Instant::now();
            site.pass(user, password);
            before.elapsed().as_secs()
        };
        took("ann", "x");
        took("nobody", "x");
        // How long each comes to, to the second, is held where it is reckoned; here the machine may add to it.
        assert!(took("nobody", "x") >= 1);
        assert!(took("ann", "x") >= 2);
        assert!(took("nobody", "x") >= 4);
        assert!(took("ann", PASSWORD) < 8, "the next refusal would come after that");
    });
}

/// mailauth(8): verify tells of a right secret that a login with it would be refused, and why.
#[test]
fn verify_says_what_would_refuse_a_right_secret() {
    isolated(|| {
        const SECRET: &str = "snark-hunting";
        let site = Site::with(
            World::setup().user("ended", &format!("{QUICK_HASH}:10000:0:99999:7::15000:")),
            "security = \"enhanced\"\n[lockout]\nmax_delay = 0\n",
        );
        let verify = |line: &str| site.run_with(&format!("verify {line} --stdin"), SECRET);
        for user in ["ann", "bob", "ended"] {
            site.run_with(&format!("add {user} --type POP --stdin"), SECRET).well();
        }
        verify("ended")
            .refused(1, "right (POP), but a login would be refused: the account of ended has expired");
        site.run("limit ann --networks 192.0.2.0/24").well();
        let remarked = verify("ann");
        assert_eq!((remarked.status, remarked.out.as_str()), (0, "right: POP\n"), "{remarked:?}");
        assert!(remarked.err.contains("ann may log in from 192.0.2.0/24 alone"), "{remarked:?}");
        verify("ann --from 198.51.100.1")
            .refused(1, "a login would be refused: ann may log in from 192.0.2.0/24");
        assert_eq!(verify("ann --from 192.0.2.9").well(), "right: POP\n");
        for _ in 0..5 {
            site.pass("bob", "wrong");
        }
        verify("bob --from 127.0.0.1").refused(1, "wrong passwords have locked out bob from 127.0.0.0/24");
        assert!(verify("bob").err.contains("wrong passwords have locked out bob from 127.0.0.0/24"));
        assert_eq!(verify("bob --from 192.0.2.9").well(), "right: POP\n");
        site.run("lock --retire bob").well();
        verify("bob").refused(1, "right (POP), but bob is retired");
        site.run_with("verify bob --stdin", "another-one").refused(1, "this is no secret of bob");
    });
}

/// RFC 2449, sections 6.5 and 8.1.1.
#[test]
fn login_delay_is_announced_and_enforced() {
    isolated(|| {
        let site = Site::with(World::setup(), "[limits]\nlogin_delay = 300\n");
        let capability = |client: &mut common::Client| {
            client
                .listing("CAPA")
                .into_iter()
                .find(|line| line.starts_with("LOGIN-DELAY"))
                .unwrap_or_default()
        };
        let mut client = site.0.connect();
        assert_eq!(capability(&mut client), "LOGIN-DELAY 300");
        client.log_in("ann");
        assert_eq!(capability(&mut client), "LOGIN-DELAY 300");
        client.quit();
        client.server_ends();
        assert_eq!(
            site.pass("ann", PASSWORD),
            "-ERR [LOGIN-DELAY] You logged in a moment ago, try again later"
        );
        site.0.log_line(&["error:", "user=ann", "text=ann logged in a moment ago and may again in"]);
        assert_eq!(site.pass("ann", "wrong"), refusal("ann"), "a wrong password learns nothing");
        site.lets_in("bob");
        site.run("limit ann --login-delay 0").well();
        let mut client = site.0.connect();
        assert_eq!(capability(&mut client), "LOGIN-DELAY 300 USER", "the longest that a user may have");
        client.log_in("ann");
        assert_eq!(capability(&mut client), "LOGIN-DELAY 0");
        client.quit();
        client.server_ends();
        site.run("limit bob --login-delay 900").well();
        assert_eq!(capability(&mut site.0.connect()), "LOGIN-DELAY 900 USER");
        site.run("limit ann --login-delay default").well();
        assert!(site.pass("ann", PASSWORD).starts_with("-ERR [LOGIN-DELAY]"));
        // As if the last login had been long ago.
        for entry in fs::read_dir("/run/poptools/session").unwrap() {
            let path = entry.unwrap().path();
            let line = fs::read_to_string(&path).unwrap();
            let (rest, _) = line.trim_end().rsplit_once(' ').unwrap();
            fs::write(&path, format!("{rest} 1000\n")).unwrap();
        }
        site.lets_in("ann");
    });
}
