//! Readiness of many descriptors (epoll(7), level-triggered: one message is taken from each at a time, so that none starves the others).

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Descriptors that are waited for, each under a number.
pub(crate) struct Queue(Epoll);

impl Queue {
    /// An empty queue.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Waits for the descriptor from now on.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub(crate) fn add(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
    }

    /// Waits for it no more. To be called before the descriptor is closed, since it may live on elsewhere.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // It fails only for a descriptor that is not in the queue.
        let _ = self.0.delete(fd);
    }

    /// The numbers of those that are readable or ended; waits until there is one, or until the time is over.
    ///
    /// # Errors
    /// As epoll_wait(2).
    pub(crate) fn wait(&self, within: Option<Duration>) -> io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); 64];
        let timeout = within.map_or(EpollTimeout::NONE, |time| {
            // Rounded up, so that the time is over when the call returns.
            EpollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX)
        });
        match self.0.wait(&mut events, timeout) {
            Ok(ready) => Ok(events[..ready].iter().map(EpollEvent::data).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }
}
