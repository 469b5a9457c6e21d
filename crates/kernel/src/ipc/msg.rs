//! System V message queues.

use std::collections::VecDeque;
use std::sync::Arc;

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, rank};

use super::IpcTable;
use super::perm::{Found, IPC_NOWAIT, Perm, find_or_absent};
use super::{Budget, MESSAGE_COST, MESSAGES_MAX};
use crate::cred::Credentials;
use crate::task::CurrentTask;

/// Queues of the sandbox (MSGMNI).
pub const MSGMNI: usize = 32000;
/// Longest message (MSGMAX).
pub const MSGMAX: usize = 8192;
/// Bytes of a queue at first (MSGMNB).
pub const MSGMNB: u64 = 16384;
const MSG_NOERROR: u32 = 0o10000;
const MSG_EXCEPT: u32 = 0o20000;
const MSG_COPY: u32 = 0o40000;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Type; positive.
    pub kind: i64,
    /// Content.
    pub text: Vec<u8>,
}

/// A queue.
pub struct MessageQueue {
    /// Changeable state.
    pub state: Mutex<QueueState>,
    /// Woken at every change.
    changed: WaitQueue,
}

/// The changeable part of a queue.
pub struct QueueState {
    /// Permissions.
    pub perm: Perm,
    /// Messages, oldest first.
    pub messages: VecDeque<Message>,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Most bytes.
    pub limit: u64,
    /// Last msgsnd(2), seconds.
    pub stime: i64,
    /// Last msgrcv(2).
    pub rtime: i64,
    /// Last change.
    pub ctime: i64,
    /// Process of the last msgsnd(2).
    pub lspid: u32,
    /// Process of the last msgrcv(2).
    pub lrpid: u32,
    removed: bool,
    /// What the messages count against.
    budget: Arc<Budget>,
}

impl Message {
    /// What it takes of the sandbox's budget.
    fn cost(&self) -> u64 {
        self.text.len() as u64 + MESSAGE_COST
    }
}

impl Drop for QueueState {
    fn drop(&mut self) {
        let all = self.messages.iter().map(Message::cost).sum();
        self.budget.give_back(all);
    }
}

/// Which message msgrcv(2) takes.
#[derive(Clone, Copy)]
enum Wanted {
    First,
    Kind(i64),
    Other(i64),
    Lowest(i64),
    Index(usize),
}

impl Wanted {
    fn of(kind: i64, flags: u32) -> Wanted {
        if flags & MSG_COPY != 0 {
            return Wanted::Index(usize::try_from(kind).unwrap_or(usize::MAX));
        }
        match kind {
            0 => Wanted::First,
            i64::MIN..0 => Wanted::Lowest(kind.saturating_neg()),
            _ if flags & MSG_EXCEPT != 0 => Wanted::Other(kind),
            _ => Wanted::Kind(kind),
        }
    }

    fn find(self, messages: &VecDeque<Message>) -> Option<usize> {
        match self {
            Wanted::First => (!messages.is_empty()).then_some(0),
            Wanted::Kind(kind) => messages.iter().position(|message| message.kind == kind),
            Wanted::Other(kind) => messages.iter().position(|message| message.kind != kind),
            Wanted::Index(index) => (index < messages.len()).then_some(index),
            Wanted::Lowest(most) => {
                let low = messages.iter().filter(|message| message.kind <= most);
                let kind = low.map(|message| message.kind).min()?;
                messages.iter().position(|message| message.kind == kind)
            }
        }
    }
}

/// msgget(2).
pub fn get(task: &CurrentTask, key: i32, flags: u32) -> Result<i32, Errno> {
    let cred = task.cred();
    let ipc = task.ipc();
    let mut table = ipc.queues.lock();
    match find_or_absent(&table, key, flags)? {
        Found::Existing(id, queue) => {
            queue.state.lock().perm.check(&cred, flags & 0o777)?;
            Ok(id)
        }
        Found::Absent => {
            let state = QueueState {
                perm: Perm::new(key, &cred, flags),
                messages: VecDeque::new(),
                bytes: 0,
                limit: MSGMNB,
                stime: 0,
                rtime: 0,
                ctime: super::now(&task.kernel),
                lspid: 0,
                lrpid: 0,
                removed: false,
                budget: task.ipc().message_bytes.clone(),
            };
            let queue = Arc::new(MessageQueue {
                state: Mutex::new(rank::FILE_STATE, state),
                changed: WaitQueue::new(),
            });
            table.insert(key, queue)
        }
    }
}

/// Waits for `attempt` unless it must not: then `EAGAIN` becomes `refusal`.
fn wait<T>(
    task: &CurrentTask,
    queue: &MessageQueue,
    nowait: Option<Errno>,
    mut attempt: impl FnMut(&mut QueueState) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut locked = || {
        let mut state = queue.state.lock();
        if state.removed {
            return Err(Errno::EIDRM);
        }
        attempt(&mut state)
    };
    let outcome = match nowait {
        Some(refusal) => match locked() {
            Err(Errno::EAGAIN) => Err(refusal),
            other => other,
        },
        None => task.wait_on(&queue.changed, None, locked),
    };
    match outcome {
        Err(Errno::ERESTARTSYS) => Err(Errno::ERESTARTNOHAND),
        Ok(done) => {
            queue.changed.wake(Events::all());
            Ok(done)
        }
        other => other,
    }
}

/// msgsnd(2).
pub fn send(task: &CurrentTask, id: i32, message: Message, flags: u32) -> Result<(), Errno> {
    if message.text.len() > MSGMAX || message.kind < 1 {
        return Err(Errno::EINVAL);
    }
    let queue = task.ipc().queues.lock().get(id)?;
    queue.state.lock().perm.check(&task.cred(), 0o222)?;
    let len = message.text.len() as u64;
    let mut message = Some(message);
    let nowait = (flags & IPC_NOWAIT != 0).then_some(Errno::EAGAIN);
    wait(task, &queue, nowait, |state| {
        // Empty messages are bounded by their number.
        if state.bytes + len > state.limit || state.messages.len() as u64 + 1 > state.limit {
            return Err(Errno::EAGAIN);
        }
        if let Some(message) = message.take() {
            if !state.budget.take(message.cost(), MESSAGES_MAX) {
                return Err(Errno::ENOMEM);
            }
            state.messages.push_back(message);
        }
        state.bytes += len;
        state.lspid = task.tgid();
        state.stime = super::now(&task.kernel);
        Ok(())
    })
}

/// msgrcv(2): the message, cut to `max` bytes with MSG_NOERROR.
pub fn receive(task: &CurrentTask, id: i32, max: usize, kind: i64, flags: u32) -> Result<Message, Errno> {
    if flags & MSG_COPY != 0 && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0) {
        return Err(Errno::EINVAL);
    }
    let queue = task.ipc().queues.lock().get(id)?;
    queue.state.lock().perm.check(&task.cred(), 0o444)?;
    let wanted = Wanted::of(kind, flags);
    let nowait = (flags & IPC_NOWAIT != 0).then_some(Errno::ENOMSG);
    wait(task, &queue, nowait, |state| {
        let index = wanted.find(&state.messages).ok_or(Errno::EAGAIN)?;
        let found = state.messages.get(index).ok_or(Errno::EAGAIN)?;
        if found.text.len() > max && flags & MSG_NOERROR == 0 {
            return Err(Errno::E2BIG);
        }
        let mut message = if flags & MSG_COPY != 0 {
            found.clone()
        } else {
            let taken = state.messages.remove(index).ok_or(Errno::EAGAIN)?;
            state.bytes = state.bytes.saturating_sub(taken.text.len() as u64);
            state.budget.give_back(taken.cost());
            state.lrpid = task.tgid();
            state.rtime = super::now(&task.kernel);
            taken
        };
        message.text.truncate(max);
        Ok(message)
    })
}

impl IpcTable {
    /// Removes a queue; those that wait on it end with `EIDRM`.
    pub fn remove_queue(&self, id: i32, cred: &Credentials) -> Result<(), Errno> {
        let queue = {
            let mut table = self.queues.lock();
            let queue = table.get(id)?;
            let mut state = queue.state.lock();
            state.perm.check_owner(cred)?;
            state.removed = true;
            table.remove(id, state.perm.key);
            drop(state);
            queue
        };
        queue.changed.wake(Events::all());
        Ok(())
    }
}

impl MessageQueue {
    /// Wakes those that wait, after its limits were changed.
    pub fn wake(&self) {
        self.changed.wake(Events::all());
    }
}
