//! What our server is to reach, row by row: in proportion to a server of the same run, or outright.

/// What a figure may be at most.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// So much of this server's.
    Of(&'static str, f64),
    /// So much of the best server's, whichever that is.
    OfBest(f64),
    /// So much, whatever the others need.
    AtMost(f64),
}

/// The bare loop of [`super::bare`], a server among the others in the report.
pub(crate) const BARE_LOOP: &str = "(bare loop)";
/// Our row in the clear and what the cipher alone costs.
pub(crate) const CLEAR_AND_CIPHER: &str = "(clear+cipher)";

use Limit::{AtMost, Of, OfBest};

/// Row, column, limit. A row may have several; where it has none, ours is to be the best.
pub(crate) const ALL: &[(&str, &str, Limit)] = &[
    ("poll-1-md5", "cpu-ms", Of("popa3d", 0.45)),
    ("poll-16-md5", "cpu-ms", Of("popa3d", 0.45)),
    ("poll-64-md5", "cpu-ms", Of("popa3d", 0.45)),
    ("poll-1-yescrypt", "cpu-ms", OfBest(1.0)),
    ("inetd-1-md5", "cpu-ms", Of("popa3d", 0.7)),
    ("tls-poll-1-md5", "cpu-ms", Of("dovecot", 0.4)),
    ("small-update-first", "cpu-ms", Of("popa3d", 2.0)),
    ("small-update-second", "cpu-ms", Of("popa3d", 2.5)),
    ("small-update-all", "cpu-ms", Of("popa3d", 1.0)),
    ("latency-retr", "p50-ms", OfBest(1.05)),
    ("latency-retr", "stalls", AtMost(0.0)),
    ("retr-lockstep", "cpu-s/GB", Of("popa3d", 0.95)),
    ("retr-lockstep-pinned", "cpu-s/GB", Of("popa3d", 0.5)),
    ("retr-pipelined", "cpu-s/GB", Of("dovecot-maildir", 0.3)),
    ("tls-retr-lockstep", "cpu-s/GB", Of("dovecot", 0.3)),
    ("tls-retr-lockstep", "cpu-s/GB", Of(CLEAR_AND_CIPHER, 1.5)),
    ("tls-login-p99", "p99-ms", Of("dovecot", 0.5)),
    ("huge-retr", "cpu-s/GB", Of(BARE_LOOP, 1.3)),
    ("big-login-cold", "cpu-ms", Of("popa3d", 0.9)),
    ("big-login-cold", "wall-ms", Of("popa3d", 0.6)),
    ("big-login-unchanged", "cpu-ms", AtMost(5.0)),
    ("tenfold-login-unchanged", "cpu-ms", AtMost(5.0)),
    ("big-login-appended", "cpu-ms", AtMost(8.0)),
    ("big-list-uidl", "cpu-ms", Of("popa3d", 0.4)),
    ("big-memory", "private-MB", AtMost(3.0)),
    ("big-update-first", "cpu-ms", Of("popa3d", 1.6)),
    ("big-update-first", "cpu-ms", Of("dovecot", 0.25)),
    ("big-update-second", "cpu-ms", Of("popa3d", 2.5)),
    ("big-update-second", "cpu-ms", Of("dovecot", 0.25)),
    ("idle-before-login", "own-KB", AtMost(4.0)),
    ("idle-session", "free-KB", AtMost(200.0)),
];

/// The medians of one column of a row, by server.
pub(crate) type Medians = [(&'static str, f64)];

/// What came of one aim.
pub(crate) struct Verdict {
    pub(crate) ours: f64,
    /// The best of the other servers, which a bare loop is not.
    pub(crate) best: Option<(&'static str, f64)>,
    /// Ours in proportion to what the limit is of; the figure itself where the limit is outright.
    pub(crate) reached: Option<f64>,
    pub(crate) met: Option<bool>,
}

pub(crate) fn judge(limit: Limit, medians: &Medians) -> Option<Verdict> {
    let of = |wanted: &str| medians.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let ours = of("ours")?;
    let others = medians.iter().filter(|(name, _)| !name.starts_with("ours") && !name.starts_with('('));
    let best = others.min_by(|one, other| one.1.total_cmp(&other.1)).copied();
    let (reached, most) = match limit {
        Of(name, most) => (of(name).map(|value| ours / value), most),
        OfBest(most) => (best.map(|(_, value)| ours / value), most),
        AtMost(most) => (Some(ours), most),
    };
    let reached = reached.filter(|value| value.is_finite());
    Some(Verdict { ours, best, reached, met: reached.map(|value| value <= most) })
}

pub(crate) fn words(limit: Limit) -> String {
    match limit {
        Of(name, most) => format!("{most} of {name}"),
        OfBest(most) => format!("{most} of the best"),
        AtMost(most) => format!("at most {most}"),
    }
}
