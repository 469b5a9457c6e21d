//! Questions of a filter to user space (seccomp_unotify(2)): SECCOMP_RET_USER_NOTIF and the listener that answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::{AbiField, Errno, UserAddr, abi_struct};
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::{CurrentTask, Task};
use crate::file::{FdEntry, FileDescription, FileOps};

const NOTIF_RECV: u32 = 0xc050_2100;
const NOTIF_SEND: u32 = 0xc018_2101;
const NOTIF_ID_VALID: u32 = 0x4008_2102;
const NOTIF_ID_VALID_WRONG_DIR: u32 = 0x8008_2102;
const NOTIF_ADDFD: u32 = 0x4018_2103;
const NOTIF_SET_FLAGS: u32 = 0x4008_2104;

/// SECCOMP_USER_NOTIF_FLAG_CONTINUE.
const CONTINUE: u32 = 1;
/// SECCOMP_ADDFD_FLAG_SETFD and _SEND.
const ADDFD_SETFD: u32 = 1;
const ADDFD_SEND: u32 = 2;

abi_struct! {
    /// `struct seccomp_notif`.
    pub struct Notification {
        /// Names the question.
        pub id: u64,
        /// Who asks.
        pub pid: u32,
        /// None yet.
        pub flags: u32,
        /// Number of the call.
        pub nr: i32,
        /// AUDIT_ARCH_.
        pub arch: u32,
        /// Where it was made.
        pub ip: u64,
        /// Its arguments.
        pub args: [u64; 6],
    }
}

abi_struct! {
    /// `struct seccomp_notif_resp`.
    struct Response { id: u64, value: i64, error: i32, flags: u32 }
}

abi_struct! {
    /// `struct seccomp_notif_addfd`.
    struct AddFd { id: u64, flags: u32, source: u32, new: u32, new_flags: u32 }
}

/// What a call returns that nobody answers for: `ENOSYS`.
const NOBODY: u64 = -38_i64 as u64;

/// What is decided about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is made after all.
    Continue,
    /// It returns this.
    Return(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    New,
    Received,
    Answered(Answer),
}

struct Question {
    asked: Notification,
    task: Arc<Task>,
    progress: Progress,
}

#[derive(Default)]
struct State {
    last: u64,
    /// At most one for each task that waits.
    questions: BTreeMap<u64, Question>,
    /// The descriptor is closed: nobody answers.
    closed: bool,
    /// No task has the filter any more: nobody asks.
    unused: bool,
}

/// Where the tasks under a filter ask and its supervisor answers.
pub struct Listener {
    state: Mutex<State>,
    queue: WaitQueue,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl Default for Listener {
    fn default() -> Self {
        Listener {
            state: Mutex::new(rank::FILE_STATE, State::default()),
            queue: WaitQueue::new(),
        }
    }
}

impl Listener {
    /// No task has the filter any more.
    pub(super) fn set_unused(&self) {
        self.state.lock().unused = true;
        self.queue.wake(Events::all());
    }

    /// Asks about the call, and waits for the answer. `ERESTARTSYS` when a signal comes first.
    pub(super) fn ask(&self, task: &CurrentTask, mut asked: Notification) -> Result<Answer, Errno> {
        let id = {
            let mut state = self.state.lock();
            if state.closed {
                return Ok(Answer::Return(NOBODY));
            }
            state.last += 1;
            asked.id = state.last;
            let question = Question {
                asked,
                task: task.task().clone(),
                progress: Progress::New,
            };
            state.questions.insert(asked.id, question);
            asked.id
        };
        self.queue.wake(Events::READABLE);
        let answer = task.wait_on(&self.queue, None, || {
            let state = self.state.lock();
            match state.questions.get(&id).map(|question| question.progress) {
                Some(Progress::Answered(answer)) => Ok(answer),
                _ if state.closed => Ok(Answer::Return(NOBODY)),
                _ => Err(Errno::EAGAIN),
            }
        });
        let done = self.state.lock().questions.remove(&id);
        drop(done);
        answer
    }

    /// Asks about a call that was not made: for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn ask_of(&self, task: &CurrentTask, nr: i32, args: [u64; 6]) -> Result<Answer, Errno> {
        let asked = Notification {
            nr,
            args,
            ..Notification::default()
        };
        self.ask(task, asked)
    }

    fn receive(&self, task: &CurrentTask, at: UserAddr) -> Result<i64, Errno> {
        let mut empty = [0; Notification::SIZE];
        task.copy_in(at, &mut empty)?;
        if empty.iter().any(|byte| *byte != 0) {
            return Err(Errno::EINVAL);
        }
        let (mut asked, asker) = task.wait_on(&self.queue, None, || {
            let mut state = self.state.lock();
            let unused = state.unused;
            let mut new = state.questions.values_mut();
            match new.find(|question| question.progress == Progress::New) {
                Some(question) => {
                    question.progress = Progress::Received;
                    Ok((question.asked, question.task.clone()))
                }
                None if unused => Err(Errno::ENOENT),
                None => Err(Errno::EAGAIN),
            }
        })?;
        asked.pid = task.own_pid(asker.tid);
        let stored = task.write_struct(at, &asked);
        if stored.is_err()
            && let Some(question) = self.state.lock().questions.get_mut(&asked.id)
        {
            question.progress = Progress::New;
        }
        self.queue.wake(Events::WRITABLE);
        stored.map(|()| 0)
    }

    fn send(&self, response: &Response) -> Result<i64, Errno> {
        let known = response.flags & !CONTINUE == 0;
        let continues = response.flags & CONTINUE != 0;
        if !known || (continues && (response.error != 0 || response.value != 0)) {
            return Err(Errno::EINVAL);
        }
        let answer = match (continues, response.error) {
            (true, _) => Answer::Continue,
            (false, 0) => Answer::Return(response.value as u64),
            (false, error) => Answer::Return(i64::from(error) as u64),
        };
        self.answer(response.id, answer)
    }

    fn answer(&self, id: u64, answer: Answer) -> Result<i64, Errno> {
        {
            let mut state = self.state.lock();
            let question = state.questions.get_mut(&id).ok_or(Errno::ENOENT)?;
            if question.progress != Progress::Received {
                return Err(Errno::EINPROGRESS);
            }
            question.progress = Progress::Answered(answer);
        }
        self.queue.wake(Events::all());
        Ok(0)
    }

    /// The task whose question has been received and not answered. `ENOENT`, `EINPROGRESS`.
    fn asker(&self, id: u64) -> Result<Arc<Task>, Errno> {
        let state = self.state.lock();
        let question = state.questions.get(&id).ok_or(Errno::ENOENT)?;
        match question.progress {
            Progress::Received => Ok(question.task.clone()),
            _ => Err(Errno::EINPROGRESS),
        }
    }

    /// SECCOMP_IOCTL_NOTIF_ADDFD: a descriptor of the supervisor's for the task that asks.
    fn add_fd(&self, task: &CurrentTask, request: &AddFd) -> Result<i64, Errno> {
        let cloexec = request.new_flags == abi::fcntl::O_CLOEXEC;
        let sets = request.flags & ADDFD_SETFD != 0;
        if request.new_flags != 0 && !cloexec || request.flags & !(ADDFD_SETFD | ADDFD_SEND) != 0 {
            return Err(Errno::EINVAL);
        }
        if request.new != 0 && !sets {
            return Err(Errno::EINVAL);
        }
        let source = i32::try_from(request.source).map_err(|_| Errno::EBADF)?;
        let file = task.fd(source)?;
        let asker = self.asker(request.id)?;
        let limit = asker.group.fd_limit();
        let number = if sets {
            let number = i32::try_from(request.new).map_err(|_| Errno::EBADF)?;
            let replaced = asker.files().replace(number, FdEntry { file, cloexec }, limit)?;
            if let Some(entry) = replaced {
                // As dup2(2), which does not report what closing the old file said.
                let _ = crate::file::close(&task.kernel, entry.file, asker.tgid());
            }
            number
        } else {
            asker.files().install(file, cloexec, 0, limit)?
        };
        if request.flags & ADDFD_SEND != 0 {
            self.answer(request.id, Answer::Return(number as u64))?;
        }
        Ok(i64::from(number))
    }
}

/// The descriptor of a listener.
pub struct ListenerFile(pub Arc<Listener>);

impl FileOps for ListenerFile {
    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.0.queue);
        }
        let state = self.0.state.lock();
        let mut events = Events::empty();
        for question in state.questions.values() {
            match question.progress {
                Progress::New => events |= Events::READABLE,
                Progress::Received => events |= Events::WRITABLE,
                Progress::Answered(_) => {}
            }
        }
        if state.unused {
            events |= Events::HUP;
        }
        events
    }

    fn ioctl(&self, _: &FileDescription, task: &CurrentTask, command: u32, arg: u64) -> Result<i64, Errno> {
        let at = UserAddr(arg);
        match command {
            NOTIF_RECV => self.0.receive(task, at),
            NOTIF_SEND => self.0.send(&task.read_struct(at)?),
            NOTIF_ID_VALID | NOTIF_ID_VALID_WRONG_DIR => {
                let asker = self.0.asker(task.read_struct(at)?);
                asker.map(|_| 0).map_err(|_| Errno::ENOENT)
            }
            NOTIF_ADDFD => self.0.add_fd(task, &task.read_struct(at)?),
            // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP is a hint to the scheduler.
            NOTIF_SET_FLAGS if arg & !1 != 0 => Err(Errno::EINVAL),
            NOTIF_SET_FLAGS => Ok(0),
            _ => Err(Errno::EINVAL),
        }
    }

    fn release(&self, _: &FileDescription) {
        self.0.state.lock().closed = true;
        self.0.queue.wake(Events::all());
    }
}
