//! Signal frames: rt_sigreturn(2) of frames that are the fuzzer's, and handlers on stacks that are.

use abi::UserAddr;
use kernel::signal::Flow;

use super::bytes::Bytes;
use super::syscalls::{guest, take_apart};

/// Steps of one run.
const MAX_STEPS: usize = 24;
const STACK: usize = 1 << 16;
/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
const STOPS: [u64; 4] = [19, 20, 21, 22];
/// CF PF AF ZF SF TF DF OF RF AC: what a guest may set.
const USER_FLAGS: u64 = 0x5_0dd5;
/// Places in the frame that decide: rip, flags, segments, fpstate, stack, magic.
const WORDS: [u64; 12] = [
    0,
    1,
    u64::MAX,
    0x7fff_0000_0000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    1 << 63,
    0x33,
    0x4650_5853,
    0x4650_5845,
    0x1f80,
    576,
];

pub fn run(data: &[u8]) {
    let guest = guest();
    let stack = guest.room(STACK);
    let mut input = Bytes(data);
    let place = |input: &mut Bytes<'_>| match input.byte() % 8 {
        0 => WORDS[usize::from(input.byte()) % WORDS.len()],
        1 => input.word(8),
        _ => stack.0 + input.word(2) % STACK as u64,
    };
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        let signal = 1 + u64::from(input.byte()) % 64;
        match input.byte() % 7 {
            0 => {
                let at = place(&mut input);
                let len = input.word(2) as usize % 1200;
                let _ = guest.task.copy_out(UserAddr(at), input.take(len));
            }
            1 => {
                let (at, word) = (place(&mut input), place(&mut input));
                let _ = guest.task.copy_out(UserAddr(at), &word.to_le_bytes());
            }
            2 => {
                let at = place(&mut input);
                guest.task.context.borrow_mut().regs_mut().rsp = at;
            }
            3 => {
                let before = guest.task.context.borrow().regs().eflags;
                let _ = guest.call("rt_sigreturn", &[]);
                let regs = *guest.task.context.borrow().regs();
                assert_eq!(
                    regs.eflags & !USER_FLAGS,
                    before & !USER_FLAGS,
                    "flags of the kernel's"
                );
            }
            4 => {
                let new = [place(&mut input), input.word(4), place(&mut input)];
                let new: Vec<u8> = new.iter().flat_map(|word| word.to_le_bytes()).collect();
                let new = guest.bytes(&new);
                let _ = guest.call("sigaltstack", &[new.0, 0]);
            }
            5 => {
                let new = [
                    place(&mut input),
                    input.word(4) | 0x0400_0000,
                    place(&mut input),
                    input.word(8),
                ];
                let new: Vec<u8> = new.iter().flat_map(|word| word.to_le_bytes()).collect();
                let new = guest.bytes(&new);
                let _ = guest.call("rt_sigaction", &[signal, new.0, 0, 8]);
            }
            // A task that stops waits for another to continue it.
            _ if !STOPS.contains(&signal) => {
                let _ = guest.call("kill", &[1, signal]);
            }
            _ => {}
        }
        if matches!(guest.attend(), Flow::Exit(_)) {
            break;
        }
    }
    take_apart(guest);
}
