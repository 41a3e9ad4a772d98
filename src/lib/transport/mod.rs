//! Streams to clients.

pub(crate) mod output;
pub(crate) mod stream;
