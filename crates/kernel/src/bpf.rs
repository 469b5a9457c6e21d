//! Classic BPF (bpf(4), Linux's filter.rst): programs that judge packets and system calls.

use abi::Errno;

/// Longest program (BPF_MAXINSNS).
pub const PROGRAM_MAX: usize = 4096;
/// Scratch words (BPF_MEMWORDS).
const SCRATCH: usize = 16;

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump when true.
    pub jt: u8,
    /// Jump when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Loads a word of the data.
pub const LD_W_ABS: u16 = 0x20;
const LD_H_ABS: u16 = 0x28;
const LD_B_ABS: u16 = 0x30;
const LD_W_IND: u16 = 0x40;
const LD_H_IND: u16 = 0x48;
const LD_B_IND: u16 = 0x50;
/// Four times the lower half of a byte: the length of an IPv4 header.
const LDX_B_MSH: u16 = 0xb1;
const LDX_W_LEN: u16 = 0x81;
const LD_W_LEN: u16 = 0x80;
const LD_IMM: u16 = 0x00;
const LDX_IMM: u16 = 0x01;
/// Loads a scratch word.
pub const LD_MEM: u16 = 0x60;
const LDX_MEM: u16 = 0x61;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
/// Jumps.
pub const JA: u16 = 0x05;
/// Returns a constant.
pub const RET_K: u16 = 0x06;
const RET_A: u16 = 0x16;
const TAX: u16 = 0x07;
const TXA: u16 = 0x87;

/// Offsets from here on are no places in a packet (SKF_AD_OFF), up to this many of them are known (SKF_AD_MAX).
pub const ANCILLARY: u32 = 0xffff_f000;
const ANCILLARY_MAX: u32 = 64;

/// Whether an instruction reads the data.
pub fn loads_packet(code: u16) -> bool {
    matches!(
        code,
        LD_W_ABS | LD_H_ABS | LD_B_ABS | LD_W_IND | LD_H_IND | LD_B_IND | LDX_B_MSH
    )
}

/// Whether an instruction computes a remainder.
pub fn is_remainder(code: u16) -> bool {
    is_arithmetic(code) && code & 0xf0 == 0x90
}

/// Checks a program as Linux's bpf_check_classic does: known operations, forward jumps inside the program, a return at the end.
pub fn check(program: &[Instruction]) -> Result<(), Errno> {
    if program.is_empty() || program.len() > PROGRAM_MAX {
        return Err(Errno::EINVAL);
    }
    for (at, one) in program.iter().enumerate() {
        let rest = (program.len() - at - 1) as u64;
        let fine = match one.code {
            LD_W_ABS | LD_H_ABS | LD_B_ABS => one.k < ANCILLARY || one.k - ANCILLARY < ANCILLARY_MAX,
            code if loads_packet(code) => true,
            LD_W_LEN | LDX_W_LEN | LD_IMM | LDX_IMM | RET_K | RET_A | TAX | TXA => true,
            LD_MEM | LDX_MEM | ST | STX => (one.k as usize) < SCRATCH,
            JA => u64::from(one.k) < rest,
            code if is_jump(code) => u64::from(one.jt) < rest && u64::from(one.jf) < rest,
            code if is_arithmetic(code) => match (code & 0xf0, code & 8) {
                // A constant divisor of zero; a constant shift beyond the word.
                (0x30 | 0x90, 0) => one.k != 0,
                (0x60 | 0x70, 0) => one.k < 32,
                _ => true,
            },
            _ => false,
        };
        if !fine {
            return Err(Errno::EINVAL);
        }
    }
    match program.last() {
        Some(last) if matches!(last.code, RET_K | RET_A) => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

fn is_jump(code: u16) -> bool {
    matches!(code, 0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d)
}

fn is_arithmetic(code: u16) -> bool {
    code & 7 == 4 && code & 0xf0 <= 0xa0 && code & 0xff00 == 0 && (code != 0x8c)
}

/// Runs a checked program over data of `len` bytes; `load` gives 1, 2 or 4 of them at an offset. `None`: the program wants data
/// that `load` does not have, or left its bounds, which a checked one does not.
pub fn run(program: &[Instruction], len: u32, load: impl Fn(u32, u32) -> Option<u32>) -> Option<u32> {
    let (mut a, mut x) = (0_u32, 0_u32);
    let mut scratch = [0_u32; SCRATCH];
    let mut at = 0;
    // Jumps only go forward, so every step comes nearer to the end.
    while let Some(one) = program.get(at) {
        at += 1;
        let slot = one.k as usize % SCRATCH;
        // An index may not lead from the packet to what is beside it.
        let indexed = |x: u32| x.checked_add(one.k).filter(|sum| *sum < ANCILLARY);
        match one.code {
            LD_W_ABS => a = load(4, one.k)?,
            LD_H_ABS => a = load(2, one.k)?,
            LD_B_ABS => a = load(1, one.k)?,
            LD_W_IND => a = load(4, indexed(x)?)?,
            LD_H_IND => a = load(2, indexed(x)?)?,
            LD_B_IND => a = load(1, indexed(x)?)?,
            LDX_B_MSH => x = (load(1, one.k)? & 0xf) * 4,
            LD_W_LEN => a = len,
            LDX_W_LEN => x = len,
            LD_IMM => a = one.k,
            LDX_IMM => x = one.k,
            LD_MEM => a = scratch[slot],
            LDX_MEM => x = scratch[slot],
            ST => scratch[slot] = a,
            STX => scratch[slot] = x,
            TAX => x = a,
            TXA => a = x,
            RET_K => return Some(one.k),
            RET_A => return Some(a),
            JA => at += one.k as usize,
            code if is_jump(code) => {
                let operand = if code & 8 == 0 { one.k } else { x };
                let holds = match code & 0xf0 {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    _ => a & operand != 0,
                };
                at += usize::from(if holds { one.jt } else { one.jf });
            }
            code => match arithmetic(code, a, if code & 8 == 0 { one.k } else { x }) {
                Some(value) => a = value,
                // A division by zero ends the program with 0.
                None => return Some(0),
            },
        }
    }
    None
}

fn arithmetic(code: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match code & 0xf0 {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.wrapping_shl(operand),
        0x70 => a.wrapping_shr(operand),
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(operand)?,
        0xa0 => a ^ operand,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    fn over(data: &[u8], program: &[Instruction]) -> Option<u32> {
        check(program).unwrap();
        run(program, data.len() as u32, |size, at| {
            let bytes = data.get(at as usize..(at + size) as usize)?;
            Some(bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
        })
    }

    #[test]
    fn packets_are_read_in_network_order_with_indices() {
        let data = [0x45, 1, 2, 3, 4, 5, 6, 7];
        for (program, answer) in [
            (vec![op(LD_W_ABS, 0, 0, 1), op(RET_A, 0, 0, 0)], Some(0x0102_0304)),
            (vec![op(LD_H_ABS, 0, 0, 6), op(RET_A, 0, 0, 0)], Some(0x0607)),
            (vec![op(LD_H_ABS, 0, 0, 7), op(RET_A, 0, 0, 0)], None),
            (
                vec![op(LDX_IMM, 0, 0, 3), op(LD_B_IND, 0, 0, 2), op(RET_A, 0, 0, 0)],
                Some(5),
            ),
            (
                vec![
                    op(LDX_IMM, 0, 0, u32::MAX),
                    op(LD_B_IND, 0, 0, 2),
                    op(RET_A, 0, 0, 0),
                ],
                None,
            ),
            (
                vec![op(LDX_B_MSH, 0, 0, 0), op(TXA, 0, 0, 0), op(RET_A, 0, 0, 0)],
                Some(20),
            ),
            (
                vec![op(LD_W_LEN, 0, 0, 0), op(0x94, 0, 0, 3), op(RET_A, 0, 0, 0)],
                Some(2),
            ),
            (
                vec![op(LD_W_LEN, 0, 0, 0), op(0x3c, 0, 0, 0), op(RET_K, 0, 0, 9)],
                Some(0),
            ),
        ] {
            assert_eq!(over(&data, &program), answer, "{program:?}");
        }
    }

    #[test]
    fn unknown_places_beside_the_packet_are_refused() {
        let at = |k| check(&[op(LD_W_ABS, 0, 0, k), op(RET_K, 0, 0, 0)]);
        assert_eq!(at(ANCILLARY + 60), Ok(()));
        assert_eq!(at(ANCILLARY + 64), Err(Errno::EINVAL));
    }
}
