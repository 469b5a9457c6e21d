//! Socket filters: a program that is taken runs to its end on any packet, and says what another reading of the same rules says.

use kernel::bpf::{self, Instruction};

use super::bytes::Bytes;

/// Codes that are something, so that programs are often taken.
const CODES: [u16; 48] = [
    0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0xb1, 0x04, 0x0c,
    0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c,
    0xa4, 0xac, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x06, 0x16, 0x07,
];
const ANCILLARY: u32 = 0xffff_f000;

pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let packet = {
        let len = usize::from(input.byte());
        input.take(len)
    };
    let mut program = Vec::new();
    while !input.is_empty() && program.len() < 64 {
        let shape = input.byte();
        let code = match shape {
            0xff => input.word(2) as u16,
            0xfe => 0x87,
            byte => CODES[usize::from(byte) % CODES.len()],
        };
        let (jt, jf) = (input.byte() & 7, input.byte() & 7);
        let k = match shape >> 6 {
            0 => input.word(1) as u32,
            1 => input.word(4) as u32,
            2 => ANCILLARY + (input.word(1) as u32),
            _ => u32::MAX - input.word(1) as u32,
        };
        program.push(Instruction { code, jt, jf, k });
    }
    program.push(Instruction {
        code: 0x16,
        jt: 0,
        jf: 0,
        k: 0,
    });
    if bpf::check(&program).is_err() {
        return;
    }
    let load = |size: u32, at: u32| -> Option<u32> {
        if at >= ANCILLARY {
            return Some(at ^ size);
        }
        let from = usize::try_from(at).ok()?;
        let bytes = packet.get(from..from.checked_add(size as usize)?)?;
        Some(bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
    };
    let len = packet.len() as u32;
    assert_eq!(
        bpf::run(&program, len, load),
        again(&program, len, load),
        "{program:?}"
    );
}

/// The same by bpf(4)'s table of fields instead of codes. `None`: the packet ends before. A division by zero ends it with 0.
fn again(program: &[Instruction], len: u32, load: impl Fn(u32, u32) -> Option<u32>) -> Option<u32> {
    let (mut a, mut x, mut memory, mut pc) = (0u32, 0u32, [0u32; 16], 0usize);
    for _ in 0..=program.len() {
        let Instruction { code, jt, jf, k } = *program.get(pc)?;
        pc += 1;
        let (class, mode, size) = (code & 7, code & 0xe0, code & 0x18);
        let operand = if code & 8 == 0 { k } else { x };
        match class {
            0 | 1 => {
                let size = match size {
                    0 => 4,
                    8 => 2,
                    _ => 1,
                };
                let value = match mode {
                    0x00 => k,
                    0x20 => load(size, k)?,
                    0x40 => load(size, x.checked_add(k).filter(|at| *at < ANCILLARY)?)?,
                    0x60 => memory[k as usize],
                    0x80 => len,
                    _ => 4 * (load(1, k)? & 15),
                };
                if class == 0 { a = value } else { x = value }
            }
            2 => memory[k as usize] = a,
            3 => memory[k as usize] = x,
            4 if operand == 0 && matches!(code & 0xf0, 0x30 | 0x90) => return Some(0),
            4 => {
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    0x30 => a / operand,
                    0x40 => a | operand,
                    0x50 => a & operand,
                    0x60 => a.wrapping_shl(operand),
                    0x70 => a.wrapping_shr(operand),
                    0x80 => a.wrapping_neg(),
                    0x90 => a % operand,
                    _ => a ^ operand,
                }
            }
            5 => {
                let holds = match code & 0xf0 {
                    0x00 => {
                        pc += k as usize;
                        continue;
                    }
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    _ => a & operand != 0,
                };
                pc += usize::from(if holds { jt } else { jf });
            }
            6 => return Some(if code & 0x18 == 0x10 { a } else { k }),
            _ if code & 0xf8 == 0 => x = a,
            _ => a = x,
        }
    }
    panic!("a program that does not end");
}
