//! From closed walls to a running command, and on to its end.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use fs::stdio::{self, Poller};
use kernel::cred::Credentials;
use kernel::exec::{Attributes, ProcessSpec, start_init};
use kernel::file::{FdTable, FileDescription};
use kernel::task::Task;
use kernel::vfs::{LookupFlags, Path, Walker};
use kernel::{CpuModel, Kernel, KernelConfig};
use systrap::Systrap;

use crate::Timing;
use crate::config::{Config, Handles, Io, Terminal};
use crate::control::FromSentry;
use crate::log::LineLog;
use crate::program::NotRun;
use crate::terminal::Relay;
use crate::{mounts, program};

/// A sandbox whose command runs.
pub struct Running {
    /// Its kernel.
    pub kernel: Arc<Kernel>,
    /// Its terminal, if it has one.
    pub terminal: Option<Relay>,
}

/// Makes the sandbox and starts the command. The caller has one thread.
pub fn start(config: Config, handles: Handles, io: Io, timing: &mut Timing) -> Result<Running, FromSentry> {
    let own = |what: &'static str| move |errno: Errno| failed(125, &format!("{what}: {}", words(errno)));
    // Before threads are made: they inherit it.
    host::clock::exact_sleeps().map_err(own("timer slack"))?;
    // While there is one thread, and before the filter, which guest processes do not need on top of their own.
    let platform = Systrap::new().map_err(own("execution engine"))?;
    timing.done("execution engine");
    host::prctl::not_dumpable().map_err(own("closing the process to others"))?;
    let needs = host::surface::Needs {
        writable_volume: config.volumes.iter().any(|(_, read_only)| !read_only),
    };
    // The C library sets up signals with the first thread, by calls that the filter does not let through.
    let first = std::thread::Builder::new()
        .spawn(|| {})
        .map_err(Errno::from)
        .map_err(own("threads"))?;
    let _ = first.join();
    host::surface::close_sentry(needs).map_err(own("filter of host calls"))?;
    timing.done("filter");
    seed_random().map_err(own("random numbers"))?;
    let kernel = new_kernel(&config, platform, io.log, &io.stdio).map_err(own("kernel"))?;
    let root = mounts::build(&kernel, handles, &config).map_err(|error| {
        failed(
            125,
            &format!("mounting {}: {}", shown(&error.at), words(error.errno)),
        )
    })?;
    timing.done("kernel and mounts");
    let poller = Poller::start().map_err(own("standard descriptors"))?;
    let terminal = match &io.terminal {
        Some(wanted) => {
            start_relay(&kernel, &root, wanted, &io.stdio, config.uid).map_err(own("terminal"))?
        }
        None => None,
    };
    let mut files = stdio::open(&kernel, &poller, io.stdio).map_err(own("standard descriptors"))?;
    if let (Some(relay), Some(wanted)) = (&terminal, &io.terminal) {
        for (file, replaced) in files.iter_mut().zip(wanted.standard) {
            if replaced {
                *file = relay.slave().clone();
            }
        }
    }
    start_command(&kernel, root, config, &files, terminal.as_ref())?;
    Ok(Running { kernel, terminal })
}

/// A terminal of the guest's own, relayed to the first standard descriptor that is the caller's.
fn start_relay(
    kernel: &Arc<Kernel>,
    root: &Path,
    wanted: &Terminal,
    stdio: &[OwnedFd; 3],
    uid: u32,
) -> Result<Option<Relay>, Errno> {
    let Some(at) = wanted.standard.iter().position(|terminal| *terminal) else {
        return Ok(None);
    };
    let Some(host) = stdio.get(at) else {
        return Ok(None);
    };
    let host = host.as_fd().try_clone_to_owned()?;
    Relay::start(kernel, root, host, wanted.size, uid).map(Some)
}

fn seed_random() -> Result<(), Errno> {
    let mut seed = [0; 32];
    host::machine::random(&mut seed)?;
    kernel::random::seed(&seed);
    Ok(())
}

fn new_kernel(
    config: &Config,
    platform: Systrap,
    log: Option<OwnedFd>,
    stdio: &[OwnedFd; 3],
) -> Result<Arc<Kernel>, Errno> {
    let log = match log {
        Some(log) => log,
        None => stdio[2].as_fd().try_clone_to_owned()?,
    };
    let settings = KernelConfig {
        hostname: String::from_utf8_lossy(&config.hostname).into_owned(),
        cpus: config.cpus,
        cpu: CpuModel::parse(&config.cpuinfo),
        total_memory: config.total_memory,
        strace: config.strace,
        ..KernelConfig::default()
    };
    let memory = Arc::new(fs::memory::SandboxMemory::new()?);
    let kernel = Kernel::new(Arc::new(platform), memory, Box::new(LineLog::new(log)), settings);
    // The moment first: what is read a little later is then never behind what the guest reads by itself.
    let now = std::time::Instant::now();
    let (monotonic, boottime) = (host::clock::monotonic()?, host::clock::boottime()?);
    kernel.time.calibrate(now, monotonic, boottime);
    Ok(kernel)
}

/// Finds the program and starts it as the first process.
fn start_command(
    kernel: &Arc<Kernel>,
    root: Path,
    config: Config,
    files: &[Arc<FileDescription>],
    terminal: Option<&Relay>,
) -> Result<(), FromSentry> {
    let cred = Credentials::for_user(config.uid, config.gid, config.groups);
    let cwd = config.cwd.unwrap_or_else(|| b"/".to_vec());
    let mut walker = Walker::as_root(kernel, root.clone());
    walker.cred = Arc::new(cred.clone());
    walker.cwd = walker
        .resolve(None, &cwd, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)
        .map_err(|errno| failed(125, &format!("directory '{}': {}", shown(&cwd), words(errno))))?;
    let name = config.argv.first().cloned().unwrap_or_default();
    let not_run = |why: NotRun| failed(why.status, &format!("{}: {}", shown(&name), words(why.errno)));
    let exe = program::find(&walker, &name, &config.env).map_err(not_run)?;
    let table = FdTable::default();
    for file in files {
        table
            .install(file.clone(), false, 0, u64::MAX)
            .map_err(|errno| failed(125, &format!("standard descriptors: {}", words(errno))))?;
    }
    let spec = ProcessSpec {
        argv: config.argv,
        envp: config.env,
        exe,
        cwd,
        cred,
        root,
        files: Arc::new(table),
        rlimits: config.rlimits,
        protected: false,
        comm: None,
        umask: 0o022,
        attributes: Attributes::default(),
    };
    let before_start = |task: &Arc<Task>| terminal.map_or(Ok(()), |terminal| terminal.give_to(task));
    start_init(kernel, spec, before_start)
        .map(drop)
        .map_err(|errno| not_run(NotRun::from_errno(errno)))
}

/// A report of a failure.
pub fn failed(status: u8, message: &str) -> FromSentry {
    FromSentry::Failed(status, message.to_string())
}

/// Guest bytes in a message.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of an errno, as strerror(3) has it.
fn words(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw()).to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}
