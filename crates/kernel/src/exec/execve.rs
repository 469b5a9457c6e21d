//! The point of no return of execve(2): the task becomes the prepared program.

use std::sync::Arc;

use abi::signal::SIGKILL;
use abi::{Errno, UserAddr};
use platform::XState;

use super::open::Program;
use super::prepare::{Caller, Prepared, prepare};
use super::stack::Arguments;
use crate::cred::Caps;
use crate::mm::RLIMIT_STACK;
use crate::task::CurrentTask;
use crate::vfs::Walker;

/// Longest thread name.
const COMM_MAX: usize = 15;

/// The name of a thread that executes `path`: the last component, cut.
pub fn comm_of(path: &[u8]) -> Vec<u8> {
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    base.iter().copied().take(COMM_MAX).collect()
}

/// Runs `program` in place of the caller; on success the registers are the new program's.
pub fn execve(
    task: &CurrentTask,
    walker: &Walker<'_>,
    program: Program,
    name: &[u8],
    inaccessible: bool,
    arguments: Arguments,
) -> Result<(), Errno> {
    let (personality, no_new_privs) = {
        let state = task.state.lock();
        (state.personality, state.no_new_privs)
    };
    let (watched, could_anyway) = (task.is_watched(), task.cred().has_own(Caps::SETUID));
    let caller = Caller {
        walker,
        stack_limit: task.group.rlimit(RLIMIT_STACK),
        personality,
        no_new_privs: no_new_privs || watched,
    };
    let prepared = prepare(&task.kernel, &caller, program, name, inaccessible, arguments)?;
    let context = prepared
        .mm
        .space
        .new_context(&prepared.regs, &XState::default())?;
    prepared.mm.inherit_wishes(&task.mm_ref());
    task.de_thread()?;
    task.end_rseq();
    crate::futex::exit_task(task);
    task.replace_context(prepared.mm.clone(), context);
    become_program(task, &prepared, name);
    if prepared.secure && !watched && !could_anyway && task.has_watchers() {
        // Somebody attached since the question was asked: the new privileges must not be theirs.
        task.exit_group(SIGKILL as i32);
    }
    close_on_exec(task);
    task.after_exec();
    Ok(())
}

/// Sets what execve(2) resets ("Effect on process attributes").
fn become_program(task: &CurrentTask, prepared: &Prepared, name: &[u8]) {
    let raised = prepared.secure;
    *task.cred.write() = Arc::new(prepared.cred.clone());
    *task.comm.lock() = comm_of(name);
    {
        let mut state = task.state.lock();
        state.clear_child_tid = UserAddr::NULL;
        state.robust_list = (UserAddr::NULL, 0);
        state.rseq = platform::Rseq::default();
        if raised {
            state.pdeath_signal = 0;
        }
    }
    let mut state = task.group.state.lock();
    state.dumpable = !raised && prepared.readable;
    state.program_ns = prepared.cred.user_ns.clone();
}

/// Closes what is marked FD_CLOEXEC, in a table that nobody else uses.
fn close_on_exec(task: &CurrentTask) {
    let files = {
        let mut files = task.files.lock();
        if Arc::strong_count(&files) > 1 {
            let own = Arc::new(files.duplicate());
            let _shared = std::mem::replace(&mut *files, own);
        }
        files.clone()
    };
    for entry in files.remove_where(|_, entry| entry.cloexec) {
        // As close(2): errors of the last flush have nobody to go to.
        let _ = crate::file::close(&task.kernel, entry.file, task.tgid());
    }
}
