//! Options before the verb: where state is kept, and where errors are told.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::{usage, value};
use crate::container::{now, state};
use crate::failure::{Failure, While};
use crate::network;

pub const HELP: &str = "
global options, for the verbs of a container runtime:

      --root DIR              keep the state of containers in DIR (default: /run/tegmen, or $XDG_RUNTIME_DIR/tegmen)
      --log FILE              tell errors in FILE, too
      --log-format text|json  in this form
      --debug                 tell more
      --debug-log FILE        write the sandboxes' own logs to FILE
      --strace                log every system call of containers there
      --systemd-cgroup        cgroup paths are systemd's (SLICE:PREFIX:NAME)
      --network sandbox|none|host  'sandbox' (the default) takes over the interfaces of the container's network namespace; 'none'
                              leaves a loopback interface; 'host' gives guests sockets of that namespace, which makes
                              more of the host's kernel reachable
      --rootless true|false|auto  accepted for other runtimes' sake
";

/// What was given before the verb.
#[derive(Debug)]
pub struct Globals {
    /// Where the state of containers is kept.
    pub root: PathBuf,
    /// Where errors go besides standard error.
    log: Option<PathBuf>,
    json: bool,
    /// Whether paths of control groups are systemd's.
    pub systemd_cgroup: bool,
    /// Where the sandboxes' own logs go.
    pub sandbox_log: Option<PathBuf>,
    /// Log every system call of containers.
    pub strace: bool,
    /// Which network containers have.
    pub network: network::Kind,
}

impl Default for Globals {
    fn default() -> Globals {
        Globals {
            root: state::default_root(),
            log: None,
            json: false,
            systemd_cgroup: false,
            sandbox_log: None,
            strace: false,
            network: network::Kind::default(),
        }
    }
}

/// A global option.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    Root,
    Log,
    LogFormat,
    Debug,
    DebugLog,
    Strace,
    Network,
    SystemdCgroup,
    Rootless,
}

impl Named {
    /// Which one an argument is.
    pub fn of(arg: &Arg<'_>) -> Option<Named> {
        let Arg::Long(name) = arg else { return None };
        Some(match *name {
            "root" => Named::Root,
            "log" => Named::Log,
            "log-format" => Named::LogFormat,
            "debug" => Named::Debug,
            "debug-log" => Named::DebugLog,
            "strace" => Named::Strace,
            "network" => Named::Network,
            "systemd-cgroup" => Named::SystemdCgroup,
            "rootless" => Named::Rootless,
            _ => return None,
        })
    }
}

impl Globals {
    /// Takes one option.
    pub fn set(&mut self, option: Named, parser: &mut Parser) -> Result<(), Failure> {
        let path = |parser: &mut Parser| parser.value().map(PathBuf::from).map_err(usage);
        // Sandboxes outlive the caller's directory.
        let absolute = |path: PathBuf| std::path::absolute(&path).while_doing("path");
        match option {
            Named::Root => self.root = absolute(path(parser)?)?,
            Named::Log => self.log = Some(path(parser)?),
            Named::LogFormat => {
                self.json = match value(parser)?.as_str() {
                    "json" => true,
                    "text" => false,
                    other => return Err(Failure::own(format!("invalid log-format: {other:?}"))),
                }
            }
            Named::DebugLog => self.sandbox_log = Some(absolute(path(parser)?)?),
            Named::Strace => self.strace = true,
            Named::Network => {
                self.network = match value(parser)?.as_str() {
                    "sandbox" => network::Kind::Sandbox,
                    "none" => network::Kind::None,
                    "host" => network::Kind::Host,
                    other => {
                        return Err(Failure::own(format!(
                            "network '{other}': must be sandbox, none or host"
                        )));
                    }
                }
            }
            Named::SystemdCgroup => self.systemd_cgroup = true,
            Named::Rootless => drop(value(parser)?),
            Named::Debug => {}
        }
        Ok(())
    }

    /// Where the sandbox's own log goes, if it was said.
    pub fn debug_log(&self) -> Result<Option<OwnedFd>, Failure> {
        let open = |path: &PathBuf| {
            let mut options = OpenOptions::new();
            let file: File = options
                .create(true)
                .append(true)
                .open(path)
                .while_doing(&format!("debug log '{}'", path.display()))?;
            Ok(file.into())
        };
        self.sandbox_log.as_ref().map(open).transpose()
    }

    /// Tells an error in the log.
    pub fn error(&self, message: &str) {
        self.line("error", message);
    }

    /// Tells a warning in the log.
    pub fn warn(&self, message: &str) {
        self.line("warning", message);
    }

    fn line(&self, level: &str, message: &str) {
        let Some(path) = &self.log else { return };
        let line = if self.json {
            let line = serde_json::json!({ "level": level, "msg": message, "time": now() });
            format!("{line}\n")
        } else {
            format!("time=\"{}\" level={level} msg={message:?}\n", now())
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        // The caller gets the exit status, whatever becomes of the log.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
