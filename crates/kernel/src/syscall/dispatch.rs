//! From an event to a handler and back to a register.

use std::sync::LazyLock;

use abi::Errno;

use super::row::Row;
use super::{strace, table};
use crate::task::CurrentTask;

/// One more than the highest number in the table, rounded up.
const NUMBERS: usize = 512;

static BY_NUMBER: LazyLock<[Option<&'static Row>; NUMBERS]> = LazyLock::new(|| {
    let mut by_number = [None; NUMBERS];
    for row in table::SECTIONS.iter().copied().flatten() {
        by_number[usize::from(row.nr)] = Some(row);
    }
    by_number
});

/// The row of a number.
pub fn lookup(nr: u64) -> Option<&'static Row> {
    usize::try_from(nr)
        .ok()
        .and_then(|index| BY_NUMBER.get(index).copied().flatten())
}

/// All rows, by number.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    BY_NUMBER.iter().copied().flatten()
}

/// Serves the system call that the context stopped at and sets its result. Returns the error that it ended with.
///
/// Restart errors are left in `rax` as negative numbers (as in Linux) for the run loop to resolve before the
/// guest continues.
pub fn dispatch(task: &CurrentTask) -> Option<Errno> {
    let (nr, args) = {
        let context = task.context.borrow();
        (context.regs().orig_rax, context.regs().syscall_args())
    };
    let result = match lookup(nr) {
        Some(row) if task.kernel.config.strace => strace::traced(task, row, &args),
        Some(row) => (row.call)(task, &args),
        None => {
            strace::unknown(task, nr, &args);
            Err(Errno::ENOSYS)
        }
    };
    // A call that replaced the registers (execve, rt_sigreturn) says so by EJUSTRETURN.
    let value = match result {
        Ok(value) => value,
        Err(errno) if errno == Errno::EJUSTRETURN => return None,
        Err(errno) => (-i64::from(errno.raw())) as u64,
    };
    task.context.borrow_mut().set_return(value);
    result.err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_once_in_the_table() {
        let listed: usize = table::SECTIONS.iter().map(|section| section.len()).sum();
        assert_eq!(listed, rows().count());
        assert!(listed > 350, "{listed} rows");
    }
}
