//! Tasks and thread groups: who runs, and how they are related.

mod blocking;
mod current;
mod exec;
mod group;
mod pids;
mod run;
mod task_struct;
mod user_memory;

pub use blocking::Deadline;
pub use current::{CurrentTask, current};
pub use group::{GroupState, ThreadGroup};
pub use pids::{GroupEntry, PidTable};
pub use run::spawn;
pub use task_struct::{Task, TaskState};
pub use user_memory::{UserBuffers, UserIoVec};
