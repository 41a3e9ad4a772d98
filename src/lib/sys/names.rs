//! Names of users and groups, for people.

use nix::unistd::{Gid, Group, Uid, User};

/// The name of a user, or the number where there is none.
pub(crate) fn user(uid: u32) -> String {
    let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    found.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// The name of a group, or the number where there is none.
pub(crate) fn group(gid: u32) -> String {
    let found = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    found.map_or_else(|| format!("gid {gid}"), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_name_is_shown_by_number() {
        assert_eq!((user(0), group(0)), ("root".to_owned(), "root".to_owned()));
        assert_eq!(user(u32::MAX - 7), format!("uid {}", u32::MAX - 7));
        assert_eq!(group(u32::MAX - 7), format!("gid {}", u32::MAX - 7));
    }
}
