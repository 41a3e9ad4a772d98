//! Streams to clients.

pub(crate) mod listen;
pub(crate) mod output;
pub(crate) mod stream;
