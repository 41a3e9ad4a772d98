//! LANG (RFC 6856, section 3), the same in both states.

use crate::protocol::language::Language;
use crate::protocol::reply::Reply;

/// LANG alone: the languages that there are, each named in itself.
pub(super) fn list() -> (Reply, Vec<String>) {
    let lines = Language::ALL.map(|language| format!("{} {}", language.tag(), language.own_name()));
    (Reply::ok("Languages follow."), lines.to_vec())
}

/// LANG with a language range. `*` is the server's choice; an unknown one changes nothing.
pub(super) fn select(range: &str, language: &mut Language) -> Reply {
    match Language::of_range(range) {
        Some(found) => {
            *language = found;
            Reply::ok(format!("{} Language selected.", found.tag()))
        }
        None => Reply::err("This language is not here; LANG alone lists those that are."),
    }
}
