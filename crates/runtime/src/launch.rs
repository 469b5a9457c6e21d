//! What `tegmen do` was asked for, and the start of a sandbox from it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use host::surface::Waits;
use sandbox::container::{self, Container, Mount, Process, Root, Source, flags};
use sandbox::network::NetworkConfig;
use sandbox::{Config, Io, Timing};

use crate::failure::{Failure, While};
use crate::jail::{self, Jail, Tree};
use crate::network::{self, Relayed};
use crate::supervise;
use crate::terminal::Terminal;

/// Where programs look for name servers.
const RESOLV_CONF: &[u8] = b"/etc/resolv.conf";

/// A sandbox to start.
#[derive(Debug)]
pub struct Launch {
    /// Absolute host path of the root.
    pub rootfs: PathBuf,
    /// More host trees.
    pub volumes: Vec<Volume>,
    /// Program and arguments; not empty.
    pub command: Vec<OsString>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// The first directory; `None` means the root.
    pub cwd: Option<OsString>,
    /// Who the command runs as.
    /// Who runs it, unless `account` says otherwise.
    pub user: User,
    /// `NAME|UID[:GROUP|GID]`, by the root's own passwd(5) and group(5).
    pub account: Option<String>,
    /// Host name inside.
    pub hostname: String,
    /// Which network the sandbox has.
    pub network: Network,
    /// Log every system call.
    pub strace: bool,
    /// Where logs go, else standard error.
    pub debug_log: Option<PathBuf>,
    /// Tell the time of each step.
    pub timing: bool,
}

/// A host directory or file shown inside.
#[derive(Debug)]
pub struct Volume {
    /// Absolute host path.
    pub host: PathBuf,
    /// Absolute path inside.
    pub guest: Vec<u8>,
    /// Whether it cannot be changed from inside.
    pub read_only: bool,
}

/// Who a command runs as.
#[derive(Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Kinds of network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// A loopback interface.
    None,
    /// A way to the host's network through a relay.
    Relayed,
    /// Sockets of the host.
    Host,
    /// The interfaces of a network namespace that the caller made, which the sandbox takes over.
    Namespace(PathBuf),
}

/// Starts the sandbox and waits for its end. Returns the exit status; does not return when the command was killed by a signal.
pub fn run(launch: Launch) -> Result<u8, Failure> {
    let mut timing = Timing::new(launch.timing);
    let mut relayed = None;
    let (network, sockets) = match &launch.network {
        Network::None => (NetworkConfig::default(), Vec::new()),
        Network::Relayed => {
            let (relay, wire) = Relayed::start()?;
            (relayed.insert(relay).config.clone(), vec![wire])
        }
        Network::Host => (network::seen_here()?, Vec::new()),
        Network::Namespace(path) => {
            let namespace =
                File::open(path).while_doing(&format!("network namespace '{}'", path.display()))?;
            network::take_over(namespace.as_fd())?
        }
    };
    let log = launch.debug_log.as_ref().map(open_log).transpose()?;
    let terminal = Terminal::of_caller();
    let mut trees = vec![Tree {
        host: launch.rootfs,
        read_only: true,
        below: true,
    }];
    let mut mounts = container::usual_mounts();
    for (index, volume) in launch.volumes.into_iter().enumerate() {
        let read_only = if volume.read_only { flags::RDONLY } else { 0 };
        trees.push(Tree {
            host: volume.host,
            read_only: volume.read_only,
            below: true,
        });
        mounts.push(Mount {
            at: volume.guest,
            source: Source::Tree {
                index,
                read_only: volume.read_only,
            },
            name: b"volume".to_vec(),
            flags: flags::NOSUID | flags::NODEV | read_only,
            options: Vec::new(),
            copy_up: false,
        });
    }
    let io = Io {
        stdio: [stdio(0)?, stdio(1)?, stdio(2)?],
        more: Vec::new(),
        terminal: terminal.as_ref().map(Terminal::description),
        log,
        log_bounded: false,
        network: sockets,
        figures: Vec::new(),
    };
    let process = Process {
        argv: launch.command.into_iter().map(OsString::into_vec).collect(),
        env: launch.env.into_iter().map(variable).collect(),
        cwd: launch.cwd.map(OsString::into_vec),
        user: container::User {
            uid: launch.user.uid,
            gid: launch.user.gid,
            groups: launch.user.groups,
            umask: 0o022,
        },
        rlimits: rlimits()?,
        privileges: container::Privileges::default(),
    };
    let mut setup = container::Setup::default();
    if let Some(relay) = &relayed {
        let text = relay.resolv_conf.clone().into_bytes();
        setup.files.push((RESOLV_CONF.to_vec(), text));
    }
    let config = Config {
        user: launch.account.map(String::into_bytes),
        hostname: launch.hostname.into_bytes(),
        domainname: b"(none)".to_vec(),
        strace: launch.strace,
        cpus: host::machine::processors(),
        cpuinfo: first_processor(),
        total_memory: host::machine::total_memory().while_doing("memory size")?,
        id_maps: None,
        container: Container {
            id: String::new(),
            process,
            root: Root::Layered,
            mounts,
            setup,
            limits: container::Limits::default(),
        },
        wait_for_start: false,
        host_network: launch.network == Network::Host,
        network,
    };
    timing.done("options read");
    let jail = jail::start(trees, None, config, io, &mut timing)?;
    let outcome = supervise(jail, terminal, timing);
    drop(relayed);
    outcome?.pass_on()
}

fn supervise(
    jail: Jail,
    terminal: Option<Terminal>,
    mut timing: Timing,
) -> Result<supervise::Outcome, Failure> {
    let outcome = supervise::confine(Waits::Command).and_then(|()| supervise::wait(&jail, terminal.as_ref()));
    timing.done("sandbox ended");
    // The terminal is given back before anything is written to it.
    drop(terminal);
    timing.print("command");
    outcome
}

fn variable((name, value): (OsString, OsString)) -> Vec<u8> {
    let mut bytes = name.into_vec();
    bytes.push(b'=');
    bytes.extend(value.into_vec());
    bytes
}

/// The caller's limits: what a child that it started itself would have.
pub fn rlimits() -> Result<[(u64, u64); 16], Failure> {
    let mut limits = [(u64::MAX, u64::MAX); 16];
    for (number, limit) in (0u32..).zip(&mut limits) {
        *limit = host::rlimit::get_raw(number).while_doing("resource limits")?;
    }
    Ok(limits)
}

/// Bytes of /proc/cpuinfo that hold its first processor. The whole file takes the host a millisecond for each processor.
const CPUINFO_HEAD: usize = 4096;

pub fn first_processor() -> String {
    let mut head = vec![0; CPUINFO_HEAD];
    let got = File::open("/proc/cpuinfo")
        .and_then(|mut file| file.read(&mut head))
        .unwrap_or(0);
    head.truncate(got);
    String::from_utf8_lossy(&head).into_owned()
}

pub fn stdio(number: i32) -> Result<OwnedFd, Failure> {
    host::fd::duplicate_stdio(number).while_doing("standard descriptors")
}

fn open_log(path: &PathBuf) -> Result<OwnedFd, Failure> {
    let file: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .while_doing(&format!("debug log '{}'", path.display()))?;
    Ok(file.into())
}
