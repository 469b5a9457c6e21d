//! seccomp(2): assembling classic BPF programs and installing them.

use std::collections::HashMap;

use abi::Errno;

/// One BPF instruction (`struct sock_filter`).
pub type Insn = libc::sock_filter;

/// `seccomp_data.nr`.
pub const NR: u32 = 0;
/// `seccomp_data.arch`.
pub const ARCH: u32 = 4;
/// Low half of `seccomp_data.instruction_pointer`.
pub const IP_LOW: u32 = 8;
/// High half of `seccomp_data.instruction_pointer`.
pub const IP_HIGH: u32 = 12;
/// The x86-64 architecture word.
pub const ARCH_X86_64: u32 = 0xc000_003e;

/// Low half of argument `index`.
pub const fn arg_low(index: u32) -> u32 {
    16 + 8 * index
}

/// High half of argument `index`.
pub const fn arg_high(index: u32) -> u32 {
    20 + 8 * index
}

/// SECCOMP_RET_ALLOW.
pub const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
/// SECCOMP_RET_TRAP.
pub const TRAP: u32 = libc::SECCOMP_RET_TRAP;
/// SECCOMP_RET_KILL_PROCESS.
pub const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// Where a conditional jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The next instruction.
    Next,
    /// A label set with [`Assembler::label`], further down.
    Label(&'static str),
}

/// Assembles a filter program with forward labels.
#[derive(Debug, Default)]
pub struct Assembler {
    insns: Vec<(Insn, To, To)>,
    labels: HashMap<&'static str, usize>,
}

impl Assembler {
    /// An empty program.
    pub fn new() -> Assembler {
        Assembler::default()
    }

    fn push(&mut self, code: u32, k: u32, yes: To, no: To) -> &mut Self {
        let insn = Insn {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        };
        self.insns.push((insn, yes, no));
        self
    }

    /// Loads a word of `seccomp_data`.
    pub fn load(&mut self, offset: u32) -> &mut Self {
        self.push(
            libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
            offset,
            To::Next,
            To::Next,
        )
    }

    /// Ands the accumulator.
    pub fn and(&mut self, mask: u32) -> &mut Self {
        self.push(
            libc::BPF_ALU | libc::BPF_AND | libc::BPF_K,
            mask,
            To::Next,
            To::Next,
        )
    }

    /// Jumps by equality.
    pub fn equal(&mut self, value: u32, yes: To, no: To) -> &mut Self {
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no)
    }

    /// Jumps by `accumulator >= value`, unsigned.
    pub fn at_least(&mut self, value: u32, yes: To, no: To) -> &mut Self {
        self.push(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, value, yes, no)
    }

    /// Ends with an action.
    pub fn ret(&mut self, action: u32) -> &mut Self {
        self.push(libc::BPF_RET | libc::BPF_K, action, To::Next, To::Next)
    }

    /// Names the next instruction.
    pub fn label(&mut self, name: &'static str) -> &mut Self {
        self.labels.insert(name, self.insns.len());
        self
    }

    /// The program; `EINVAL` for unknown, backward or too distant labels.
    pub fn finish(&self) -> Result<Vec<Insn>, Errno> {
        let target = |at: usize, to: To| match to {
            To::Next => Ok(0),
            To::Label(name) => {
                let line = *self.labels.get(name).ok_or(Errno::EINVAL)?;
                let distance = line.checked_sub(at + 1).ok_or(Errno::EINVAL)?;
                u8::try_from(distance).map_err(|_| Errno::EINVAL)
            }
        };
        self.insns
            .iter()
            .enumerate()
            .map(|(at, (insn, yes, no))| {
                Ok(Insn {
                    jt: target(at, *yes)?,
                    jf: target(at, *no)?,
                    ..*insn
                })
            })
            .collect()
    }
}

/// Installs a filter on the calling thread, or on all threads of the process if `all_threads`.
/// Sets no_new_privs first.
pub fn install(program: &[Insn], all_threads: bool) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: plain call with scalar arguments.
    crate::check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    }))?;
    let flags = if all_threads {
        libc::SECCOMP_FILTER_FLAG_TSYNC
    } else {
        0
    };
    // SAFETY: the program is a live slice, which the host copies.
    crate::check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program) })
        .map(|_| ())
}
