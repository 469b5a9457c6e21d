//! What every socket has: family, kind, queue, pending error, SOL_SOCKET options.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, rank};

use super::filter::Filter;
use super::options::Options;
use super::{AF_INET, AF_INET6, NetNs};
use crate::file::FileDescription;
use crate::file::sigio::signal_urgent;

/// The kind of a socket (its type argument).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SOCK_STREAM.
    Stream = 1,
    /// SOCK_DGRAM.
    Datagram = 2,
    /// SOCK_RAW.
    Raw = 3,
    /// SOCK_SEQPACKET.
    SeqPacket = 5,
}

impl Kind {
    /// From socket(2)'s type without its flags. `EINVAL` for no kind at all, `ESOCKTNOSUPPORT` for ones that are not here.
    pub fn from_type(number: u32) -> Result<Kind, Errno> {
        Ok(match number {
            1 => Kind::Stream,
            2 => Kind::Datagram,
            3 => Kind::Raw,
            5 => Kind::SeqPacket,
            4 | 6 | 10 => return Err(Errno::ESOCKTNOSUPPORT),
            _ => return Err(Errno::EINVAL),
        })
    }
}

/// What every socket has.
pub struct Base {
    /// The network namespace that it was made in.
    pub net: Arc<NetNs>,
    /// AF_*.
    pub family: u16,
    /// SOCK_*.
    pub kind: Kind,
    /// SO_PROTOCOL.
    pub protocol: i32,
    /// Inode number.
    pub ino: u64,
    /// Effective user id of whoever made it.
    pub uid: u32,
    /// Who waits for it.
    pub queue: WaitQueue,
    /// SOL_SOCKET options.
    pub options: Mutex<Options>,
    /// SO_ATTACH_FILTER.
    pub(super) filter: Mutex<Option<Filter>>,
    error: AtomicI32,
    /// SO_RCVLOWAT.
    pub low_water: AtomicUsize,
    /// The open file, for signals about it.
    pub(super) file: Mutex<Weak<FileDescription>>,
}

impl Base {
    /// For a new socket with buffers of these sizes.
    pub fn new(
        net: &Arc<NetNs>,
        family: u16,
        kind: Kind,
        protocol: i32,
        ino: u64,
        buffers: (usize, usize),
    ) -> Base {
        Base {
            net: net.clone(),
            family,
            kind,
            protocol,
            ino,
            uid: crate::task::current().map_or(0, |task| task.cred().euid),
            queue: WaitQueue::new(),
            options: Mutex::new(rank::LEAF, Options::new(buffers)),
            filter: Mutex::new(rank::LEAF, None),
            error: AtomicI32::new(0),
            low_water: AtomicUsize::new(1),
            file: Mutex::new(rank::LEAF, Weak::new()),
        }
    }

    /// Whether it is a socket of the host's (see [`super::host`]).
    pub fn is_of_host(&self) -> bool {
        matches!(self.family, AF_INET | AF_INET6) && self.net.network.shared().is_some()
    }

    /// An urgent byte came: its owner gets SIGURG.
    pub fn signal_urgent(&self) {
        let file = self.file.lock().upgrade();
        if let (Some(file), Some(kernel)) = (file, self.net.network.kernel.upgrade()) {
            signal_urgent(&kernel, &file);
        }
    }

    /// Sets the pending error (SO_ERROR) and wakes everyone.
    pub fn fail(&self, error: Errno) {
        self.error.store(error.raw(), Ordering::SeqCst);
        self.queue.wake(Events::all());
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> Result<(), Errno> {
        match self.error.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            error => Err(Errno::from_raw(error)),
        }
    }

    /// Whether an error is pending.
    pub fn has_error(&self) -> bool {
        self.error.load(Ordering::SeqCst) != 0
    }
}
