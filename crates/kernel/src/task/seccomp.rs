//! seccomp(2): filters that a process puts on its own system calls, as classic BPF programs over `struct seccomp_data`.
//!
//! This is the guest's own tool; the sandbox's walls do not depend on it.

use std::sync::Arc;

use abi::{AbiField, Errno};

use super::CurrentTask;
use super::seccomp_notify::{Answer, Listener, Notification};
use crate::bpf::{self, Instruction, LD_W_ABS};

/// Most instructions in all filters of a task, each filter counting 4 more (MAX_INSNS_PER_PATH).
const PATH_MAX: usize = 32_768;
/// Call numbers for which it is worked out in advance whether every filter lets them pass, whatever their arguments.
const FORESEEN: usize = 512;
/// Bytes of `struct seccomp_data`.
const DATA: usize = 64;
/// AUDIT_ARCH_X86_64.
pub const AUDIT_ARCH: u32 = 0xc000_003e;

/// The filters of a task: the newest, and those it was added to.
#[derive(Debug)]
pub struct Seccomp {
    program: Program,
    /// Actions below ALLOW are logged.
    pub log: bool,
    before: Option<Arc<Seccomp>>,
    total: usize,
    /// Who answers for SECCOMP_RET_USER_NOTIF.
    listener: Option<Arc<Listener>>,
    /// Calls that this filter and those before it always allow: one bit each.
    allowed: [u64; FORESEEN / 64],
}

#[derive(Debug)]
enum Program {
    /// read, write, _exit and rt_sigreturn only.
    Strict,
    Filter(Vec<Instruction>),
}

/// What a filter decided, with its 16 bits of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Strict mode's end of the thread, by SIGKILL.
    Strict,
    /// SECCOMP_RET_KILL_PROCESS.
    KillProcess,
    /// SECCOMP_RET_KILL_THREAD.
    KillThread,
    /// SECCOMP_RET_TRAP.
    Trap(u16),
    /// SECCOMP_RET_ERRNO.
    Errno(u16),
    /// SECCOMP_RET_USER_NOTIF: the filter's listener is asked.
    Notify,
    /// SECCOMP_RET_TRACE: the tracer is asked.
    Trace(u16),
    /// SECCOMP_RET_LOG.
    Log,
    /// SECCOMP_RET_ALLOW.
    Allow,
}

impl Seccomp {
    /// Strict mode.
    pub fn strict() -> Arc<Seccomp> {
        Arc::new(Seccomp {
            program: Program::Strict,
            log: false,
            before: None,
            listener: None,
            total: 0,
            allowed: [0; FORESEEN / 64],
        })
    }

    /// A filter on top of others. `EINVAL` for a program that Linux refuses, `ENOMEM` when all together are too long.
    pub fn filter(
        program: Vec<Instruction>,
        before: Option<Arc<Seccomp>>,
        log: bool,
        listener: Option<Arc<Listener>>,
    ) -> Result<Arc<Seccomp>, Errno> {
        check(&program)?;
        // One in a chain: others could not be told apart by who waits.
        if listener.is_some() && before.as_ref().is_some_and(|before| before.has_listener()) {
            return Err(Errno::EBUSY);
        }
        let total = before.as_ref().map_or(0, |before| before.total + 4) + program.len();
        if total > PATH_MAX {
            return Err(Errno::ENOMEM);
        }
        let allowed = foresee(&program, before.as_deref());
        Ok(Arc::new(Seccomp {
            program: Program::Filter(program),
            log,
            before,
            listener,
            total,
            allowed,
        }))
    }

    fn has_listener(&self) -> bool {
        let mut filter = Some(self);
        while let Some(one) = filter {
            if one.listener.is_some() {
                return true;
            }
            filter = one.before.as_deref();
        }
        false
    }

    /// The program of a filter of the chain, the oldest being number 0.
    pub fn program(&self, number: u64) -> Option<&[Instruction]> {
        let mut at = u64::from(self.count()).checked_sub(1)?.checked_sub(number)?;
        let mut filter = self;
        while at > 0 {
            (filter, at) = (filter.before.as_deref()?, at - 1);
        }
        match &filter.program {
            Program::Filter(program) => Some(program),
            Program::Strict => None,
        }
    }

    /// Whether `other` is this filter or was added to it: none of what this one forbids is allowed by `other`.
    pub fn is_before(&self, other: &Seccomp) -> bool {
        let mut filter = Some(other);
        while let Some(one) = filter {
            if std::ptr::eq(one, self) {
                return true;
            }
            filter = one.before.as_deref();
        }
        false
    }

    /// The listener of the chain: the filter that asked has it, or nobody answers.
    fn listener(&self) -> Option<Arc<Listener>> {
        let mut filter = Some(self);
        while let Some(one) = filter {
            if one.listener.is_some() {
                return one.listener.clone();
            }
            filter = one.before.as_deref();
        }
        None
    }

    /// Whether the call passes whatever its arguments are (Linux's seccomp_cache_check_allow).
    pub fn always_allows(&self, nr: u64) -> bool {
        let word = usize::try_from(nr / 64)
            .ok()
            .and_then(|word| self.allowed.get(word));
        word.is_some_and(|word| word >> (nr % 64) & 1 == 1)
    }

    /// 1 strict, 2 filter (prctl(PR_GET_SECCOMP), /proc/PID/status).
    pub fn mode(&self) -> u32 {
        match self.program {
            Program::Strict => 1,
            Program::Filter(_) => 2,
        }
    }

    /// How many filters there are.
    pub fn count(&self) -> u32 {
        1 + self.before.as_ref().map_or(0, |before| before.count())
    }

    /// Runs every filter on a call; the strictest answer wins, the newest filter's among equals.
    pub fn decide(&self, nr: u64, args: &[u64; 6], ip: u64) -> Verdict {
        if let Program::Strict = self.program {
            // read, write, rt_sigreturn, exit.
            return if matches!(nr, 0 | 1 | 15 | 60) {
                Verdict::Allow
            } else {
                Verdict::Strict
            };
        }
        if self.always_allows(nr) {
            return Verdict::Allow;
        }
        let mut data = [0; DATA];
        (nr as u32).put(&mut data[0..]);
        AUDIT_ARCH.put(&mut data[4..]);
        ip.put(&mut data[8..]);
        for (slot, arg) in data[16..].chunks_exact_mut(8).zip(args) {
            arg.put(slot);
        }
        let mut best = ALLOW;
        let mut filter = Some(self);
        while let Some(one) = filter {
            if let Program::Filter(program) = &one.program {
                let load = |at: u32| data.get(at as usize..at as usize + 4).map(u32::get);
                let answer = run(program, load).unwrap_or(KILL);
                if severity(answer) < severity(best) {
                    best = answer;
                }
            }
            filter = one.before.as_deref();
        }
        verdict(best)
    }
}

/// The calls that a program and those before it allow by their number alone.
fn foresee(program: &[Instruction], before: Option<&Seccomp>) -> [u64; FORESEEN / 64] {
    let mut allowed = [0; FORESEEN / 64];
    for (word, bits) in allowed.iter_mut().enumerate() {
        for bit in 0..64 {
            let nr = (word * 64 + bit) as u32;
            let load = |at: u32| match at {
                0 => Some(nr),
                4 => Some(AUDIT_ARCH),
                _ => None,
            };
            let others = before.is_none_or(|before| before.always_allows(u64::from(nr)));
            if others && run(program, load) == Some(ALLOW) {
                *bits |= 1 << bit;
            }
        }
    }
    allowed
}

/// The order of actions: as signed numbers, smaller is stricter.
fn severity(answer: u32) -> i32 {
    (answer & 0xffff_0000) as i32
}

fn verdict(answer: u32) -> Verdict {
    let data = answer as u16;
    match answer & 0xffff_0000 {
        0x8000_0000 => Verdict::KillProcess,
        0x0003_0000 => Verdict::Trap(data),
        0x0005_0000 => Verdict::Errno(data.min(4095)),
        0x7fc0_0000 => Verdict::Notify,
        0x7ff0_0000 => Verdict::Trace(data),
        0x7ffc_0000 => Verdict::Log,
        0x7fff_0000 => Verdict::Allow,
        0 => Verdict::KillThread,
        // Linux kills the process for actions that it does not know.
        _ => Verdict::KillProcess,
    }
}

/// Checks a program as Linux's bpf_check_classic and seccomp_check_filter do: of loads only aligned words inside the data, no
/// remainders.
fn check(program: &[Instruction]) -> Result<(), Errno> {
    bpf::check(program)?;
    let allowed = |one: &Instruction| match one.code {
        LD_W_ABS => one.k.is_multiple_of(4) && (one.k as usize) < DATA,
        code => !bpf::loads_packet(code) && !bpf::is_remainder(code),
    };
    if program.iter().all(allowed) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// SECCOMP_RET_KILL_PROCESS.
const KILL: u32 = 0x8000_0000;
/// SECCOMP_RET_ALLOW.
const ALLOW: u32 = 0x7fff_0000;

/// Runs a program over what `load` has of the data. `None`: it wants what `load` does not have.
fn run(program: &[Instruction], load: impl Fn(u32) -> Option<u32>) -> Option<u32> {
    bpf::run(program, DATA as u32, |_, at| load(at))
}

impl Drop for Seccomp {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.set_unused();
        }
    }
}

impl CurrentTask {
    /// SECCOMP_RET_USER_NOTIF: asks the listener about the call that the context stopped at.
    pub(super) fn ask_listener(&self) -> Result<Answer, Errno> {
        let listener = self
            .seccomp
            .lock()
            .as_ref()
            .and_then(|filters| filters.listener());
        let Some(listener) = listener else {
            return Ok(Answer::Return((-i64::from(Errno::ENOSYS.raw())) as u64));
        };
        let asked = {
            let context = self.context.borrow();
            let regs = context.regs();
            Notification {
                nr: regs.orig_rax as i32,
                arch: AUDIT_ARCH,
                ip: regs.rip,
                args: regs.syscall_args(),
                ..Notification::default()
            }
        };
        listener.ask(self, asked)
    }

    /// Asks the filters about the call that the context stopped at; `None`: no objection.
    pub(super) fn seccomp_verdict(&self) -> Option<Verdict> {
        if !self.has_filters.get() {
            return None;
        }
        let filters = self.seccomp.lock().clone()?;
        let (nr, args, ip) = {
            let context = self.context.borrow();
            let regs = context.regs();
            (regs.orig_rax, regs.syscall_args(), regs.rip)
        };
        Some(filters.decide(nr, &args, ip)).filter(|verdict| *verdict != Verdict::Allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{JA, LD_MEM, RET_K};

    fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    #[test]
    fn a_filter_answers_an_errno_for_one_call_and_allows_the_rest() {
        let program = vec![
            op(LD_W_ABS, 0, 0, 0),
            op(0x15, 0, 1, 39),
            op(RET_K, 0, 0, 0x0005_0000 | 1),
            op(RET_K, 0, 0, 0x7fff_0000),
        ];
        let filter = Seccomp::filter(program, None, false, None).unwrap();
        assert_eq!(filter.decide(39, &[0; 6], 0), Verdict::Errno(1));
        assert_eq!(filter.decide(40, &[0; 6], 0), Verdict::Allow);
        assert!(filter.always_allows(40) && !filter.always_allows(39));
        // A number beyond 32 bits is not the call of its lower half.
        assert!(!filter.always_allows(40 | 1 << 32));
        let kill = Seccomp::filter(vec![op(RET_K, 0, 0, 0x8000_0000)], Some(filter), false, None).unwrap();
        assert_eq!(kill.decide(39, &[0; 6], 0), Verdict::KillProcess);
        assert_eq!(kill.count(), 2);
    }

    #[test]
    fn a_call_whose_arguments_matter_is_not_foreseen() {
        let program = vec![
            op(LD_W_ABS, 0, 0, 16),
            op(0x15, 0, 1, 7),
            op(RET_K, 0, 0, 0x0005_0000 | 1),
            op(RET_K, 0, 0, ALLOW),
        ];
        let filter = Seccomp::filter(program, None, false, None).unwrap();
        assert!(!filter.always_allows(40));
        assert_eq!(filter.decide(40, &[7, 0, 0, 0, 0, 0], 0), Verdict::Errno(1));
        assert_eq!(filter.decide(40, &[8, 0, 0, 0, 0, 0], 0), Verdict::Allow);
        let allow = vec![op(RET_K, 0, 0, ALLOW)];
        let second = Seccomp::filter(allow, Some(filter), false, None).unwrap();
        assert!(!second.always_allows(40), "the older filter still has its say");
    }

    #[test]
    fn programs_that_could_leave_their_bounds_are_refused() {
        for bad in [
            vec![],
            vec![op(LD_W_ABS, 0, 0, 0)],
            vec![op(LD_W_ABS, 0, 0, 64), op(RET_K, 0, 0, 0)],
            vec![op(0x15, 3, 0, 0), op(RET_K, 0, 0, 0)],
            vec![op(JA, 0, 0, 1), op(RET_K, 0, 0, 0)],
            vec![op(LD_MEM, 0, 0, 16), op(RET_K, 0, 0, 0)],
            vec![op(0x34, 0, 0, 0), op(RET_K, 0, 0, 0)],
        ] {
            assert!(Seccomp::filter(bad, None, false, None).is_err());
        }
    }
}
