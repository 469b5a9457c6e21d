//! Clocks and timers.

/// The sandbox's clocks and its kernel timers.
#[derive(Default)]
pub struct TimeKeeper {}
