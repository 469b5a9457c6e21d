//! Whole sandboxes, started as a user starts them. What native Linux does is the oracle.
#![forbid(unsafe_code)]

mod cli;
mod containers;
mod guest;
mod harness;
mod host_network;
mod isolation;
mod lifetime;
mod network;
mod passing;
mod programs;
mod relayed;
mod terminals;
mod virtual_networks;
