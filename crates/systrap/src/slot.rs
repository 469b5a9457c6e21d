//! Thread areas with the host threads that use them, and what it takes to start one.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use abi::Errno;

use crate::area::Area;
use crate::channel::Op;
use crate::engine::Engine;
use crate::frame;
use crate::layout::{AREA_LEN, OP_THREAD, area, state};

/// A thread area with the host thread that uses it.
#[derive(Debug)]
pub struct Slot {
    /// The memory.
    pub area: Area,
    /// The host thread, 0 before it was started.
    pub tid: AtomicI32,
    /// A kick was sent since the thread was last told to run: one is enough, and more would pile up frames on its
    /// signal stack while the host keeps it from running.
    pub kicked: AtomicBool,
}

/// A guest thread without a context: it waits in the stub.
#[derive(Debug)]
pub struct Parked {
    /// Its area.
    pub slot: Arc<Slot>,
    /// Offset of its frame in the area.
    pub uc: usize,
    /// Whether the thread has yet to report that it is ready.
    pub starting: bool,
    /// Whether it was made ahead, on any core.
    pub far: bool,
}

/// Which thread areas a process has. They stay with it until it has been reaped.
#[derive(Debug, Default)]
pub struct Slots {
    /// All areas.
    pub all: Vec<Arc<Slot>>,
    /// Threads that wait for the next context.
    pub parked: Vec<Parked>,
    /// Threads that were told to exit.
    pub exiting: Vec<Arc<Slot>>,
    /// Mapped areas without a thread.
    pub idle: Vec<Arc<Slot>>,
}

impl Slot {
    /// An area that no process maps yet.
    pub fn take(engine: &Engine) -> Result<Arc<Slot>, Errno> {
        Ok(Arc::new(Slot {
            area: engine.areas.take()?,
            tid: AtomicI32::new(0),
            kicked: AtomicBool::new(false),
        }))
    }

    /// Fills the area for a thread that is about to start. Returns where its frame is, and the orders that map the
    /// area, unless it is `mapped` already, and start the thread; the last one's result is its id.
    pub fn birth(&self, engine: &Engine, mapped: bool) -> (usize, Vec<Op>) {
        let uc = self.prepare(engine);
        let (address, len) = (self.area.address(), AREA_LEN as u64);
        let mut ops = Vec::with_capacity(3);
        if !mapped {
            let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
            let flags = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
            let fd = engine.areas.file.as_raw_fd() as u64;
            let args = [address, len, prot, flags, fd, self.area.file_offset()];
            ops.push(Op::call(libc::SYS_mmap, args));
            let args = [address, len, libc::MADV_DONTFORK as u64, 0, 0, 0];
            ops.push(Op::call(libc::SYS_madvise, args));
        }
        ops.push(Op {
            nr: OP_THREAD,
            args: [address, address + uc as u64 - 8, 0, 0, 0, 0],
        });
        (uc, ops)
    }

    fn prepare(&self, engine: &Engine) -> usize {
        let memory = &self.area;
        let uc = frame::initial_offset(engine.layout);
        memory.word(area::STATE).store(state::RUN, Ordering::SeqCst);
        memory.set(area::UC, memory.address() + uc as u64);
        memory.set(area::STACK_T, memory.address() + area::STACK as u64);
        memory.set(area::STACK_T + 8, 0);
        memory.set(area::STACK_T + 16, (area::STACK_END - area::STACK) as u64);
        frame::create(memory, uc, engine.layout);
        uc
    }
}
