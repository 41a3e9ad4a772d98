//! The source `pam`: whatever `/etc/pam.d` says of the service, password and account.
//!
//! Modules run in a child of their own, with nothing to do but to give one answer. A second child watches it and ends it with all that
//! it started when it takes too long.

use super::mailauth::{self, Own};
use super::{Account, Finding, Inquiry, Reason, Verdict, child, unix};
use crate::error::{Error, Kind, Result};
use crate::protocol::name::UserName;
use crate::secret::Secret;
use crate::sys::pam::{self, Question};
use crate::sys::{account, process, program};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Between the end of the time limit and the word of it.
const GRACE: Duration = Duration::from_secs(5);

const WHAT: &str = "ask PAM";

/// What the child says.
#[derive(Serialize, Deserialize)]
struct Answer {
    end: End,
    words: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum End {
    /// Password and account are good: this user.
    Right(String),
    /// The name is of nobody.
    Unknown,
    /// The password is wrong.
    Wrong,
    /// The account may not be used; PAM's word.
    Closed(String),
    /// It cannot be said.
    Trouble(String),
}

/// Asks PAM.
pub(super) fn check(inquiry: &Inquiry<'_>, name: &str, password: &Secret) -> Finding {
    match verdict(inquiry, name, password) {
        Ok(verdict) => Finding { verdict, paid: false },
        Err(error) => Finding::unavailable(error),
    }
}

fn verdict(inquiry: &Inquiry<'_>, name: &str, password: &Secret) -> Result<Verdict> {
    let min_uid = inquiry.config.auth.min_uid;
    // Nobody may try root's password here, whatever PAM counts.
    if user(name)?.is_some_and(|user| user.uid == 0 || user.uid < min_uid) {
        return Ok(Verdict::Refused(Reason::BelowMinUid));
    }
    if password.expose().contains(&0) {
        return Ok(Verdict::Refused(Reason::WrongPassword));
    }
    let patience = inquiry.patience();
    let trouble = |error: Error| Answer { end: End::Trouble(error.to_string()), words: Vec::new() };
    let answer: Answer = child::ask(WHAT, patience + GRACE, |listener| {
        let watched = program::adopt_orphans().map_err(|cause| Error::io(format!("cannot {WHAT}"), cause));
        let answer = watched.and_then(|()| {
            child::ask(WHAT, patience, |listener| {
                process::detach();
                listener.close_all_others();
                let limited = child::limits_of_others(inquiry.config).apply();
                let answer = limited.map_or_else(trouble, |()| answer(inquiry, name, password));
                u8::from(!listener.tell(&answer))
            })
        });
        program::end_all();
        u8::from(!listener.tell(&answer.unwrap_or_else(trouble)))
    })?;
    for text in answer.words.iter().filter(|text| !text.trim().is_empty()) {
        (inquiry.remark)(format!("PAM says to {name}: {text}"));
    }
    Ok(Verdict::Refused(match answer.end {
        End::Right(name) => return admit(inquiry, &name),
        End::Unknown => Reason::UnknownUser,
        End::Wrong => Reason::WrongPassword,
        End::Closed(word) => Reason::Pam(word),
        End::Trouble(what) => return Err(Error::new(Kind::Temporary, what).tell(unix::TOLD)),
    }))
}

/// The child's part.
fn answer(inquiry: &Inquiry<'_>, name: &str, password: &Secret) -> Answer {
    let client = inquiry.client.map_or_else(|| "localhost".to_owned(), |client| client.to_string());
    let service = &inquiry.config.auth.pam_service;
    let said = match pam::ask(Question { service, user: name, password, client: &client }) {
        Ok(said) => said,
        Err(cause) => {
            return Answer { end: End::Trouble(format!("cannot {WHAT}: {cause}")), words: Vec::new() };
        }
    };
    let word = |word: &str| word.to_owned();
    let trouble = |what: &str| End::Trouble(format!("PAM, service {service}: {what}"));
    let end = match (said.authentication, said.account) {
        ("success", Some("success")) => End::Right(said.user),
        ("user-unknown", _) => End::Unknown,
        ("auth-err" | "maxtries", _) => End::Wrong,
        ("perm-denied" | "acct-expired" | "cred-expired" | "authtok-expired" | "new-authtok-reqd", _) => {
            End::Closed(word(said.authentication))
        }
        ("success", Some("user-unknown")) => End::Closed(word("user-unknown")),
        (
            "success",
            Some(
                closed @ ("perm-denied" | "auth-err" | "acct-expired" | "cred-expired" | "authtok-expired"
                | "new-authtok-reqd"),
            ),
        ) => End::Closed(word(closed)),
        (other, account) => trouble(account.unwrap_or(other)),
    };
    Answer { end, words: said.words }
}

/// The account of a user whom PAM let in: one of the system's, or of `virtual_owner`'s.
fn admit(inquiry: &Inquiry<'_>, name: &str) -> Result<Verdict> {
    let config = inquiry.config;
    // A module may have mapped the name, which becomes a part of paths.
    if UserName::parse(name.as_bytes()).is_none() {
        let what = format!("PAM makes {name} of a name, which no user may have");
        return Err(Error::new(Kind::Permanent, what).tell(unix::TOLD));
    }
    let account: Account = match user(name)? {
        Some(user) if user.uid == 0 || user.uid < config.auth.min_uid => {
            return Ok(Verdict::Refused(Reason::BelowMinUid));
        }
        Some(user) => unix::accepted(name, user),
        None => {
            mailauth::virtual_account(config, name.to_owned(), Own { ids: None, home: None, maildrop: None })?
        }
    };
    Ok(Verdict::Accepted(account))
}

fn user(name: &str) -> Result<Option<account::User>> {
    account::user(name)
        .map_err(|cause| Error::io("cannot ask for a user of the system", cause).tell(unix::TOLD))
}
