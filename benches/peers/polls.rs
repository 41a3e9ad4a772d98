//! Polls: login, STAT, QUIT.

use super::PASSWORD;
use super::client::Client;
use super::common::world::{group, uid};
use super::mailboxes::{Format, add};
use super::peers::Peer;
use super::report::median;
use super::{Bench, POLLERS, Sample, measured};
use std::io::Result;
use std::sync::Mutex;
use std::time::Instant;

/// Messages in the maildrop of one who polls.
const MESSAGES: usize = 5;

pub(crate) fn rows(bench: &mut Bench<'_>) {
    if !["poll", "inetd", "tls-poll"]
        .iter()
        .any(|row| bench.plan.wants(row) || bench.plan.rows.iter().any(|wanted| wanted.starts_with(row)))
    {
        return;
    }
    for peer in &bench.peers {
        for user in (0..POLLERS).map(|number| format!("p{number}")).chain(["slow".to_owned()]) {
            add(&peer.maildrop(&user), peer.format, 1..MESSAGES + 1, 2000, uid(&user), owner(peer, &user));
        }
    }
    let polls = if bench.plan.full { 200 } else { 60 };
    bench.row("poll-1-md5", 5, |peer| several(peer, peer.port, 1, polls, false, "p"));
    bench.row("poll-16-md5", 5, |peer| several(peer, peer.port, 16, polls, false, "p"));
    bench.row("poll-64-md5", 5, |peer| several(peer, peer.port, 64, polls * 2, false, "p"));
    bench.row("poll-1-yescrypt", 3, |peer| several(peer, peer.port, 1, 20, false, "slow"));
    bench.row("inetd-1-md5", 5, |peer| match peer.inetd {
        Some(port) => several(peer, port, 1, polls, false, "p"),
        None => Ok(None),
    });
    bench.row("tls-poll-1-md5", 5, |peer| match peer.secure {
        Some(port) => several(peer, port, 1, polls, true, "p"),
        None => Ok(None),
    });
}

/// The group of a maildrop: that of the spool, where there is one.
pub(crate) fn owner(peer: &Peer, user: &str) -> u32 {
    if peer.format == Format::Mbox { group("mail") } else { uid(user) }
}

/// Polls of several clients at once, so many in all.
fn several(
    peer: &Peer,
    port: u16,
    clients: usize,
    polls: usize,
    tls: bool,
    user: &str,
) -> Result<Option<Sample>> {
    let times = Mutex::new(Vec::new());
    let each = polls.div_ceil(clients);
    let poll = &|user: &str| -> Result<()> {
        for _ in 0..each {
            let began = Instant::now();
            let mut client = Client::log_in(port, tls, user, PASSWORD)?;
            let stat = client.ok("STAT")?;
            if !stat.starts_with(&format!("+OK {MESSAGES} ")) {
                return Err(std::io::Error::other(format!("STAT is answered {stat}")));
            }
            client.quit()?;
            times.lock().unwrap().push(began.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(())
    };
    // Once before, so that what is made at the first login of a user is made.
    for number in 0..clients {
        let name = if user == "slow" { user.to_owned() } else { format!("{user}{number}") };
        Client::log_in(port, tls, &name, PASSWORD)?.quit()?;
    }
    let (cpu, wall) = measured(peer, || {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..clients)
                .map(|number| {
                    let name = if user == "slow" { user.to_owned() } else { format!("{user}{number}") };
                    scope.spawn(move || poll(&name))
                })
                .collect();
            all.into_iter().try_for_each(|one| one.join().unwrap())
        })
    })?;
    let count = (each * clients) as f64;
    let median = median(&times.into_inner().unwrap());
    Ok(Some(vec![("cpu-ms", cpu / count), ("wall-ms", wall / count), ("p50-ms", median)]))
}
