//! The written log: events, escape, sinks.
