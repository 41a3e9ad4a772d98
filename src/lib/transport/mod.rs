//! Streams to clients.
