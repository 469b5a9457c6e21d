//! `tegmen syscalls`: every system call that guests may make, and how far it is supported.

use lexopt::Parser;

use super::only_flags;
use crate::failure::Failure;

const HELP: &str = "\
Prints the system calls that guests may make, and how far each is supported.

usage: tegmen syscalls [--markdown]
";

pub fn run(parser: Parser) -> Result<u8, Failure> {
    if only_flags(parser, HELP, &["markdown"])?.is_none() {
        return Ok(0);
    }
    Err(Failure::own("the table of system calls does not exist yet"))
}
