//! signalfd(2): pending signals of the reading task as a file.

use abi::{AbiStruct, Errno, abi_struct};
use sync::{Events, Mutex, PollTable, rank};

use super::{FileDescription, FileOps};
use crate::io::Sink;
use crate::signal::{SigInfo, SigSet, dequeue, pending};

abi_struct! {
    /// `struct signalfd_siginfo`.
    struct SignalFdInfo {
        signo: u32, errno: i32, code: i32, pid: u32, uid: u32, fd: i32, tid: u32, band: u32,
        overrun: u32, trapno: u32, status: i32, int: i32, ptr: u64, utime: u64, stime: u64, addr: u64,
        addr_lsb: u16, pad2: u16, syscall: i32, call_addr: u64, arch: u32, pad: [u8; 28],
    }
}

/// Bytes of one record.
const RECORD: usize = 128;

/// A signalfd. Which task's signals it shows depends on who reads it, as in Linux.
pub struct SignalFd {
    mask: Mutex<SigSet>,
}

impl SignalFd {
    /// For the signals of `mask`.
    pub fn new(mask: SigSet) -> SignalFd {
        SignalFd {
            mask: Mutex::new(rank::LEAF, mask),
        }
    }

    /// Shows other signals from now on.
    pub fn set_mask(&self, mask: SigSet) {
        *self.mask.lock() = mask;
        if let Some(task) = crate::task::current() {
            task.group.signal_events.wake(Events::READABLE);
        }
    }
}

fn record(info: &SigInfo) -> Vec<u8> {
    let time = |ticks: i64| u64::try_from(ticks).unwrap_or(0);
    let record = SignalFdInfo {
        signo: info.signal,
        errno: info.errno,
        code: info.code,
        pid: info.pid,
        uid: info.uid,
        fd: info.fd,
        band: info.band as u32,
        trapno: info.trap.0 as u32,
        status: info.status,
        int: info.value as i32,
        ptr: info.value,
        utime: time(info.utime),
        stime: time(info.stime),
        addr: info.addr.0,
        syscall: info.syscall.0,
        arch: info.syscall.1,
        ..SignalFdInfo::default()
    };
    record.to_bytes()
}

impl FileOps for SignalFd {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() < RECORD {
            return Err(Errno::EINVAL);
        }
        let task = crate::task::current().ok_or(Errno::EAGAIN)?;
        let mask = *self.mask.lock();
        let mut done = 0;
        while dst.remaining() >= RECORD {
            let Some(info) = dequeue(&task, mask) else { break };
            match dst.write(&record(&info)) {
                Ok(RECORD) => done += RECORD,
                _ if done == 0 => return Err(Errno::EFAULT),
                _ => break,
            }
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        let Some(task) = crate::task::current() else {
            return Events::empty();
        };
        if let Some(table) = table {
            table.register(&task.group.signal_events);
        }
        let mask = *self.mask.lock();
        if pending(&task).0 & mask.0 != 0 {
            Events::READABLE
        } else {
            Events::empty()
        }
    }

    fn fdinfo(&self, _: &FileDescription) -> String {
        format!("sigmask:\t{:016x}\n", self.mask.lock().0)
    }
}
