//! Maildrops that no account leads to: orphans, and those of users whom the system knows by name but does not list.
//!
//! The spool is listed with the rights of a user who owns nothing: nothing in it is ever opened as root.

use crate::auth::{Account, roster};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::process::inetd;
use crate::sys::account;
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Status};
use crate::sys::privileges;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What was found in the spool.
pub(super) enum Stray {
    /// The maildrop of a user who was not listed.
    User(Account),
    /// A maildrop without a user.
    Orphan { path: PathBuf, status: Status },
}

/// A spool of more levels than this is no spool.
const DEEPEST: usize = 6;

/// All that lies where maildrops lie and is none of the known ones.
///
/// # Errors
/// The ids of a user who owns nothing cannot be had.
pub(super) fn find(config: &Config, known: &HashSet<PathBuf>) -> Result<Vec<Stray>> {
    let template = &config.maildrop.path;
    let Some((spool, depth)) = template.spool().zip(template.depth().filter(|depth| *depth <= DEEPEST))
    else {
        return Ok(Vec::new());
    };
    let mut ids = inetd::login_ids()?.unwrap_or_else(privileges::own);
    ids.groups = vec![ids.gid];
    let mut leaves = Vec::new();
    privileges::with_rights_of(&ids, || walk(spool, depth, &mut leaves))??;
    let mut strays = Vec::new();
    for (path, status) in leaves.into_iter().filter(|(path, _)| !known.contains(path)) {
        match name_of(config, &path) {
            Some(name) => match roster::account(config, &name)? {
                Some(account) => strays.push(Stray::User(account)),
                // Mail of root and other users of the system who may not log in.
                None if account::user(&name).is_ok_and(|user| user.is_some()) => {}
                None => strays.push(Stray::Orphan { path, status }),
            },
            None => strays.push(Stray::Orphan { path, status }),
        }
    }
    Ok(strays)
}

/// Files and directories so many names below a directory; lock files and what has a dot in front are other things.
fn walk(above: &Path, depth: usize, leaves: &mut Vec<(PathBuf, Status)>) -> Result<()> {
    let failed = |cause| Error::io(format!("cannot list {}", above.display()), cause);
    let directory = match Directory::open(above) {
        Ok(directory) => directory.read_only(),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut names = match directory.names("") {
        Ok(names) => names,
        // A directory of a hashed spool that is closed to others.
        Err(_) if depth > 1 => return Ok(()),
        Err(cause) => return Err(failed(cause)),
    };
    names.retain(|name| !name.starts_with('.') && (depth > 1 || !name.ends_with(".lock")));
    for name in names {
        let Ok(Some(status)) = directory.status(&name) else { continue };
        let path = above.join(&name);
        match status.kind {
            FileKind::Directory if depth > 1 => walk(&path, depth - 1, leaves)?,
            FileKind::Regular | FileKind::Directory if depth == 1 => leaves.push((path, status)),
            _ => {}
        }
    }
    Ok(())
}

/// The name whose maildrop has this path.
fn name_of(config: &Config, path: &Path) -> Option<String> {
    let leaf = path.file_name()?.to_str()?;
    let domain = path.parent()?.file_name()?.to_str()?;
    [leaf.to_owned(), format!("{leaf}@{domain}")]
        .into_iter()
        .find(|name| config.maildrop.path.expand(name, Path::new("/")) == path)
}
