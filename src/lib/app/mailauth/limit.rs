//! `mailauth limit`: when and from where a user may log in, and how often.

use super::{Failure, NO_USER, Outcome};
use crate::cli::mailauth::{Limit, Wanted};
use crate::secrets::{Change, Places, Store};

/// Sets what is named and leaves the rest. A user of the system needs no entry.
pub(super) fn run(options: &Limit, places: &Places) -> Outcome {
    let user = &options.user;
    let is_of_system = super::system_user(user)?.is_some();
    let change = Change {
        hours: options.hours.as_ref().map(text),
        networks: options.networks.as_ref().map(text),
        login_delay: options.login_delay.as_ref().map(|wanted| match wanted {
            Wanted::Usual => None,
            Wanted::This(seconds) => Some(*seconds),
        }),
    };
    if Store::open(places)?.limit(user, is_of_system, &change)? {
        return Ok(());
    }
    Err(Failure::new(NO_USER, format!("neither the system nor the database has a user {user}")))
}

/// As the database keeps it; nothing where the limit is lifted.
fn text<T: ToString>(wanted: &Wanted<T>) -> Option<String> {
    match wanted {
        Wanted::Usual => None,
        Wanted::This(value) => Some(value.to_string()),
    }
}
