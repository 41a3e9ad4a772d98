//! What a relay does with what it gets.
