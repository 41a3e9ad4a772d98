//! `mailusradm stats` and `history` on files alone: killed while they move the history, as they look at each width, and what a page is
//! written over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/points.rs"]
mod points;

use common::programs_or_skip;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use twox_hash::XxHash3_64;

/// 2026-11-03, 08:00 UTC.
const MORNING: i64 = 1_793_692_800;

/// An installation that has nothing but a history; its maildrops are not the machine's.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let state = directory.path().join("state");
        common::machine::make_directory(&state, 0o711);
        let config = format!(
            "hostname = \"mail.example.org\"\nstate_dir = \"{}\"\n[log]\nhistory_days = 36600\n\
             [maildrop]\npath = \"{}/{{user}}\"\n",
            state.display(),
            directory.path().display()
        );
        common::machine::write(&directory.path().join("pop3d.toml"), config.as_bytes(), 0o644);
        Self { directory }
    }

    fn state(&self, name: &str) -> PathBuf {
        self.directory.path().join("state").join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        common::machine::write(&self.state(name), text.as_bytes(), 0o600);
    }

    fn command(&self, wrapper: &[&str], words: &str) -> Command {
        let all: Vec<&str> = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_mailusradm")]).collect();
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).arg("--config").arg(self.file("pop3d.toml"));
        command.args(words.split_whitespace()).env("TZ", "UTC").env_remove("COLUMNS");
        command
    }

    fn run(&self, words: &str) -> Output {
        common::run(&mut self.command(&[], words))
    }

    fn well(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn at_width(&self, width: u16, words: &str) -> String {
        let output = common::run(self.command(&[], words).env("COLUMNS", width.to_string()));
        String::from_utf8(output.stdout).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state(".")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn line(body: &str) -> String {
    format!("{body} sum={:016x}\n", XxHash3_64::oneshot(body.as_bytes()))
}

fn session(number: u64, start: i64, user: &str, client: &str) -> String {
    line(&format!(
        "1 session id=s{number:09} start={start} seconds={} user={user} client={client} mechanism=PASS tls=TLSv1.3 refused=0 \
         retrieved={} top=1 octets={} deleted=1 deleted_octets=1000 left={number} left_octets={} end=quit",
        number % 7,
        number % 5,
        number * 1500,
        number * 2000
    ))
}

fn refused(number: u64, time: i64, user: &str) -> String {
    line(&format!(
        "1 refused id=r{number:09} number=1 time={time} user={user} client=203.0.113.9 mechanism=PASS reason=wrong-password"
    ))
}

/// What the history has, counted in each way.
fn counted(place: &Place) -> (u64, u64, u64) {
    let found: Value = serde_json::from_str(&place.well("stats --since 50y --format json")).unwrap();
    let prometheus = place.well("stats --format prometheus");
    let sessions: u64 = prometheus
        .lines()
        .filter(|line| line.starts_with("poptools_sessions_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    (found["total"]["sessions"].as_u64().unwrap(), found["total"]["refused"].as_u64().unwrap(), sessions)
}

/// Design, section 6, History: moved idempotently, whatever is killed.
#[test]
fn killed_anywhere_while_it_moves_nothing_is_lost_or_doubled() {
    if !programs_or_skip(&["strace"]) {
        return;
    }
    let first: String = (1..20).map(|number| session(number, MORNING, "ann", "192.0.2.1")).collect();
    let second: String =
        (15..30).map(|number| session(number, MORNING, "ann", "192.0.2.1")).collect::<String>()
            + &refused(1, MORNING, "bob");
    let (mut total, mut kinds) = (0, BTreeMap::<&str, usize>::new());
    // From nothing; and from what a killed one left, with a log that has grown.
    for begun in [false, true] {
        let place = Place::new();
        let prepare = || {
            for name in place.names().iter().filter(|name| name.starts_with("history")) {
                fs::remove_file(place.state(name)).unwrap();
            }
            if begun {
                place.write("history.log", &first);
                place.well("stats --format json");
                place.write("history.log.moving", &first);
                place.write("history.log", &second);
            } else {
                place.write("history.log", &(first.clone() + &second));
            }
        };
        let output = place.file("trace");
        let run = |inject: Option<String>| {
            let calls = points::traced();
            let mut words = vec!["strace", "-f", "-qq", "-e", calls.as_str(), "-o", output.to_str().unwrap()];
            if let Some(inject) = &inject {
                words.extend(["-e", inject.as_str()]);
            }
            let status = common::run(&mut place.command(&words, "stats --format json")).status;
            (status, fs::read_to_string(&output).unwrap_or_default())
        };
        prepare();
        let (status, trace) = run(None);
        assert!(status.success(), "{trace}");
        let points = points::points(&trace);
        assert!(points.len() > 10, "the calls are found:\n{trace}");
        let all = std::env::var_os("POPTOOLS_LONG").is_some();
        for (at, (call, nth)) in points.into_iter().enumerate() {
            // Killed at each of them; of errors some are enough when there is no time.
            let effects =
                if all || at % 4 == 0 { &["signal=KILL", "error=ENOSPC"][..] } else { &["signal=KILL"] };
            for effect in effects {
                let what = format!("{effect} at call {nth} of {call}, begun: {begun}");
                prepare();
                let (_, trace) = run(Some(format!("inject={call}:{effect}:when={nth}")));
                assert!(
                    trace.contains("INJECTED") || trace.contains("killed by SIGKILL"),
                    "{what}: met\n{trace}"
                );
                assert_eq!(counted(&place), (29, 1, 29), "{what}");
                assert_eq!(place.names(), ["history.db"], "{what}: all is moved, and nothing else is left");
                total += 1;
                *kinds.entry(call).or_default() += 1;
            }
        }
    }
    eprintln!("{total} faults: {kinds:?}");
    assert!(kinds.contains_key("unlinkat") && kinds.contains_key("renameat"), "{kinds:?}");
}

/// A history of three days, with names that somebody made up to harm the reader.
fn told() -> Place {
    let place = Place::new();
    let mut text = String::new();
    for number in 0..60_u64 {
        let user = ["ann", "bob", "carol.of.the.long.name@example.org"][(number % 3) as usize];
        let client = ["192.0.2.1", "2001:db8::1234:5678:9abc:def0", "local"][(number % 3) as usize];
        text += &session(number, MORNING + (number as i64 % 3) * 86_400 + number as i64 * 600, user, client);
    }
    text += &refused(1, MORNING, r"\x1b[2J\x1b]0;x\x07");
    text += &refused(2, MORNING + 60, "<script>alert(1)</script>");
    text += &refused(3, MORNING + 90, r"\xe2\x80\xaenna");
    text += &refused(4, MORNING + 100, "ann");
    place.write("history.log", &text);
    place
}

#[test]
fn every_listing_fits_its_width_and_is_exact_in_a_pipe() {
    let place = told();
    for words in [
        "stats --since 50y --by user",
        "stats --since 50y --by client",
        "stats --since 50y --by hour",
        "stats --since 50y",
        "history ann --since 50y",
        "history carol.of.the.long.name@example.org --since 50y",
    ] {
        for width in [60, 80, 120] {
            let text = place.at_width(width, &format!("{words} --format table"));
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{words}: {widest} at {width}\n{text}");
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{words}: {text:?}");
        }
    }
    let tsv = place.well("stats --since 50y --by mechanism");
    assert_eq!(tsv, "PASS\t60\t4\t174\t120\t60\t2655000\t60\t60000\n", "no terminal, no table");
    let days = place.well("stats --since 50y --by day");
    let first = "2026-11-03\t20\t4\t59\t40\t20\t855000\t20\t20000\n2026-11-04\t20\t0\t58\t40\t20\t885000\t20\t20000\n";
    assert!(days.starts_with(first), "{days}");
    let history = place.well("history ann --since 50y --columns time,result,reason,octets");
    let mut lines = history.lines();
    assert_eq!(lines.next(), Some("2026-11-03T08:00:00+00:00\tquit\t-\t0"));
    assert_eq!(lines.next(), Some("2026-11-03T08:01:40+00:00\trefused\twrong-password\t-"));
    assert_eq!(lines.count(), 19);
}

/// The first screen, as it is: whoever changes it looks at it.
#[test]
fn the_listings_look_as_they_were_approved() {
    let place = told();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    for (name, words) in [
        ("stats-by-client", "stats --since 50y --by client"),
        ("stats-by-user", "stats --since 50y --by user"),
        ("stats-by-mechanism", "stats --since 50y --by mechanism"),
        ("stats-columns", "stats --since 50y --by user --columns user,octets,seconds,deleted_octets"),
        ("history-ann", "history ann --since 50y"),
    ] {
        for width in ["60", "80", "120", "piped"] {
            // The time of the test, and the days until then, are no part of the picture.
            let text = match width.parse() {
                Ok(width) => place.at_width(width, &format!("{words} --format table")),
                Err(_) => place.well(words),
            };
            let still: Vec<&str> = text
                .lines()
                .skip_while(|line| {
                    width != "piped" && name.starts_with("stats-by") && !line.starts_with("By ")
                })
                .collect();
            let still: Vec<&str> =
                still.into_iter().take_while(|line| !line.starts_with("No login")).collect();
            let still = still.join("\n") + "\n";
            let most = width.parse().unwrap_or(usize::MAX);
            assert!(still.lines().all(|line| line.chars().count() <= most), "{name}, {width}:\n{still}");
            let path = directory.join(format!("{name}-{width}.txt"));
            if std::env::var_os("BLESS").is_some() {
                fs::create_dir_all(&directory).unwrap();
                fs::write(&path, &still).unwrap();
            }
            let approved = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(still.trim_end(), approved.trim_end(), "{}; BLESS=1 writes it anew", path.display());
        }
    }
}

/// Columns of `stats` are as those of every other list: by the names of JSON, in the order that was asked for.
#[test]
fn stats_have_columns() {
    let place = told();
    let columns = |words: &str| place.well(&format!("stats --since 50y --by user {words}"));
    let first = columns("--columns sessions,user");
    assert_eq!(first.lines().next(), Some("20\tann"), "{first}");
    assert_eq!(columns("--columns sessions,user --top 1").lines().count(), 6, "all rows");
    let json: Value = serde_json::from_str(&columns("--columns user,deleted_octets --format json")).unwrap();
    assert_eq!(json[0], serde_json::json!({"user": "ann", "deleted_octets": 20_000}));
    for (words, said) in [
        ("--columns day", "there is no column \"day\", but user, sessions"),
        ("--columns user --format prometheus", "--columns is for rows"),
    ] {
        let output = place.run(&format!("stats --since 50y --by user {words}"));
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{words}: {err}");
        assert!(err.contains(said) && output.stdout.is_empty(), "{words}: {err}");
    }
}

#[test]
fn a_page_takes_the_place_of_a_link_and_is_never_half() {
    let place = told();
    let (page, target) = (place.file("page.html"), place.file("target"));
    fs::write(&target, "untouched").unwrap();
    symlink("target", &page).unwrap();
    let words = format!("stats --since 50y --html {}", page.display());
    assert_eq!(place.well(&words), "");
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched", "a link is not followed");
    let found = fs::symlink_metadata(&page).unwrap();
    assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o644, "{found:?}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert!(
        html.contains("prefers-color-scheme: dark")
            && html.contains("width=device-width")
            && html.contains("<svg ")
    );
    assert!(!html.contains("<script") && !html.contains(['\u{1b}', '\u{202e}']), "hostile names are words");
    // Where it cannot be written, what is there stays, and nothing else is left.
    for bad in ["none/page.html", "state", "/proc/page.html"] {
        let output = place.run(&format!("stats --html {}", place.directory.path().join(bad).display()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() != Some(0) && said.starts_with("mailusradm: cannot write "),
            "{bad}: {said}"
        );
    }
    let left: Vec<_> = fs::read_dir(place.directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".mailusradm"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Who has not logged in for six months: those of whom that is known, and who has mail and never did.
#[test]
fn absent_users_are_told_of() {
    let place = Place::new();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let text =
        session(1, now - 200 * 86_400, "old", "local") + &session(2, now - 170 * 86_400, "new", "local");
    place.write("history.log", &text);
    let absent = || -> Vec<(String, bool)> {
        let found: Value = serde_json::from_str(&place.well("stats --format json")).unwrap();
        let known =
            |entry: &Value| (entry["user"].as_str().unwrap().to_owned(), entry["last_login"].is_string());
        found["absent"].as_array().unwrap().iter().map(known).collect()
    };
    assert_eq!(absent(), [("old".to_owned(), true)]);
    let table = place.well("stats --format table");
    let (_, part) = table.split_once("\nNo login for six months\n").unwrap();
    assert!(part.contains(" old ") && !part.contains(" new "), "{table}");
    // An ordinary user's installation has that one user.
    if !nix::unistd::geteuid().is_root() {
        fs::write(place.file(&me), "").unwrap();
        assert_eq!(absent().last(), Some(&(me, false)));
    }
}

#[test]
fn bad_states_are_told_in_words_and_nothing_is_written() {
    let place = Place::new();
    let said = |words: &str| {
        let output = place.run(words);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(
        said("stats"),
        (0, "mailusradm: no history yet: the first session that ends begins it\n".to_owned())
    );
    let (status, words) = said("history ann");
    assert!(
        status == 1 && words.contains("ann has no sessions in this time; nothing is known of any before"),
        "{words}"
    );
    assert_eq!(place.names(), [""; 0], "nothing was made");
    place.write("history.log", &session(1, MORNING, "ann", "local"));
    let (status, words) = said("history ann --since 1s");
    assert!(status == 1 && words.contains("the last login was at 2026-11-03T08:00:00+00:00"), "{words}");
    let database = rusqlite::Connection::open(place.state("history.db")).unwrap();
    database.pragma_update(None, "user_version", 7).unwrap();
    drop(database);
    for words in ["stats", "history ann"] {
        let (status, told) = said(words);
        assert!(
            status == 74
                && told.contains("history.db has version 7 and this program knows 1: use the newer program"),
            "{told}"
        );
    }
    assert_eq!(said("stats --since yesterday").0, 64);
    assert_eq!(said("stats --format prometheus --html x").0, 64);
}
