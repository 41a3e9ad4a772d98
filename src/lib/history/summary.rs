//! Numbers out of the history: by day, by hour, by user, and so on. Pure: the caller knows the clock and the time zone.

use super::record::{Entry, Session};
use super::store::LastLogin;
use std::collections::{BTreeMap, HashMap};

/// When something was, in local time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// `2026-11-27`
    pub(crate) day: String,
    /// The hour of the day.
    pub(crate) hour: u8,
}

/// What sessions did together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How many there were.
    pub(crate) sessions: u64,
    /// Logins that were refused.
    pub(crate) refused: u64,
    /// How long the sessions were.
    pub(crate) seconds: u64,
    /// Messages that were sent as a whole.
    pub(crate) retrieved: u64,
    /// Messages that were sent in part.
    pub(crate) top: u64,
    /// Octets that were sent.
    pub(crate) octets: u64,
    /// Messages that were deleted.
    pub(crate) deleted: u64,
    /// Their octets.
    pub(crate) deleted_octets: u64,
}

impl Count {
    /// Counts a session.
    pub(crate) const fn add(&mut self, session: &Session) {
        let report = &session.report;
        self.sessions = self.sessions.saturating_add(1);
        self.seconds = self.seconds.saturating_add(session.seconds);
        self.retrieved = self.retrieved.saturating_add(report.retrieved as u64);
        self.top = self.top.saturating_add(report.top as u64);
        self.octets = self.octets.saturating_add(report.octets);
        self.deleted = self.deleted.saturating_add(report.deleted as u64);
        self.deleted_octets = self.deleted_octets.saturating_add(report.deleted_octets);
    }
}

/// The history from some time on, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// All together.
    pub(crate) total: Count,
    /// How many different users there were.
    pub(crate) users: u64,
    /// Sessions by how they ended.
    pub(crate) ends: BTreeMap<&'static str, u64>,
    /// Sessions by version of TLS.
    pub(crate) tls: BTreeMap<String, u64>,
    /// Refused logins by reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    days: BTreeMap<String, Count>,
    hours: BTreeMap<String, Count>,
    by_user: HashMap<String, Count>,
    by_client: HashMap<String, Count>,
    by_mechanism: HashMap<String, Count>,
}

impl Summary {
    /// Nothing yet, on these days, which are shown even when nothing was.
    pub(crate) fn new(days: impl IntoIterator<Item = String>) -> Self {
        Self {
            days: days.into_iter().map(|day| (day, Count::default())).collect(),
            hours: (0..24).map(|hour| (hour_name(hour), Count::default())).collect(),
            ..Self::default()
        }
    }

    /// Counts a session or a refused login.
    pub(crate) fn add(&mut self, entry: &Entry, moment: Moment) {
        let (user, client, mechanism) = match entry {
            Entry::Session(it) => (&it.user, &it.client, &it.mechanism),
            Entry::Refused(it) => (&it.user, &it.client, &it.mechanism),
        };
        if matches!(entry, Entry::Session(_))
            && self.by_user.get(user).is_none_or(|count| count.sessions == 0)
        {
            self.users += 1;
        }
        let counts = [
            &mut self.total,
            self.days.entry(moment.day).or_default(),
            self.hours.entry(hour_name(moment.hour)).or_default(),
            self.by_user.entry(user.clone()).or_default(),
            self.by_client.entry(client.clone()).or_default(),
            self.by_mechanism.entry(mechanism.clone()).or_default(),
        ];
        match entry {
            Entry::Session(session) => {
                counts.into_iter().for_each(|count| count.add(session));
                *self.ends.entry(session.report.end.word()).or_default() += 1;
                *self.tls.entry(session.tls.clone()).or_default() += 1;
            }
            Entry::Refused(refusal) => {
                counts.into_iter().for_each(|count| count.refused += 1);
                *self.reasons.entry(refusal.reason.clone()).or_default() += 1;
            }
        }
    }

    /// Each day, in order.
    pub(crate) fn days(&self) -> Vec<(&str, Count)> {
        self.days.iter().map(|(day, count)| (day.as_str(), *count)).collect()
    }

    /// Each hour of the day, in order.
    pub(crate) fn hours(&self) -> Vec<(&str, Count)> {
        self.hours.iter().map(|(hour, count)| (hour.as_str(), *count)).collect()
    }

    /// Each user, the one with the most sessions first.
    pub(crate) fn users(&self) -> Vec<(&str, Count)> {
        ranked(&self.by_user, |count| (count.sessions, count.refused))
    }

    /// Each client's address, the one with the most sessions first.
    pub(crate) fn clients(&self) -> Vec<(&str, Count)> {
        ranked(&self.by_client, |count| (count.sessions, count.refused))
    }

    /// Each mechanism, the one with the most sessions first.
    pub(crate) fn mechanisms(&self) -> Vec<(&str, Count)> {
        ranked(&self.by_mechanism, |count| (count.sessions, count.refused))
    }

    /// Who was sent the most octets.
    pub(crate) fn talkers(&self, most: usize) -> Vec<(&str, Count)> {
        let mut talkers = ranked(&self.by_user, |count| (count.octets, count.sessions));
        talkers.retain(|(_, count)| count.octets > 0);
        talkers.truncate(most);
        talkers
    }
}

fn hour_name(hour: u8) -> String {
    format!("{hour:02}")
}

/// The largest first; of equals by name.
fn ranked(counts: &HashMap<String, Count>, rank: impl Fn(&Count) -> (u64, u64)) -> Vec<(&str, Count)> {
    let mut rows: Vec<(&str, Count)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    rows.sort_by(|one, other| rank(&other.1).cmp(&rank(&one.1)).then(one.0.cmp(other.0)));
    rows
}

/// Who left the most octets on the server at the last login.
pub(crate) fn hoarders(logins: &HashMap<String, LastLogin>, most: usize) -> Vec<(&str, &LastLogin)> {
    let mut rows: Vec<(&str, &LastLogin)> = logins
        .iter()
        .map(|(user, login)| (user.as_str(), login))
        .filter(|(_, login)| login.left > 0)
        .collect();
    rows.sort_by(|(one, a), (other, b)| b.left_octets.cmp(&a.left_octets).then(one.cmp(other)));
    rows.truncate(most);
    rows
}

/// Whose last login was before this time, the longest ago first.
pub(crate) fn absent(logins: &HashMap<String, LastLogin>, before: i64) -> Vec<(&str, &LastLogin)> {
    let mut rows: Vec<(&str, &LastLogin)> = logins
        .iter()
        .map(|(user, login)| (user.as_str(), login))
        .filter(|(_, login)| login.time < before)
        .collect();
    rows.sort_by(|(one, a), (other, b)| a.time.cmp(&b.time).then(one.cmp(other)));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::record::Refusal;
    use super::*;
    use crate::log::{End, Report, SessionId};

    fn session(user: &str, client: &str, octets: u64, end: End) -> Entry {
        Entry::Session(Session {
            id: SessionId::from_bits(octets),
            start: 0,
            seconds: 2,
            user: user.to_owned(),
            client: client.to_owned(),
            mechanism: "PASS".to_owned(),
            tls: "none".to_owned(),
            refused: 0,
            report: Report { octets, retrieved: 1, deleted: 1, deleted_octets: octets, ..Report::ended(end) },
        })
    }

    fn refused(user: &str) -> Entry {
        Entry::Refused(Refusal {
            id: SessionId::from_bits(1),
            number: 1,
            time: 0,
            user: user.to_owned(),
            client: "192.0.2.9".to_owned(),
            mechanism: "APOP".to_owned(),
            reason: "unknown-user".to_owned(),
        })
    }

    fn moment(day: &str, hour: u8) -> Moment {
        Moment { day: day.to_owned(), hour }
    }

    #[test]
    fn numbers_are_sums_whatever_they_are_grouped_by() {
        let mut summary = Summary::new(["2026-11-01".to_owned(), "2026-11-02".to_owned()]);
        summary.add(&session("ann", "192.0.2.1", 10, End::Quit), moment("2026-11-02", 7));
        summary.add(&session("bob", "192.0.2.1", 30, End::Idle), moment("2026-11-03", 7));
        summary.add(&session("bob", "192.0.2.2", 5, End::Quit), moment("2026-11-03", 23));
        summary.add(&refused("mallory"), moment("2026-11-03", 0));
        assert_eq!((summary.users, summary.total.sessions, summary.total.refused), (2, 3, 1));
        assert_eq!((summary.total.octets, summary.total.deleted_octets, summary.total.seconds), (45, 45, 6));
        assert_eq!(summary.ends, BTreeMap::from([("idle", 1), ("quit", 2)]));
        let groups =
            [summary.days(), summary.hours(), summary.users(), summary.clients(), summary.mechanisms()];
        for rows in &groups {
            assert_eq!(rows.iter().map(|(_, count)| count.sessions).sum::<u64>(), 3, "{rows:?}");
            assert_eq!(rows.iter().map(|(_, count)| count.octets).sum::<u64>(), 45, "{rows:?}");
            assert_eq!(rows.iter().map(|(_, count)| count.refused).sum::<u64>(), 1, "{rows:?}");
        }
        let [days, hours, users, clients, _] =
            groups.map(|rows| rows.into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(days, ["2026-11-01", "2026-11-02", "2026-11-03"], "a day without sessions is one too");
        assert_eq!(hours.len(), 24);
        assert_eq!(users, ["bob", "ann", "mallory"]);
        assert_eq!(clients, ["192.0.2.1", "192.0.2.2", "192.0.2.9"]);
        let talkers: Vec<&str> = summary.talkers(9).into_iter().map(|(name, _)| name).collect();
        assert_eq!(talkers, ["bob", "ann"]);
        assert_eq!(summary.talkers(1).len(), 1);
    }

    #[test]
    fn hoarders_and_absent_users_are_told_by_their_last_login() {
        let login = |time, left, left_octets| LastLogin { time, client: String::new(), left, left_octets };
        let logins: HashMap<String, LastLogin> = [
            ("ann".to_owned(), login(100, 3, 900)),
            ("bob".to_owned(), login(50, 5, 100)),
            ("cat".to_owned(), login(10, 0, 0)),
        ]
        .into();
        let names = |rows: Vec<(&str, &LastLogin)>| -> Vec<String> {
            rows.into_iter().map(|(name, _)| name.to_owned()).collect()
        };
        assert_eq!(names(hoarders(&logins, 9)), ["ann", "bob"]);
        assert_eq!(names(hoarders(&logins, 1)), ["ann"]);
        assert_eq!(names(absent(&logins, 100)), ["cat", "bob"]);
    }
}
