//! Signals about files (fcntl(2), "Managing signals"): O_ASYNC, F_NOTIFY. Leases are in `lease`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::signal::{SI_SIGIO, SIGIO, SIGURG};
use sync::{Events, Mutex, PollTable, Registrations, Waiter, Wake, rank};

use super::{FileDescription, FileOwner};
use crate::Kernel;
use crate::signal::{SigInfo, send_checked, send_to_group, send_to_pgrp, send_to_task};
use crate::task::{CurrentTask, Task};
use crate::vfs::Inode;

/// Why a signal is sent: si_code (POLL_*) with its si_band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// POLL_IN.
    In,
    /// POLL_OUT.
    Out,
    /// POLL_MSG: a directory or a lease.
    Message,
    /// POLL_ERR.
    Error,
    /// POLL_HUP.
    HangUp,
}

impl Reason {
    fn code(self) -> i32 {
        match self {
            Reason::In => 1,
            Reason::Out => 2,
            Reason::Message => 3,
            Reason::Error => 4,
            Reason::HangUp => 6,
        }
    }

    /// si_band (Linux's band_table).
    fn band(self) -> i64 {
        let events = match self {
            Reason::In => Events::READABLE,
            Reason::Out => Events::WRITABLE.union(Events::WRBAND),
            Reason::Message => Events::READABLE.union(Events::MSG),
            Reason::Error => Events::ERR,
            Reason::HangUp => Events::HUP.union(Events::ERR),
        };
        i64::from(events.bits())
    }
}

/// A process (positive) or process group (negative) that the caller names, by the kernel's ids.
pub(crate) fn kernel_owner(task: &CurrentTask, pid: i32) -> Result<i32, Errno> {
    let id = task.kernel_pid(pid.unsigned_abs())?;
    i32::try_from(id)
        .map(|id| id * pid.signum())
        .map_err(|_| Errno::ESRCH)
}

/// The same the other way round.
pub(crate) fn shown_owner(task: &CurrentTask, pid: i32) -> i32 {
    i32::try_from(task.own_pid(pid.unsigned_abs())).unwrap_or(0) * pid.signum()
}

/// `ESRCH` when there is no such process, group or thread; 0 takes the owner away.
pub(crate) fn owner_exists(task: &CurrentTask, pid: i32, thread: bool) -> Result<(), Errno> {
    let id = pid.unsigned_abs();
    let pids = task.kernel.pids.read();
    let there = match pid {
        0 => true,
        1.. if thread => pids.task(id).is_some(),
        1.. => pids.group(id).is_some(),
        _ => !pids.pgrp_members(id).is_empty(),
    };
    if there { Ok(()) } else { Err(Errno::ESRCH) }
}

/// F_SETOWN: who gets SIGIO and SIGURG.
pub(crate) fn set_owner(task: &CurrentTask, file: &FileDescription, pid: i32) -> Result<(), Errno> {
    if pid == i32::MIN {
        return Err(Errno::EINVAL);
    }
    owner_exists(task, pid, false)?;
    let cred = task.cred();
    let pid = kernel_owner(task, pid)?;
    let mut owner = file.owner.lock();
    *owner = FileOwner {
        pid,
        thread: false,
        uid: cred.uid,
        euid: cred.euid,
        ..*owner
    };
    Ok(())
}

/// F_GETOWN.
pub(crate) fn owner_of(task: &CurrentTask, file: &FileDescription) -> i32 {
    let pid = file.owner.lock().pid;
    shown_owner(task, pid)
}

/// An urgent byte came: SIGURG for the file's owner, whether O_ASYNC is set or not.
pub fn signal_urgent(kernel: &Arc<Kernel>, file: &FileDescription) {
    let owner = *file.owner.lock();
    if owner.pid != 0 {
        let info = SigInfo::kernel(SIGURG);
        deliver(kernel, &owner, info, info);
    }
}

/// Signals the file's owner (F_SETOWN); nobody when there is none.
pub fn signal_owner(kernel: &Arc<Kernel>, file: &FileDescription, fd: i32, reason: Reason) {
    let owner = *file.owner.lock();
    let plain = SigInfo::kernel(SIGIO);
    let info = match owner.signal {
        0 => plain,
        signal => SigInfo {
            signal,
            code: if has_own_codes(signal) {
                SI_SIGIO
            } else {
                reason.code()
            },
            band: reason.band(),
            fd,
            ..SigInfo::default()
        },
    };
    deliver(kernel, &owner, info, plain);
}

/// Signals whose small positive codes mean something of their own (Linux's SIG_SPECIFIC_SICODES_MASK).
fn has_own_codes(signal: u32) -> bool {
    use abi::signal::{SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    [SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP, SIGCHLD, SIGSYS].contains(&signal)
}

fn deliver(kernel: &Arc<Kernel>, owner: &FileOwner, info: SigInfo, plain: SigInfo) {
    let Ok(id) = u32::try_from(owner.pid) else {
        let pgrp = owner.pid.unsigned_abs();
        let leader = kernel.pids.read().group(pgrp).map(|entry| entry.leader.clone());
        if leader.is_none_or(|leader| allowed(owner, &leader)) {
            send_to_pgrp(kernel, pgrp, info);
        }
        return;
    };
    let (task, group) = {
        let table = kernel.pids.read();
        let task = table.task_or_zombie(id);
        (task, table.group(id).map(|entry| entry.group.clone()))
    };
    let Some(task) = task.filter(|task| allowed(owner, task)) else {
        return;
    };
    if owner.thread {
        // When the queue is full the plain signal tells that something was lost.
        if send_checked(&task.group, Some(&task), info).is_err() {
            send_to_task(&task, plain);
        }
    } else if let Some(group) = group
        && send_checked(&group, None, info).is_err()
    {
        send_to_group(&group, plain);
    }
}

/// Whether who called F_SETOWN may signal the task (Linux's sigio_perm).
fn allowed(owner: &FileOwner, task: &Task) -> bool {
    let theirs = task.cred();
    owner.euid == 0
        || [theirs.suid, theirs.uid].contains(&owner.euid)
        || [theirs.suid, theirs.uid].contains(&owner.uid)
}

/// A file with O_ASYNC: told of every event of it.
pub struct Async {
    me: Weak<Async>,
    kernel: Weak<Kernel>,
    file: Weak<FileDescription>,
    fd: i32,
    /// What happened since the last signal.
    happened: AtomicU32,
}

impl Wake for Async {
    fn wake(&self, _: u64, events: Events) {
        // The waker may hold locks: a thread of its own sends the signal.
        if self.happened.fetch_or(events.bits(), Ordering::SeqCst) == 0
            && let Some(kernel) = self.kernel.upgrade()
        {
            kernel.vfs.async_files.push(self.me.clone());
        }
    }
}

impl Async {
    fn send(&self) {
        let events = Events::from_bits_truncate(self.happened.swap(0, Ordering::SeqCst));
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else {
            return;
        };
        for (of, reason) in [
            (Events::HUP, Reason::HangUp),
            (Events::ERR, Reason::Error),
            (Events::READABLE, Reason::In),
            (Events::WRITABLE, Reason::Out),
        ] {
            if events.intersects(of) {
                signal_owner(&kernel, &file, self.fd, reason);
                // As in Linux each event tells its first reason.
                return;
            }
        }
    }
}

/// Turns O_ASYNC on or off; `fd` is what si_fd will say.
pub fn set_async(kernel: &Arc<Kernel>, file: &Arc<FileDescription>, fd: i32, on: bool) {
    let fresh = on.then(|| {
        let target = Arc::new_cyclic(|me| Async {
            me: me.clone(),
            kernel: Arc::downgrade(kernel),
            file: Arc::downgrade(file),
            fd,
            happened: AtomicU32::new(0),
        });
        let mut table = PollTable::new(target, 0, Events::all());
        file.ops().poll(file, Some(&mut table));
        table.into_registrations()
    });
    let old: Option<Registrations> = std::mem::replace(&mut *file.asynchronous.lock(), fresh);
    drop(old);
}

/// Files that have something to tell, and the thread that does it.
#[derive(Default)]
pub struct AsyncFiles(Arc<Queue>);

struct Queue {
    waiting: Mutex<Vec<Weak<Async>>>,
    waiter: Waiter,
    closed: AtomicBool,
    thread: OnceLock<bool>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            waiting: Mutex::new(rank::EPOLL_READY, Vec::new()),
            waiter: Waiter::default(),
            closed: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }
}

impl AsyncFiles {
    fn push(&self, file: Weak<Async>) {
        self.0.waiting.lock().push(file);
        self.0.thread.get_or_init(|| {
            let queue = self.0.clone();
            let builder = std::thread::Builder::new().name("file signals".into());
            builder.spawn(move || queue.serve()).is_ok()
        });
        self.0.waiter.notify();
    }
}

impl Drop for AsyncFiles {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.waiter.notify();
    }
}

impl Queue {
    fn serve(&self) {
        while !self.closed.load(Ordering::SeqCst) {
            let due = std::mem::take(&mut *self.waiting.lock());
            if due.is_empty() {
                self.waiter.wait(None);
            }
            for file in due.iter().filter_map(Weak::upgrade) {
                file.send();
            }
        }
    }
}

/// F_NOTIFY's events.
mod dn {
    pub const ACCESS: u32 = 1;
    pub const MODIFY: u32 = 2;
    pub const CREATE: u32 = 4;
    pub const DELETE: u32 = 8;
    pub const RENAME: u32 = 0x10;
    pub const ATTRIB: u32 = 0x20;
    pub const MULTISHOT: u32 = 0x8000_0000;
    pub const ALL: u32 = 0x3f;
}

/// A directory that F_NOTIFY watches.
struct DirWatch {
    file: Weak<FileDescription>,
    fd: i32,
    mask: u32,
}

/// The watches of a directory; attached to its inode.
struct DirWatches(Mutex<Vec<DirWatch>>);

/// fcntl(2)'s F_NOTIFY: 0 ends it. `ENOTDIR`.
pub fn notify_directory(
    task: &CurrentTask,
    file: &Arc<FileDescription>,
    fd: i32,
    mask: u32,
) -> Result<(), Errno> {
    let inode = file.path().inode()?;
    if inode.kind != crate::vfs::FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    let watched = &task.kernel.vfs.watches;
    let watches = inode.attach(|| DirWatches(Mutex::new(rank::LEAF, Vec::new())));
    let mut list = watches.0.lock();
    let before = list.len();
    list.retain(|watch| watch.file.strong_count() > 0);
    let mine = |watch: &DirWatch| std::ptr::eq(watch.file.as_ptr(), Arc::as_ptr(file));
    let old = list.iter().position(mine).map(|at| list.remove(at));
    let events = mask & (dn::ALL | dn::MULTISHOT);
    if events & dn::ALL != 0 || (mask & dn::MULTISHOT != 0) {
        // Several calls add up.
        let mask = events | old.map_or(0, |watch| watch.mask);
        list.push(DirWatch {
            file: Arc::downgrade(file),
            fd,
            mask,
        });
    }
    // Each counts as a watch, so that operations raise events.
    let after = list.len();
    if after >= before {
        watched.fetch_add(after - before, Ordering::Relaxed);
    } else {
        watched.fetch_sub(before - after, Ordering::Relaxed);
    }
    drop(list);
    if events != 0 {
        claim(task, file);
    }
    Ok(())
}

/// The caller owns the file unless somebody does.
pub fn claim(task: &CurrentTask, file: &FileDescription) {
    let cred = task.cred();
    let mut owner = file.owner.lock();
    if owner.pid == 0 {
        owner.pid = i32::try_from(task.tgid()).unwrap_or(0);
        (owner.uid, owner.euid) = (cred.uid, cred.euid);
    }
}

/// Tells F_NOTIFY's watchers of a directory of an event in it (IN_*).
pub(crate) fn on_directory(dir: &Inode, event: u32) {
    use crate::vfs::notify as n;
    let event = match event {
        n::IN_ACCESS => dn::ACCESS,
        n::IN_MODIFY => dn::MODIFY,
        n::IN_CREATE | n::IN_MOVED_TO => dn::CREATE,
        n::IN_DELETE => dn::DELETE,
        n::IN_MOVED_FROM => dn::DELETE,
        n::IN_ATTRIB => dn::ATTRIB,
        _ => return,
    };
    tell_watchers(dir, event);
}

/// Tells F_NOTIFY's watchers of a directory that a name in it became another one in it.
pub(crate) fn on_rename_within(dir: &Inode) {
    tell_watchers(dir, dn::RENAME);
}

fn tell_watchers(dir: &Inode, event: u32) {
    let Some(watches) = dir.attached::<DirWatches>() else {
        return;
    };
    // Files are dropped without the lock: that may be the last thing they do.
    let (mut due, mut held) = (Vec::new(), Vec::new());
    watches.0.lock().retain_mut(|watch| {
        let Some(file) = watch.file.upgrade() else {
            return true;
        };
        if watch.mask & event != 0 {
            due.push((file.clone(), watch.fd));
            if watch.mask & dn::MULTISHOT == 0 {
                // Kept in the list, so that the count of watches stays right; it asks for nothing more.
                watch.mask = 0;
            }
        }
        held.push(file);
        true
    });
    let Some(kernel) = crate::task::current().map(|task| task.kernel.clone()) else {
        return;
    };
    for (file, fd) in due {
        signal_owner(&kernel, &file, fd, Reason::Message);
    }
    drop(held);
}
