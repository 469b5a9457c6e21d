//! `tegmen pause` and `tegmen resume`.

use lexopt::Parser;

use super::{Globals, only_id};
use crate::container::lifecycle;
use crate::failure::Failure;

const PAUSE: &str = "\
Stops every process of a container.

usage: tegmen pause ID
";

const RESUME: &str = "\
Lets the processes of a paused container go on.

usage: tegmen resume ID
";

pub fn run(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    if let Some(id) = only_id(parser, PAUSE)? {
        lifecycle::pause(globals, &id)?;
    }
    Ok(0)
}

pub fn resume(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    if let Some(id) = only_id(parser, RESUME)? {
        lifecycle::resume(globals, &id)?;
    }
    Ok(0)
}
