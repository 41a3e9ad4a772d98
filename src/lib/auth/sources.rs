//! The sources beside the secrets database, in the order of the configuration, until one knows the user.

#[cfg(feature = "pam")]
use super::pam;
use super::{Finding, Inquiry, Proof, Reason, Verdict, checkpassword, unix};
use crate::config::Source;
use crate::sys::account;

/// Asks them. A program that says no, and PAM where the system has no such user, may mean that they do not know the user: the next
/// source is asked too.
pub(super) fn ask(inquiry: &Inquiry<'_>, user: Option<&str>, proof: Proof<'_>) -> Finding {
    let mut finding = Finding::refused(Reason::UnknownUser);
    let Some(user) = user else { return finding };
    for source in &inquiry.config.auth.sources {
        let next = match (source, proof) {
            (_, Proof::Apop { .. } | Proof::Cram { .. } | Proof::Scram(_)) => {
                return Finding::refused(Reason::NoSuchMechanism);
            }
            (Source::Unix, Proof::External) => unix::check_name(user, &inquiry.config.auth),
            (Source::Unix, Proof::Password(password)) => unix::check(user, password, &inquiry.config.auth),
            (Source::Checkpassword, Proof::Password(password)) => {
                checkpassword::check(inquiry, user, password)
            }
            #[cfg(feature = "pam")]
            (Source::Pam, Proof::Password(password)) => pam::check(inquiry, user, password),
            _ => continue,
        };
        let unsure = match (&next.verdict, source) {
            (Verdict::Refused(Reason::UnknownUser), _) => true,
            (Verdict::Refused(Reason::WrongPassword), Source::Checkpassword) => true,
            (Verdict::Refused(Reason::WrongPassword), Source::Pam) => {
                matches!(account::user(user), Ok(None))
            }
            _ => false,
        };
        let paid = finding.paid || next.paid;
        // What one source says of the password is more than that another does not know the name.
        if !matches!(next.verdict, Verdict::Refused(Reason::UnknownUser)) {
            finding = next;
        }
        finding.paid = paid;
        if !unsure {
            break;
        }
    }
    finding
}
