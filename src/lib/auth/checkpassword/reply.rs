//! What a checkpassword program executes when it lets somebody in: it tells the watching process of the user, and ends.

use crate::sys::{descriptors, socket};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The server's argument that makes it do this.
pub(crate) const ARGUMENT: &str = "checkpassword-reply";

/// Where the watching process hears it.
pub(super) const DESCRIPTOR: i32 = 4;

/// The longest reply.
pub(super) const LARGEST: usize = 8 * 1024;

/// What the program has put into the environment.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    /// `USER`.
    pub(super) user: Option<String>,
    /// `HOME`.
    home: Option<String>,
    /// `userdb_home`, which Dovecot's programs set.
    userdb_home: Option<String>,
    /// `userdb_mail`: a path, which may have a format in front.
    userdb_mail: Option<String>,
    /// `userdb_uid`.
    userdb_uid: Option<String>,
    /// `userdb_gid`.
    userdb_gid: Option<String>,
}

impl Reply {
    fn of_environment() -> Self {
        let value = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        Self {
            user: value("USER"),
            home: value("HOME"),
            userdb_home: value("userdb_home"),
            userdb_mail: value("userdb_mail"),
            userdb_uid: value("userdb_uid"),
            userdb_gid: value("userdb_gid"),
        }
    }

    /// The ids that the program names; both or none.
    pub(super) fn ids(&self) -> Option<(u32, u32)> {
        let number = |text: &Option<String>| text.as_ref()?.parse().ok();
        Some((number(&self.userdb_uid)?, number(&self.userdb_gid)?))
    }

    /// The home directory.
    pub(super) fn home(&self) -> Option<PathBuf> {
        self.userdb_home.as_ref().or(self.home.as_ref()).map(PathBuf::from)
    }

    /// The path of the maildrop: `maildir:~/Maildir:INBOX=...` is `Maildir` below the home directory.
    pub(super) fn maildrop(&self) -> Option<PathBuf> {
        let named = self.userdb_mail.as_ref()?;
        let named = named.strip_prefix("maildir:").or_else(|| named.strip_prefix("mbox:")).unwrap_or(named);
        let path = named.split(':').next().unwrap_or_default();
        match path.strip_prefix("~/") {
            Some(below) => Some(self.home()?.join(below)),
            None => Some(Path::new(path).to_owned()),
        }
    }
}

/// Tells it; the exit status. 2 where no checkpassword program was run by the server.
pub(crate) fn reply() -> u8 {
    let Some(answers) = descriptors::promised(DESCRIPTOR) else { return 2 };
    match serde_json::to_vec(&Reply::of_environment()) {
        Ok(octets) if octets.len() <= LARGEST => {
            if socket::send(&answers, &octets, &[], true).is_ok() {
                0
            } else {
                2
            }
        }
        _ => 111,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// pop3d.toml(5): what of `userdb_mail` is understood.
    #[test]
    fn a_path_of_dovecots_is_a_path() {
        let reply = |mail: &str| Reply {
            home: Some("/home/ann".to_owned()),
            userdb_mail: Some(mail.to_owned()),
            ..Reply::default()
        };
        for (mail, path) in [
            ("/var/mail/ann", "/var/mail/ann"),
            ("mbox:/var/mail/ann:INDEX=/x", "/var/mail/ann"),
            ("maildir:~/Maildir", "/home/ann/Maildir"),
            ("~/Mail", "/home/ann/Mail"),
        ] {
            assert_eq!(reply(mail).maildrop().unwrap(), Path::new(path));
        }
        let ids = |uid: &str, gid: &str| Reply {
            userdb_uid: Some(uid.to_owned()),
            userdb_gid: Some(gid.to_owned()),
            ..Reply::default()
        };
        assert_eq!(ids("5000", "5001").ids(), Some((5000, 5001)));
        assert_eq!(ids("5000", "mail").ids(), None);
    }
}
