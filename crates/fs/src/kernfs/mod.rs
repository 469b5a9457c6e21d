//! Synthetic trees: what procfs, sysfs, cgroupfs and devfs are made of.
//!
//! A [`Node`] says what a file is; this module turns nodes into inodes with stable numbers, directories with `.` and
//! `..`, and text files that are generated once per pass (like Linux's seq_file). [`Entry`] tables list fixed names.
//! Nothing here knows what the files mean.

mod inode;
mod list;
mod node;
mod snapshot;
mod text;

pub use inode::{KernSuper, root_inode};
pub use list::{List, ListFile};
pub use node::{Context, Entry, Listed, Meta, Node, StaticDir, What, table};
pub use text::{KNOB_MAX, now, parse_i64, parse_u64, trimmed};
