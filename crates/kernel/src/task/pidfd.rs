//! Process descriptors (pidfd_open(2)).

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_NONBLOCK, O_RDWR};
use sync::{Events, PollTable};

use super::{CurrentTask, Task, ThreadGroup};
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
        let shown = if self.ended() { -1 } else { i64::from(pid) };
        format!("Pid:\t{shown}\nNSpid:\t{shown}\n")
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
