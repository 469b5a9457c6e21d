//! A running sandbox: what the command sends, the end of the first process, and panics.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fs::stdio::Poller;
use host::ns::exit_now;
use kernel::Kernel;
use kernel::vfs::Path;

use crate::Timing;
use crate::control::{FromSentry, MAX_PACKET, ToSentry};
use crate::gate::Gate;
use crate::process::Files;

/// Exit status of a sentry that failed; what failed is said in a packet or on standard error.
const FAILED: i32 = 125;
/// Longest wait, after the first process's end, for the outcomes of others to be told.
const TELLING: Duration = Duration::from_millis(500);

/// A sandbox with its container.
pub struct Sandbox {
    /// Its kernel.
    pub kernel: Arc<Kernel>,
    /// Waits for host descriptors.
    pub poller: Arc<Poller>,
    /// Packets from and to the command.
    pub control: Arc<OwnedFd>,
    /// The container's name in requests.
    pub id: String,
    /// The container's root.
    pub root: Path,
    /// Descriptors of the first process.
    pub files: Files,
    /// Where the first process waits.
    pub gate: Gate,
    /// Outcomes of other processes that are still to be told.
    pub replies: AtomicUsize,
    /// Forwarded connections of now.
    pub forwarded: Arc<AtomicUsize>,
}

/// A panic on any thread ends the sandbox: half-changed state must not serve a guest. The message goes to standard error.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(move |info| {
        let task = kernel::task::current();
        let whose = task.map_or(String::new(), |task| {
            let call = kernel::task::current_call().unwrap_or("no call");
            format!(" while serving thread {} ({call})", task.tid)
        });
        eprintln!("tegmen: the sentry panicked{whose}; this is a bug");
        // Without a backtrace (RUST_BACKTRACE): making one asks the host for files that the sentry cannot have.
        eprintln!("tegmen: {info}");
        exit_now(FAILED);
    }));
}

/// Serves until the first process has ended, reports how, and returns the sentry's exit status.
pub fn until_the_end(sandbox: &Sandbox, mut timing: Timing) -> i32 {
    timing.done("command started");
    let status = sandbox.kernel.wait_init();
    timing.done("command ended");
    if let Some(terminal) = &sandbox.files.terminal {
        terminal.drain();
    }
    let end = Instant::now() + TELLING;
    while sandbox.replies.load(Ordering::SeqCst) > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    timing.print("sentry");
    report(&sandbox.control, &outcome(status))
}

/// Starts the thread that takes the packets of the command.
pub fn listen_to_command(sandbox: &Arc<Sandbox>) -> Result<(), FromSentry> {
    let listening = sandbox.clone();
    let listener = std::thread::Builder::new().name("control".into());
    match listener.spawn(move || listen(&listening)) {
        Ok(_) => Ok(()),
        Err(_) => Err(FromSentry::Failed(125, "no thread for the control socket".into())),
    }
}

/// Takes packets of the command until it is gone; then nothing of the sandbox is to live on.
fn listen(sandbox: &Sandbox) {
    let mut buf = [0; MAX_PACKET];
    loop {
        match host::fd::receive(sandbox.control.as_fd(), &mut buf) {
            Ok(0) | Err(_) => exit_now(FAILED),
            Ok(len) => match ToSentry::decode(&buf[..len]) {
                Some(ToSentry::Signal(signal)) => {
                    if let Ok(signal) = u32::try_from(signal) {
                        sandbox.signal(signal);
                    }
                }
                Some(ToSentry::WindowSize(size)) => {
                    if let Some(terminal) = &sandbox.files.terminal {
                        terminal.resize(size);
                    }
                }
                None => {}
            },
        }
    }
}

impl Sandbox {
    /// A signal for the first process.
    pub fn signal(&self, signal: u32) {
        if !self.gate.signal(signal) {
            self.kernel.signal_init(signal);
        }
    }
}

/// A wait status in the terms of the command.
pub fn outcome(status: i32) -> FromSentry {
    match status & 0x7f {
        0 => FromSentry::Exited((status >> 8) as u8),
        signal => FromSentry::Killed(signal),
    }
}

/// Tells the command; returns the sentry's exit status.
pub fn report(control: &OwnedFd, report: &FromSentry) -> i32 {
    // A command that is gone needs no report.
    let _ = host::fd::send(control.as_fd(), &report.encode());
    if matches!(report, FromSentry::Failed(..)) {
        FAILED
    } else {
        0
    }
}
