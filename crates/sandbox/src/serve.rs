//! A running sandbox: what the command sends, the end of the first process, and panics.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use host::ns::exit_now;
use kernel::Kernel;

use crate::Timing;
use crate::boot::Running;
use crate::control::{FromSentry, MAX_PACKET, ToSentry};

/// Exit status of a sentry that failed; what failed is said in a packet or on standard error.
const FAILED: i32 = 125;

/// A panic on any thread ends the sandbox: half-changed state must not serve a guest. The message goes to standard error.
pub fn catch_panics() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let task = kernel::task::current();
        let whose = task.map_or(String::new(), |task| {
            let call = kernel::task::current_call().unwrap_or("no call");
            format!(" while serving thread {} ({call})", task.tid)
        });
        eprintln!("tegmen: the sentry panicked{whose}; this is a bug");
        show(info);
        exit_now(FAILED);
    }));
}

/// Serves until the first process has ended, reports how, and returns the sentry's exit status.
pub fn until_the_end(running: Running, control: OwnedFd, mut timing: Timing) -> i32 {
    let control = Arc::new(control);
    let running = Arc::new(running);
    let (listening, packets) = (running.clone(), control.clone());
    let listener = std::thread::Builder::new().name("control".into());
    if listener.spawn(move || listen(&listening, &packets)).is_err() {
        return report(
            &control,
            &FromSentry::Failed(125, "no thread for the control socket".into()),
        );
    }
    timing.done("command started");
    let status = running.kernel.wait_init();
    timing.done("command ended");
    if let Some(terminal) = &running.terminal {
        terminal.drain();
    }
    timing.print("sentry");
    report(&control, &outcome(status))
}

/// Takes packets of the command until it is gone; then nothing of the sandbox is to live on.
fn listen(running: &Running, control: &OwnedFd) {
    let mut buf = [0; MAX_PACKET];
    loop {
        match host::fd::receive(control.as_fd(), &mut buf) {
            Ok(0) | Err(_) => exit_now(FAILED),
            Ok(len) => match ToSentry::decode(&buf[..len]) {
                Some(ToSentry::Signal(signal)) => forward(&running.kernel, signal),
                Some(ToSentry::WindowSize(size)) => {
                    if let Some(terminal) = &running.terminal {
                        terminal.resize(size);
                    }
                }
                None => {}
            },
        }
    }
}

fn forward(kernel: &Kernel, signal: i32) {
    if let Ok(signal) = u32::try_from(signal) {
        kernel.signal_init(signal);
    }
}

/// A wait status in the terms of the command.
fn outcome(status: i32) -> FromSentry {
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
