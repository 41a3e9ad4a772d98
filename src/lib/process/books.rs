//! The history: what the monitor writes down, and when it has it moved. The monitor's part.
//!
//! One line for each session that has ended and each login that was refused, with one write. Whatever becomes of it, service goes
//! on. Lines are moved into the database by the recorder (`recorder.rs`), never by the monitor.

use super::inetd;
use super::monitor::{Monitor, Speaker, Visit};
use super::notice::Notice;
use super::recorder;
use crate::error::{Error, Result};
use crate::history::{Entry, Refusal, Session, lines};
use crate::log::{Event, Report, SessionId, client_word};
use crate::sys::clock;
use std::time::{Duration, Instant};

/// How often the log is emptied by a standalone server.
const OFTEN: Duration = Duration::from_secs(60);

/// From this size on, in octets, it is emptied at once, under inetd too: some four thousand sessions.
const LARGE: u64 = 1024 * 1024;

/// What the monitor knows of the history.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// What the log has been told of that does not work.
    told: String,
    /// The same of the recorder.
    recorder_told: String,
    /// How many refused logins were written down.
    refusals: u32,
    /// When the log is to be emptied next.
    due: Option<Instant>,
    /// Whether a recorder is at work.
    pub(super) recording: bool,
}

impl Monitor {
    /// Tells the log what happened, and the history when it is a refused login.
    pub(super) fn tell(&mut self, id: &SessionId, pid: u32, event: &Event) {
        self.log.event(id, pid, event);
        if matches!(event, Event::Refused { .. }) {
            // It may have left already: the verifier's word and the login process's come on two ways. So the number is not the
            // connection's, or two of its refusals could look like one.
            self.intake.refused(id);
            self.books.refusals = self.books.refusals.wrapping_add(1);
            let number = self.books.refusals;
            let refusal = Refusal::from_event(*id, number, clock::wall_seconds(), event);
            refusal.into_iter().for_each(|refusal| self.write_down(&Entry::Refused(refusal)));
        }
    }

    /// A session has ended.
    pub(super) fn record_session(
        &mut self,
        visit: &Visit,
        user: &str,
        mechanism: &str,
        report: Report,
        seconds: u64,
    ) {
        let tls = visit.tls.split(' ').next().filter(|version| !version.is_empty()).unwrap_or("none");
        self.write_down(&Entry::Session(Session {
            id: visit.id,
            start: visit.start,
            seconds,
            user: user.to_owned(),
            client: client_word(visit.peer.address),
            mechanism: mechanism.to_owned(),
            tls: tls.to_owned(),
            refused: self.intake.refusals(&visit.id),
            report,
        }));
    }

    fn write_down(&mut self, entry: &Entry) {
        if !self.config.log.history {
            return;
        }
        match lines::append(&self.config.state_dir, entry) {
            Ok(size) => {
                self.books.told.clear();
                if size > LARGE {
                    self.start_recorder();
                }
            }
            Err(error) => {
                let text = format!("{error}; the history lacks sessions");
                if self.books.told != text {
                    self.own_fault(&Error::new(error.kind(), &text));
                    self.books.told = text;
                }
            }
        }
    }

    /// Empties the log from time to time. For a standalone server.
    pub(super) fn look_at_history(&mut self) {
        let now = clock::now();
        if self.books.due.is_some_and(|due| due > now) || self.books.recording {
            return;
        }
        self.books.due = Some(now + OFTEN);
        if self.config.log.history && lines::has_some(&self.config.state_dir) {
            self.start_recorder();
        }
    }

    fn start_recorder(&mut self) {
        if self.books.recording {
            return;
        }
        let started = inetd::login_ids().and_then(|ids| {
            self.start_speaker(Speaker::Recorder, &[], |surroundings| {
                recorder::run(ids.as_ref(), surroundings)
            })
        });
        match started {
            Ok(()) => self.books.recording = true,
            Err(error) => self.own_fault(&error),
        }
    }

    /// The recorder says what somebody should know; the same thing once, however often it comes.
    pub(super) fn act_for_recorder(&mut self, notice: Notice) -> Result<()> {
        let text = match notice {
            Notice::Fault(error) => error.to_string(),
            Notice::Remark(text) => text,
            Notice::Debug(id, text) => {
                self.log.event(&id, std::process::id(), &Event::Debug { text });
                return Ok(());
            }
            // It has done its work.
            Notice::Begun => String::new(),
            _ => return Err(super::monitor::not_its_to_say("recorder")),
        };
        if self.books.recorder_told != text && !text.is_empty() {
            let event = Event::Error { client: None, user: None, text: text.clone() };
            self.log.event(&self.own, std::process::id(), &event);
        }
        self.books.recorder_told = text;
        Ok(())
    }
}
