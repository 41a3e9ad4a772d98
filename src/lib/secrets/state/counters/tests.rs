//! The counters (design, section 5).

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn places(directory: &Path) -> Places {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    Places { database: directory.join("mailauth.db"), key: directory.join("key") }
}

const NOW: i64 = 1_800_000_000;

fn of<'a>(user: &'a str, network: &'a str, now: i64) -> Attempt<'a> {
    Attempt { user, is_known: true, network, place: "192.0.2.1", now }
}

fn wrong(places: &Places, attempt: &Attempt<'_>) -> Tally {
    State::attempt(places, attempt, |mut tally| {
        let before = tally;
        for count in [&mut tally.user, &mut tally.range, &mut tally.address] {
            *count = Count { failures: count.failures + 1, last: attempt.now };
        }
        (Written { tally, is_good: false }, before)
    })
    .unwrap()
}

fn good(places: &Places, attempt: &Attempt<'_>) {
    State::attempt(places, attempt, |mut tally| {
        tally.good = Some(attempt.now);
        (Written { tally, is_good: true }, ())
    })
    .unwrap();
}

fn rows(places: &Places, table: &str) -> u32 {
    let connection = rusqlite::Connection::open(places.state()).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_counted_is_shown_and_forgiven() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    wrong(&places, &of("Ann", "192.0.2.0/24", NOW));
    wrong(&places, &of("ann", "198.51.100.0/24", NOW + 1));
    let before = wrong(&places, &of("ann", "198.51.100.0/24", NOW + 2));
    assert_eq!((before.user.failures, before.range.failures), (2, 1), "Ann is ann");
    good(&places, &of("ann", "192.0.2.0/24", NOW + 3));
    let mut state = State::open(&places).unwrap().unwrap();
    let logins = state.logins("ann").unwrap().unwrap();
    let visit = |at| Some(Visit { at, place: "192.0.2.1".to_owned() });
    assert_eq!((logins.good, logins.bad), (visit(NOW + 3), visit(NOW + 2)));
    assert_eq!((logins.failures, logins.last_failure), (3, Some(NOW + 2)));
    let ranges: Vec<_> = logins
        .ranges
        .iter()
        .map(|range| (range.network.as_str(), range.count.failures, range.good))
        .collect();
    assert_eq!(ranges, [("198.51.100.0/24", 2, None), ("192.0.2.0/24", 1, Some(NOW + 3))]);
    assert!(state.logins("bob").unwrap().is_none());
    assert!(state.forgive("Ann").unwrap() && !state.forgive("ann").unwrap());
    assert_eq!(state.logins("ann").unwrap().unwrap().failures, 0);
    assert_eq!(wrong(&places, &of("ann", "192.0.2.0/24", NOW)).range.failures, 0);
}

/// Parallel wrong passwords count each: no check sees what another has not written yet.
#[test]
fn parallel_attempts_count_each() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| _ = wrong(&places, &of("ann", "local", NOW))));
        }
    });
    assert_eq!(wrong(&places, &of("ann", "local", NOW)).range.failures, 40);
}

/// Names that nobody has must not fill the database.
#[test]
fn unknown_names_share_some_rows() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    for number in 0..2 * NOBODIES {
        let (user, network) = (format!("nobody{number}"), format!("192.0.2.{}", number % 200));
        wrong(&places, &Attempt { is_known: false, ..of(&user, &network, NOW) });
    }
    assert!(rows(&places, "login") <= 256 && rows(&places, "range") <= 256);
    let file = std::fs::read(places.state()).unwrap();
    assert!(!file.windows(6).any(|part| part == b"nobody"), "no name is kept");
}

/// Neither must many addresses; where a user was at home is not pushed out by those who guess.
#[test]
fn ranges_of_a_user_are_bounded_and_known_ones_stay() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    good(&places, &of("ann", "home", NOW - 1000));
    for number in 0..MOST_FAILING + 20 {
        wrong(&places, &of("ann", &format!("{number}"), NOW + i64::from(number)));
    }
    assert_eq!(rows(&places, "range"), MOST_FAILING + 1);
    let logins = State::open(&places).unwrap().unwrap().logins("ann").unwrap().unwrap();
    assert!(logins.ranges.iter().any(|range| range.network == "home"));
    assert_eq!(logins.ranges[0].network, format!("{}", MOST_FAILING + 19), "the newest stay");
}

/// A file of the version before gets what is missing, and keeps what it has.
#[test]
fn a_file_of_the_first_version_is_brought_forward() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    let connection = rusqlite::Connection::open(places.state()).unwrap();
    std::fs::set_permissions(places.state(), std::fs::Permissions::from_mode(0o600)).unwrap();
    connection.execute_batch(super::super::SCHEMA).unwrap();
    connection.pragma_update(None, "application_id", super::super::APPLICATION).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection.execute("INSERT INTO used VALUES ('ann', 'APOP', '', 7)", []).unwrap();
    drop(connection);
    wrong(&places, &of("ann", "local", NOW));
    assert_eq!((rows(&places, "used"), rows(&places, "range")), (1, 1));
}

/// Fail closed: the error names the file and what to do, and the file stays.
#[test]
fn a_damaged_file_refuses_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    std::fs::write(places.state(), [b'x'; 4096]).unwrap();
    std::fs::set_permissions(places.state(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let error =
        State::attempt(&places, &of("ann", "local", NOW), |tally| (Written { tally, is_good: true }, ()));
    let error = error.unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Permanent);
    let text = error.to_string();
    assert!(text.contains("state.db is no SQLite database") && text.contains("remove state.db"), "{text}");
    assert_eq!(std::fs::read(places.state()).unwrap(), [b'x'; 4096]);
}
