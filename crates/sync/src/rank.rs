//! The one lock order. A thread may take a lock only if its rank is higher than that of every lock it holds.
//!
//! Add a rank where the new lock belongs, with a word on what it guards. Locks of equal rank are never nested
//! except through `lock_nested` (two inodes or two dentries, taken in an order that the caller guarantees).

/// A place in the lock order; outer locks have lower numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(pub u16);

macro_rules! ranks {
    ($($(#[$meta:meta])* $name:ident = $value:literal;)*) => { $($(#[$meta])* pub const $name: Rank = Rank($value);)* };
}

ranks! {
    /// Renames across directories (Linux's s_vfs_rename_mutex).
    RENAME = 10;
    /// The offset of an open file, held over a read or write.
    FILE_OFFSET = 20;
    /// Which epoll instances watch which: held while one is added to another.
    EPOLL_TREE = 24;
    /// An epoll instance's harvest: held while it asks its files (nested from watcher to watched).
    EPOLL = 25;
    /// Changes of network interfaces (Linux's rtnl_mutex).
    RTNL = 28;
    /// A whole-call lock of a pipe, socket or terminal that is held while guest memory is copied.
    FILE_OP = 30;
    /// The TCP/IP stack; held while guest memory is copied into and out of its buffers.
    NETWORK = 31;
    /// A directory's entries while it is changed.
    DIRECTORY = 40;
    /// The mount tree.
    MOUNTS = 50;
    /// An overlay's copy from a lower layer to the upper one.
    OVERLAY = 55;
    /// A file system's own tree, table or inode state.
    FS = 60;
    /// A second lock inside a file system (upper layer under an overlay).
    FS_INNER = 65;
    /// A dentry's children and name.
    DENTRY = 70;
    /// Task's pointers to shared objects (mm, files, fs).
    TASK = 80;
    /// An address space's list of areas; held over mapping commands.
    MM = 90;
    /// The process table: parents, children, groups, sessions.
    PIDS = 100;
    /// A thread group's own state (exit, rlimits, timers).
    GROUP = 110;
    /// Signal actions of a thread group.
    SIGACTIONS = 120;
    /// Pending signals and masks.
    SIGNALS = 130;
    /// A descriptor table.
    FDS = 140;
    /// A futex bucket.
    FUTEX = 150;
    /// Timers.
    TIMERS = 160;
    /// The tables of System V objects and message queues.
    IPC = 165;
    /// State inside a pipe, eventfd, socket, terminal, epoll.
    FILE_STATE = 170;
    /// A second such state (the peer of a socket pair, the other end of a pty).
    FILE_STATE_PEER = 175;
    /// Locks, watches and bindings of an inode.
    INODE = 180;
    /// The ids of a pid namespace.
    PID_NS = 190;
    /// Small leaf state that calls nothing.
    LEAF = 200;
    /// An epoll instance's ready list: taken by wake-ups, under any lock of the waker.
    EPOLL_READY = 205;
    /// A wait queue's list.
    WAIT_QUEUE = 210;
    /// A waiter's flag: innermost.
    WAITER = 220;
}
