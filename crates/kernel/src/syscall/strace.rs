//! `--strace`: one line per call, from the table.

use abi::Errno;

use super::row::Row;
use crate::task::CurrentTask;

/// Serves the call and logs it with its arguments (as they were before) and its result.
pub fn traced(task: &CurrentTask, row: &Row, args: &[u64; 6]) -> Result<u64, Errno> {
    let shown = (row.show)(task, args);
    let prefix = format!(
        "[{}:{}] {}({shown})",
        task.tid,
        String::from_utf8_lossy(&task.comm.lock()),
        row.name
    );
    if matches!(
        row.name,
        "exit" | "exit_group" | "execve" | "execveat" | "rt_sigreturn"
    ) {
        task.kernel.log.line(&format!("{prefix} ..."));
    }
    let result = (row.call)(task, args);
    let outcome = match result {
        Ok(value) if value > 0xffff_ffff => format!("{value:#x}"),
        Ok(value) => value.to_string(),
        Err(errno) => format!("-1 {errno}"),
    };
    task.kernel.log.line(&format!("{prefix} = {outcome}"));
    result
}

/// Logs a signal that is being delivered, with where it met the task.
pub fn signal(task: &CurrentTask, info: &crate::signal::SigInfo) {
    let regs = *task.context.borrow().regs();
    task.kernel.log.line(&format!(
        "[{}] --- signal {} code {} pid {} addr {:?} at ip {:#x} sp {:#x} ---",
        task.tid, info.signal, info.code, info.pid, info.addr, regs.rip, regs.rsp
    ));
}

/// Logs a number that the table does not have.
pub fn unknown(task: &CurrentTask, nr: u64, args: &[u64; 6]) {
    if task.kernel.config.strace {
        task.kernel
            .log
            .line(&format!("[{}] syscall_{nr:#x}({args:x?}) = -1 ENOSYS", task.tid));
    }
}
