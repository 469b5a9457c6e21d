//! Orders to the memory helper of a guest process, and its acknowledgements.
//!
//! Orders lie in a page that the guest process maps read-only. The helper acknowledges by moving the file offset of
//! that page's own file, which guest threads, having no descriptors, cannot do; the hint word only says when to look.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use abi::Errno;
use host::mem::{self, Shared};
use host::{futex, process};

use crate::layout::{CHANNEL_LEN, OP_CAS, command, hint};

/// How often to look for the hint, with a yield to the helper on the same core, before sleeping.
const YIELDS: u32 = 1;
/// How often the helper looks for more, with a yield each, before it sleeps: waking it costs as much as two looks of it.
const HELPER_LOOKS: u32 = 2;
/// Longest sleep before looking whether the process has died.
const RECHECK: Duration = Duration::from_millis(20);
/// Sleep between looks once the hint was found forged.
const FORGED_RECHECK: Duration = Duration::from_millis(1);
/// Sequence numbers in acknowledgements wrap here.
const SEQ_MASK: u32 = 0x7_ffff;

/// One order: a host call number (or one of the `OP_` numbers) and its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Op {
    /// Number.
    pub nr: u64,
    /// Arguments.
    pub args: [u64; 6],
}

impl Op {
    /// A host call.
    pub fn call(nr: i64, args: [u64; 6]) -> Op {
        Op { nr: nr as u64, args }
    }
}

/// The sentry's end. One batch at a time: callers hold it exclusively.
#[derive(Debug)]
pub struct Channel {
    file: OwnedFd,
    map: Shared,
    seq: u32,
    /// Both sides may yield: nobody else computes on their core.
    turns: bool,
}

impl Channel {
    /// A channel no helper listens to yet.
    pub fn new() -> Result<Channel, Errno> {
        let file = mem::memfd(c"tegmen-orders", CHANNEL_LEN as u64)?;
        let map = Shared::map(&file, 0, CHANNEL_LEN)?;
        Ok(Channel {
            file,
            map,
            seq: 0,
            turns: true,
        })
    }

    /// The number of its descriptor, to be named in an order.
    pub fn number(&self) -> u64 {
        self.file.as_raw_fd() as u64
    }

    /// Whether both sides may yield to each other before they sleep, from the next orders on.
    pub fn allow_turns(&mut self, turns: bool) {
        self.turns = turns;
    }

    /// Its file.
    #[cfg(any(test, feature = "testing"))]
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(
            at.is_multiple_of(4) && at + 4 <= CHANNEL_LEN,
            "offset in a channel"
        );
        // SAFETY: inside the mapping, aligned; shared memory is accessed through atomics only.
        unsafe { AtomicU32::from_ptr(self.map.start().add(at).cast()) }
    }

    fn quad(&self, at: usize) -> &AtomicU64 {
        assert!(
            at.is_multiple_of(8) && at + 8 <= CHANNEL_LEN,
            "offset in a channel"
        );
        // SAFETY: as for `word`.
        unsafe { AtomicU64::from_ptr(self.map.start().add(at).cast()) }
    }

    /// Has the helper carry out up to [`command::MAX_OPS`] orders; returns the low half of the last result,
    /// or which order failed and why. `dead` tells whether the process has died: then `ESRCH`.
    pub fn execute(&mut self, ops: &[Op], dead: impl Fn() -> bool) -> Result<u32, (usize, Errno)> {
        if ops.len() > command::MAX_OPS {
            return Err((0, Errno::E2BIG));
        }
        self.post(ops);
        self.collect(dead)
    }

    /// Waits for what was posted last; see [`Channel::execute`].
    pub fn collect(&self, dead: impl Fn() -> bool) -> Result<u32, (usize, Errno)> {
        let ack = self.await_ack(dead).map_err(|e| (0, e))?;
        let value = ack as u32;
        match (ack >> 32) as i32 & 0xfff {
            0 => Ok(value),
            error => Err((value as usize, Errno::from_raw(error))),
        }
    }

    /// Stores what the next orders point to, at [`command::DATA`].
    pub fn store(&mut self, data: &[u64; command::DATA_LEN / 8]) {
        for (index, value) in data.iter().enumerate() {
            self.quad(command::DATA + 8 * index)
                .store(*value, Ordering::Relaxed);
        }
    }

    /// Posts orders without waiting, also before there is a helper. Not more than [`command::MAX_OPS`].
    pub fn post(&mut self, ops: &[Op]) {
        for (index, op) in ops.iter().enumerate() {
            let at = command::OPS + index * command::OP_LEN;
            self.quad(at).store(op.nr, Ordering::Relaxed);
            for (n, arg) in op.args.iter().enumerate() {
                self.quad(at + 8 + 8 * n).store(*arg, Ordering::Relaxed);
            }
        }
        self.word(command::COUNT)
            .store(ops.len() as u32, Ordering::Relaxed);
        self.word(command::WAITING).store(0, Ordering::Relaxed);
        // Who makes processes and threads has other things to do next than to make more.
        let last = ops.last().map_or(0, |op| op.nr);
        let looks = if self.turns && last < OP_CAS {
            HELPER_LOOKS
        } else {
            0
        };
        self.word(command::LOOKS).store(looks, Ordering::Relaxed);
        self.seq = self.seq.wrapping_add(1);
        self.word(command::SEQ).store(self.seq, Ordering::SeqCst);
        if self.word(hint::ASLEEP).load(Ordering::SeqCst) != 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        futex::wake(self.word(command::SEQ), 1);
    }

    fn acknowledged(&self) -> Option<u64> {
        let ack = mem::offset(&self.file).ok()?;
        ((ack >> 44) as u32 == self.seq & SEQ_MASK).then_some(ack)
    }

    fn await_ack(&self, dead: impl Fn() -> bool) -> Result<u64, Errno> {
        let hint = self.hint_word();
        let yields = if self.turns { YIELDS } else { 0 };
        let mut rounds = 0u32;
        loop {
            let seen = hint.load(Ordering::SeqCst);
            if seen == self.seq {
                if let Some(ack) = self.acknowledged() {
                    return Ok(ack);
                }
                // Only a guest writes the hint before the acknowledgement is there. It gains a slow sentry thread.
                let never = AtomicU32::new(0);
                let _ = futex::wait(&never, 0, Some(FORGED_RECHECK));
            } else if rounds < yields {
                process::yield_now();
            } else {
                self.word(command::WAITING).store(1, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                // A guest may have said that the helper is awake while it sleeps.
                self.wake();
                let timed_out = futex::wait(hint, seen, Some(RECHECK)) == Err(Errno::ETIMEDOUT);
                if timed_out && let Some(ack) = self.acknowledged() {
                    return Ok(ack);
                }
            }
            rounds = rounds.saturating_add(1);
            if rounds >= yields && dead() {
                return Err(Errno::ESRCH);
            }
        }
    }

    /// Wakes a waiter after the process has died.
    pub fn hint_word(&self) -> &AtomicU32 {
        self.word(hint::DONE)
    }
}
