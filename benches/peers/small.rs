//! Updates of a maildrop of two thousand messages.

use super::Bench;
use super::PASSWORD;
use super::big::{Deleted, update};
use super::client::Client;
use super::common::world::uid;
use super::mailboxes::add;
use super::polls::owner;
use std::fs;

const USER: &str = "two";
const COUNT: usize = 2000;

pub(crate) fn rows(bench: &mut Bench<'_>) {
    let which: [(&str, Deleted); 3] = [
        ("small-update-first", |at, _| at == 1),
        ("small-update-second", |at, _| at.is_multiple_of(2)),
        ("small-update-all", |_, _| true),
    ];
    for (name, deleted) in which {
        bench.row(name, 5, |peer| {
            let path = peer.maildrop(USER);
            // There may be none yet.
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir_all(&path);
            add(&path, peer.format, 0..COUNT, 2500, uid(USER), owner(peer, USER));
            nix::unistd::sync();
            Client::log_in(peer.port, false, USER, PASSWORD)?.quit()?;
            update(peer, USER, COUNT, deleted)
        });
    }
}
