//! Tasks and thread groups: who runs, and how they are related.

mod access;
mod accounting;
mod blocking;
mod current;
mod de_thread;
mod exit;
mod fork;
mod group;
mod init;
mod namespaces;
mod ns_file;
mod pid_ns;
mod pidfd;
mod pids;
pub mod ptrace;
mod restart;
mod run;
mod seccomp;
mod session;
mod task_struct;
#[cfg(test)]
mod tests;
mod user_memory;
mod wait;
mod worker;

pub use crate::bpf::{Instruction, PROGRAM_MAX as SECCOMP_PROGRAM_MAX};
pub use blocking::Deadline;
pub use current::{CurrentTask, current, current_call};
pub use exit::{exit_code, ticks};
pub(crate) use fork::check_namespace_flags;
pub use fork::{CloneArgs, clone_flags};
pub use group::{GroupState, Rlimits, ThreadGroup, default_rlimits, rlimit};
pub use init::{InitTask, Lifecycle, create_entered, create_init};
pub(crate) use namespaces::next_number;
pub use namespaces::{CgroupNs, Ipc, Namespace, Namespaces, Uts};
pub use ns_file::NsFile;
pub use pid_ns::PidNs;
pub use pidfd::PidFd;
pub use pids::{GroupEntry, PID_MAX, PROCESSES_MAX, PidTable, TASKS_MAX};
pub use seccomp::{Seccomp, Verdict};
pub use session::ControllingTerminal;
pub use task_struct::{Task, TaskState};
pub use user_memory::{UserBuffers, UserIoVec};
pub use wait::{WaitFor, WaitOptions, Waited};
pub use worker::spawn;
