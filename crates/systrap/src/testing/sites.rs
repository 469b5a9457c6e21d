//! Call sites in text that a guest has made up, and calls that it says to have made anywhere. The text is memory of this process, and a
//! thread of it plays the helper that carries out the sentry's orders.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use abi::PAGE_SIZE;
use host::futex;
use host::mem::{self, Shared};
use platform::Prot;

use super::{Script, engine};
use crate::layout::{CHANNEL_LEN, OP_CAS64, USER_START, command, hint};
use crate::patch::{self, LEN};
use crate::process::Process;
use crate::regions::Access;

const TEXT: u64 = 4 * PAGE_SIZE;
/// Steps of one run.
const MAX_STEPS: usize = 40;
/// Traps after which a site is patched, and one more.
const OFTEN: u32 = 17;
/// Sequence numbers in acknowledgements wrap here.
const SEQ_MASK: u32 = 0x7_ffff;

/// Call sites as compilers make them, and nearly so: with a number before them, with fill behind them.
const SHAPES: [&[u8]; 8] = [
    &[0xb8, 1, 0, 0, 0, 0x0f, 0x05],
    &[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff],
    &[
        0x0f, 0x05, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
    ],
    &[
        0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0x77, 0x01, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
    ],
    &[0xb8, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x05],
    &[
        0x0f, 0x05, 0xeb, 0xfe, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x66, 0x90,
    ],
    &[0xb8, 0x0f, 0x05, 0x0f, 0x05, 0x0f, 0x05, 0x0f, 0x05],
    &[0x0f, 0x05, 0x0f, 0x0b],
];

/// Text, and room for trampolines behind it, in this process.
struct Ground {
    start: u64,
}

impl Ground {
    fn new() -> Ground {
        let (access, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping at an address of the host's choice overlaps nothing.
        let start = unsafe {
            let none = std::ptr::null_mut();
            libc::mmap(none, (TEXT + LEN) as usize, access, flags, -1, 0)
        };
        assert_ne!(start, libc::MAP_FAILED);
        Ground { start: start as u64 }
    }

    fn room(&self) -> u64 {
        self.start + TEXT
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        for (at, byte) in (at..TEXT).zip(bytes) {
            // SAFETY: inside the mapping; other threads of this module change it with atomics or by the host's own copies.
            let cell = unsafe { std::sync::atomic::AtomicU8::from_ptr((self.start + at) as *mut u8) };
            cell.store(*byte, Ordering::SeqCst);
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut bytes = vec![0; TEXT as usize];
        let got = host::vm::read(own_pid(), self.start, &mut bytes);
        assert_eq!(got, Ok(TEXT as usize));
        bytes
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nobody uses it any more.
        unsafe { libc::munmap(self.start as *mut libc::c_void, (TEXT + LEN) as usize) };
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(i32::MAX)
}

/// Plays a script. Returns how many sites are patched in the end.
pub(super) fn play(script: &mut Script<'_>) -> usize {
    let ground = Ground::new();
    let nothing = File::open("/dev/null").expect("/dev/null").into();
    let process = Process::unreal(own_pid(), engine(), nothing).expect("a channel");
    let orders = File::from(process.orders().expect("its orders"));
    let restless = script.word(1) & 1 == 1;
    lay_out(script, &ground, &process);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let done = std::panic::catch_unwind(AssertUnwindSafe(|| help(&orders, &ground, restless, &over)));
            // Nobody answers any more: as when the process has died.
            process.vanish();
            done.expect("orders of patching");
        });
        let before = ground.text();
        for _ in 0..MAX_STEPS {
            if script.0.is_empty() {
                break;
            }
            step(script, &ground, &process, restless);
        }
        let patched = process.patches().len();
        process.patches().undo(&process);
        if !restless {
            restored(&before, &ground.text());
        }
        over.store(true, Ordering::SeqCst);
        patched
    })
}

fn lay_out(script: &mut Script<'_>, ground: &Ground, process: &Process) {
    for page in 0..TEXT / PAGE_SIZE {
        let kind = script.word(1);
        let access = Access {
            prot: match kind % 8 {
                0 => Prot::READ | Prot::WRITE | Prot::EXEC,
                1 => Prot::READ,
                _ => Prot::READ | Prot::EXEC,
            },
            shared: kind % 8 == 2,
        };
        let start = ground.start + page * PAGE_SIZE;
        process.regions().set(start, start + PAGE_SIZE, access);
    }
    for _ in 0..script.word(1) % 32 {
        let shape = SHAPES[script.word(1) as usize % SHAPES.len()];
        ground.put(script.word(2) % TEXT, shape);
    }
    let room = match script.word(1) {
        0 => USER_START,
        1 => ground.start + (1 << 40),
        _ => ground.room(),
    };
    process.patches().offer_room(room);
}

fn step(script: &mut Script<'_>, ground: &Ground, process: &Process, restless: bool) {
    let inside = ground.start + script.word(2) % (TEXT + 16);
    match script.word(1) % 16 {
        // A call from where there may be a site: at any of its ends.
        0..=9 => {
            let nr = match script.word(1) {
                0xff => script.word(8),
                byte => byte,
            };
            let at = find(ground, inside - ground.start).map_or(inside, |at| ground.start + at);
            for _ in 0..OFTEN {
                patch::trapped(process, nr, at);
            }
        }
        10 => {
            for _ in 0..OFTEN {
                patch::trapped(process, script.word(8), script.word(8));
            }
        }
        11 if restless => {
            let bytes = script.0.get(..8).unwrap_or_default().to_vec();
            ground.put(inside - ground.start, &bytes);
        }
        12 => {
            let rip = ground.room() + script.word(2) % LEN;
            let patches = process.patches();
            let _ = (patches.way_back(rip, inside), patches.return_of(rip));
            assert!(inside >= ground.room() || patches.way_back(inside, rip).is_none());
            // A copy, as a fork has it.
            drop(patches.clone());
        }
        13 if restless => process.patches().undo(process),
        14 => {
            let page = abi::page_down(inside);
            let access = Access {
                prot: Prot::READ | Prot::EXEC,
                shared: script.word(1) & 1 == 1,
            };
            process.regions().set(page, page + PAGE_SIZE, access);
        }
        _ => {}
    }
}

/// The end of the next `syscall` in the text from `from` on.
fn find(ground: &Ground, from: u64) -> Option<u64> {
    let text = ground.text();
    let rest = text.get(from as usize..)?;
    let at = rest.windows(2).position(|pair| pair == [0x0f, 0x05])?;
    Some(from + at as u64 + 2)
}

/// Whatever was patched is as it was, but for jumps in fill that nobody executes.
fn restored(before: &[u8], after: &[u8]) {
    for (at, (old, new)) in before.iter().zip(after).enumerate() {
        if old != new {
            let near = before.get(at.saturating_sub(5)..at + 1).unwrap_or_default();
            let fill = near.iter().any(|byte| matches!(byte, 0x90 | 0xcc | 0x0f | 0x66));
            assert!(fill, "byte {at:#x} of the text was {old:#x} and is {new:#x}");
        }
    }
}

/// The helper: carries out what patching may order, inside the text and the room for trampolines only.
fn help(orders: &File, ground: &Ground, restless: bool, over: &AtomicBool) {
    let map = Shared::map(orders, 0, CHANNEL_LEN).expect("the orders' page");
    // SAFETY: inside the mapping, aligned; shared memory is accessed through atomics only.
    let word = |at: usize| unsafe { AtomicU32::from_ptr(map.start().add(at).cast()) };
    // SAFETY: as above.
    let quad = |at: usize| unsafe { AtomicU64::from_ptr(map.start().add(at).cast()) };
    let mut seen = 0;
    while !over.load(Ordering::SeqCst) {
        let seq = word(command::SEQ).load(Ordering::SeqCst);
        if seq == seen {
            thread::yield_now();
            continue;
        }
        seen = seq;
        let mut ack = u64::from(seq & SEQ_MASK) << 44;
        for index in 0..word(command::COUNT).load(Ordering::Relaxed) as usize {
            let at = command::OPS + index * command::OP_LEN;
            let args: Vec<u64> = (1..=6)
                .map(|n| quad(at + 8 * n).load(Ordering::Relaxed))
                .collect();
            let errno = carry_out(quad(at).load(Ordering::Relaxed), &args, ground);
            if errno != 0 {
                ack |= (errno as u64) << 32 | index as u64;
                break;
            }
        }
        mem::set_offset(orders, ack).expect("an acknowledgement");
        if restless {
            // As a guest would: it says so again and again.
            word(hint::DONE).store(seq.wrapping_add(1), Ordering::SeqCst);
        }
        word(hint::DONE).store(seq, Ordering::SeqCst);
        futex::wake(word(hint::DONE), 1);
    }
}

fn carry_out(nr: u64, args: &[u64], ground: &Ground) -> i32 {
    let [addr, len, third, ..] = *args else {
        return libc::EINVAL;
    };
    let text = ground.start..ground.start + TEXT;
    match nr {
        OP_CAS64 => {
            assert!(
                text.contains(&addr) && addr.is_multiple_of(8),
                "a word of the text"
            );
            // SAFETY: inside the mapping, aligned; see `Ground::put`.
            let word = unsafe { AtomicU64::from_ptr(addr as *mut u64) };
            let done = word.compare_exchange(len, third, Ordering::SeqCst, Ordering::SeqCst);
            if done.is_ok() { 0 } else { libc::EAGAIN }
        }
        _ if nr == libc::SYS_mprotect as u64 => {
            let end = addr.checked_add(len).expect("a range");
            assert!(addr >= text.start && end <= text.end, "access of the text");
            0
        }
        _ if nr == libc::SYS_mmap as u64 => {
            assert_eq!(
                third & libc::PROT_WRITE as u64,
                0,
                "trampolines that a guest could write"
            );
            if addr != ground.room() || len != LEN {
                return libc::ENOMEM;
            }
            let fd = args[4] as i32;
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            // SAFETY: the range is the room that belongs to this run; the descriptor is the sentry's.
            let at = unsafe { libc::mmap(addr as *mut _, len as usize, libc::PROT_READ, flags, fd, 0) };
            if at == libc::MAP_FAILED { libc::ENOMEM } else { 0 }
        }
        other => panic!("the order {other:#x} has no use in patching"),
    }
}
