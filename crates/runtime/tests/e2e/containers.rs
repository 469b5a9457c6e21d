//! The verbs of a container runtime, without an engine: bundles are made here, with the host's programs bind-mounted read-only.

pub mod bundle;
mod crash;
mod exec;
mod hooks;
mod kills;
mod liars;
mod life;
mod outside;
mod port_forward;
mod waiting;
