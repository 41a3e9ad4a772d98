//! The rules of enhanced security (design, section 5).

use super::*;
use crate::secrets::{Count, Range};
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;

fn rules() -> Lockout {
    Lockout { failures: 3, user_failures: 6, ..Lockout::default() }
}

/// Attempts one after the other, from the state that they leave; the last judgement.
fn play(rules: &Lockout, tally: &mut Tally, shown: Shown, now: i64) -> Judgement {
    let (written, judgement) = judge(rules, *tally, shown, now);
    *tally = written.tally;
    judgement
}

#[test]
fn a_few_wrong_ones_are_free_and_then_a_lock_doubles() {
    let (rules, mut tally) = (rules(), Tally::default());
    for _ in 0..3 {
        assert!(!play(&rules, &mut tally, Shown::Wrong, NOW).locked_out);
    }
    assert!(play(&rules, &mut tally, Shown::Right, NOW + 59).locked_out, "the right one too");
    assert!(play(&rules, &mut tally, Shown::Wrong, NOW + 59).locked_out);
    assert_eq!((tally.range.failures, tally.user.failures), (3, 3), "none counts while the lock holds");
    assert!(!play(&rules, &mut tally, Shown::Wrong, NOW + 60).locked_out);
    assert!(play(&rules, &mut tally, Shown::Right, NOW + 60 + 119).locked_out, "twice as long");
    assert!(!play(&rules, &mut tally, Shown::Right, NOW + 60 + 120).locked_out);
    assert_eq!((tally.range.failures, tally.user.failures), (0, 0), "the right one clears the count");
    assert_eq!(tally.good, Some(NOW + 180));
}

#[test]
fn a_range_is_locked_out_before_the_user_and_known_ranges_stay() {
    let rules = rules();
    let count = |failures| Count { failures, last: NOW };
    let user = Tally { user: count(6), ..Tally::default() };
    assert!(judge(&rules, user, Shown::Right, NOW).1.locked_out, "from a new place");
    let known = Tally { good: Some(NOW - 86_400), ..user };
    assert!(!judge(&rules, known, Shown::Right, NOW).1.locked_out, "from where the user was before");
    let long_ago = Tally { good: Some(NOW - 31 * 86_400), ..user };
    assert!(judge(&rules, long_ago, Shown::Right, NOW).1.locked_out);
    let own = Tally { range: count(3), ..known };
    assert!(judge(&rules, own, Shown::Right, NOW).1.locked_out, "wrong ones from the range itself");
    assert!(!judge(&rules, own, Shown::Certain, NOW).1.locked_out, "nobody guesses a certificate");
    let never = Lockout { user_failures: 0, ..rules };
    assert!(!judge(&never, Tally { user: count(999), ..user }, Shown::Right, NOW).1.locked_out);
    assert!(!judge(&rules, Tally { user: count(5), ..user }, Shown::Right, NOW).1.locked_out);
}

/// A login from home must not make the guesses from elsewhere undone.
#[test]
fn a_login_forgives_its_own_range_alone() {
    let count = |failures| Count { failures, last: NOW };
    let before = Tally { user: count(5), range: count(2), ..Tally::default() };
    let (written, _) = judge(&rules(), before, Shown::Right, NOW);
    assert_eq!((written.tally.user.failures, written.tally.range.failures), (3, 0));
}

#[test]
fn what_is_long_ago_is_forgotten_and_a_clock_set_back_locks_nobody_for_ever() {
    let rules = rules();
    let old = Count { failures: 50, last: NOW - 86_400 };
    let tally = Tally { user: old, range: old, address: old, good: None };
    let (written, judgement) = judge(&rules, tally, Shown::Wrong, NOW);
    assert!(!judgement.locked_out && judgement.delay.is_zero());
    assert_eq!(written.tally.range, Count { failures: 1, last: NOW });
    let future = Count { failures: 3, last: NOW + 999_999 };
    let (written, judgement) = judge(&rules, Tally { range: future, ..Tally::default() }, Shown::Right, NOW);
    assert!(judgement.locked_out, "as if the last one were of now");
    assert_eq!(written.tally.range.last, NOW);
}

/// What is refused for another reason than a wrong guess delays the next refusal as much: else the delay would tell.
#[test]
fn refusals_delay_alike_whatever_their_reason() {
    let rules = Lockout { delay_after: 2, max_delay: Duration::from_secs(20), ..rules() };
    let delays = |shown: Shown| {
        let mut tally = Tally::default();
        (0..9).map(|_| play(&rules, &mut tally, shown, NOW).delay.as_secs()).collect::<Vec<_>>()
    };
    assert_eq!(delays(Shown::Wrong), [0, 0, 1, 2, 4, 8, 16, 20, 20]);
    assert_eq!(delays(Shown::Hopeless), delays(Shown::Wrong));
    let locked = Tally { range: Count { failures: 9, last: NOW }, ..Tally::default() };
    for shown in [Shown::Right, Shown::Wrong, Shown::Hopeless] {
        assert_eq!(judge(&rules, locked, shown, NOW).0.tally.address.failures, 1, "{shown:?}");
    }
}

#[test]
fn locks_that_hold_are_told() {
    let rules = rules();
    let range = |network: &str, failures, last| Range {
        network: network.to_owned(),
        count: Count { failures, last },
        good: None,
    };
    let ranges = vec![range("192.0.2.0/24", 3, NOW), range("::/64", 2, NOW), range("local", 3, NOW - 100)];
    let logins = Logins { failures: 6, last_failure: Some(NOW), ranges, ..Logins::default() };
    let locks = locks(&rules, &logins, NOW);
    assert_eq!(locks.user, Some(NOW + 60));
    assert_eq!(locks.ranges, [("192.0.2.0/24".to_owned(), NOW + 60)]);
}

fn limits(hours: Option<&str>, networks: Option<&str>) -> Limits {
    Limits {
        hours: hours.map(|text| text.parse().unwrap()),
        networks: networks.map(|text| text.parse().unwrap()),
        login_delay: None,
    }
}

#[test]
fn hours_and_networks_limit_right_credentials() {
    let monday_noon = || WallTime { weekday: 0, minute: 720 };
    let ip = |text: &str| Some(text.parse().unwrap());
    let office = limits(Some("mon 08:00-18:00"), Some("192.0.2.0/24"));
    assert_eq!(limited(&office, monday_noon, ip("192.0.2.7")), None);
    assert_eq!(limited(&office, monday_noon, ip("198.51.100.7")), Some(Reason::Network));
    assert_eq!(
        limited(&office, || WallTime { weekday: 1, minute: 720 }, ip("192.0.2.7")),
        Some(Reason::OutsideHours)
    );
    assert_eq!(limited(&limits(None, Some("127.0.0.0/8")), monday_noon, None), None, "not over the network");
    assert_eq!(limited(&Limits::default(), || panic!("no clock is read"), None), None);
}

fn shadow(last_change: i64, most_days: i64, inactive: i64, expire: i64) -> Shadow {
    let field = |value: i64| (value >= 0).then_some(value);
    Shadow {
        hash: crate::secret::Secret::new(Vec::new()),
        last_change: field(last_change),
        most_days: field(most_days),
        inactive: field(inactive),
        expire: field(expire),
    }
}

/// shadow(5): fields 3, 5, 7 and 8.
#[test]
fn shadow_says_when_accounts_and_passwords_end() {
    let today = 20_000;
    assert_eq!(expired(&shadow(19_000, 99_999, -1, -1), today), None);
    assert_eq!(expired(&shadow(19_000, -1, -1, 20_000), today), Some(Reason::AccountExpired));
    assert_eq!(expired(&shadow(19_000, -1, -1, 20_001), today), None, "until the day before");
    assert_eq!(expired(&shadow(19_900, 50, 49, -1), today), Some(Reason::Inactive));
    assert_eq!(expired(&shadow(19_900, 50, 50, -1), today), None, "the last day of the time of grace");
    assert_eq!(expired(&shadow(19_900, 50, -1, -1), today), None, "no time of grace, no end");
    assert_eq!(expired(&shadow(21_000, 1, 1, -1), today), None, "changed in the future: the clock is wrong");
    assert!(password_expired(&shadow(19_900, 99, -1, -1), today));
    assert!(!password_expired(&shadow(19_900, 100, -1, -1), today));
    assert!(password_expired(&shadow(0, -1, -1, -1), today), "it has to be changed at the next login");
    assert!(!password_expired(&shadow(-1, 10, -1, -1), today), "no aging");
    assert!(!password_expired(&shadow(i64::MAX, 10, -1, -1), today));
}

#[test]
fn shells_are_refused_by_their_last_part() {
    let refused = ["nologin", "false"].map(str::to_owned);
    for shell in ["/usr/sbin/nologin", "/bin/false", "false"] {
        assert!(is_refused_shell(shell, &refused), "{shell}");
    }
    for shell in ["", "/bin/sh", "/bin/falsehood", "/nologin/bash"] {
        assert!(!is_refused_shell(shell, &refused), "{shell}");
    }
}

proptest! {
    /// Whatever is counted: no lock is longer than the longest, none outlives what is forgotten, and nobody overflows.
    #[test]
    fn locks_end(failures: u32, last in NOW - 200_000..NOW, user: u32, shown in 0..4) {
        let rules = rules();
        let shown = [Shown::Right, Shown::Certain, Shown::Wrong, Shown::Hopeless][usize::try_from(shown).unwrap()];
        let count = Count { failures, last };
        let tally = Tally { range: count, user: Count { failures: user, last }, good: None, address: count };
        let (written, judgement) = judge(&rules, tally, shown, NOW);
        if NOW - last >= 3600 {
            prop_assert!(!judgement.locked_out);
        }
        prop_assert!(judgement.delay <= rules.max_delay);
        prop_assert_eq!(written.is_good, matches!(shown, Shown::Right | Shown::Certain) && !judgement.locked_out);
        prop_assert!(written.tally.user.last <= NOW && written.tally.range.last <= NOW);
    }
}
