//! `mailusradm unlock` lifts the locks of users, says what it found, and what stays with what to type (mailusradm(8)).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/admin.rs"]
mod admin;
#[path = "support/faults.rs"]
mod broken;
mod common;
#[path = "support/said.rs"]
mod said;

use admin::{admin, admin_as};
use broken::{Fault, WHOLE, edit, mailauth, with_password, world};
use common::world::uid;
use common::{PASSWORD, World, isolated};
use serde_json::Value;

fn enhanced() -> World {
    let config = "security = \"enhanced\"\n[lockout]\nmax_delay = 0\n";
    let world = world(&Fault { config, ..WHOLE });
    mailauth(&world, "init", "");
    world
}

fn answer(world: &World, user: &str, password: &str) -> String {
    let mut client = world.connect();
    let reply = client.login(user, password);
    if reply.starts_with("+OK") {
        client.quit();
    }
    client.server_ends();
    reply
}

/// Exit status and rows.
fn unlock(world: &World, users: &[&str]) -> (i32, Vec<Value>) {
    let ran = admin(world, &[&["unlock", "--format", "json"], users].concat());
    (ran.status, serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}")))
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

#[test]
fn wrong_passwords_are_forgiven_from_everywhere() {
    isolated(|| {
        let world = enhanced();
        for _ in 0..5 {
            answer(&world, "ann", "wrong");
        }
        answer(&world, "bob", "wrong");
        assert!(answer(&world, "ann", PASSWORD).starts_with("-ERR [AUTH]"), "locked out");
        let (status, rows) = unlock(&world, &["ann", "bob"]);
        assert_eq!(status, 0, "{rows:?}");
        assert!(rows.iter().all(|row| word(row, "result") == "lifted" && row["fix"].is_null()), "{rows:?}");
        let of = |user: &str| rows.iter().filter(|row| word(row, "user") == user).collect::<Vec<_>>();
        let [all, range] = of("ann")[..] else { panic!("{rows:?}") };
        assert_eq!(word(all, "what"), "5 wrong passwords counted");
        assert!(all["network"].is_null() && all["until"].is_null(), "{all}");
        assert_eq!(
            (word(range, "what"), word(range, "network")),
            ("locked out by 5 wrong passwords", "127.0.0.0/24")
        );
        assert!(range["until"].is_string(), "{range}");
        assert_eq!(word(of("bob")[1], "what"), "1 wrong password counted");
        assert!(answer(&world, "ann", PASSWORD).starts_with("+OK"));
        let again = admin(&world, &["unlock", "ann"]);
        assert_eq!((again.status, again.out.as_str()), (1, ""), "{again:?}");
        assert!(again.err.contains("nothing locks ann out") && again.err.contains("why ann"), "{again:?}");
    });
}

#[test]
fn a_lock_of_mailauth_is_lifted_and_a_retired_user_stays() {
    isolated(|| {
        let world = world(&Fault { config: "security = \"enhanced\"\n", ..WHOLE });
        with_password(&world);
        mailauth(&world, "lock ann", "");
        let (status, rows) = unlock(&world, &["ann"]);
        assert_eq!((status, word(&rows[0], "result")), (0, "lifted"), "{rows:?}");
        assert_eq!(word(&rows[0], "what"), "locked in the secrets database");
        assert!(answer(&world, "ann", "correct horse battery").starts_with("+OK"));
        mailauth(&world, "lock --retire ann", "");
        let (status, rows) = unlock(&world, &["ann"]);
        assert_eq!((status, rows.len(), word(&rows[0], "result")), (1, 1, "stays"), "{rows:?}");
        assert_eq!(word(&rows[0], "what"), "ann is retired");
        assert!(word(&rows[0], "fix").contains("unlock --retired ann"), "{rows:?}");
        assert!(answer(&world, "ann", "correct horse battery").starts_with("-ERR [AUTH]"));
    });
}

#[test]
fn what_the_system_says_stays_and_is_explained() {
    isolated(|| {
        let world = enhanced();
        edit("/etc/shadow", "ann:$6$", "ann:!$6$");
        answer(&world, "bob", "wrong");
        let (status, rows) = unlock(&world, &["ann", "bob"]);
        assert_eq!(status, 1, "something stays: {rows:?}");
        assert_eq!((word(&rows[0], "result"), word(&rows[0], "fix")), ("stays", "passwd -u ann"), "{rows:?}");
        assert_eq!(word(rows.last().unwrap(), "result"), "lifted", "the others are unlocked: {rows:?}");
    });
}

#[test]
fn names_that_nobody_has_and_users_who_may_not_change_nothing() {
    isolated(|| {
        let world = enhanced();
        answer(&world, "ann", "wrong");
        let unknown = admin(&world, &["unlock", "ann", "nobody-here"]);
        assert_eq!(unknown.status, 67, "{unknown:?}");
        assert!(unknown.err.contains("there is no user nobody-here; no user was unlocked"), "{unknown:?}");
        let other = admin_as(&world, uid("bob"), &["unlock", "ann"]);
        assert_eq!(other.status, 77, "{other:?}");
        assert!(other.err.contains("only root and pop may unlock users"), "{other:?}");
        let (status, rows) = unlock(&world, &["ann"]);
        assert_eq!((status, rows.len()), (0, 2), "what was counted is still there: {rows:?}");
    });
}
