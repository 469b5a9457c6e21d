//! The filter made from the table, and what a denied call leads to.

use std::sync::OnceLock;

use abi::Errno;

use super::{FORWARD, Needs, RELAY, Row, SENTRY, Test, Verdict, Waits};
use crate::seccomp::{self, Insn};

/// The filter of a sentry with these needs.
pub fn sentry_filter(needs: Needs) -> Result<Vec<Insn>, Errno> {
    filter(needs.rows())
}

pub(super) fn filter(rows: impl Iterator<Item = &'static Row>) -> Result<Vec<Insn>, Errno> {
    let mut program = vec![
        load(seccomp::ARCH),
        jump_equal(seccomp::ARCH_X86_64, 1, 0),
        ret(seccomp::KILL),
        load(seccomp::NR),
    ];
    for row in rows {
        let body = body(row);
        let skip = u8::try_from(body.len()).map_err(|_| Errno::EINVAL)?;
        program.push(jump_equal(row.nr as u32, 0, skip));
        program.extend(body);
    }
    program.push(ret(seccomp::TRAP));
    Ok(program)
}

/// What follows a matched number; every way through it ends with an action.
fn body(row: &Row) -> Vec<Insn> {
    let args = match row.verdict {
        Verdict::Refuse(errno) => return vec![ret(libc::SECCOMP_RET_ERRNO | errno as u32)],
        Verdict::Allow(args) => args,
    };
    let mut code = Vec::new();
    for arg in args {
        match arg.test {
            Test::OneOf(values) => one_of(arg.index, values, &mut code),
            Test::PairOf(pairs) => pair_of(arg.index, pairs, &mut code),
            Test::OwnProcess => one_of(arg.index, &[std::process::id()], &mut code),
            Test::Without(bits) => {
                code.extend([load(seccomp::arg_low(arg.index)), jump_any(bits, 0, 1)]);
            }
            Test::With(bits) => {
                code.extend([
                    load(seccomp::arg_low(arg.index)),
                    and(bits),
                    jump_equal(bits, 1, 0),
                ]);
            }
        }
        code.push(ret(seccomp::TRAP));
    }
    code.push(ret(seccomp::ALLOW));
    code
}

/// Goes on past the refusal that follows when the argument is one of `values`.
fn one_of(index: u32, values: &[u32], code: &mut Vec<Insn>) {
    code.extend([
        load(seccomp::arg_high(index)),
        jump_equal(0, 1, 0),
        ret(seccomp::TRAP),
    ]);
    code.push(load(seccomp::arg_low(index)));
    for (at, value) in values.iter().enumerate() {
        // Past the values that follow, and the refusal after them.
        code.push(jump_equal(*value, (values.len() - at) as u8, 0));
    }
}

/// Goes on past the refusal that follows when two arguments are one of `pairs`.
fn pair_of(index: u32, pairs: &[(u32, u32)], code: &mut Vec<Insn>) {
    for (at, (first, second)) in pairs.iter().enumerate() {
        // Past the pairs that follow, and the refusal after them.
        let past = 4 * (pairs.len() - at - 1) + 1;
        code.extend([
            load(seccomp::arg_low(index)),
            jump_equal(*first, 0, 2),
            load(seccomp::arg_low(index + 1)),
            jump_equal(*second, past as u8, 0),
        ]);
    }
}

const fn insn(code: u32, k: u32, jt: u8, jf: u8) -> Insn {
    Insn {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const fn load(offset: u32) -> Insn {
    insn(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

const fn and(bits: u32) -> Insn {
    insn(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits, 0, 0)
}

const fn jump_equal(value: u32, yes: u8, no: u8) -> Insn {
    insn(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no)
}

const fn jump_any(bits: u32, yes: u8, no: u8) -> Insn {
    insn(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, yes, no)
}

const fn ret(action: u32) -> Insn {
    insn(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

/// What a call is called. Runs in a signal handler.
pub type NameOf = fn(i64) -> Option<&'static str>;

static NAME_OF: OnceLock<NameOf> = OnceLock::new();

/// Who this process is, and its table.
static WHO: OnceLock<(&str, &[Row])> = OnceLock::new();

/// Closes the sentry under its filter; all threads of the process. A denied call ends the process after a line on
/// standard error, which names the call: those of the table by themselves, others as `name_of` does.
pub fn close_sentry(needs: Needs, name_of: NameOf) -> Result<(), Errno> {
    let _ = NAME_OF.set(name_of);
    let _ = WHO.set(("sentry", SENTRY));
    crate::signal::on_denied_call(name_and_exit)?;
    seccomp::install(&sentry_filter(needs)?, true)
}

/// Closes the relay of a sandbox's network under its filter, as [`close_sentry`] does.
pub fn close_relay() -> Result<(), Errno> {
    let _ = WHO.set(("relay", RELAY));
    crate::signal::on_denied_call(name_and_exit)?;
    seccomp::install(&filter(RELAY.iter())?, true)
}

/// Closes the process that forwards ports under its filter, as [`close_sentry`] does.
pub fn close_forwarder(name_of: NameOf) -> Result<(), Errno> {
    let _ = NAME_OF.set(name_of);
    let _ = WHO.set(("forwarder", FORWARD));
    crate::signal::on_denied_call(name_and_exit)?;
    seccomp::install(&filter(FORWARD.iter())?, true)
}

/// Closes a process outside of the jail that waits for a sandbox, as [`close_sentry`] does.
pub fn close_waiting(who: Waits, name_of: NameOf) -> Result<(), Errno> {
    let _ = NAME_OF.set(name_of);
    let _ = WHO.set((who.name(), super::WAITING));
    crate::signal::on_denied_call(name_and_exit)?;
    seccomp::install(&filter(who.rows())?, true)
}

/// Runs in a signal handler: writes with plain calls only.
fn name_and_exit(nr: i32) -> ! {
    let mut line = [0; 160];
    let mut len = 0;
    let mut put = |text: &[u8]| {
        for byte in text {
            if let Some(slot) = line.get_mut(len) {
                *slot = *byte;
                len += 1;
            }
        }
    };
    let (who, table) = WHO.get().copied().unwrap_or(("sentry", SENTRY));
    put(b"tegmen: the ");
    put(who.as_bytes());
    put(b" made a host call outside of its profile: ");
    let mut digits = [0; 10];
    let mut rest = nr.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    put(&digits[at..]);
    let nr = i64::from(nr);
    if let Some(row) = table.iter().find(|row| row.nr == nr) {
        put(b" (");
        put(row.name.as_bytes());
        put(b", with other arguments or in another kind of sandbox)");
    } else if let Some(name) = NAME_OF.get().and_then(|name_of| name_of(nr)) {
        put(b" (");
        put(name.as_bytes());
        put(b")");
    }
    put(b"\n");
    crate::signal::write_error_and_exit(&line[..len], 125)
}
