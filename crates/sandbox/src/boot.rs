//! From closed walls to a running first process.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use fs::stdio::Poller;
use kernel::vfs::Walker;
use kernel::{CpuModel, Kernel, KernelConfig};
use systrap::Systrap;

use crate::Timing;
use crate::config::{Config, Handles, Io};
use crate::container::{Root, Source};
use crate::control::FromSentry;
use crate::gate::{Gate, Go};
use crate::log::LineLog;
use crate::process::{self, Files, Role};
use crate::serve::{self, Sandbox};
use crate::{accounts, host_network, mounts, network};

/// The engine's: for looking for a fault, parts of it can be switched off, as in `TEGMEN_ENGINE_OFF=windows,patches`.
fn tuning() -> systrap::Tuning {
    std::env::var("TEGMEN_ENGINE_OFF").map_or_else(
        |_| systrap::Tuning::default(),
        |list| systrap::Tuning::without(&list),
    )
}

/// Makes the sandbox and starts its first process, when it is told to if it has to wait. The caller has one thread.
pub fn start(
    config: Config,
    handles: Handles,
    mut io: Io,
    control: Arc<OwnedFd>,
    timing: &mut Timing,
) -> Result<Arc<Sandbox>, FromSentry> {
    // Before threads are made: they inherit it.
    host::clock::exact_sleeps().map_err(own("timer slack"))?;
    // While there is one thread, and before the filter, which guest processes do not need on top of their own.
    let platform = Systrap::tuned(tuning()).map_err(own("execution engine"))?;
    // The first guest process, from which all others come, has the higher score. An error costs the order of victims only.
    if let Some((file, value)) = &handles.oom_score {
        let _ = host::fd::write_all(file.as_fd(), value.to_string().as_bytes());
    }
    timing.done("execution engine");
    close(needs(&config, &handles))?;
    timing.done("filter");
    seed_random().map_err(own("random numbers"))?;
    let log = log_of(&mut io).map_err(own("log"))?;
    let kernel = new_kernel(&config, platform, log).map_err(own("kernel"))?;
    let poller = Poller::start().map_err(own("standard descriptors"))?;
    if config.host_network {
        let shared = Box::new(host_network::Shared::new(&poller));
        kernel.net.network.share(shared).map_err(own("network"))?;
    }
    network::start(&kernel, &config.network, std::mem::take(&mut io.network)).map_err(own("network"))?;
    fs::cgroupfs::figures::take(std::mem::take(&mut io.figures));
    let mut container = config.container;
    container.limits.clone().hold_for(&kernel);
    let root = mounts::build(&kernel, handles.root, handles.volumes, &container).map_err(not_set_up)?;
    let walker = Walker::as_root(&kernel, root.clone());
    if let Some(spec) = &config.user {
        let umask = container.process.user.umask;
        container.process.user =
            accounts::find(&walker, spec, umask).map_err(|part| failed(125, &accounts::unknown(&part)))?;
    }
    timing.done("kernel and mounts");
    let fds: Vec<OwnedFd> = io.stdio.into_iter().chain(io.more).collect();
    let uid = container.process.user.uid;
    let files = Files::open(&kernel, &poller, &root, fds, io.terminal.as_ref(), uid)
        .map_err(own("standard descriptors"))?;
    if let Some(terminal) = files.terminal.as_ref().filter(|_| container.setup.console) {
        mounts::console(&kernel, &root, terminal.slave().path()).map_err(not_set_up)?;
    }
    let sandbox = Arc::new(Sandbox {
        kernel,
        poller,
        control,
        id: container.id,
        root,
        files,
        gate: Gate::default(),
        replies: Default::default(),
        forwarded: Default::default(),
    });
    match handles.listener.filter(|_| config.wait_for_start) {
        Some(listener) => start_when_told(&sandbox, listener, container.process)?,
        None => {
            let Sandbox {
                kernel, root, files, ..
            } = &*sandbox;
            process::start(
                kernel,
                root.clone(),
                container.process,
                files,
                Role::Command,
                || Ok(()),
            )?;
            serve::listen_to_command(&sandbox)?;
        }
    }
    Ok(sandbox)
}

/// Serves requests, and starts the first process when one of them says so.
fn start_when_told(
    sandbox: &Arc<Sandbox>,
    listener: OwnedFd,
    process: crate::container::Process,
) -> Result<(), FromSentry> {
    let told = sandbox.gate.close();
    let mut go = None;
    let wait = || {
        serve::listen_to_command(sandbox).map_err(|_| Errno::EAGAIN)?;
        crate::server::start(sandbox, listener)?;
        serve::report(&sandbox.control, &FromSentry::Ready);
        match go.insert(told.recv().map_err(|_| Errno::ECANCELED)?) {
            Go::Start(_) => Ok(()),
            Go::Die(_) => Err(Errno::ECANCELED),
        }
    };
    let Sandbox {
        kernel, root, files, ..
    } = &**sandbox;
    let started = process::start(kernel, root.clone(), process, files, Role::Init, wait);
    match go {
        Some(Go::Die(signal)) => Err(FromSentry::Killed(signal)),
        Some(Go::Start(answer)) => {
            answer.give(started.as_ref().map(drop).map_err(Clone::clone));
            started.map(drop)
        }
        None => started.map(drop),
    }
}

/// What such a sandbox asks of the host.
fn needs(config: &Config, handles: &Handles) -> host::surface::Needs {
    let container = &config.container;
    let writable =
        |mount: &crate::container::Mount| matches!(mount.source, Source::Tree { read_only: false, .. });
    host::surface::Needs {
        volume: container.root != Root::Layered || !handles.volumes.is_empty(),
        // A read-only root, too, may need mount points to be made in it.
        writable_volume: container.root != Root::Layered || container.mounts.iter().any(writable),
        control: handles.listener.is_some(),
        host_network: config.host_network,
    }
}

/// The wall of the filter.
fn close(needs: host::surface::Needs) -> Result<(), FromSentry> {
    host::prctl::not_dumpable().map_err(own("closing the process to others"))?;
    if needs.volume {
        fs::hostfs::watch_changes();
    }
    // The C library sets up signals with the first thread, by calls that the filter does not let through.
    let first = std::thread::Builder::new()
        .spawn(|| {})
        .map_err(Errno::from)
        .map_err(own("threads"))?;
    let _ = first.join();
    host::surface::close_sentry(needs, call_name).map_err(own("filter of host calls"))
}

/// The name of a system call, for what is said of one that was denied.
pub fn call_name(nr: i64) -> Option<&'static str> {
    let row = u64::try_from(nr).ok().and_then(kernel::syscall::lookup);
    row.map(|row| row.name)
}

fn seed_random() -> Result<(), Errno> {
    let mut seed = [0; 32];
    host::machine::random(&mut seed)?;
    kernel::random::seed(&seed);
    Ok(())
}

/// Where the kernel's lines go.
fn log_of(io: &mut Io) -> Result<LineLog, Errno> {
    let file = match io.log.take() {
        Some(file) => file,
        None => io.stdio[2].as_fd().try_clone_to_owned()?,
    };
    Ok(LineLog::new(file, io.log_bounded))
}

fn new_kernel(config: &Config, platform: Systrap, log: LineLog) -> Result<Arc<Kernel>, Errno> {
    let settings = KernelConfig {
        hostname: String::from_utf8_lossy(&config.hostname).into_owned(),
        domainname: String::from_utf8_lossy(&config.domainname).into_owned(),
        cpus: config.cpus,
        cpu: CpuModel::parse(&config.cpuinfo),
        total_memory: config.total_memory,
        id_maps: config
            .id_maps
            .as_ref()
            .map(|(users, groups)| (aligned(users), aligned(groups))),
        strace: config.strace,
    };
    let memory = Arc::new(fs::memory::SandboxMemory::new()?);
    let kernel = Kernel::new(Arc::new(platform), memory, Box::new(log), settings);
    // The moment first: what is read a little later is then never behind what the guest reads by itself.
    let now = std::time::Instant::now();
    let (monotonic, boottime) = (host::clock::monotonic()?, host::clock::boottime()?);
    kernel.time.calibrate(now, monotonic, boottime);
    Ok(kernel)
}

/// An id map with its columns as Linux shows them.
fn aligned(map: &str) -> String {
    let line = |line: &str| -> String {
        let columns: Vec<String> = line.split_whitespace().map(|id| format!("{id:>10}")).collect();
        format!("{}\n", columns.join(" "))
    };
    map.lines().map(line).collect()
}

fn not_set_up(error: mounts::SetupError) -> FromSentry {
    failed(125, &format!("{}: {}", error.doing, words(error.errno)))
}

fn own(what: &'static str) -> impl Fn(Errno) -> FromSentry {
    move |errno| failed(125, &format!("{what}: {}", words(errno)))
}

/// A report of a failure.
pub fn failed(status: u8, message: &str) -> FromSentry {
    FromSentry::Failed(status, message.to_string())
}

/// Guest bytes in a message.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of an errno, as strerror(3) has it.
pub fn words(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw()).to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}
