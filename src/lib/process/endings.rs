//! How children end, and what the log says of it. The monitor's part.

use super::message::{Answer, Message};
use super::monitor::{Channel, Child, Monitor, Sending, Speaker, Visit};
use super::sendmail::{self, Sent};
use crate::log::{End, Event, Logout, Report, SessionId};
use crate::sys::process::{Ended, SIGTERM, reap};
use crate::sys::socket;
use std::os::fd::AsFd;

impl Monitor {
    /// Learns which children have ended.
    pub(super) fn bury(&mut self) {
        while let Some((child, ended)) = reap() {
            match self.children.remove(&child) {
                Some(Child::Speaker(number)) => {
                    while self.hear(number) {}
                    if let Some(channel) = self.channels.remove(&number) {
                        self.queue.remove(&channel.socket);
                        self.close_channel(number, channel, ended);
                    }
                }
                Some(Child::Sendmail(sending)) => self.close_sending(child.number(), *sending, ended),
                None => {}
            }
        }
    }

    fn close_sending(&mut self, pid: u32, sending: Sending, ended: Ended) {
        let sent = Sent::from_end(ended);
        sendmail::report(&sending.answer, sent);
        let Sending { visit, id, peer, user, octets, .. } = sending;
        if let Some(Channel { speaker: Speaker::Session(visit), .. }) = self.channels.get_mut(&visit) {
            visit.sending = false;
        }
        let event =
            Event::Xmit { client: peer.address, user: user.into_bytes(), octets, status: sent.status };
        self.log.event(&id, pid, &event);
    }

    fn close_channel(&mut self, number: u64, channel: Channel, ended: Ended) {
        let pid = channel.child.number();
        match channel.speaker {
            Speaker::Session(mut visit) => {
                self.verified(&mut visit);
                if visit.began.is_none() && !visit.explained && ended != Ended::Status(0) {
                    self.report_end(&visit.id, pid, ended);
                }
                self.close_visit(pid, *visit);
                return;
            }
            Speaker::Login { retiring, .. } => self.login_ended(number, retiring, channel.began),
            Speaker::Recorder => self.books.recording = false,
            Speaker::Successor => self.not_succeeded(pid),
            Speaker::Helper { .. } => {}
        }
        // SIGTERM is ours.
        if matches!(ended, Ended::Signal(signal) if signal != SIGTERM) {
            self.report_end(&self.own, pid, ended);
        }
    }

    /// An end that nothing else explains.
    fn report_end(&self, id: &SessionId, pid: u32, ended: Ended) {
        let text = match ended {
            Ended::Signal(signal) => format!("process {pid} ended by signal {signal}"),
            Ended::Status(status) => format!("process {pid} ended with status {status}"),
        };
        self.log.event(id, pid, &Event::Error { client: None, user: None, text });
    }

    fn close_visit(&mut self, pid: u32, visit: Visit) {
        let Visit { id, peer, admitted: Some(admitted), began: Some(began), report, .. } = &visit else {
            return;
        };
        let (id, peer) = (*id, *peer);
        let report = report.unwrap_or_else(|| Report::ended(End::Killed));
        let seconds = began.elapsed().as_secs();
        self.record_session(&visit, &admitted.user, admitted.mechanism.name(), report, seconds);
        self.intake.left(&id);
        let user = admitted.user.clone().into_bytes();
        let logout = Logout { client: peer.address, user: user.clone(), report, seconds };
        self.log.event(&id, pid, &Event::Logout(logout));
        if self.config.log.statistics && report.end != End::Killed {
            let Report { deleted, deleted_octets, left, left_octets, .. } = report;
            self.log.event(&id, pid, &Event::Stats { user, deleted, deleted_octets, left, left_octets });
        }
    }
}

/// Tells a login process that an attempt cannot be verified.
pub(super) fn busy(attempt: &impl AsFd) {
    let reply = "[SYS/TEMP] the server is too busy, try again later".to_owned();
    let answer = Answer::Unavailable { reply, delayed: false };
    // The login process may be gone; then nobody waits for it.
    let _ = socket::send(attempt, &answer.to_bytes(), &[], false);
}
