//! POSIX message queues (mq_overview(7)): files with names of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use abi::{Errno, abi_struct};
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::{Budget, MQ_MAX};
use crate::cred::{Caps, Credentials};
use crate::file::{FileDescription, FileOps};
use crate::io::Sink;
use crate::signal::{SigInfo, Signal, send_to_group};
use crate::task::ThreadGroup;
use crate::vfs::Path;

/// Queues of the sandbox (queues_max).
pub const QUEUES_MAX: usize = 256;
/// Messages of a queue without CAP_SYS_RESOURCE (msg_max).
pub const MSG_MAX: i64 = 10;
/// Bytes of a message without CAP_SYS_RESOURCE (msgsize_max).
pub const MSGSIZE_MAX: i64 = 8192;
/// The same with CAP_SYS_RESOURCE (HARD_MSGMAX, HARD_MSGSIZEMAX).
const HARD_MSG_MAX: i64 = 65536;
const HARD_MSGSIZE_MAX: i64 = 16 << 20;
/// Bytes of one queue at most (RLIMIT_MSGQUEUE's default).
const QUEUE_BYTES: i64 = 819_200;
/// Priorities are below this (MQ_PRIO_MAX).
pub const PRIO_MAX: u32 = 32768;

abi_struct! {
    /// `struct mq_attr`.
    pub struct MqAttr { pub flags: i64, pub maxmsg: i64, pub msgsize: i64, pub curmsgs: i64, pub reserved: [u64; 4] }
}

/// Who wants to be told of the next message on an empty queue (mq_notify(3)).
pub struct Notify {
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// The signal; 0: nothing is sent (SIGEV_NONE).
    pub signal: Signal,
    /// si_value.
    pub value: u64,
    /// SIGEV_THREAD: the netlink socket on which the library's helper waits, and the message for it.
    pub thread: Option<(Arc<FileDescription>, [u8; COOKIE])>,
}

/// Bytes of the message (NOTIFY_COOKIE_LEN); the last says what happened.
pub const COOKIE: usize = 32;
/// NOTIFY_WOKENUP: a message has come.
const WOKEN_UP: u8 = 1;
/// NOTIFY_REMOVED: the registration is gone.
const REMOVED: u8 = 2;

impl Notify {
    /// Tells the helper; a full socket loses it, as on Linux.
    fn tell_thread(&self, what: u8) {
        if let Some((file, cookie)) = &self.thread
            && let Ok(socket) = crate::socket::socket_of(file)
        {
            let mut message = cookie.to_vec();
            if let Some(last) = message.last_mut() {
                *last = what;
            }
            let _ = socket.tell(message);
        }
    }
}

struct QueueState {
    /// By priority; each oldest first. No list is empty.
    messages: BTreeMap<u32, VecDeque<Vec<u8>>>,
    count: i64,
    bytes: u64,
    notify: Option<Notify>,
}

/// A queue.
pub struct Mq {
    /// Most messages.
    pub maxmsg: i64,
    /// Bytes of a message.
    pub msgsize: i64,
    /// Where its descriptors say they are.
    pub path: Path,
    /// Owner and permission bits.
    pub owner: (u32, u32, u32),
    state: Mutex<QueueState>,
    queue: WaitQueue,
    /// What it may hold counts against this.
    budget: Arc<Budget>,
}

impl Drop for Mq {
    fn drop(&mut self) {
        self.budget.give_back(capacity(self.maxmsg, self.msgsize));
    }
}

/// Bytes that a queue may come to take.
fn capacity(maxmsg: i64, msgsize: i64) -> u64 {
    const MESSAGE_COST: i64 = 64;
    let bytes = maxmsg.saturating_mul(msgsize.saturating_add(MESSAGE_COST));
    u64::try_from(bytes).unwrap_or(0)
}

impl Mq {
    /// Checks attributes for a new queue.
    pub fn check_attr(attr: &MqAttr, cred: &Credentials) -> Result<(), Errno> {
        let (most, longest) = if cred.has(Caps::SYS_RESOURCE) {
            (HARD_MSG_MAX, HARD_MSGSIZE_MAX)
        } else {
            (MSG_MAX, MSGSIZE_MAX)
        };
        if attr.maxmsg <= 0 || attr.msgsize <= 0 || attr.maxmsg > most || attr.msgsize > longest {
            return Err(Errno::EINVAL);
        }
        if attr.maxmsg.saturating_mul(attr.msgsize) > QUEUE_BYTES {
            return Err(Errno::EMFILE);
        }
        Ok(())
    }

    /// An empty queue: `EMFILE` when all queues together could hold too much.
    pub fn new(
        budget: &Arc<Budget>,
        maxmsg: i64,
        msgsize: i64,
        path: Path,
        owner: (u32, u32, u32),
    ) -> Result<Arc<Mq>, Errno> {
        if !budget.take(capacity(maxmsg, msgsize), MQ_MAX) {
            return Err(Errno::EMFILE);
        }
        let state = QueueState {
            messages: BTreeMap::new(),
            count: 0,
            bytes: 0,
            notify: None,
        };
        Ok(Arc::new(Mq {
            maxmsg,
            msgsize,
            path,
            owner,
            state: Mutex::new(rank::FILE_STATE, state),
            queue: WaitQueue::new(),
            budget: budget.clone(),
        }))
    }

    /// Whether the user may open it for these accesses (4 read, 2 write).
    pub fn check(&self, cred: &Credentials, wanted: u32) -> Result<(), Errno> {
        let (uid, gid, mode) = self.owner;
        let granted = if cred.fsuid == uid {
            mode >> 6
        } else if cred.in_group(gid) {
            mode >> 3
        } else {
            mode
        };
        if wanted & !granted & 7 != 0 && !cred.has(Caps::DAC_OVERRIDE) {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// The queue's wait queue.
    pub fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// Number of messages.
    pub fn count(&self) -> i64 {
        self.state.lock().count
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    /// Adds a message: `EAGAIN` when the queue is full.
    pub fn send(&self, text: &[u8], prio: u32, sender: (u32, u32)) -> Result<(), Errno> {
        let notify = {
            let mut state = self.state.lock();
            if state.count >= self.maxmsg {
                return Err(Errno::EAGAIN);
            }
            let was_empty = state.count == 0;
            state.messages.entry(prio).or_default().push_back(text.to_vec());
            state.count += 1;
            state.bytes += text.len() as u64;
            // A thread that waits for a message takes it before anybody is told.
            if was_empty && self.queue.is_empty() {
                state.notify.take()
            } else {
                None
            }
        };
        self.queue.wake(Events::READABLE);
        if let Some(notify) = &notify {
            notify.tell_thread(WOKEN_UP);
        }
        if let Some(notify) = notify.filter(|notify| notify.signal != 0) {
            const SI_MESGQ: i32 = -3;
            let info = SigInfo {
                signal: notify.signal,
                code: SI_MESGQ,
                pid: sender.0,
                uid: sender.1,
                value: notify.value,
                ..SigInfo::default()
            };
            send_to_group(&notify.group, info);
        }
        Ok(())
    }

    /// Takes the oldest message of the highest priority: `EAGAIN` when there is none.
    pub fn receive(&self) -> Result<(Vec<u8>, u32), Errno> {
        let taken = {
            let mut state = self.state.lock();
            let mut entry = state.messages.last_entry().ok_or(Errno::EAGAIN)?;
            let prio = *entry.key();
            let text = entry.get_mut().pop_front().unwrap_or_default();
            if entry.get().is_empty() {
                entry.remove();
            }
            state.count -= 1;
            state.bytes = state.bytes.saturating_sub(text.len() as u64);
            (text, prio)
        };
        self.queue.wake(Events::WRITABLE);
        Ok(taken)
    }

    /// mq_notify(3): registers, or (`None`) takes the process's registration back. `EBUSY` when another is registered.
    pub fn notify(&self, pid: u32, notify: Option<Notify>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let own = state.notify.as_ref().is_some_and(|known| known.group.pid == pid);
        match notify {
            None if own => {
                let gone = state.notify.take();
                drop(state);
                if let Some(gone) = gone {
                    gone.tell_thread(REMOVED);
                }
            }
            None => {}
            Some(_) if state.notify.is_some() => return Err(Errno::EBUSY),
            Some(notify) => state.notify = Some(notify),
        }
        Ok(())
    }
}

/// An open message queue.
pub struct MqFile(pub Arc<Mq>);

impl FileOps for MqFile {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let text = {
            let state = self.0.state.lock();
            let (signal, pid) = state
                .notify
                .as_ref()
                .map_or((0, 0), |notify| (notify.signal, notify.group.pid));
            let kind = u32::from(state.notify.as_ref().is_some_and(|notify| notify.signal == 0));
            let bytes = state.bytes;
            format!("QSIZE:{bytes:<10} NOTIFY:{kind:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n")
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        let rest = text.as_bytes().get(from..).unwrap_or_default();
        let take = rest.len().min(dst.remaining());
        dst.write(rest.get(..take).unwrap_or_default())
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.0.queue);
        }
        let count = self.0.count();
        let mut events = Events::empty();
        events.set(Events::READABLE, count > 0);
        events.set(Events::WRITABLE, count < self.0.maxmsg);
        events
    }

    fn flush(&self, _: &FileDescription, tgid: u32) -> Result<(), Errno> {
        // Closing any descriptor of the queue takes the process's registration back.
        self.0.notify(tgid, None)
    }
}
