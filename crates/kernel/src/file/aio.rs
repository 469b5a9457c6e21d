//! io_setup(2): contexts of asynchronous I/O.
//!
//! Requests are served when they are submitted, as Linux does for buffered files; what waits here are events that
//! nobody took yet, and IOCB_CMD_POLL requests whose file is not ready.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use abi::{Errno, UserAddr, abi_struct};
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::FileDescription;
use super::eventfd::EventFd;

/// Requests that all contexts of an address space may have together (/proc/sys/fs/aio-max-nr).
pub const AIO_MAX_NR: u32 = 65536;

abi_struct! {
    /// `struct io_event`: a request that is done.
    pub struct IoEvent {
        /// The request's own word.
        pub data: u64,
        /// Address of its iocb.
        pub obj: u64,
        /// Bytes, or a negative errno.
        pub res: i64,
        /// Always 0.
        pub res2: i64,
    }
}

/// An IOCB_CMD_POLL request.
#[derive(Clone)]
pub struct PollRequest {
    /// What it waits for.
    pub events: Events,
    /// On what.
    pub file: Arc<FileDescription>,
    /// Its event but for the result.
    pub event: IoEvent,
    /// Told when it is done (IOCB_FLAG_RESFD).
    pub notify: Option<Arc<FileDescription>>,
}

#[derive(Default)]
struct State {
    done: VecDeque<IoEvent>,
    /// Each with a number of its own: nothing keeps a guest from using one iocb for several.
    polls: Vec<(u64, PollRequest)>,
    /// Requests that were added to `polls`; who waits for them registers anew when it grows.
    changes: u64,
    destroyed: bool,
}

/// A context.
pub struct AioContext {
    /// Requests that io_setup(2) asked for.
    asked: u32,
    /// Requests and events that it has room for.
    limit: u32,
    state: Mutex<State>,
    queue: WaitQueue,
}

impl AioContext {
    fn new(asked: u32, limit: u32) -> AioContext {
        AioContext {
            asked,
            limit,
            state: Mutex::new(rank::LEAF, State::default()),
            queue: WaitQueue::new(),
        }
    }

    /// `EAGAIN` when there is no room for another request.
    pub fn check_room(&self) -> Result<(), Errno> {
        let state = self.state.lock();
        if state.done.len() + state.polls.len() >= self.limit as usize {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// A request is done.
    pub fn complete(&self, event: IoEvent, notify: Option<&FileDescription>) {
        self.state.lock().done.push_back(event);
        self.queue.wake(Events::READABLE);
        if let Some(counter) = notify.and_then(|file| file.ops_as::<EventFd>()) {
            counter.signal(1);
        }
    }

    /// Waits for a file.
    pub fn add_poll(&self, request: PollRequest) {
        {
            let mut state = self.state.lock();
            state.changes += 1;
            let number = state.changes;
            state.polls.push((number, request));
        }
        self.queue.wake(Events::READABLE);
        self.check_polls();
    }

    /// Ends the waiting request of the iocb at `obj`; its event follows. `EINVAL` when there is none.
    pub fn cancel(&self, obj: u64) -> Result<(), Errno> {
        let request = {
            let mut state = self.state.lock();
            let at = state.polls.iter().position(|(_, poll)| poll.event.obj == obj);
            state.polls.remove(at.ok_or(Errno::EINVAL)?).1
        };
        self.complete(request.event, request.notify.as_deref());
        Ok(())
    }

    /// Completes the requests whose file is ready.
    fn check_polls(&self) {
        let polls = self.state.lock().polls.clone();
        for (number, poll) in polls {
            let found = poll.file.ops().poll(&poll.file, None) & poll.events;
            if found.is_empty() {
                continue;
            }
            {
                let mut state = self.state.lock();
                let Some(at) = state.polls.iter().position(|(other, _)| *other == number) else {
                    continue;
                };
                state.polls.remove(at);
            }
            let res = i64::from(found.bits());
            self.complete(IoEvent { res, ..poll.event }, poll.notify.as_deref());
        }
    }

    /// Takes up to `max` events. `EINVAL` once the context is gone.
    pub fn take(&self, max: usize) -> Result<Vec<IoEvent>, Errno> {
        self.check_polls();
        let mut state = self.state.lock();
        if state.destroyed {
            return Err(Errno::EINVAL);
        }
        let count = max.min(state.done.len());
        Ok(state.done.drain(..count).collect())
    }

    /// Puts back what could not be delivered.
    pub fn put_back(&self, events: &[IoEvent]) {
        let mut state = self.state.lock();
        for event in events.iter().rev() {
            state.done.push_front(*event);
        }
    }

    /// Changes when other files are waited for: register anew.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Registers for new events.
    pub fn register(&self, table: &mut PollTable) {
        table.register(&self.queue);
        let polls = self.state.lock().polls.clone();
        for (_, poll) in polls {
            poll.file.ops().poll(&poll.file, Some(table));
        }
    }

    fn destroy(&self) {
        let polls = {
            let mut state = self.state.lock();
            state.destroyed = true;
            std::mem::take(&mut state.polls)
        };
        drop(polls);
        self.queue.wake(Events::READABLE);
    }
}

/// The contexts of an address space, by the address that names them.
pub struct AioContexts(Mutex<BTreeMap<u64, Arc<AioContext>>>);

impl Default for AioContexts {
    fn default() -> Self {
        AioContexts(Mutex::new(rank::LEAF, BTreeMap::new()))
    }
}

impl AioContexts {
    /// Whether there is room for a context of `limit` requests: `EAGAIN`.
    pub fn check_room(&self, limit: u32) -> Result<(), Errno> {
        let contexts = self.0.lock();
        let used: u32 = contexts.values().map(|context| context.asked).sum();
        match used.checked_add(limit) {
            Some(total) if total <= AIO_MAX_NR => Ok(()),
            _ => Err(Errno::EAGAIN),
        }
    }

    /// Adds one called `id`: for `asked` requests, with room for `limit`.
    pub fn insert(&self, id: UserAddr, asked: u32, limit: u32) {
        let context = Arc::new(AioContext::new(asked, limit));
        self.0.lock().insert(id.0, context);
    }

    /// The context called `id`; `EINVAL`.
    pub fn get(&self, id: UserAddr) -> Result<Arc<AioContext>, Errno> {
        self.0.lock().get(&id.0).cloned().ok_or(Errno::EINVAL)
    }

    /// Ends the context called `id`; `EINVAL`.
    pub fn remove(&self, id: UserAddr) -> Result<(), Errno> {
        let gone = self.0.lock().remove(&id.0).ok_or(Errno::EINVAL)?;
        gone.destroy();
        Ok(())
    }
}
