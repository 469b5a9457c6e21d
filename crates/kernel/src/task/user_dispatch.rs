//! prctl(PR_SET_SYSCALL_USER_DISPATCH): a thread has its own system calls turned into SIGSYS, but those from one range
//! of addresses, as long as a byte of its memory says so (for emulators of other systems). Gone with fork and execve.

use abi::signal::{SIGSEGV, SIGSYS, SYS_USER_DISPATCH};
use abi::{Errno, UserAddr};

use super::CurrentTask;
use super::seccomp::AUDIT_ARCH;
use crate::signal::{self, SigInfo};

/// What the byte says: let the call pass, or not.
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

/// Which calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserDispatch {
    /// Calls from here on always pass,
    pub offset: u64,
    /// for so many bytes.
    pub len: u64,
    /// The byte that decides about the others; null: they are never let through.
    pub selector: UserAddr,
}

impl CurrentTask {
    /// PR_SET_SYSCALL_USER_DISPATCH.
    pub fn set_user_dispatch(&self, dispatch: Option<UserDispatch>) -> Result<(), Errno> {
        if let Some(UserDispatch {
            offset,
            len,
            selector,
        }) = dispatch
        {
            if offset != 0 && offset.wrapping_add(len) <= offset {
                return Err(Errno::EINVAL);
            }
            if selector.0 >= crate::mm::TASK_SIZE {
                return Err(Errno::EFAULT);
            }
        }
        self.user_dispatch.set(dispatch);
        // The engine must not answer what the thread wants to see.
        self.update_local_answers();
        Ok(())
    }

    /// Whether the call that the thread stopped at goes to its own handler instead: then that is under way.
    pub(super) fn dispatched_to_user(&self) -> bool {
        let Some(dispatch) = self.user_dispatch.get() else {
            return false;
        };
        let (nr, ip) = {
            let context = self.context.borrow();
            (context.regs().orig_rax, context.regs().rip)
        };
        if ip.wrapping_sub(dispatch.offset) < dispatch.len {
            return false;
        }
        if !dispatch.selector.is_null() {
            let mut selector = [0];
            let read = self.copy_in(dispatch.selector, &mut selector);
            match (read, selector) {
                (Ok(()), [ALLOW]) => return false,
                (Ok(()), [BLOCK]) => {}
                (Ok(()), _) => {
                    self.exit_group(SIGSYS as i32);
                    return true;
                }
                (Err(_), _) => {
                    self.exit_group(SIGSEGV as i32);
                    return true;
                }
            }
        }
        self.context.borrow_mut().set_return(nr);
        let info = SigInfo {
            signal: SIGSYS,
            code: SYS_USER_DISPATCH,
            addr: UserAddr(ip),
            syscall: (nr as i32, AUDIT_ARCH),
            ..SigInfo::default()
        };
        signal::force_signal(self, info);
        true
    }
}
