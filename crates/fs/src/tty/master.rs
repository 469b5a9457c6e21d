//! The master end: what a terminal emulator, sshd, script(1) or the host's terminal holds.

use std::sync::Arc;

use abi::Errno;
use kernel::file::{FileDescription, FileOps};
use kernel::io::{Sink, Source};
use kernel::task::CurrentTask;
use sync::{Events, PollTable};

use super::Tty;
use super::pair::{OUTPUT_MAX, PENDING_MAX};

/// Most bytes that one read takes.
const STEP: usize = 16 << 10;

/// An open master. Closing it hangs the terminal up.
pub struct Master(pub Arc<Tty>);

impl Master {
    /// What a read of `room` bytes gets; in packet mode the first byte says what it is. `None`: nothing yet.
    fn take(&self, room: usize) -> Result<Option<Vec<u8>>, Errno> {
        let mut state = self.0.lock();
        if state.packet && state.packet_status != 0 {
            return Ok(Some(vec![std::mem::take(&mut state.packet_status)]));
        }
        let mut bytes = Vec::new();
        let waiting = state.ldisc.output.queue.len();
        if waiting == 0 {
            return if state.slaves_gone() {
                Err(Errno::EIO)
            } else {
                Ok(None)
            };
        }
        if state.packet {
            bytes.push(0);
        }
        let count = waiting.min(room.saturating_sub(bytes.len()));
        bytes.extend(state.ldisc.output.queue.drain(..count));
        Ok(Some(bytes))
    }
}

impl FileOps for Master {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let room = dst.remaining().min(STEP);
        if room == 0 {
            return Ok(0);
        }
        let bytes = self.take(room)?.ok_or(Errno::EAGAIN)?;
        self.0.slave_events.wake(Events::WRITABLE);
        dst.write(&bytes)
    }

    fn write(&self, _: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        {
            let mut state = self.0.lock();
            if state.typing || !state.pending.is_empty() {
                return Err(Errno::EAGAIN);
            }
            state.typing = true;
        }
        let mut bytes = vec![0; src.remaining().min(PENDING_MAX)];
        let got = src.read(&mut bytes);
        if let Ok(got) = got {
            self.0.type_in(&bytes[..got]);
        }
        self.0.lock().typing = false;
        self.0.master_events.wake(Events::WRITABLE);
        got
    }

    fn writes_all(&self) -> bool {
        true
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.0.master_events);
        }
        let state = self.0.lock();
        let mut events = Events::empty();
        if !state.ldisc.output.queue.is_empty() {
            events |= Events::READABLE;
        }
        if state.packet && state.packet_status != 0 {
            events |= Events::READABLE | Events::PRI;
        }
        if state.slaves_gone() {
            events |= Events::READABLE | Events::HUP;
        }
        if state.pending.is_empty() && !state.typing {
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
        super::ioctl::master(&self.0, file, task, command, arg)
    }

    fn release(&self, _: &FileDescription) {
        self.0.close_master();
    }
}

const _: () = assert!(OUTPUT_MAX >= STEP);
