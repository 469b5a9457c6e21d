//! `tegmen wait`: wait for the end of a container.

use lexopt::Parser;

use super::{Globals, only_id};
use crate::container::lifecycle::Known;
use crate::failure::Failure;

const HELP: &str = "\
Waits until a container has ended.

usage: tegmen wait ID
";

pub fn run(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    if let Some(id) = only_id(parser, HELP)? {
        let known = Known::find(globals, &id)?;
        if let Some(handle) = known.saved.monitor.and_then(|monitor| monitor.handle()) {
            // A handle of a process can be read once it has ended.
            while !host::poll::wait(&handle).map_err(|error| Failure::own(error.to_string()))? {}
        }
    }
    Ok(0)
}
