//! Real container engines with `tegmen` as their runtime: Docker, containerd, Podman. Each is started here, in namespaces and
//! directories of its own, and ended with all that it started. What the same engine does with runc is the oracle.
//!
//! The lists of what is tried are shell scripts (`docker.sh` and so on) that print sections; sections are compared.
#![forbid(unsafe_code)]

mod bundle;
mod containerd;
mod docker;
mod engine;
mod image;
mod podman;
mod transcript;
