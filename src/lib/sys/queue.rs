//! Readiness of many descriptors (epoll(7), level-triggered: one message is taken from each at a time, so that none starves the others).

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::AsFd;

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

    /// The numbers of those that are readable or ended; waits until there is one.
    ///
    /// # Errors
    /// As epoll_wait(2).
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); 64];
        match self.0.wait(&mut events, EpollTimeout::NONE) {
            Ok(ready) => Ok(events[..ready].iter().map(EpollEvent::data).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }
}
