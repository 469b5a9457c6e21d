//! `tegmen state`: print the state of a container.

use lexopt::Parser;

use super::{Globals, only_id, show};
use crate::container::lifecycle::Known;
use crate::failure::Failure;

const HELP: &str = "\
Prints the state of a container as JSON.

usage: tegmen state ID
";

pub fn run(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    if let Some(id) = only_id(parser, HELP)? {
        let known = Known::find(globals, &id)?;
        show(&format!("{}\n", known.saved.report_json(known.status)));
    }
    Ok(0)
}
