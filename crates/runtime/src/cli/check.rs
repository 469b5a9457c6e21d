//! `tegmen check`: what this host can give to a sandbox.

use lexopt::Parser;

use super::only_flags;
use crate::failure::Failure;

const HELP: &str = "\
Tests what this host can give to a sandbox, and prints a table: what is there, and what will be weaker without it.

usage: tegmen check
";

pub fn run(parser: Parser) -> Result<u8, Failure> {
    if only_flags(parser, HELP, &[])?.is_none() {
        return Ok(0);
    }
    Err(Failure::own("the host checks do not exist yet"))
}
