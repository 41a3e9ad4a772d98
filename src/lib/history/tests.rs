//! Log and database together: each line is counted once, whoever writes, moves and reads meanwhile.

use super::lines::{LOG, MOVING, append};
use super::*;
use crate::log::{End, Report, SessionId};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A time in 2026.
const NOON: i64 = 1_793_692_800;

fn session(number: u64, start: i64, user: &str) -> Entry {
    let report = Report {
        retrieved: 2,
        octets: 100 + number,
        deleted: 1,
        deleted_octets: 50,
        left: 3,
        left_octets: 150,
        ..Report::ended(End::Quit)
    };
    Entry::Session(Session {
        id: SessionId::from_bits(number),
        start,
        seconds: 5,
        user: user.to_owned(),
        client: "192.0.2.1".to_owned(),
        mechanism: "PASS".to_owned(),
        tls: "none".to_owned(),
        refused: 0,
        report,
    })
}

fn refusal(number: u64, time: i64) -> Entry {
    Entry::Refused(Refusal {
        id: SessionId::from_bits(number),
        number: 1,
        time,
        user: "ann".to_owned(),
        client: "192.0.2.1".to_owned(),
        mechanism: "PASS".to_owned(),
        reason: "wrong-password".to_owned(),
    })
}

fn config(directory: &Path) -> Config {
    Config { state_dir: directory.to_owned(), ..Config::default() }
}

fn moved(config: &Config) -> Moved {
    move_log(&Place::open(&config.state_dir).unwrap(), config).unwrap()
}

/// All lines of everything that there is.
fn all(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    History::open(config).unwrap().each(i64::MIN, &mut |entry| found.push(entry.to_line())).unwrap();
    found.sort();
    found
}

fn lines(entries: &[Entry]) -> Vec<String> {
    let mut lines: Vec<String> = entries.iter().map(Entry::to_line).collect();
    lines.sort();
    lines
}

#[test]
fn a_line_is_counted_once_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    assert!(History::open(&config).unwrap().is_empty().unwrap(), "no history yet");
    assert_eq!(moved(&config), Moved::default());
    let entries = [session(1, NOON, "ann"), refusal(1, NOON), session(2, NOON, "bob")];
    for entry in &entries {
        append(folder.path(), entry).unwrap();
    }
    assert_eq!(all(&config), lines(&entries), "in the log");
    let text = fs::read(folder.path().join(LOG)).unwrap();
    assert_eq!(moved(&config), Moved { entries: 3, skipped: 0 });
    assert_eq!(all(&config), lines(&entries), "in the database");
    assert!(!folder.path().join(LOG).exists() && !folder.path().join(MOVING).exists());
    // As a move leaves it that was killed after its commit, and a log that has grown since.
    fs::write(folder.path().join(MOVING), &text).unwrap();
    append(folder.path(), &session(3, NOON + 1, "ann")).unwrap();
    let more = [&entries[..], &[session(3, NOON + 1, "ann")]].concat();
    assert_eq!(all(&config), lines(&more), "in both");
    assert_eq!(moved(&config), Moved { entries: 1, skipped: 0 });
    assert_eq!(all(&config), lines(&more));
    let totals = History::open(&config).unwrap().totals().unwrap();
    assert_eq!(totals.sessions.values().map(|count| count.sessions).sum::<u64>(), 3);
    assert_eq!(totals.refused.values().sum::<u64>(), 1);
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    append(folder.path(), &entries[0]).unwrap();
    assert_eq!((mode(LOG), mode("history.db")), (0o600, 0o600), "who logs in from where is root's alone");
}

#[test]
fn writers_movers_and_readers_do_not_wait_and_lose_nothing() {
    const EACH: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..3_u64 {
            let (folder, done) = (folder.path(), &done);
            scope.spawn(move || {
                for number in 0..EACH {
                    append(folder, &session(writer * EACH + number, NOON, "ann")).unwrap();
                }
                done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while done.load(std::sync::atomic::Ordering::SeqCst) < 3 {
                    moved(&config);
                }
            });
        }
        let mut least = 0;
        while done.load(std::sync::atomic::Ordering::SeqCst) < 3 {
            let found = all(&config);
            let different: BTreeSet<&String> = found.iter().collect();
            assert_eq!(different.len(), found.len(), "no line twice");
            assert!(
                found.len() >= least,
                "{} after {least}: a reader missed lines on their way",
                found.len()
            );
            least = found.len();
        }
    });
    moved(&config);
    assert_eq!(all(&config).len() as u64, 3 * EACH);
    let totals = History::open(&config).unwrap().totals().unwrap();
    assert_eq!((totals.skipped, totals.sessions.values().map(|count| count.sessions).sum()), (0, 3 * EACH));
}

/// Between opening a file and writing to it, it may be renamed, locked or removed: the line goes to one that somebody will read.
#[test]
fn a_line_goes_to_a_file_that_somebody_will_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let (log, moving) = (folder.path().join(LOG), folder.path().join(MOVING));
    append(folder.path(), &session(1, NOON, "ann")).unwrap();
    let mut once = true;
    lines::append_between(folder.path(), &session(2, NOON, "ann"), || {
        if std::mem::take(&mut once) {
            assert_eq!(moved(&config).entries, 1, "moved and removed");
        }
    })
    .unwrap();
    assert_eq!((all(&config).len(), log.exists()), (2, true));
    // Now it is renamed, and about to be removed.
    let mut held = None;
    lines::append_between(folder.path(), &session(3, NOON, "ann"), || {
        if held.is_none() {
            fs::rename(&log, &moving).unwrap();
            let file = fs::File::open(&moving).unwrap();
            file.lock().unwrap();
            held = Some(file);
        }
    })
    .unwrap();
    assert!(fs::read_to_string(&log).unwrap().contains("000003"), "to the new one");
    drop(held);
    assert_eq!(moved(&config).entries, 2);
    assert_eq!(all(&config).len(), 3);
}

/// Who is about to write holds a lock: the file stays until that is done, and its lines are not counted twice.
#[test]
fn a_file_that_somebody_writes_to_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    append(folder.path(), &session(1, NOON, "ann")).unwrap();
    let mut writer = fs::OpenOptions::new().append(true).open(folder.path().join(LOG)).unwrap();
    writer.lock_shared().unwrap();
    assert_eq!(moved(&config), Moved { entries: 1, skipped: 0 });
    assert!(folder.path().join(MOVING).exists(), "it stays");
    append(folder.path(), &session(2, NOON, "ann")).unwrap();
    std::io::Write::write_all(&mut writer, session(3, NOON, "ann").to_line().as_bytes()).unwrap();
    assert_eq!(all(&config).len(), 3);
    drop(writer);
    assert_eq!(moved(&config), Moved { entries: 2, skipped: 0 });
    assert_eq!(all(&config).len(), 3);
    assert!(!folder.path().join(MOVING).exists() && !folder.path().join(LOG).exists());
}

#[test]
fn what_is_torn_or_foreign_is_counted_and_takes_nothing_along() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let (first, second) = (session(1, NOON, "ann"), session(2, NOON, "bob"));
    let torn = &first.to_line().into_bytes()[..60];
    let long = vec![b'x'; 50_000];
    let text = [torn, b"\nhello\n\xff\xfe\n", &long, b"\n", first.to_line().as_bytes(), torn].concat();
    fs::write(folder.path().join(LOG), text).unwrap();
    append(folder.path(), &second).unwrap();
    assert_eq!(all(&config), lines(&[first.clone(), second.clone()]));
    assert_eq!(History::open(&config).unwrap().totals().unwrap().skipped, 5);
    fs::write(folder.path().join(LOG), [&fs::read(folder.path().join(LOG)).unwrap(), torn].concat()).unwrap();
    assert_eq!(moved(&config), Moved { entries: 2, skipped: 6 }, "the last was cut off");
    assert_eq!(all(&config), lines(&[first, second]));
    assert_eq!(History::open(&config).unwrap().totals().unwrap().skipped, 6);
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join(LOG);
    let said = |directory: &Path| append(directory, &session(1, NOON, "ann")).unwrap_err().to_string();
    assert!(said(&folder.path().join("none")).contains("No such file or directory"));
    std::os::unix::fs::symlink("elsewhere", &log).unwrap();
    assert!(
        said(folder.path()).starts_with(&format!("cannot open {}: ", log.display())),
        "no link is followed"
    );
    assert!(!folder.path().join("elsewhere").exists());
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert!(said(folder.path()).ends_with("Is a directory"));
}

#[test]
fn a_database_that_is_not_ours_is_refused_with_words_and_the_log_stays() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    append(folder.path(), &session(1, NOON, "ann")).unwrap();
    moved(&config);
    append(folder.path(), &session(2, NOON, "ann")).unwrap();
    let database = folder.path().join("history.db");
    let good = fs::read(&database).unwrap();
    let refusals = |words: &str| {
        let place = Place::open(folder.path()).unwrap();
        for said in [
            move_log(&place, &config).map(drop),
            History::open(&config).and_then(|it| it.last_logins()).map(drop),
        ] {
            let said = said.unwrap_err().to_string();
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(folder.path().join(LOG).exists() || folder.path().join(MOVING).exists());
    };
    rusqlite::Connection::open(&database).unwrap().pragma_update(None, "user_version", 9).unwrap();
    refusals("has version 9 and this program knows 1: use the newer program");
    rusqlite::Connection::open(&database).unwrap().pragma_update(None, "application_id", 7).unwrap();
    refusals("is a database of another program");
    fs::write(&database, b"hello, this is no database but it is long enough").unwrap();
    refusals("is no SQLite database");
    fs::write(&database, [&good[..4096], &vec![0xa5; good.len() - 4096][..]].concat()).unwrap();
    refusals("is damaged");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o666)).unwrap();
    refusals("is not a file that only its owner can change");
    fs::remove_file(&database).unwrap();
    std::os::unix::fs::symlink("elsewhere.db", &database).unwrap();
    refusals("is not a file that only its owner can change");
    fs::remove_file(&database).unwrap();
    fs::write(&database, &good).unwrap();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(moved(&config).entries, 1, "as soon as it is mended");
    assert_eq!(all(&config).len(), 2);
}

#[test]
fn what_is_too_old_or_too_much_goes_and_last_logins_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.log.history_days = 30;
    let now = crate::sys::clock::wall_seconds();
    append(folder.path(), &session(1, now - 31 * 86_400, "old")).unwrap();
    append(folder.path(), &session(2, now - 29 * 86_400, "ann")).unwrap();
    append(folder.path(), &session(3, now, "ann")).unwrap();
    moved(&config);
    assert_eq!(all(&config).len(), 2, "31 days are more than 30");
    let last = last_logins(&config).unwrap();
    assert_eq!((last["old"].time, last["ann"].time), (now - 31 * 86_400, now));
    let size = || fs::metadata(folder.path().join("history.db")).unwrap().len();
    let text: String =
        (4..20_000).map(|number| session(number, now - 20_000 + number as i64, "bob").to_line()).collect();
    fs::write(folder.path().join(LOG), &text).unwrap();
    moved(&config);
    let (full, before) = (all(&config).len(), size());
    assert!(before > 2 << 20, "{before} octets");
    config.log.history_size = 1 << 20;
    moved(&config);
    let kept = all(&config);
    assert!(size() <= 1 << 20, "{} octets of {before} are left", size());
    assert!(
        kept.len() > full / 4 && kept.contains(&session(3, now, "ann").to_line()),
        "the oldest went: {}",
        kept.len()
    );
    let totals = History::open(&config).unwrap().totals().unwrap();
    assert_eq!(totals.sessions.values().map(|count| count.sessions).sum::<u64>(), 3 + 19_996, "totals stay");
    assert!(last_logins(&config).unwrap().contains_key("old"));
}

#[test]
fn a_clock_that_jumps_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    // Set right after an hour: the second session began before the first, the third before 1970.
    for (number, start) in [(1, NOON), (2, NOON - 3600), (3, -5)] {
        append(folder.path(), &session(number, start, "ann")).unwrap();
    }
    let check = || {
        let history = History::open(&config).unwrap();
        assert_eq!(history.last_logins().unwrap()["ann"].time, NOON, "the latest, not the last");
        let starts =
            |since| -> Vec<i64> { history.of_user("ann", since).unwrap().iter().map(Entry::time).collect() };
        assert_eq!(starts(NOON - 7200), [NOON - 3600, NOON]);
    };
    check();
    moved(&config);
    check();
    assert_eq!(all(&config).len(), 2, "one of 1970 is too old by any clock");
    // An idle server whose clock is years ahead forgets nothing (the newest session counts).
    let mut later = config.clone();
    later.log.history_days = 1;
    moved(&later);
    assert_eq!(all(&config).len(), 2);
}

#[test]
fn what_a_killed_session_left_nobody_knows() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let Entry::Session(mut killed) = session(2, NOON + 1, "ann") else { panic!() };
    killed.report = Report::ended(End::Killed);
    append(folder.path(), &session(1, NOON, "ann")).unwrap();
    append(folder.path(), &Entry::Session(killed)).unwrap();
    for place in ["in the log", "in the database"] {
        let last = &last_logins(&config).unwrap()["ann"];
        assert_eq!((last.time, last.left, last.left_octets), (NOON + 1, 3, 150), "{place}");
        moved(&config);
    }
}
