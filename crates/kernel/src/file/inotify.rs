//! inotify(7) instances: a queue of events and the watches that fill it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::{FileDescription, FileOps};
use crate::Kernel;
use crate::io::Sink;
use crate::task::CurrentTask;
use crate::vfs::notify::{
    IN_ALL_EVENTS, IN_EXCL_UNLINK, IN_IGNORED, IN_MASK_ADD, IN_MASK_CREATE, IN_ONESHOT, IN_Q_OVERFLOW, Watch,
    Watches,
};
use crate::vfs::{Inode, Vfs};

/// fs.inotify.max_queued_events.
const QUEUE_LIMIT: usize = 16384;
/// fs.inotify.max_user_watches, per instance here.
const WATCH_LIMIT: usize = 65536;
/// Bytes of struct inotify_event before the name.
const HEADER: usize = 16;
/// FIONREAD.
const FIONREAD: u32 = 0x541b;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

impl Event {
    /// Bytes of the name field: with its NUL, padded to the header's size.
    fn name_len(&self) -> usize {
        if self.name.is_empty() {
            0
        } else {
            (self.name.len() + 1).next_multiple_of(HEADER)
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.name_len());
        bytes.extend_from_slice(&self.wd.to_le_bytes());
        bytes.extend_from_slice(&self.mask.to_le_bytes());
        bytes.extend_from_slice(&self.cookie.to_le_bytes());
        bytes.extend_from_slice(&(self.name_len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.name);
        bytes.resize(HEADER + self.name_len(), 0);
        bytes
    }
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    watches: BTreeMap<i32, Arc<Inode>>,
    last_wd: i32,
}

/// An inotify instance.
pub struct Inotify {
    me: Weak<Inotify>,
    state: Mutex<State>,
    queue: WaitQueue,
}

/// The open file of an instance.
pub struct InotifyFile {
    instance: Arc<Inotify>,
    kernel: Weak<Kernel>,
}

impl Inotify {
    fn new() -> Arc<Inotify> {
        Arc::new_cyclic(|me| Inotify {
            me: me.clone(),
            state: Mutex::new(rank::FILE_STATE, State::default()),
            queue: WaitQueue::new(),
        })
    }

    /// Queues an event. Called by the VFS.
    pub fn push(&self, wd: i32, mask: u32, cookie: u32, name: &[u8]) {
        let mut event = Event {
            wd,
            mask,
            cookie,
            name: name.into(),
        };
        {
            let mut state = self.state.lock();
            if state.events.back() == Some(&event) {
                return;
            }
            if state.events.len() >= QUEUE_LIMIT {
                event = Event {
                    wd: -1,
                    mask: IN_Q_OVERFLOW,
                    cookie: 0,
                    name: Box::default(),
                };
                if state.events.back() == Some(&event) {
                    return;
                }
            }
            state.events.push_back(event);
        }
        self.queue.wake(Events::READABLE);
    }

    /// inotify_add_watch(2) on an inode.
    pub fn add(&self, vfs: &Vfs, inode: &Arc<Inode>, mask: u32) -> Result<i32, Errno> {
        let kept = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
        let watches = inode.attach(Watches::default);
        let mut state = self.state.lock();
        let mut list = watches.0.lock();
        let own = |watch: &&mut Watch| std::ptr::eq(watch.instance.as_ptr(), self);
        if let Some(watch) = list.iter_mut().find(own) {
            if mask & IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            watch.mask = if mask & IN_MASK_ADD != 0 {
                watch.mask | kept
            } else {
                kept
            };
            return Ok(watch.wd);
        }
        if state.watches.len() >= WATCH_LIMIT {
            return Err(Errno::ENOSPC);
        }
        state.last_wd = state.last_wd.checked_add(1).ok_or(Errno::ENOSPC)?;
        let wd = state.last_wd;
        state.watches.insert(wd, inode.clone());
        list.push(Watch {
            instance: self.me.clone(),
            wd,
            mask: kept,
        });
        vfs.watches.fetch_add(1, Ordering::Relaxed);
        Ok(wd)
    }

    /// Ends a watch; queues IN_IGNORED. False: there is none of that number.
    pub fn remove(&self, vfs: &Vfs, wd: i32) -> bool {
        let Some(inode) = self.state.lock().watches.remove(&wd) else {
            return false;
        };
        self.unhook(vfs, &inode);
        self.push(wd, IN_IGNORED, 0, &[]);
        true
    }

    fn unhook(&self, vfs: &Vfs, inode: &Arc<Inode>) {
        if let Some(watches) = inode.attached::<Watches>() {
            let me: *const Inotify = self;
            watches
                .0
                .lock()
                .retain(|watch| !std::ptr::eq(watch.instance.as_ptr(), me));
        }
        vfs.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InotifyFile {
    /// A new instance's open file operations.
    pub fn new(kernel: &Arc<Kernel>) -> InotifyFile {
        InotifyFile {
            instance: Inotify::new(),
            kernel: Arc::downgrade(kernel),
        }
    }

    /// The instance.
    pub fn instance(&self) -> &Arc<Inotify> {
        &self.instance
    }
}

impl FileOps for InotifyFile {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let mut done = 0;
        loop {
            let event = {
                let mut state = self.instance.state.lock();
                match state.events.front() {
                    None if done == 0 => return Err(Errno::EAGAIN),
                    None => return Ok(done),
                    Some(next) if HEADER + next.name_len() > dst.remaining() => {
                        return if done == 0 { Err(Errno::EINVAL) } else { Ok(done) };
                    }
                    Some(_) => state.events.pop_front(),
                }
            };
            let Some(event) = event else { return Ok(done) };
            match dst.write(&event.bytes()) {
                Ok(count) => done += count,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.instance.queue);
        }
        if self.instance.state.lock().events.is_empty() {
            Events::empty()
        } else {
            Events::READABLE
        }
    }

    fn ioctl(&self, _: &FileDescription, task: &CurrentTask, command: u32, arg: u64) -> Result<i64, Errno> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let state = self.instance.state.lock();
        let bytes: usize = state.events.iter().map(|event| HEADER + event.name_len()).sum();
        drop(state);
        task.copy_out(abi::UserAddr(arg), &(bytes as i32).to_le_bytes())?;
        Ok(0)
    }

    fn release(&self, _: &FileDescription) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        let watches = std::mem::take(&mut self.instance.state.lock().watches);
        for inode in watches.values() {
            self.instance.unhook(&kernel.vfs, inode);
        }
    }

    fn fdinfo(&self, _: &FileDescription) -> String {
        let state = self.instance.state.lock();
        let lines = state.watches.keys().map(|wd| format!("inotify wd:{wd:x}\n"));
        lines.collect()
    }
}
