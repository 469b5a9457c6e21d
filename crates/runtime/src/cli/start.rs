//! `tegmen start`: start a container that was created.

use lexopt::Parser;

use super::{Globals, only_id};
use crate::container::lifecycle;
use crate::failure::Failure;

const HELP: &str = "\
Starts the first process of a container that was created.

usage: tegmen start ID
";

pub fn run(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    if let Some(id) = only_id(parser, HELP)? {
        lifecycle::start(globals, &id)?;
    }
    Ok(0)
}
