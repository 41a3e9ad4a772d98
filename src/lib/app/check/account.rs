//! The account behind a name: which source decides, and what it says before the proof.

use super::login::Login;
use super::{Finding, barriers};
use crate::auth::{self, Account, By, Means, Reason, Standing};
use crate::config::{Config, Source};
use crate::sys;

/// What stands in the way of this user, and where nothing does the account and the means.
pub(super) fn findings(login: &Login<'_>) -> (Vec<Finding>, Option<Account>, Option<Means>) {
    let Login { config, probes, user, means, .. } = *login;
    if !probes.root && !is_own_installation(config) {
        let what = "account: not judged, since the password databases are for root";
        let fix = format!("sudo mailusradm why {user}");
        let own = auth::roster::account(config, user).ok().flatten();
        return (vec![Finding::warning(what, fix)], own, None);
    }
    let stop = |finding| (vec![finding], None, None);
    match auth::standing(config, user, means) {
        Ok(Standing::Checked(account, by)) => {
            let secret = by.contains("APOP");
            let means = means.unwrap_or(if secret { Means::Secret } else { Means::Password });
            let what = format!("account {} (uid {}), checked by {by}", account.name, account.uid);
            let mut findings = vec![Finding::ok(what)];
            findings.extend(barriers::findings(login, &account, means));
            (findings, Some(account), Some(means))
        }
        Ok(Standing::Foreign(account, who)) => {
            let what = format!("account {user}: the {who} decides, and is not asked without a password");
            let mut findings = vec![Finding::ok(what)];
            let known = account.as_ref().map(|account| barriers::findings(login, account, Means::Password));
            findings.extend(known.unwrap_or_default());
            (findings, account, Some(Means::Password))
        }
        Ok(Standing::Refused(reason, by)) => stop(refusal(login, &reason, by)),
        Ok(Standing::NoName) => {
            let what = format!("account: {user:?} is no name that a login takes");
            stop(Finding::problem(what, "use 1 to 64 letters, digits and . _ + @ = -, none of . and - first"))
        }
        Err(mut error) => {
            let fix = error.take_fix().unwrap_or_else(|| "mailauth check".to_owned());
            stop(Finding::problem(format!("account: {error}"), fix))
        }
    }
}

/// Without root's rights the one user decides about the own database.
fn is_own_installation(config: &Config) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = sys::privileges::own().uid;
    std::fs::metadata(&config.state_dir).is_ok_and(|found| found.uid() == own)
}

/// A refusal in words, and what to type against it.
fn refusal(login: &Login<'_>, reason: &Reason, by: By) -> Finding {
    let Login { config, probes, user, .. } = *login;
    let file = probes.file().display();
    let problem = |what: String, fix: String| Finding::problem(format!("account: {what}"), fix);
    match reason {
        Reason::UnknownUser if by == By::Database => problem(
            format!("{user} has an entry in the secrets database, and the system has no such user"),
            format!("mailauth remove {user}, or useradd {user}"),
        ),
        Reason::UnknownUser if !config.auth.sources.contains(&Source::Unix) => {
            let sources: Vec<String> = config.auth.sources.iter().map(|one| format!("{one:?}")).collect();
            let sources = sources.join(", ").to_lowercase();
            problem(
                format!("none of the sources ({sources}) knows {user}"),
                format!("mailauth add {user}, or add \"unix\" to sources under [auth] in {file}"),
            )
        }
        Reason::UnknownUser => problem(
            format!("nobody knows {user}: neither the system nor the secrets database"),
            format!("useradd -m {user} && passwd {user}, or mailauth add --virtual --type POP {user}"),
        ),
        Reason::BelowMinUid => {
            let uid = sys::account::user(user).ok().flatten().map_or(0, |found| found.uid);
            match uid {
                0 => problem(
                    format!("{user} is root, who gets no mail by POP3"),
                    "log in as another user".to_owned(),
                ),
                uid => problem(
                    format!("{user} has uid {uid}, which is below min_uid ({})", config.auth.min_uid),
                    format!("set min_uid = {uid} under [auth] in {file}"),
                ),
            }
        }
        Reason::Locked if by == By::Database => {
            problem(format!("{user} is locked in the secrets database"), format!("mailauth unlock {user}"))
        }
        Reason::Locked => locked(user),
        Reason::Retired => problem(
            format!("{user} is retired"),
            format!("mailauth unlock --retired {user} brings the user back"),
        ),
        Reason::AccountExpired | Reason::Inactive | Reason::PasswordExpired => {
            let (what, fix) = barriers::ended(user, reason, probes.file());
            problem(what, fix)
        }
        Reason::UnsupportedScheme(scheme) => problem(
            format!("the password of {user} has the scheme {scheme}, which cannot be checked here"),
            match by {
                By::Database => format!("mailauth passwd --type POP {user}"),
                _ => format!("passwd {user}"),
            },
        ),
        Reason::ApopOnly => problem(
            format!("{user} has an APOP entry, and so cannot use a password (RFC 1939, section 13)"),
            format!("let the client use APOP, CRAM-MD5 or SCRAM, or mailauth remove {user}"),
        ),
        Reason::NoSecret => problem(
            format!("{user} has no APOP entry, which this mechanism needs"),
            format!("mailauth add {user}"),
        ),
        Reason::NoSuchMechanism => problem(
            "no source can check this mechanism".to_owned(),
            format!("use another, or set sources, or client_ca under [tls], in {file}"),
        ),
        other => problem(format!("{user} is refused: {other}"), "see reason= in pop3d(8)".to_owned()),
    }
}

/// What the password field says, without its hash.
fn locked(user: &str) -> Finding {
    let hash = sys::account::user(user).ok().flatten().and_then(|found| match found.hash.expose() {
        b"x" => sys::account::shadow(&found.name).ok().flatten().map(|shadow| shadow.hash),
        _ => Some(found.hash.clone()),
    });
    let (what, fix) = match hash.as_ref().map(|hash| hash.expose()) {
        None => ("has no line in /etc/shadow".to_owned(), "pwconv, then passwd".to_owned()),
        Some(b"") => {
            ("has an empty password, with which nobody logs in".to_owned(), format!("passwd {user}"))
        }
        Some([b'!', rest @ ..]) if rest.len() > 1 => {
            ("is locked: /etc/shadow has ! before the password".to_owned(), format!("passwd -u {user}"))
        }
        Some(_) => ("has no password".to_owned(), format!("passwd {user}")),
    };
    let fix = if fix.ends_with("passwd") { format!("{fix} {user}") } else { fix };
    Finding::problem(format!("account: {user} {what}"), fix)
}
