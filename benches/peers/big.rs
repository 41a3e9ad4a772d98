//! The large maildrop: login unchanged, after ten more messages, without an index; LIST and UIDL; updates; memory.

use super::PASSWORD;
use super::client::Client;
use super::common::world::uid;
use super::mailboxes::{Format, add};
use super::peers::Peer;
use super::polls::owner;
use super::{Bench, Sample, measured};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::{Error, Result};
use std::path::Path;
use std::process::Command;

/// Whether this message of so many is deleted.
pub(crate) type Deleted = fn(usize, usize) -> bool;

const USER: &str = "big";
const TENFOLD: &str = "ten";
/// Octets of each message, as most are.
const OCTETS: usize = 10_500;

pub(crate) fn rows(bench: &mut Bench<'_>) {
    tenfold(bench);
    if !bench.plan.rows.is_empty()
        && !bench.plan.rows.iter().any(|row| row.starts_with("big") || "big".starts_with(row.as_str()))
    {
        return;
    }
    let count = if bench.plan.full { 100_000 } else { 5_000 };
    // A copy of the mbox, from which each update begins.
    let master = Path::new("/run/lib/master");
    add(master, Format::Mbox, 0..count, OCTETS, 0, 0);
    for peer in &bench.peers {
        match peer.format {
            Format::Mbox => restore(master, peer),
            Format::Maildir => add(&peer.maildrop(USER), peer.format, 0..count, OCTETS, uid(USER), uid(USER)),
        }
    }
    let counts: RefCell<HashMap<&str, usize>> =
        RefCell::new(bench.peers.iter().map(|peer| (peer.name, count)).collect());
    bench.row("big-login-cold", 3, |peer| {
        peer.forget(USER);
        login(peer, USER, counts.borrow()[peer.name])
    });
    bench.row("big-login-unchanged", 5, |peer| {
        // Once before, so that there is an index; for the others, too.
        login(peer, USER, counts.borrow()[peer.name])?;
        login(peer, USER, counts.borrow()[peer.name])
    });
    bench.row("big-login-appended", 3, |peer| {
        login(peer, USER, counts.borrow()[peer.name])?;
        let mut counts = counts.borrow_mut();
        let known = counts.get_mut(peer.name).unwrap();
        add(&peer.maildrop(USER), peer.format, *known..*known + 10, OCTETS, uid(USER), owner(peer, USER));
        *known += 10;
        login(peer, USER, *known)
    });
    bench.row("big-list-uidl", 3, |peer| lists(peer, counts.borrow()[peer.name]));
    bench.row("big-memory", 2, |peer| {
        let client = Client::log_in(peer.port, false, USER, PASSWORD)?;
        let private = peer.meter.private_of(uid(USER));
        client.quit()?;
        Ok(Some(vec![("private-MB", private as f64 / 1024.0)]))
    });
    let which: [(&str, Deleted); 2] =
        [("big-update-first", |at, _| at == 1), ("big-update-second", |at, _| at.is_multiple_of(2))];
    for (name, deleted) in which {
        bench.row(name, 2, |peer| {
            if peer.format == Format::Maildir {
                return Ok(None);
            }
            restore(master, peer);
            Client::log_in(peer.port, false, USER, PASSWORD)?.quit()?;
            update(peer, USER, count, deleted)
        });
    }
}

/// Ten times the size, where the size is to make no difference: ours alone, since others would be at it for minutes.
fn tenfold(bench: &mut Bench<'_>) {
    let name = "tenfold-login-unchanged";
    let rounds = if bench.plan.wants(name) { 5 } else { return };
    let count = if bench.plan.full { 1_000_000 } else { 50_000 };
    let ours = |peer: &Peer| peer.name == "ours";
    let Some(peer) = bench.peers.iter().find(|peer| ours(peer)) else { return };
    let path = peer.maildrop(TENFOLD);
    add(&path, peer.format, 0..count, OCTETS, uid(TENFOLD), owner(peer, TENFOLD));
    bench.row(name, rounds, |peer| {
        if !ours(peer) {
            return Ok(None);
        }
        // Once before, so that there is an index.
        login(peer, TENFOLD, count)?;
        login(peer, TENFOLD, count)
    });
    fs::remove_file(path).unwrap();
}

fn restore(master: &Path, peer: &Peer) {
    let path = peer.maildrop(USER);
    let copied = Command::new("cp").arg("--reflink=never").arg(master).arg(&path).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp copies the maildrop");
    std::os::unix::fs::chown(&path, Some(uid(USER)), Some(owner(peer, USER))).unwrap();
    super::machine::chmod(&path, 0o660);
    // What is written by then is not written while something is measured.
    fs::File::open(&path).unwrap().sync_all().unwrap();
}

fn login(peer: &Peer, user: &str, count: usize) -> Result<Option<Sample>> {
    let (cpu, wall) = measured(peer, || {
        let mut client = Client::log_in(peer.port, false, user, PASSWORD)?;
        let stat = client.ok("STAT")?;
        if !stat.starts_with(&format!("+OK {count} ")) {
            return Err(Error::other(format!("STAT is answered {stat}, not {count}")));
        }
        client.quit()
    })?;
    Ok(Some(vec![("cpu-ms", cpu), ("wall-ms", wall)]))
}

fn lists(peer: &Peer, count: usize) -> Result<Option<Sample>> {
    let mut client = Client::log_in(peer.port, false, USER, PASSWORD)?;
    client.ok("NOOP")?;
    let (cpu, began) = (peer.meter.cpu(), std::time::Instant::now());
    for command in ["LIST", "UIDL"] {
        client.ok(command)?;
        let mut lines = 0;
        client.multiline(|piece| lines += memchr::memchr_iter(b'\n', piece).count())?;
        if lines != count {
            return Err(Error::other(format!("{command} has {lines} lines, not {count}")));
        }
    }
    // The last write is over when the next answer is there.
    client.ok("NOOP")?;
    let wall = super::millis(began.elapsed());
    let cpu = super::millis(peer.meter.cpu().saturating_sub(cpu));
    client.quit()?;
    Ok(Some(vec![("cpu-ms", cpu), ("wall-ms", wall)]))
}

/// What it costs to delete these messages, from QUIT on.
pub(crate) fn update(peer: &Peer, user: &str, count: usize, deleted: Deleted) -> Result<Option<Sample>> {
    let mut client = Client::log_in(peer.port, false, user, PASSWORD)?;
    let all: Vec<usize> = (1..=count).filter(|at| deleted(*at, count)).collect();
    for some in all.chunks(500) {
        let commands: String = some.iter().map(|at| format!("DELE {at}\r\n")).collect();
        client.send(commands.as_bytes())?;
        some.iter().try_for_each(|_| client.ok_line().map(|_| ()))?;
    }
    let (cpu, began) = (peer.meter.cpu(), std::time::Instant::now());
    client.quit()?;
    let wall = super::millis(began.elapsed());
    peer.meter.settle(peer.idle);
    let cpu = super::millis(peer.meter.cpu().saturating_sub(cpu));
    let mut after = Client::log_in(peer.port, false, user, PASSWORD)?;
    let stat = after.ok("STAT")?;
    after.quit()?;
    if !stat.starts_with(&format!("+OK {} ", count - all.len())) {
        return Err(Error::other(format!("after the update STAT is answered {stat}")));
    }
    Ok(Some(vec![("cpu-ms", cpu), ("wall-ms", wall)]))
}
