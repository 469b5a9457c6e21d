//! `tegmen spec`: write a config.json to start from.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use oci_spec::runtime::Spec;

use super::{Globals, show, usage};
use crate::failure::{Failure, While};

const HELP: &str = "\
Writes a config.json to start from, which runs a shell in the directory 'rootfs'.

usage: tegmen spec [OPTION...]

  -b, --bundle DIR            into DIR (default: the current directory)
      --rootless              for a user who is not root
  -h, --help                  print this
";

pub fn run(_: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let (mut bundle, mut rootless) = (PathBuf::from("."), false);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("bundle") | Arg::Short('b') => bundle = parser.value().map_err(usage)?.into(),
            Arg::Long("rootless") => rootless = true,
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    let (uid, gid, _) = host::prctl::ids().while_doing("cannot tell who is calling")?;
    let mut spec = if rootless {
        Spec::rootless(uid, gid)
    } else {
        Spec::default()
    };
    if let Some(process) = spec.process_mut() {
        process.set_terminal(Some(true));
    }
    let text = serde_json::to_vec_pretty(&spec).map_err(|error| Failure::own(error.to_string()))?;
    let file = bundle.join("config.json");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut file| file.write_all(&text))
        .while_doing(&format!("'{}'", file.display()))?;
    Ok(0)
}
