//! Connections and sessions that do nothing.

use super::PASSWORD;
use super::client::Client;
use super::common::world::uid;
use super::mailboxes::add;
use super::meter::available;
use super::polls::owner;
use super::{Bench, IDLERS};
use std::io::Result;

/// The rows here, which need more users than the others.
pub(crate) const ROWS: &[&str] = &["idle-before-login", "idle-session"];

/// Connections without a login.
const BEFORE: usize = 5000;

pub(crate) fn rows(bench: &mut Bench<'_>) {
    let sessions = IDLERS;
    let soft = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft.1, soft.1).unwrap();
    for peer in &bench.peers {
        for number in 0..sessions {
            let user = format!("i{number}");
            add(&peer.maildrop(&user), peer.format, 0..2, 2000, uid(&user), owner(peer, &user));
        }
    }
    bench.row("idle-before-login", 1, |peer| {
        Client::connect(peer.port, false)?.quit()?;
        peer.meter.settle(peer.idle);
        let share = peer.meter.share();
        // Some have a process for each, and a limit of them.
        let clients: Vec<Client> =
            (0..BEFORE).map_while(|_| Client::connect(peer.port, false).ok()).collect();
        let held = clients.len() as f64;
        let each = (peer.meter.share().saturating_sub(share)) as f64 / held.max(1.0);
        drop(clients);
        peer.meter.settle(peer.idle);
        Ok(Some(vec![("own-KB", each), ("held", held)]))
    });
    bench.row("idle-session", 2, |peer| {
        peer.meter.settle(peer.idle);
        let (free, share) = (available(), peer.meter.share());
        let clients = (0..sessions)
            .map(|number| Client::log_in(peer.port, false, &format!("i{number}"), PASSWORD))
            .collect::<Result<Vec<_>>>()?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        // The clients' own buffers are not the server's.
        let own = (clients.len() * 4) as i64;
        let each = (free - available() - own) as f64 / sessions as f64;
        let share = (peer.meter.share().saturating_sub(share)) as f64 / sessions as f64;
        for client in clients {
            client.quit()?;
        }
        let mut sample = vec![("own-KB", share)];
        // Less than nothing: others gave memory back meanwhile, and this machine cannot say.
        if each > 0.0 {
            sample.push(("free-KB", each));
        }
        Ok(Some(sample))
    });
}
