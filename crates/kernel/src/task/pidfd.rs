//! Process descriptors (pidfd_open(2)).

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_NONBLOCK, O_RDWR};
use sync::{Events, PollTable};

use super::{CurrentTask, PidNs, Task, ThreadGroup};
use crate::file::{FileDescription, FileOps};

/// An open process: readable when it has exited.
pub struct PidFd {
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// The thread, for PIDFD_THREAD.
    pub thread: Option<Arc<Task>>,
}

impl PidFd {
    fn ended(&self) -> bool {
        match &self.thread {
            Some(thread) => thread.has_exited(),
            None => self.group.signals.lock().threads.is_empty(),
        }
    }
}

impl FileOps for PidFd {
    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.group.exit_events);
        }
        if self.ended() {
            Events::READABLE
        } else {
            Events::empty()
        }
    }

    fn fdinfo(&self, _: &FileDescription) -> String {
        let pid = self.thread.as_ref().map_or(self.group.pid, |thread| thread.tid);
        if self.ended() {
            return "Pid:\t-1\nNSpid:\t-1\n".into();
        }
        let reader = super::current().map_or_else(PidNs::first, |task| task.group.pid_ns.clone());
        if !self.group.pid_ns.is_in(&reader) {
            return "Pid:\t0\nNSpid:\t0\n".into();
        }
        let numbers = self.group.pid_ns.numbers_up_to(&reader, pid);
        let list: String = numbers.iter().map(|number| format!("\t{number}")).collect();
        format!("Pid:\t{}\nNSpid:{list}\n", numbers.first().unwrap_or(&0))
    }
}

impl CurrentTask {
    /// Opens a descriptor for a process or thread, close-on-exec.
    pub(crate) fn install_pidfd(&self, ops: PidFd, nonblock: bool) -> Result<i32, Errno> {
        let flags = O_RDWR | if nonblock { O_NONBLOCK } else { 0 };
        let file = crate::vfs::anon_file(&self.kernel, "anon_inode:[pidfd]", Box::new(ops), flags);
        self.files().install(file, true, 0, self.group.fd_limit())
    }
}
