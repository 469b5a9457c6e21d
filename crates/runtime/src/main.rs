//! The `tegmen` command.
#![forbid(unsafe_code)]

fn main() {}
