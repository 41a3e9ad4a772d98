//! `mailauth remove`: secrets of a user.

use super::{Failure, NO, Outcome, type_of};
use crate::cli::mailauth::Remove;
use crate::secrets::{Places, Store};

/// Removes the entries; there must be some.
pub(super) fn run(options: &Remove, places: &Places) -> Outcome {
    let kind = options.kind.map(type_of);
    let removed = Store::open(places)?.remove(&options.user, kind, options.label.as_deref())?;
    if removed > 0 {
        return Ok(());
    }
    let mut what = kind.map_or_else(|| "entry".to_owned(), |kind| format!("{kind} entry"));
    if let Some(label) = &options.label {
        what += &format!(" with the label \"{label}\"");
    }
    Err(Failure::new(NO, format!("{} has no {what}", options.user)))
}
