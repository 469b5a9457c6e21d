//! Guest registers.

use abi::abi_struct;

abi_struct! {
    /// `struct user_regs_struct` of x86-64, in the kernel's order.
    pub struct Registers {
        pub r15: u64, pub r14: u64, pub r13: u64, pub r12: u64, pub rbp: u64, pub rbx: u64,
        pub r11: u64, pub r10: u64, pub r9: u64, pub r8: u64,
        pub rax: u64, pub rcx: u64, pub rdx: u64, pub rsi: u64, pub rdi: u64,
        pub orig_rax: u64, pub rip: u64, pub cs: u64, pub eflags: u64, pub rsp: u64, pub ss: u64,
        pub fs_base: u64, pub gs_base: u64, pub ds: u64, pub es: u64, pub fs: u64, pub gs: u64,
    }
}

impl Registers {
    /// The six arguments of a system call.
    pub fn syscall_args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }
}

/// Extended state in the standard (not compacted) XSAVE format; empty means the initial state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XState(pub Vec<u8>);
