//! The mbox format.
