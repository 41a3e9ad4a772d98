//! Crashes while nothing is changed. Those in the middle of an update are in `tests/crash_update.rs`.

use super::common::client::assert_same;
use super::common::{PASSWORD, World, eventually, isolated, processes};
use nix::sys::signal::Signal;

#[test]
fn a_killed_session_leaves_no_obstacle() {
    isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        let before = world.stored("ann");
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        let session = world.session(&client, "ann");
        processes::signal(session.pid, Signal::SIGKILL);
        client.rest();
        // Its descriptors are closed one after the other, and its lock may be the last.
        eventually("the end of the session", || {
            processes::read(session.pid).is_none_or(|process| process.state == "Z").then_some(())
        });
        let reply = world.connect().login("ann", PASSWORD);
        assert!(reply.starts_with("+OK"), "at once: {reply}");
        assert_same("nothing was deleted", &world.stored("ann"), &before);
    });
}
