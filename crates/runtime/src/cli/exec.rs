//! `tegmen exec`: run another process in a container.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use oci_spec::runtime::Process as SpecProcess;

use super::{Globals, number, show, text, usage, value};
use crate::container::bundle::Bundle;
use crate::container::entered::{self, Options};
use crate::container::lifecycle::Known;
use crate::container::privileges::capability_number;
use crate::container::state::Status;
use crate::failure::{Failure, While};

const HELP: &str = "\
Runs COMMAND in the container ID, beside what runs there. Its user, directory and environment are those of the
container's first process unless options say otherwise.

usage: tegmen exec [OPTION...] ID COMMAND [ARG...]
       tegmen exec [OPTION...] --process FILE ID

  -p, --process FILE          the process as in config.json, from FILE
  -t, --tty                   with a terminal
  -d, --detach                do not wait
      --console-socket PATH   send the terminal's master to the socket PATH
      --pid-file FILE         write the id of the process that stands for it to FILE
      --cwd DIR               start in DIR
  -e, --env NAME=VALUE        set a variable
  -u, --user UID[:GID]        run as this user
  -g, --additional-gids GID   a further group
  -c, --cap NAME              with this capability, too
      --preserve-fds N        pass N descriptors on, from 3
      --no-new-privs          never gain privileges
      --apparmor PROFILE, --process-label LABEL, --cgroup PATH  accepted: they mean nothing inside a sandbox
      --ignore-paused         wait for a paused container
  -h, --help                  print this

The exit status is the command's.
";

#[derive(Default)]
struct Given {
    file: Option<PathBuf>,
    terminal: bool,
    detach: bool,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    cwd: Option<OsString>,
    env: Vec<OsString>,
    user: Option<(u32, Option<u32>)>,
    groups: Vec<u32>,
    caps: Vec<String>,
    preserve_fds: u32,
    no_new_privs: bool,
    ignore_paused: bool,
    id: Option<String>,
    command: Vec<OsString>,
}

pub fn run(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    let Some(given) = parse(parser)? else {
        return Ok(0);
    };
    let id = given
        .id
        .clone()
        .ok_or_else(|| Failure::own("a container ID is needed"))?;
    let known = Known::find(globals, &id)?;
    match known.status {
        Status::Stopped => return Err(Failure::own("cannot exec in a stopped container")),
        Status::Paused if !given.ignore_paused => {
            return Err(Failure::own(
                "cannot exec in a paused container (use --ignore-paused to override)",
            ));
        }
        _ => {}
    }
    let (process, terminal) = process(globals, &known, &given)?;
    let options = Options {
        process,
        terminal,
        detach: given.detach,
        console_socket: given.console_socket,
        pid_file: given.pid_file,
        preserve_fds: given.preserve_fds,
    };
    entered::run(&known, options)
}

fn parse(mut parser: Parser) -> Result<Option<Given>, Failure> {
    let mut given = Given::default();
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("process") | Arg::Short('p') => {
                given.file = Some(parser.value().map_err(usage)?.into())
            }
            Arg::Long("tty") | Arg::Short('t') => given.terminal = true,
            Arg::Long("detach") | Arg::Short('d') => given.detach = true,
            Arg::Long("console-socket") => {
                given.console_socket = Some(parser.value().map_err(usage)?.into());
            }
            Arg::Long("pid-file") => given.pid_file = Some(parser.value().map_err(usage)?.into()),
            Arg::Long("cwd") => given.cwd = Some(parser.value().map_err(usage)?),
            Arg::Long("env") | Arg::Short('e') => given.env.push(parser.value().map_err(usage)?),
            Arg::Long("user") | Arg::Short('u') => given.user = Some(user(&value(&mut parser)?)?),
            Arg::Long("additional-gids") | Arg::Short('g') => given.groups.push(number(&mut parser)?),
            Arg::Long("cap") | Arg::Short('c') => given.caps.push(value(&mut parser)?),
            Arg::Long("preserve-fds") => given.preserve_fds = number(&mut parser)?,
            Arg::Long("no-new-privs") => given.no_new_privs = true,
            Arg::Long("ignore-paused") => given.ignore_paused = true,
            Arg::Long("apparmor" | "process-label" | "cgroup") => drop(value(&mut parser)?),
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(None);
            }
            Arg::Value(id) => {
                given.id = Some(text(id)?);
                given.command = parser.raw_args().map_err(usage)?.collect();
                // A "--" before the command is no part of it.
                if given.command.first().is_some_and(|first| first == "--") {
                    given.command.remove(0);
                }
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    Ok(Some(given))
}

/// `UID[:GID]`.
fn user(spec: &str) -> Result<(u32, Option<u32>), Failure> {
    let wrong = || Failure::own(format!("user '{spec}': not of the form UID[:GID] with numbers"));
    let id = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    Ok(match spec.split_once(':') {
        Some((uid, gid)) => (id(uid)?, Some(id(gid)?)),
        None => (id(spec)?, None),
    })
}

/// The process, and whether it has a terminal: from the file, or as the container's first with what was given.
fn process(
    globals: &Globals,
    known: &Known,
    given: &Given,
) -> Result<(sandbox::container::Process, bool), Failure> {
    if let Some(file) = &given.file {
        let text = fs::read(file).while_doing(&format!("reading '{}'", file.display()))?;
        let spec: SpecProcess = serde_json::from_slice(&text)
            .map_err(|error| Failure::own(format!("'{}': {error}", file.display())))?;
        let terminal = spec.terminal().unwrap_or(false) || given.terminal;
        let bundle = Bundle::kept(&known.dir, &known.saved)?;
        return Ok((bundle.process_of(&spec)?, terminal));
    }
    if given.command.is_empty() {
        return Err(Failure::own("process args cannot be empty"));
    }
    let bundle = Bundle::kept(&known.dir, &known.saved)?;
    let mut spec = bundle.process()?.clone();
    spec.set_args(Some(vec![String::new()]));
    if given.no_new_privs {
        spec.set_no_new_privileges(Some(true));
    }
    let mut process = bundle.process_of(&spec)?;
    for name in &given.caps {
        let Some(number) = capability_number(name) else {
            globals.warn(&format!("ignoring unknown capability {name:?}"));
            continue;
        };
        let sets = process.privileges.capabilities.get_or_insert_default();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            *set |= 1 << number;
        }
    }
    process.argv = given.command.iter().cloned().map(OsString::into_vec).collect();
    process
        .env
        .extend(given.env.iter().cloned().map(OsString::into_vec));
    if let Some(cwd) = &given.cwd {
        process.cwd = Some(cwd.clone().into_vec());
    }
    if let Some((uid, gid)) = given.user {
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    process.user.groups.extend(&given.groups);
    Ok((process, given.terminal))
}
