//! `tegmen kill`: send a signal to a container.

use lexopt::{Arg, Parser};

use super::{Globals, show, text, usage};
use crate::container::{lifecycle, signals};
use crate::failure::Failure;

const HELP: &str = "\
Sends SIGNAL (a name or a number; default: SIGTERM) to the first process of a container.

usage: tegmen kill [OPTION...] ID [SIGNAL]

  -a, --all                   to every process of the container
  -h, --help                  print this
";

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let (mut all, mut operands) = (false, Vec::new());
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("all") | Arg::Short('a') => all = true,
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            Arg::Value(value) if operands.len() < 2 => operands.push(text(value)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    let mut operands = operands.into_iter();
    let id = operands
        .next()
        .ok_or_else(|| Failure::own("a container ID is needed"))?;
    let name = operands.next().unwrap_or_else(|| "TERM".to_string());
    let signal = signals::number(&name).ok_or_else(|| Failure::own(format!("unknown signal {name:?}")))?;
    lifecycle::kill(globals, &id, signal, all)?;
    Ok(0)
}
