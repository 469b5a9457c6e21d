//! `tegmen create`: make a container from a bundle; its first process waits for `start`.

use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::{Globals, number, show, text, usage};
use crate::container::create::{self, Options};
use crate::failure::Failure;

const HELP: &str = "\
Makes the container ID from a bundle. Its first process is ready, and waits for 'tegmen start'.

usage: tegmen create [OPTION...] ID

  -b, --bundle DIR            the bundle (default: the current directory)
      --console-socket PATH   send the terminal's master to the socket PATH
      --pid-file FILE         write the id of the container's process to FILE
      --preserve-fds N        pass N descriptors on, from 3
      --no-pivot              accepted: the host's root is never changed
      --no-new-keyring        accepted: guests have no keyring of the host
  -h, --help                  print this
";

pub fn run(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    let Some((options, _)) = parse(parser, HELP, |_| None)? else {
        return Ok(0);
    };
    create::create(globals, &options).map(|_| 0)
}

/// The options of `create` and `run`. `more` knows flags of its own by their names; those given are returned.
pub fn parse(
    mut parser: Parser,
    help: &str,
    more: impl Fn(&str) -> Option<&'static str>,
) -> Result<Option<(Options, Vec<&'static str>)>, Failure> {
    let mut options = Options {
        id: String::new(),
        bundle: PathBuf::from("."),
        pid_file: None,
        console_socket: None,
        preserve_fds: 0,
        foreground: false,
    };
    let mut given = Vec::new();
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("bundle") | Arg::Short('b') => options.bundle = parser.value().map_err(usage)?.into(),
            Arg::Long("console-socket") => {
                options.console_socket = Some(parser.value().map_err(usage)?.into());
            }
            Arg::Long("pid-file") => options.pid_file = Some(parser.value().map_err(usage)?.into()),
            Arg::Long("preserve-fds") => options.preserve_fds = number(&mut parser)?,
            Arg::Long("no-pivot" | "no-new-keyring") => {}
            Arg::Long("help") | Arg::Short('h') => {
                show(help);
                return Ok(None);
            }
            Arg::Long(name) => match more(name) {
                Some(flag) => given.push(flag),
                None => return Err(usage(Arg::Long(name).unexpected())),
            },
            Arg::Short('d') if more("detach").is_some() => given.push("detach"),
            Arg::Value(id) if options.id.is_empty() => options.id = text(id)?,
            other => return Err(usage(other.unexpected())),
        }
    }
    if options.id.is_empty() {
        return Err(Failure::own("a container ID is needed"));
    }
    Ok(Some((options, given)))
}
