//! RETR: latency, everything one by one and pipelined, one huge message, and the same over TLS.

use super::PASSWORD;
use super::aims::{BARE_LOOP, CLEAR_AND_CIPHER};
use super::bare;
use super::client::{Client, quick_acknowledgements};
use super::common::world::uid;
use super::mailboxes::{add, message, wire};
use super::meter::pin;
use super::peers::Peer;
use super::polls::owner;
use super::report::median;
use super::{Bench, Sample, millis};
use std::cell::RefCell;
use std::fs;
use std::io::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const OCTETS: usize = 10_500;
/// Clients that download while others log in.
const DOWNLOADERS: usize = 50;

pub(crate) fn rows(bench: &mut Bench<'_>) {
    let count = if bench.plan.full { 10_000 } else { 2_000 };
    let wanted =
        |names: &[&str]| {
            bench.plan.rows.is_empty()
                || bench.plan.rows.iter().any(|row| {
                    names.iter().any(|name| name.starts_with(row.as_str()) || row.starts_with(name))
                })
        };
    if wanted(&["latency", "retr", "tls-retr", "tls-login"]) {
        for peer in &bench.peers {
            add(&peer.maildrop("mid"), peer.format, 0..count, OCTETS, uid("mid"), owner(peer, "mid"));
        }
        let all: Vec<Vec<u8>> = (0..count).map(|number| wire(&message(number, OCTETS))).collect();
        bench.row("latency-retr", 3, |peer| latency(peer, &all));
        bench.row("retr-lockstep", 3, |peer| everything(peer, &all, How::Lockstep));
        bench.row("retr-lockstep-pinned", 3, |peer| everything(peer, &all, How::Pinned));
        bench.row("retr-pipelined", 3, |peer| everything(peer, &all, How::Pipelined));
        bench.row("tls-retr-lockstep", 3, |peer| match peer.secure {
            Some(_) => everything(peer, &all, How::Tls),
            None => Ok(None),
        });
        clear_and_cipher(bench);
        bench.row("tls-login-p99", 2, logins_beside_downloads);
    }
    if wanted(&["huge"]) {
        let octets = if bench.plan.full { 512 << 20 } else { 64 << 20 };
        for peer in &bench.peers {
            add(&peer.maildrop("huge"), peer.format, 0..1, octets, uid("huge"), owner(peer, "huge"));
        }
        let expected = vec![wire(&message(0, octets))];
        let (path, bares) = (bench.peers[0].maildrop("huge"), RefCell::new(Vec::new()));
        bench.row("huge-retr", 3, |peer| {
            // Once a round, with ours.
            if peer.name == "ours" {
                bares.borrow_mut().push(bare::send_and_copy(&path, expected[0].len()));
            }
            everything(peer, &expected, How::Lockstep)
        });
        for cost in bares.into_inner() {
            bench.report.add("huge-retr", BARE_LOOP, vec![("cpu-s/GB", cost)]);
        }
    }
}

/// What TLS cannot do without, beside what it takes.
fn clear_and_cipher(bench: &mut Bench<'_>) {
    let clear = bench.report.median("retr-lockstep", "ours", "cpu-s/GB");
    if !bench.plan.wants("tls-retr-lockstep") {
        return;
    }
    if let (Some(clear), Some(cipher)) = (clear, bare::cipher()) {
        let both = vec![("cpu-s/GB", clear + cipher)];
        bench.report.add("tls-retr-lockstep", CLEAR_AND_CIPHER, both);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Lockstep,
    Pinned,
    Pipelined,
    Tls,
}

/// CPU per GB, and whether what comes is what is there.
fn everything(peer: &Peer, all: &[Vec<u8>], how: How) -> Result<Option<Sample>> {
    let user = if all.len() == 1 { "huge" } else { "mid" };
    let port = if how == How::Tls { peer.secure.unwrap_or(peer.port) } else { peer.port };
    if how == How::Pinned {
        peer.meter.pin(&[0]);
        pin(0, &[0]);
    }
    let done = retrieve(peer, port, user, all, how);
    if how == How::Pinned {
        let cores: Vec<usize> = (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
        peer.meter.pin(&cores);
        pin(0, &cores);
    }
    done.map(Some)
}

fn retrieve(peer: &Peer, port: u16, user: &str, all: &[Vec<u8>], how: How) -> Result<Sample> {
    let mut client = Client::log_in(port, how == How::Tls, user, PASSWORD)?;
    client.ok("NOOP")?;
    let (cpu, began) = (peer.meter.cpu(), Instant::now());
    let mut different = 0;
    if how == How::Pipelined {
        // As many as a client may have under way: their commands fit into any buffer.
        for (first, some) in all.chunks(64).enumerate() {
            let commands: String =
                (0..some.len()).map(|at| format!("RETR {}\r\n", first * 64 + at + 1)).collect();
            client.send(commands.as_bytes())?;
            for expected in some {
                different += usize::from(!client.receives(expected)?);
            }
        }
    } else {
        // What delayed acknowledgements do is shown by `latency-retr`.
        client.acknowledge_at_once();
        for (at, expected) in all.iter().enumerate() {
            client.send(format!("RETR {}\r\n", at + 1).as_bytes())?;
            different += usize::from(!client.receives(expected)?);
        }
    }
    client.ok("NOOP")?;
    let (wall, cpu) = (began.elapsed(), peer.meter.cpu().saturating_sub(cpu));
    client.quit()?;
    let gigabytes = all.iter().map(Vec::len).sum::<usize>() as f64 / 1e9;
    let mut sample =
        vec![("cpu-s/GB", cpu.as_secs_f64() / gigabytes), ("wall-s/GB", wall.as_secs_f64() / gigabytes)];
    if different > 0 {
        if peer.is_ours() {
            return Err(Error::other(format!("{different} messages are not what they should be")));
        }
        sample.push(("altered", different as f64));
    }
    Ok(sample)
}

/// The time from RETR to its last octet, for a client that delays its acknowledgements.
fn latency(peer: &Peer, all: &[Vec<u8>]) -> Result<Option<Sample>> {
    let mut client = Client::log_in(peer.port, false, "mid", PASSWORD)?;
    let mut times = Vec::new();
    for (at, expected) in all.iter().enumerate().take(100) {
        quick_acknowledgements(client.socket(), false);
        let began = Instant::now();
        client.send(format!("RETR {}\r\n", at + 1).as_bytes())?;
        client.receives(expected)?;
        times.push(millis(began.elapsed()));
    }
    client.quit()?;
    let stalls = times.iter().filter(|time| **time > 35.0).count();
    Ok(Some(vec![("p50-ms", median(&times)), ("stalls", stalls as f64)]))
}

/// Logins while others download over TLS without end.
fn logins_beside_downloads(peer: &Peer) -> Result<Option<Sample>> {
    let Some(port) = peer.secure else { return Ok(None) };
    for number in 0..DOWNLOADERS {
        let user = format!("p{number}");
        let path = peer.maildrop(&user);
        // What polls left there is in the way.
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
        add(&path, peer.format, 0..50, OCTETS, uid(&user), owner(peer, &user));
    }
    add(&peer.maildrop("p60"), peer.format, 0..5, OCTETS, uid("p60"), owner(peer, "p60"));
    let over = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let download = |number: usize| -> Result<()> {
            let mut client = Client::log_in(port, true, &format!("p{number}"), PASSWORD)?;
            while !over.load(Ordering::Relaxed) {
                for at in 1..=50 {
                    client.ok(&format!("RETR {at}"))?;
                    client.multiline(|_| {})?;
                }
            }
            client.quit()
        };
        let all: Vec<_> = (0..DOWNLOADERS).map(|number| scope.spawn(move || download(number))).collect();
        std::thread::sleep(std::time::Duration::from_millis(500));
        let mut times = Vec::new();
        let mut one = || -> Result<()> {
            let began = Instant::now();
            let client = Client::log_in(peer.port, false, "p60", PASSWORD)?;
            times.push(millis(began.elapsed()));
            client.quit()
        };
        let done = (0..100).try_for_each(|_| one());
        over.store(true, Ordering::Relaxed);
        for one in all {
            one.join().unwrap()?;
        }
        done.map(|()| times)
    })?;
    let mut sorted = times;
    sorted.sort_by(f64::total_cmp);
    Ok(Some(vec![("p50-ms", median(&sorted)), ("p99-ms", sorted[sorted.len() * 99 / 100])]))
}
