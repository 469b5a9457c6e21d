//! Attacks from inside, judged from outside.
#![forbid(unsafe_code)]

mod attacks;
#[path = "../e2e/harness.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, of which this needs a part"
)]
mod harness;
mod network;
mod volumes;
mod walls;
mod witness;
