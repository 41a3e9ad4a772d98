//! `mailauth remove`: secrets of a user.

use super::{Failure, NO, Outcome, type_of};
use crate::cli::mailauth::Remove;
use crate::secrets::{Places, State, Store};

/// Removes the entries; there must be some.
pub(super) fn run(options: &Remove, places: &Places) -> Outcome {
    let kind = options.kind.map(type_of);
    let removed = Store::open(places)?.remove(&options.user, kind, options.label.as_deref())?;
    if removed > 0 {
        // Only when a password was used last; an entry of the same name that is made later does not show it either.
        if let Ok(Some(state)) = State::open(places) {
            let _ = state.forget(&options.user, kind, options.label.as_deref());
        }
        return Ok(());
    }
    let mut what = kind.map_or_else(|| "entry".to_owned(), |kind| format!("{kind} entry"));
    if let Some(label) = &options.label {
        what += &format!(" with the label \"{label}\"");
    }
    Err(Failure::new(NO, format!("{} has no {what}", options.user)))
}
