//! `mailusradm list`: every maildrop with what can be told of it.

use super::{Outcome, account, remark, write};
use crate::auth::{Account, roster};
use crate::cli::mailusradm::List;
use crate::config::Config;
use crate::maildrop;
use crate::sys::clock::{self, Zone};
use crate::sys::directory::Directory;
use crate::sys::file::Status;
use crate::ui::{Column, Kind, Table};
use serde_json::Value;

const COLUMNS: &[Column] = &[
    Column::new("user", Kind::Text),
    Column::new("disk", Kind::Octets),
    Column::spare("changed", Kind::Time, 2),
    Column::spare("maildrop", Kind::Text, 1),
];

/// Writes the list.
pub(super) fn run(options: &List, config: &Config) -> Outcome {
    let accounts: Vec<Account> = if options.users.is_empty() {
        let (accounts, wrong) = roster::accounts(config)?;
        wrong.iter().for_each(|error| remark(&error.to_string()));
        accounts
    } else {
        options.users.iter().map(|name| account(config, name)).collect::<Result<_, _>>()?
    };
    let (mut table, zone, now) = (Table::of(COLUMNS), Zone::local(), clock::wall().as_secs());
    let (mut listed, mut octets) = (0_u64, 0);
    for account in accounts {
        let Some(found) = look(&account, config) else { continue };
        let (size, changed) = (found.identity.size, found.identity.modified.seconds);
        let idle = now.saturating_sub(u64::try_from(changed).unwrap_or(0));
        if options.over.is_some_and(|least| size <= least) || options.idle.is_some_and(|least| idle < least) {
            continue;
        }
        (listed, octets) = (listed + 1, octets + size);
        let path = account.mailbox(config);
        table.row(vec![
            account.name.into(),
            size.into(),
            zone.time(changed).into(),
            path.to_string_lossy().into(),
        ]);
    }
    table.total(vec![
        format!("{listed} maildrops").into(),
        octets.into(),
        Value::String(String::new()),
        "".into(),
    ]);
    write(table, &options.listing)
}

/// What stands at the maildrop's place, without a look inside.
fn look(account: &Account, config: &Config) -> Option<Status> {
    let path = account.mailbox(config);
    let (above, name) = maildrop::mbox::open::split(&path).ok()?;
    Directory::open(above).ok()?.status(name).ok().flatten()
}
