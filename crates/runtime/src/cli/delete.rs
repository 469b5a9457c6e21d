//! `tegmen delete`: remove a container.

use lexopt::{Arg, Parser};

use super::{Globals, show, text, usage};
use crate::container::lifecycle;
use crate::failure::Failure;

const HELP: &str = "\
Removes containers that have ended or were never started.

usage: tegmen delete [OPTION...] ID...

  -f, --force                 kill what still runs; a container that does not exist is no error
  -h, --help                  print this
";

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let (mut force, mut ids) = (false, Vec::new());
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("force") | Arg::Short('f') => force = true,
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            Arg::Value(value) => ids.push(text(value)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    if ids.is_empty() {
        return Err(Failure::own("a container ID is needed"));
    }
    for id in ids {
        lifecycle::delete(globals, &id, force)?;
    }
    Ok(0)
}
