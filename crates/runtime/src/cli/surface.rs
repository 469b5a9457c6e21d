//! `tegmen surface`: every host call that the sentry may make.

use lexopt::Parser;

use super::only_flags;
use crate::failure::Failure;

const HELP: &str = "\
Prints every host call that the processes of a sandbox may make, with the allowed arguments and the reason.

usage: tegmen surface
";

pub fn run(parser: Parser) -> Result<u8, Failure> {
    if only_flags(parser, HELP, &[])?.is_none() {
        return Ok(0);
    }
    Err(Failure::own("the table of host calls does not exist yet"))
}
