//! A container's seccomp profile as a classic BPF program for the guest's kernel.
//!
//! The meaning is that of libseccomp as runc drives it (runtime-spec, "Seccomp"): a rule without conditions is for every
//! call of that name, one with conditions for those that meet them. The sandbox's walls do not depend on it.

mod condition;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kernel::syscall::rows;
use kernel::task::{Instruction, SECCOMP_PROGRAM_MAX};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use condition::{Condition, Test};

/// One instruction as the control protocol and the configuration carry it: code, jump when true, jump when false, operand.
pub type RawInstruction = (u16, u8, u8, u32);

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The thread ends (SCMP_ACT_KILL, SCMP_ACT_KILL_THREAD).
    KillThread,
    /// The process ends.
    KillProcess,
    /// SIGSYS.
    Trap,
    /// The call fails with this errno.
    Errno(u16),
    /// The tracer is asked; there never is one: `ENOSYS`.
    Trace(u16),
    /// Allowed, and logged.
    Log,
    /// Allowed.
    Allow,
}

impl Action {
    /// SECCOMP_RET_*.
    fn value(self) -> u32 {
        match self {
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// For calls that no rule is about.
    pub default: Action,
    /// In the order of the configuration.
    pub rules: Vec<Rule>,
}

/// What is to happen to some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names of calls. Those of other architectures are passed over.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// All must hold; but conditions on one and the same argument are alternatives, as runc has it.
    pub conditions: Vec<Condition>,
}

/// Why there is no program.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// An argument's number is above 5.
    #[error("seccomp: system calls have no argument {0}")]
    Argument(u32),
    /// Linux's limit on programs.
    #[error("seccomp: the profile makes a filter of {0} instructions, more than {SECCOMP_PROGRAM_MAX}")]
    TooLong(usize),
}

/// What is known of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fate {
    /// Alternatives: each a list of conditions and what happens when all hold.
    special: Vec<(Vec<Condition>, Action)>,
    /// What happens else.
    plain: Option<Action>,
}

const LD_NR: Instruction = op(0x20, 0, 0, 0);
const JGE: u16 = 0x35;
const JA: u16 = 0x05;
const RET: u16 = 0x06;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// The program of a profile. It looks at the number only: the guest has one architecture.
pub fn compile(profile: &Profile) -> Result<Vec<RawInstruction>, Error> {
    let fates = fates(profile)?;
    let ranges = ranges(profile, &fates);
    let mut program = vec![LD_NR];
    program.extend(decide(&ranges, profile.default));
    if program.len() > SECCOMP_PROGRAM_MAX {
        return Err(Error::TooLong(program.len()));
    }
    Ok(program
        .iter()
        .map(|one| (one.code, one.jt, one.jf, one.k))
        .collect())
}

/// Turns a program back into the kernel's form.
pub fn instructions(program: &[RawInstruction]) -> Vec<Instruction> {
    program
        .iter()
        .map(|(code, jt, jf, k)| op(*code, *jt, *jf, *k))
        .collect()
}

fn fates(profile: &Profile) -> Result<BTreeMap<u32, Fate>, Error> {
    let numbers: BTreeMap<&str, u32> = rows().map(|row| (row.name, u32::from(row.nr))).collect();
    let mut fates: BTreeMap<u32, Fate> = BTreeMap::new();
    for rule in &profile.rules {
        if let Some(bad) = rule.conditions.iter().find(|one| one.argument > 5) {
            return Err(Error::Argument(bad.argument));
        }
        for nr in rule.names.iter().filter_map(|name| numbers.get(name.as_str())) {
            let fate = fates.entry(*nr).or_default();
            if rule.conditions.is_empty() {
                fate.plain.get_or_insert(rule.action);
            } else if one_argument_twice(&rule.conditions) {
                let each = rule.conditions.iter();
                fate.special.extend(each.map(|one| (vec![*one], rule.action)));
            } else {
                fate.special.push((rule.conditions.clone(), rule.action));
            }
        }
    }
    Ok(fates)
}

fn one_argument_twice(conditions: &[Condition]) -> bool {
    let mut seen = [false; 6];
    conditions.iter().any(|one| {
        let slot = seen.get_mut(one.argument as usize);
        slot.is_some_and(|slot| std::mem::replace(slot, true))
    })
}

/// The numbers as consecutive ranges of the same fate: first number of each.
fn ranges(profile: &Profile, fates: &BTreeMap<u32, Fate>) -> Vec<(u32, Fate)> {
    let other = Fate::default();
    // Calls newer than all that the profile knows do not exist, rather than being forbidden: programs then use older
    // ones (as runc does it). The numbers of the x32 ABI, from 2^30 on, are calls that do not exist here anyway.
    let newer = match profile.default {
        Action::Allow | Action::Log | Action::Trace(_) => other.clone(),
        _ => Fate {
            plain: Some(Action::Errno(abi::Errno::ENOSYS.raw() as u16)),
            ..Fate::default()
        },
    };
    let mut ranges = vec![(0, other.clone())];
    let mut last = 0;
    for (nr, fate) in fates {
        if *nr > last {
            ranges.push((last, other.clone()));
        }
        ranges.push((*nr, fate.clone()));
        last = nr + 1;
    }
    ranges.push((last, if fates.is_empty() { other } else { newer }));
    // Of two that start at the same number the later one counts; neighbours of the same fate are one.
    let mut merged: Vec<(u32, Fate)> = Vec::new();
    for (from, fate) in ranges {
        if merged.last().is_some_and(|(start, _)| *start == from) {
            merged.pop();
        }
        if merged.last().is_none_or(|(_, before)| *before != fate) {
            merged.push((from, fate));
        }
    }
    merged
}

/// A binary search over ranges.
fn decide(ranges: &[(u32, Fate)], default: Action) -> Vec<Instruction> {
    if let [(_, fate)] = ranges {
        return leaf(fate, default);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let Some((pivot, _)) = high.first() else {
        return leaf(&Fate::default(), default);
    };
    let (low, high) = (decide(low, default), decide(high, default));
    let mut program = match u8::try_from(low.len()) {
        Ok(over) => vec![op(JGE, over, 0, *pivot)],
        // Too far for a conditional jump: into the high half by a long one.
        Err(_) => vec![op(JGE, 0, 1, *pivot), op(JA, 0, 0, low.len() as u32)],
    };
    program.extend(low);
    program.extend(high);
    program
}

/// What happens to the calls of one range.
fn leaf(fate: &Fate, default: Action) -> Vec<Instruction> {
    let mut program = Vec::new();
    for (conditions, action) in &fate.special {
        program.extend(condition::block(conditions, action.value()));
    }
    program.push(op(RET, 0, 0, fate.plain.unwrap_or(default).value()));
    program
}
