//! `mailusradm why` where what is right is not enough: limits of users, and enhanced security.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/admin.rs"]
mod admin;
#[path = "support/faults.rs"]
mod broken;
mod common;
#[path = "support/said.rs"]
mod said;

use broken::{Fault, NotTried, WHOLE, edit, faults, finds, logs_in, mailauth, with_password};
use common::World;
use common::machine::chmod;
use common::world::QUICK_HASH;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A database that limits can be in.
fn with_database(world: &World) {
    mailauth(world, "init", "");
}

fn mailauth_words(world: &World, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailauth"));
    command.arg("--config").arg(&world.config).args(words);
    said::run(command, "").well();
}

/// Where attempts are counted.
const STATE: &str = "/run/lib/poptools/auth/state.db";

const ENHANCED: &str = "security = \"enhanced\"\n";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// What was counted, changed.
fn counted(sql: &str) {
    let database = rusqlite::Connection::open(STATE).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    database.execute_batch(sql).unwrap();
}

/// Hours of another day than today, yesterday and tomorrow, whatever the time zone.
fn other_hours() -> String {
    // 1970 began on a Thursday.
    let day = (now() / 86_400 + 3 + 3) % 7;
    let name = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::try_from(day).unwrap()];
    format!("{name} 08:00-09:00")
}

faults! {
    a_user_who_is_retired {
        plant: |world| { with_password(world); mailauth(world, "lock --retire ann", ""); }, step: "account",
        what: "ann is retired", fix: "unlock --retired ann",
    }
    an_account_that_has_expired {
        config: ENHANCED, setup: |setup| setup.user("ann", &format!("{QUICK_HASH}:10000:0:99999:7::15000:")),
        plant: |world| with_database(world), step: "account",
        what: "the account of ann has expired (shadow)", fix: "chage -E -1 ann",
    }
    an_account_that_is_inactive {
        config: ENHANCED, setup: |setup| setup.user("ann", &format!("{QUICK_HASH}:10000:0:30:7:5::")),
        plant: |world| with_database(world), step: "account",
        what: "that the account is inactive (shadow)", fix: "passwd ann",
    }
    a_password_that_has_expired {
        config: ENHANCED, setup: |setup| setup.user("ann", &format!("{QUICK_HASH}:10000:0:30:7:::")),
        plant: |world| with_database(world), step: "account",
        what: "the password of ann has expired", fix: "passwd ann",
    }
    a_login_shell_that_says_no {
        config: ENHANCED,
        plant: |world| { with_database(world); edit("/etc/passwd", "/bin/sh\n", "/usr/sbin/nologin\n"); },
        step: "account", what: "the login shell of ann is one whose users are refused", fix: "usermod -s /bin/sh ann",
    }
    hours_that_are_over {
        plant: |world| { with_database(world); mailauth_words(world, &["limit", "ann", "--hours", &other_hours()]); },
        step: "account", what: "ann may log in ", fix: "limit ann --hours HOURS",
    }
    a_network_that_is_not_allowed {
        plant: |world| { with_database(world); mailauth(world, "limit ann --networks 192.0.2.0/24", ""); },
        step: "account", what: "ann may log in from 192.0.2.0/24 alone, and not from there", fix: "--networks any",
    }
    wrong_passwords_from_this_range {
        config: ENHANCED,
        plant: |world| {
            with_database(world);
            // The state database is made by the first login.
            assert!(logs_in(world));
            counted(&format!("UPDATE range SET failures = 5, bad = {}", now()));
        },
        step: "account", what: "wrong passwords have locked out ann from 127.0.0.0/24 until", fix: "unlock ann",
    }
    wrong_passwords_from_everywhere {
        config: ENHANCED,
        plant: |world| {
            with_database(world);
            assert!(logs_in(world));
            counted(&format!("UPDATE range SET good = NULL; UPDATE login SET failures = 50, counted = {}", now()));
        },
        step: "account", what: "wrong passwords have locked out ann until", fix: "unlock ann",
    }
    counters_without_a_place {
        config: ENHANCED, step: "account",
        what: "attempts cannot be counted: there is no /run/lib/poptools/auth for state.db", fix: "init",
    }
    counters_that_others_use {
        config: ENHANCED,
        plant: |world| {
            with_database(world);
            assert!(logs_in(world));
            chmod(Path::new(STATE), 0o644);
        },
        step: "account", what: "attempts cannot be counted: /run/lib/poptools/auth/state.db", fix: "",
    }
    counters_whose_directory_is_closed {
        config: ENHANCED,
        plant: |world| {
            with_database(world);
            assert!(logs_in(world));
            chmod(Path::new("/run/lib/poptools/auth"), 0o500);
        },
        step: "account", what: "cannot write to /run/lib/poptools/auth: Permission denied", fix: "", login: NotTried,
    }
    a_login_delay_that_is_not_over {
        config: "[limits]\nlogin_delay = 300\n", plant: |world| assert!(logs_in(world)), step: "session",
        what: "login delay: ann logged in a moment ago and may again in", fix: "login_delay under [limits]",
    }
}
