//! The slave end: what programs take for their terminal.

use std::sync::Arc;
use std::time::Duration;

use abi::Errno;
use abi::fcntl::{O_ACCMODE, O_NOCTTY, O_WRONLY};
use kernel::cred::Caps;
use kernel::file::{FileDescription, FileOps};
use kernel::io::{Sink, Source};
use kernel::task::{CurrentTask, current};
use sync::{Events, PollTable};

use super::Tty;
use super::job::{SIGTTIN, SIGTTOU};
use super::output::OutputSide;
use super::pair::{OUTPUT_MAX, State};
use super::termios::Local;

/// Most bytes that one attempt to read or write moves.
const STEP: usize = 4096;
/// Unit of VTIME.
const TENTH: Duration = Duration::from_millis(100);

/// An open slave.
pub struct Slave {
    tty: Arc<Tty>,
    /// Hang-ups before it was opened: one more and it is dead.
    hangups: u64,
}

impl Slave {
    /// open(2) of a slave. `EIO` when it is locked or its master is closed, `EBUSY` with TIOCEXCL.
    pub fn open(tty: &Arc<Tty>, flags: u32) -> Result<Slave, Errno> {
        let hangups = {
            let mut state = tty.lock();
            if state.locked || !state.master_open {
                return Err(Errno::EIO);
            }
            let privileged = || current().is_none_or(|task| task.cred().has(Caps::SYS_ADMIN));
            if state.exclusive && !privileged() {
                return Err(Errno::EBUSY);
            }
            state.slaves += 1;
            state.was_opened = true;
            state.hangups
        };
        if flags & O_NOCTTY == 0 && flags & O_ACCMODE != O_WRONLY {
            tty.control_on_open();
        }
        tty.master_events.wake(Events::WRITABLE);
        Ok(Slave {
            tty: tty.clone(),
            hangups,
        })
    }

    /// The terminal.
    pub fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }

    fn is_dead(&self, state: &State) -> bool {
        state.hangups != self.hangups
    }

    /// Input for a reader that takes `room` bytes; `None`: not enough yet. `patient`: it waits for VMIN bytes.
    fn take(&self, state: &mut State, room: usize, patient: bool) -> Option<Vec<u8>> {
        let termios = *state.ldisc.termios();
        if termios.canonical() {
            return state.ldisc.can_read(1).then(|| state.ldisc.take(room));
        }
        let least = if patient { termios.min().min(room) } else { 1 };
        if state.ldisc.can_read(least) {
            return Some(state.ldisc.take(room));
        }
        (termios.min() == 0 && termios.time() == 0).then(Vec::new)
    }

    fn deliver(&self, bytes: &[u8], dst: &mut dyn Sink) -> Result<usize, Errno> {
        self.tty.type_pending();
        dst.write(bytes)
    }
}

impl FileOps for Slave {
    fn read(&self, file: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if self.is_dead(&self.tty.lock()) {
            return Ok(0);
        }
        self.tty.check_job(SIGTTIN)?;
        let room = dst.remaining().min(STEP);
        if room == 0 {
            return Ok(0);
        }
        let bytes = {
            let mut state = self.tty.lock();
            if self.is_dead(&state) {
                return Ok(0);
            }
            self.take(&mut state, room, !file.nonblocking())
                .ok_or(Errno::EAGAIN)?
        };
        self.deliver(&bytes, dst)
    }

    fn write(&self, _: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let stops = {
            let state = self.tty.lock();
            if self.is_dead(&state) {
                return Err(Errno::EIO);
            }
            state.ldisc.termios().local.contains(Local::TOSTOP)
        };
        if stops {
            self.tty.check_job(SIGTTOU)?;
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        let (count, growth) = {
            let mut state = self.tty.lock();
            let growth = OutputSide::growth(state.ldisc.termios());
            let used = state.ldisc.output.queue.len() + state.reserved;
            let room = OUTPUT_MAX.saturating_sub(used) / growth;
            let count = src.remaining().min(room).min(STEP);
            if count == 0 || state.ldisc.stopped() {
                return Err(Errno::EAGAIN);
            }
            state.reserved += count * growth;
            (count, growth)
        };
        let mut bytes = vec![0; count];
        let got = src.read(&mut bytes);
        {
            let mut state = self.tty.lock();
            state.reserved -= count * growth;
            if let Ok(got) = got {
                state.ldisc.write(&bytes[..got]);
            }
        }
        self.tty.master_events.wake(Events::READABLE);
        self.tty.slave_events.wake(Events::WRITABLE);
        got
    }

    fn writes_all(&self) -> bool {
        true
    }

    fn read_patience(&self, _: &FileDescription) -> Option<(Duration, usize)> {
        let state = self.tty.lock();
        let termios = state.ldisc.termios();
        if termios.canonical() || termios.time() == 0 {
            return None;
        }
        let there = state.ldisc.readable_bytes();
        let counting = termios.min() == 0 || there > 0;
        let tenths = u32::try_from(termios.time()).unwrap_or(u32::MAX);
        counting.then_some((TENTH * tenths, there))
    }

    fn read_impatient(&self, _: &FileDescription, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let room = dst.remaining().min(STEP);
        let bytes = {
            let mut state = self.tty.lock();
            if self.is_dead(&state) {
                return Ok(0);
            }
            self.take(&mut state, room, false).unwrap_or_default()
        };
        self.deliver(&bytes, dst)
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.tty.slave_events);
        }
        let state = self.tty.lock();
        if self.is_dead(&state) {
            return Events::READABLE | Events::WRITABLE | Events::ALWAYS;
        }
        let termios = state.ldisc.termios();
        let least = if termios.time() == 0 { termios.min() } else { 1 };
        let mut events = Events::empty();
        if state.ldisc.can_read(least) {
            events |= Events::READABLE;
        }
        if !state.ldisc.stopped() && state.ldisc.output.queue.len() < OUTPUT_MAX / 2 {
            events |= Events::WRITABLE;
        }
        events
    }

    fn ioctl(
        &self,
        file: &FileDescription,
        task: &CurrentTask,
        command: u32,
        arg: u64,
    ) -> Result<i64, Errno> {
        if self.is_dead(&self.tty.lock()) {
            return Err(Errno::EIO);
        }
        super::ioctl::slave(&self.tty, file, task, command, arg)
    }

    fn release(&self, _: &FileDescription) {
        {
            let mut state = self.tty.lock();
            if self.is_dead(&state) {
                return;
            }
            state.slaves = state.slaves.saturating_sub(1);
        }
        self.tty.master_events.wake(Events::all());
    }
}
