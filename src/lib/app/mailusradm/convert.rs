//! `mailusradm convert`: from one format of maildrop to the other.

use super::{Outcome, account, may_change, remark};
use crate::app::outcome::{Failure, NO, config_file};
use crate::cli::mailusradm::{Convert, To};
use crate::config::{Config, Format};
use crate::maildrop::convert::{self, Done, Site, Target};
use crate::process::overhaul;
use crate::ui;
use std::path::Path;

/// Converts the maildrops, one after the other; one that fails stops no other.
pub(super) fn run(options: &Convert, config: &Config) -> Outcome {
    found_afterwards(options.to, config)?;
    let mut outcome = Ok(());
    for name in &options.users {
        if let Err(failure) = one(name, options, config) {
            // All but the last are said here; the last is said at the end.
            if let Err(Failure { text, .. }) = std::mem::replace(&mut outcome, Err(failure))
                && !text.is_empty()
            {
                remark(&text);
            }
        }
    }
    outcome
}

/// The configuration must find what is made.
fn found_afterwards(to: To, config: &Config) -> Outcome {
    let (only, other) = match (to, config.maildrop.format) {
        (To::Maildir, Format::Mbox) => ("mbox", "maildir"),
        (To::Mbox, Format::Maildir) => ("maildir", "mbox"),
        _ => return Ok(()),
    };
    let file = config_file().display();
    Err(Failure::new(
        crate::app::outcome::CONFIG,
        format!(
            "{file} has maildrop.format = \"{only}\", so that the server would not find the new maildrop; \
             set it to \"auto\" or \"{other}\" first"
        ),
    ))
}

fn one(name: &str, options: &Convert, config: &Config) -> Outcome {
    let account = may_change(account(config, name)?)?;
    let target = match options.to {
        To::Mbox => Target::Mbox,
        To::Maildir => Target::Maildir,
    };
    let remove_old = options.remove_old;
    let done = overhaul::run(config, &account, &[], |ground, _held| {
        let overhaul::Ground { path, uid, state, locks } = ground;
        convert::run(&Site { path, uid, state, locks, remove_old }, target)
    })?;
    done.notes.iter().for_each(|note| remark(note));
    let path = account.mailbox(config);
    if done.already && done.late == 0 && !done.removed {
        return Err(Failure::new(NO, format!("{} is {} already", path.display(), word(target))));
    }
    Ok(ui::say(&told(&done, &path, target))?)
}

const fn word(target: Target) -> &'static str {
    match target {
        Target::Mbox => "an mbox",
        Target::Maildir => "a Maildir",
    }
}

/// What was done, in a line or two.
fn told(done: &Done, path: &Path, target: Target) -> String {
    let mut text = if done.already {
        format!("{} is {} already\n", path.display(), word(target))
    } else {
        format!("{} is {} now, messages: {}\n", path.display(), word(target), done.messages)
    };
    if done.late > 0 {
        text += &format!("messages that came meanwhile and were brought over: {}\n", done.late);
    }
    match (&done.kept, done.removed) {
        (Some(kept), _) => text += &format!("the old maildrop is kept as {}\n", kept.display()),
        (None, true) => text += "the old maildrop is removed\n",
        (None, false) => {}
    }
    text
}
