//! Terminals: settings, the line discipline, pseudoterminal pairs, job control.
//!
//! `ldisc` is the pure state machine; `pair` holds one with its two ends; `slave` and `master` are those ends as open
//! files; `job` is what sessions and process groups have to do with it. Names in /dev/pts are [`crate::devpts`]'s.
//! There is no hardware behind any of it: the host's terminal is pumped into the master end by [`crate::stdio`].

mod attach;
mod ioctl;
mod job;
mod ldisc;
mod master;
mod opener;
mod output;
mod pair;
mod slave;
mod table;
pub mod termios;
#[cfg(test)]
mod tests;

pub use attach::{make_controlling, open_pair, set_window_size};
pub use opener::register;
pub use pair::Tty;
pub use table::Terminals;

/// Major number of pseudoterminal slaves.
pub const SLAVE_MAJOR: u32 = 136;
/// Major number of /dev/tty, /dev/console and /dev/ptmx.
pub const TTY_MAJOR: u32 = 5;
