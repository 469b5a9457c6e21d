//! Between the caller's terminal, in raw mode, and the master side of the guest's own.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use abi::Errno;
use host::fd::write_all;
use host::file;
use kernel::file::FileDescription;
use kernel::io::{SliceSource, VecSink};
use sync::{Events, PollTable, Waiter};

/// Bytes moved at once.
const STEP: usize = 4096;
/// How often [`Pump::drain`] looks again.
const LOOK: Duration = Duration::from_millis(1);

/// The two threads that move a terminal's bytes. They end with the process, or when a side is gone.
pub struct Pump {
    master: Arc<FileDescription>,
    /// Output was taken from the guest and not yet written to the host.
    busy: Arc<AtomicBool>,
}

/// Starts to move bytes between the host's terminal and `master`.
pub fn pump(host: OwnedFd, master: Arc<FileDescription>) -> Result<Pump, Errno> {
    let host = Arc::new(host);
    let busy = Arc::new(AtomicBool::new(false));
    let (from, to) = (host.clone(), master.clone());
    start("terminal-input", move || input(&from, &to))?;
    let (from, working) = (master.clone(), busy.clone());
    start("terminal-output", move || output(&from, &host, &working))?;
    Ok(Pump { master, busy })
}

fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(body).map(drop).map_err(|_| Errno::EAGAIN)
}

impl Pump {
    /// Waits until the host has everything that guests have written so far, but no longer than `limit`.
    pub fn drain(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let events = self.master.ops().poll(&self.master, None);
            // In this order: the output thread says it is busy before it takes bytes.
            if !events.intersects(Events::READABLE) && !self.busy.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Runs `attempt` until it does not answer `EAGAIN`.
fn wait_for<T>(
    file: &FileDescription,
    events: Events,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let waiter = Arc::new(Waiter::default());
    loop {
        match attempt() {
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
        waiter.reset();
        let mut table = PollTable::new(waiter.clone(), 0, events);
        file.ops().poll(file, Some(&mut table));
        let _registrations = table.into_registrations();
        match attempt() {
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
        waiter.wait(None);
    }
}

/// Keys to the guest.
fn input(host: &OwnedFd, master: &FileDescription) {
    let mut buffer = [0; STEP];
    loop {
        let got = match file::read(host.as_fd(), &mut buffer) {
            Ok(0) | Err(Errno::EIO) => return,
            Ok(got) => got,
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        let mut source = SliceSource(&buffer[..got]);
        while !source.0.is_empty() {
            let put = wait_for(master, Events::WRITABLE, || {
                master.ops().write(master, 0, &mut source)
            });
            if put.is_err() {
                return;
            }
        }
    }
}

/// The guest's output to the screen. Ends when no guest has the terminal open any more.
fn output(master: &FileDescription, host: &OwnedFd, busy: &AtomicBool) {
    loop {
        let mut sink = VecSink::new(STEP);
        let got = wait_for(master, Events::READABLE, || {
            busy.store(true, Ordering::SeqCst);
            let got = master.ops().read(master, 0, &mut sink);
            if got == Err(Errno::EAGAIN) {
                busy.store(false, Ordering::SeqCst);
            }
            got
        });
        let ended = match got {
            Ok(0) | Err(_) => true,
            Ok(_) => write_all(host.as_fd(), &sink.bytes).is_err(),
        };
        busy.store(false, Ordering::SeqCst);
        if ended {
            return;
        }
    }
}
