//! Conditions on arguments: 64-bit comparisons in the 32-bit words of `struct seccomp_data`.

use kernel::task::Instruction;
use serde::{Deserialize, Serialize};

use super::op;

/// What must hold for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Which argument, from 0.
    pub argument: u32,
    /// What is asked.
    pub test: Test,
}

/// A comparison of an unsigned 64-bit argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// SCMP_CMP_EQ.
    Equal(u64),
    /// SCMP_CMP_NE.
    NotEqual(u64),
    /// SCMP_CMP_LT.
    Less(u64),
    /// SCMP_CMP_LE.
    LessOrEqual(u64),
    /// SCMP_CMP_GT.
    Greater(u64),
    /// SCMP_CMP_GE.
    GreaterOrEqual(u64),
    /// SCMP_CMP_MASKED_EQ: the argument under the first equals the second.
    Masked(u64, u64),
}

/// Where a comparison goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// The next instruction.
    Next,
    /// The condition holds.
    Holds,
    /// It does not: the next alternative.
    Fails,
}

enum Step {
    Load(u32),
    And(u32),
    Jump(u16, u32, To, To),
}

const LD_ABS: u16 = 0x20;
const AND: u16 = 0x54;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RET: u16 = 0x06;

/// Offset of the first argument in `struct seccomp_data`.
const ARGUMENTS: u32 = 16;

/// "If all conditions hold, return `answer`"; else control comes out at the end.
pub fn block(conditions: &[Condition], answer: u32) -> Vec<Instruction> {
    let steps: Vec<Vec<Step>> = conditions.iter().map(steps).collect();
    // At most six conditions of six steps each: every jump fits.
    let all: usize = steps.iter().map(Vec::len).sum();
    let mut program = Vec::new();
    for one in &steps {
        let end = program.len() + one.len();
        for step in one {
            let next = program.len() + 1;
            let distance = |to: To| match to {
                To::Next => 0,
                To::Holds => (end - next) as u8,
                // Past the return.
                To::Fails => (all + 1 - next) as u8,
            };
            program.push(match *step {
                Step::Load(at) => op(LD_ABS, 0, 0, at),
                Step::And(mask) => op(AND, 0, 0, mask),
                Step::Jump(code, value, yes, no) => op(code, distance(yes), distance(no), value),
            });
        }
    }
    program.push(op(RET, 0, 0, answer));
    program
}

fn steps(condition: &Condition) -> Vec<Step> {
    use Step::{And, Jump, Load};
    use To::{Fails, Holds, Next};
    let low = ARGUMENTS + 8 * condition.argument;
    let high = low + 4;
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    // Decided by the high words unless they are equal, then by the low words.
    let ordered = |value: u64, code: u16, greater: To, less: To| {
        let (top, bottom) = halves(value);
        vec![
            Load(high),
            Jump(JGT, top, greater, Next),
            Jump(JEQ, top, Next, less),
            Load(low),
            Jump(code, bottom, greater, less),
        ]
    };
    match condition.test {
        Test::Equal(value) => {
            let (top, bottom) = halves(value);
            vec![
                Load(high),
                Jump(JEQ, top, Next, Fails),
                Load(low),
                Jump(JEQ, bottom, Holds, Fails),
            ]
        }
        Test::NotEqual(value) => {
            let (top, bottom) = halves(value);
            vec![
                Load(high),
                Jump(JEQ, top, Next, Holds),
                Load(low),
                Jump(JEQ, bottom, Fails, Holds),
            ]
        }
        Test::Greater(value) => ordered(value, JGT, Holds, Fails),
        Test::GreaterOrEqual(value) => ordered(value, JGE, Holds, Fails),
        Test::LessOrEqual(value) => ordered(value, JGT, Fails, Holds),
        Test::Less(value) => ordered(value, JGE, Fails, Holds),
        Test::Masked(mask, value) => {
            let ((mask_top, mask_bottom), (top, bottom)) = (halves(mask), halves(value));
            vec![
                Load(high),
                And(mask_top),
                Jump(JEQ, top, Next, Fails),
                Load(low),
                And(mask_bottom),
                Jump(JEQ, bottom, Holds, Fails),
            ]
        }
    }
}
