//! Containers as engines know them: the OCI runtime specification's life of a container.
//!
//! `create` makes the `monitor` and, below it, the sandbox; the other verbs reach the sandbox through its control socket. What
//! is kept on disk is in `state`; what a container is made from is read by `bundle`.

pub mod bundle;
mod clock;
pub mod console;
pub mod create;
pub mod entered;
pub mod hooks;
pub mod lifecycle;
pub mod monitor;
mod mounts;
pub mod namespaces;
pub mod privileges;
pub mod resources;
mod setup;
pub mod signals;
pub mod state;
mod translate;
mod view;

pub use clock::now;
pub use mounts::known_options;
pub use state::write_whole;
pub use translate::translate;
