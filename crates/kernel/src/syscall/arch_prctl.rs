//! arch_prctl(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_SET_FS: i32 = 0x1002;
const ARCH_GET_FS: i32 = 0x1003;
const ARCH_GET_GS: i32 = 0x1004;
const ARCH_GET_CPUID: i32 = 0x1011;
const ARCH_SET_CPUID: i32 = 0x1012;
const ARCH_GET_XCOMP_SUPP: i32 = 0x1021;
const ARCH_GET_XCOMP_PERM: i32 = 0x1022;

/// arch_prctl(2). Shadow stacks and indirect branch tracking (ARCH_CET_*, ARCH_SHSTK_*) are `EINVAL`.
pub fn arch_prctl(task: &CurrentTask, code: i32, addr: u64) -> Result<(), Errno> {
    let end = task.kernel.platform.user_range().end.0;
    match code {
        ARCH_SET_FS | ARCH_SET_GS if addr >= end => Err(Errno::EPERM),
        ARCH_SET_FS => {
            task.context.borrow_mut().regs_mut().fs_base = addr;
            Ok(())
        }
        ARCH_SET_GS => {
            task.context.borrow_mut().regs_mut().gs_base = addr;
            Ok(())
        }
        ARCH_GET_FS => {
            let base = task.context.borrow().regs().fs_base;
            task.write_struct(UserAddr(addr), &base)
        }
        ARCH_GET_GS => {
            let base = task.context.borrow().regs().gs_base;
            task.write_struct(UserAddr(addr), &base)
        }
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM => {
            let (_, features) = task.kernel.platform.xstate_layout();
            task.write_struct(UserAddr(addr), &features)
        }
        ARCH_GET_CPUID | ARCH_SET_CPUID => Err(Errno::ENODEV),
        _ => Err(Errno::EINVAL),
    }
}
