//! Seccomp filters of guests: what is accepted runs to its end for every call.

use kernel::task::{Instruction, Seccomp};

use super::bytes::Bytes;

pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let nr = input.word(2);
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = input.word(3);
    }
    let ip = input.word(8);
    let mut before = None;
    while !input.is_empty() {
        let len = usize::from(input.byte()) + 1;
        let mut program = Vec::new();
        for _ in 0..len {
            if input.is_empty() {
                break;
            }
            program.push(Instruction {
                code: input.word(if program.len() % 8 == 7 { 2 } else { 1 }) as u16,
                jt: input.byte(),
                jf: input.byte(),
                k: input.word(4) as u32,
            });
        }
        match Seccomp::filter(program, before.clone(), false, None) {
            Ok(filter) => before = Some(filter),
            Err(_) => break,
        }
    }
    if let Some(filter) = before {
        let verdict = filter.decide(nr, &args, ip);
        if filter.always_allows(nr) {
            assert_eq!(verdict, kernel::task::Verdict::Allow, "foreseen otherwise");
        }
    }
}
