//! Children that the monitor forks because a session asks for them. The monitor's part.

use super::monitor::{Channel, Child, Monitor, Sending, Speaker, Visit, become_child, not_its_to_say};
use super::notice::Admitted;
use super::{sendmail, spool};
use crate::error::{Error, Kind, Result};
use crate::sys::process::fork;
use std::os::fd::{AsRawFd, OwnedFd};

/// Spool helpers that a session may have at once: one that still watches for late mail, and one at work.
const MOST_HELPERS: usize = 2;

impl Monitor {
    pub(super) fn start_spool(&mut self, visit: &Visit, admitted: &Admitted, socket: &OwnedFd) -> Result<()> {
        let of_this =
            |channel: &&Channel| matches!(&channel.speaker, Speaker::Helper { id, .. } if *id == visit.id);
        if self.channels.values().filter(of_this).count() >= MOST_HELPERS {
            return Err(Error::new(
                Kind::Temporary,
                format!("{} asks for too many spool helpers", admitted.user),
            ));
        }
        let speaker = Speaker::Helper { id: visit.id, peer: visit.peer, user: admitted.user.clone() };
        self.start_speaker(speaker, &[socket.as_raw_fd()], |surroundings| {
            spool::run(socket, admitted, surroundings)
        })
    }

    pub(super) fn start_sendmail(
        &mut self,
        number: u64,
        visit: &mut Visit,
        octets: u64,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let [answer, message] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| {
            Error::new(Kind::Temporary, "a request for sendmail came without its descriptors")
        })?;
        let Some(admitted) = &visit.admitted else { return Err(not_its_to_say("session")) };
        let program = &self.config.xtnd.sendmail;
        let child = fork(|| {
            become_child(&[message.as_raw_fd()]);
            sendmail::run(&message, admitted, program)
        })?;
        let user = admitted.user.clone();
        visit.sending = true;
        let sending = Sending { visit: number, id: visit.id, peer: visit.peer, user, octets, answer };
        self.children.insert(child, Child::Sendmail(Box::new(sending)));
        Ok(())
    }
}
