//! `mailauth export`: a backup, sealed or plain.

use super::{Failure, NO, NO_PERMISSION, Outcome};
use crate::cli::mailauth::Export;
use crate::error::Error;
use crate::secrets::Places;
use crate::secrets::delegate;
use crate::secrets::export::{self, End};
use crate::sys::directory::Directory;
use crate::sys::privileges;
use crate::ui;
use std::io;
use std::path::{Path, PathBuf};

/// What is not complete yet begins with this.
const UNFINISHED: &str = ".mailauth.export-";

/// Writes the backup to standard output, or to a new file, which has its name when it is complete.
pub(super) fn run(options: &Export, places: &Places) -> Outcome {
    if options.plain && !privileges::is_root() {
        return Err(Failure::new(NO_PERMISSION, "only the superuser may export plain secrets"));
    }
    match &options.file {
        None => {
            super::become_owner(places)?;
            // A reader that goes away gets no complete backup, so that is an error here.
            export::write(places, false, io::stdout().lock())?;
            Ok(())
        }
        Some(file) => to_file(options, places, file),
    }
}

fn to_file(options: &Export, places: &Places, file: &Path) -> Outcome {
    let owner = super::delegate(places)?;
    let failed = |cause| Failure::from(Error::io(format!("cannot make {}", file.display()), cause));
    let taken = || Failure::new(NO, format!("{} is there already; name a new file", file.display()));
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory =
        Directory::open(&parent.map_or_else(|| PathBuf::from("."), Path::to_owned)).map_err(failed)?;
    if directory.status(name).map_err(failed)?.is_some() {
        return Err(taken());
    }
    let (temporary, made) = directory.create_unguessable(UNFINISHED).map_err(failed)?;
    let written: Result<End, Error> =
        delegate::run(owner.as_ref(), || export::write(places, options.plain, &made));
    let named = match &written {
        Ok(_) => made
            .sync_all()
            .and_then(|()| directory.rename_to_new(&temporary, name))
            .and_then(|()| directory.sync()),
        Err(_) => Ok(()),
    };
    if written.is_err() || named.is_err() {
        // Gone already when it has its name.
        let _ = directory.remove(&temporary);
    }
    let end = written?;
    match named {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => return Err(taken()),
        named => named.map_err(failed)?,
    }
    if options.plain {
        let shown = file.display();
        ui::complain(&format!(
            "mailauth: whoever reads {shown} has all secrets: keep it as the key, remove it soon\n"
        ));
    }
    ui::say(&format!("users: {}, entries: {}\n", end.users, end.entries))?;
    Ok(())
}
