//! arch_prctl(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_SET_FS: i32 = 0x1002;
const ARCH_GET_FS: i32 = 0x1003;
const ARCH_GET_GS: i32 = 0x1004;

/// Sets or reads the bases of FS and GS. Control-flow enforcement is not offered: `EINVAL`, as on processors without it.
pub fn arch_prctl(task: &CurrentTask, code: i32, addr: u64) -> Result<(), Errno> {
    match code {
        ARCH_SET_FS | ARCH_SET_GS => {
            if addr >= task.kernel.platform.user_range().end.0 {
                return Err(Errno::EPERM);
            }
            let mut context = task.context.borrow_mut();
            if code == ARCH_SET_FS {
                context.regs_mut().fs_base = addr;
            } else {
                context.regs_mut().gs_base = addr;
            }
            Ok(())
        }
        ARCH_GET_FS | ARCH_GET_GS => {
            let base = {
                let context = task.context.borrow();
                if code == ARCH_GET_FS {
                    context.regs().fs_base
                } else {
                    context.regs().gs_base
                }
            };
            task.write_struct(UserAddr(addr), &base)
        }
        _ => Err(Errno::EINVAL),
    }
}
