//! `tegmen do`: run a command in a fresh sandbox.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};

use super::{Globals, show, text, usage};
use crate::failure::{Failure, While};
use crate::launch::{self, Launch, Network, User, Volume};

const HELP: &str = "\
Runs COMMAND in a fresh sandbox. Its root is the host's own (or DIR), read-only under a private layer in memory:
nothing the command writes reaches the host, except through volumes. Standard input, output, error, the terminal,
signals and the exit status pass through.

usage: tegmen do [OPTION...] [--] COMMAND [ARG...]

      --rootfs DIR            take DIR as the root
      --volume HOST:GUEST[:ro]  show the host's directory or file HOST at GUEST, writable unless ':ro'
      --cwd DIR               start in DIR (default: the current directory, or / with --rootfs)
      --env NAME=VALUE        set a variable; --env NAME passes the caller's value on
      --clear-env             start from an empty environment instead of the caller's
      --user USER[:GROUP]     run as this user, a name or a number (default: the caller)
      --hostname NAME         the sandbox's host name (default: tegmen)
      --network none|sandbox|host  'none' (the default): a loopback interface only; 'sandbox': outgoing TCP, UDP, DNS and
                              ping through the host's network, without privileges; the host's loopback is not reached;
                              'host': sockets of the host, its loopback too, which makes more of its kernel reachable
      --netns PATH            take over the interfaces of this network namespace (as 'ip netns' makes them)
      --strace                log every system call of the command
      --debug-log FILE        write the logs to FILE instead of standard error
      --timing                tell when each step of the start was done
  -h, --help                  print this

The exit status is the command's. 125: tegmen itself failed; 126: the command cannot be executed; 127: it was not found.
";

/// Longest host name, as sethostname(2) has it.
const MAX_HOSTNAME: usize = 64;

pub fn run(_: &Globals, parser: Parser) -> Result<u8, Failure> {
    match parse(parser)? {
        Some(launch) => launch::run(launch),
        None => {
            show(HELP);
            Ok(0)
        }
    }
}

/// Parses the options; `None` when help was asked for.
fn parse(mut parser: Parser) -> Result<Option<Launch>, Failure> {
    let (uid, gid, groups) = host::prctl::ids().while_doing("cannot tell who is calling")?;
    let mut launch = Launch {
        rootfs: PathBuf::from("/"),
        volumes: Vec::new(),
        command: Vec::new(),
        env: std::env::vars_os().collect(),
        cwd: None,
        user: User { uid, gid, groups },
        account: None,
        hostname: String::from("tegmen"),
        network: Network::None,
        strace: false,
        debug_log: None,
        timing: false,
    };
    let mut own_root = false;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("rootfs") => {
                launch.rootfs = directory(&PathBuf::from(parser.value().map_err(usage)?))?;
                own_root = true;
            }
            Arg::Long("volume") => launch.volumes.push(volume(&parser.value().map_err(usage)?)?),
            Arg::Long("cwd") => launch.cwd = Some(parser.value().map_err(usage)?),
            Arg::Long("env") => set_variable(&mut launch.env, parser.value().map_err(usage)?),
            Arg::Long("clear-env") => launch.env.clear(),
            Arg::Long("user") => launch.account = Some(account(text(parser.value().map_err(usage)?)?)?),
            Arg::Long("hostname") => launch.hostname = hostname(text(parser.value().map_err(usage)?)?)?,
            Arg::Long("network") => launch.network = network(&text(parser.value().map_err(usage)?)?)?,
            Arg::Long("netns") => launch.network = Network::Namespace(parser.value().map_err(usage)?.into()),
            Arg::Long("strace") => launch.strace = true,
            Arg::Long("debug-log") => launch.debug_log = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Arg::Long("timing") => launch.timing = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Value(command) => {
                launch.command.push(command);
                launch.command.extend(parser.raw_args().map_err(usage)?);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    if launch.command.is_empty() {
        return Err(Failure::own(
            "a command is needed: tegmen do [OPTION...] [--] COMMAND [ARG...]",
        ));
    }
    if launch.cwd.is_none() && !own_root {
        launch.cwd = std::env::current_dir().ok().map(PathBuf::into_os_string);
    }
    Ok(Some(launch))
}

/// The absolute path of a directory that exists.
fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = path
        .canonicalize()
        .while_doing(&format!("root '{}'", path.display()))?;
    if !absolute.is_dir() {
        return Err(Failure::own(format!(
            "root '{}': Not a directory",
            path.display()
        )));
    }
    Ok(absolute)
}

/// `HOST:GUEST[:ro|:rw]`.
fn volume(spec: &OsString) -> Result<Volume, Failure> {
    let wrong = |why: &str| Failure::own(format!("volume '{}': {why}", spec.to_string_lossy()));
    let mut parts: Vec<&[u8]> = spec.as_bytes().split(|byte| *byte == b':').collect();
    let read_only = match parts.last() {
        Some(&b"ro") => parts.pop().is_some(),
        Some(&b"rw") => parts.pop().is_none(),
        _ => false,
    };
    let [host, guest] = parts[..] else {
        return Err(wrong("not of the form HOST:GUEST[:ro]"));
    };
    if !guest.starts_with(b"/") {
        return Err(wrong("the path inside must be absolute"));
    }
    let host = PathBuf::from(OsString::from_vec(host.to_vec()));
    let host = host.canonicalize().map_err(|error| wrong(&error.to_string()))?;
    Ok(Volume {
        host,
        guest: guest.to_vec(),
        read_only,
    })
}

fn set_variable(env: &mut Vec<(OsString, OsString)>, setting: OsString) {
    let bytes = setting.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            bytes[..at].to_vec(),
            Some(OsString::from_vec(bytes[at + 1..].to_vec())),
        ),
        None => (bytes.to_vec(), std::env::var_os(&setting)),
    };
    let name = OsString::from_vec(name);
    env.retain(|(other, _)| *other != name);
    if let Some(value) = value {
        env.push((name, value));
    }
}

/// `USER[:GROUP]`; who that is, the root's own files tell.
fn account(spec: String) -> Result<String, Failure> {
    let (user, group) = spec.split_once(':').unwrap_or((&spec, "0"));
    if user.is_empty() || group.is_empty() || spec.contains(['\0', '\n']) {
        return Err(Failure::own(format!(
            "user '{spec}': not of the form USER[:GROUP], names or numbers"
        )));
    }
    Ok(spec)
}

fn hostname(name: String) -> Result<String, Failure> {
    if name.is_empty() || name.len() > MAX_HOSTNAME || name.contains('\0') {
        return Err(Failure::own(format!(
            "host name '{name}': must have 1 to {MAX_HOSTNAME} bytes"
        )));
    }
    Ok(name)
}

fn network(kind: &str) -> Result<Network, Failure> {
    match kind {
        "none" => Ok(Network::None),
        "sandbox" => Ok(Network::Relayed),
        "host" => Ok(Network::Host),
        _ => Err(Failure::own(format!(
            "network '{kind}': must be sandbox, none or host"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Launch>, Failure> {
        parse(Parser::from_args(args))
    }

    #[test]
    fn everything_after_the_command_belongs_to_it() {
        let launch = parsed(&["--strace", "ls", "--help", "--", "-l"])
            .unwrap()
            .unwrap();
        assert_eq!(launch.command, ["ls", "--help", "--", "-l"]);
        let launch = parsed(&["--", "--odd"]).unwrap().unwrap();
        assert_eq!(launch.command, ["--odd"]);
    }

    #[test]
    fn wrong_use_is_one_line_and_125() {
        for args in [
            &["--bogus", "ls"][..],
            &[],
            &["--rootfs", "/nowhere/at/all", "ls"],
            &["--volume", "/tmp", "ls"],
            &["--volume", "/tmp:relative", "ls"],
            &["--user", "root:", "ls"],
            &["--user", ":0", "ls"],
            &["--network", "wifi", "ls"],
            &["--hostname", "", "ls"],
        ] {
            let failure = parsed(args).unwrap_err();
            assert_eq!(failure.status, 125, "{args:?}");
            assert!(!failure.message.contains('\n'), "{args:?}: {}", failure.message);
        }
    }

    #[test]
    fn variables_replace_and_pass_on() {
        let mut env = vec![(OsString::from("A"), OsString::from("1"))];
        set_variable(&mut env, "A=2=3".into());
        set_variable(&mut env, "TEGMEN_SURELY_UNSET".into());
        assert_eq!(env, [(OsString::from("A"), OsString::from("2=3"))]);
    }

    #[test]
    fn volumes_take_files_and_modes() {
        let v = volume(&"/usr:/mnt:ro".into()).unwrap();
        assert!(v.read_only && v.guest == b"/mnt");
        assert!(!volume(&"/usr:/mnt".into()).unwrap().read_only);
        assert!(!volume(&"/usr:/mnt:rw".into()).unwrap().read_only);
    }

    #[test]
    fn help_names_every_option() {
        let source = include_str!("do.rs");
        for part in source.split("Arg::Long(\"").skip(1) {
            let Some((name, _)) = part.split_once('"') else {
                continue;
            };
            if name.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                assert!(HELP.contains(&format!("--{name}")), "--{name}");
            }
        }
    }
}
