//! execve(2): loading programs.
//!
//! `open` finds the file, `script` and `elf` read it, `load` and `stack` plan the new address space, `prepare` makes it,
//! `execve` switches a task to it, `init` starts the first process.

mod args;
mod elf;
mod execve;
mod hardware;
mod init;
mod load;
mod open;
mod prepare;
mod script;
mod stack;
#[cfg(test)]
mod tests;

pub use args::read as read_arguments;
pub use execve::{comm_of, execve};
pub use init::{Attributes, ProcessSpec, start_entered, start_init};
pub use open::{Program, open_place, open_program};
pub use stack::Arguments;

/// Bytes at the start of a file that decide what it is (BINPRM_BUF_SIZE).
pub const HEAD: usize = 256;
