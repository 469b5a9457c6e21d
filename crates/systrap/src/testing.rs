//! A guest thread that keeps to no rule, played by a thread of this process: it writes what a script says into every area that it
//! shares with the sentry, at any step. There is no host process behind it, so nothing that the engine does reaches anybody.

mod sites;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use abi::UserAddr;
use host::futex;
use platform::{Context, Event, LocalAnswers, Prot, Registers, XState};

use crate::channel::{Channel, Op};
use crate::context::Thread;
use crate::engine::{Engine, Tuning};
use crate::frame;
use crate::layout::{AREA_LEN, CHANNEL_LEN, area, hint, state, uc};
use crate::process::Process;
use crate::regions::Access;
use crate::slot::{Parked, Slot};

/// Calls of the sentry in one run.
const MAX_STEPS: usize = 24;
/// Places of the area that decide, beside those that a script names.
const PLACES: [usize; 15] = [
    area::SIG,
    area::UC,
    area::RESUME,
    area::FS_BASE,
    area::GS_BASE,
    area::TSC,
    area::CPU,
    area::WINDOW_LEN,
    area::GATHERED,
    area::OUT_LEN,
    area::KICK,
    area::FAST + uc::RIP,
    area::FAST + uc::RAX,
    area::FAST + uc::FPSTATE,
    area::FAST + uc::SIGINFO + 8,
];
/// Signals that mean something, or nearly.
const SIGNALS: [u64; 12] = [0x100, 0x101, 0xff, 0, 31, 11, 7, 8, 4, 5, 12, 9];

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn word(&mut self, len: usize) -> u64 {
        let (head, tail) = self.0.split_at(len.min(self.0.len()));
        self.0 = tail;
        let mut raw = [0; 8];
        raw[..head.len()].copy_from_slice(head);
        u64::from_le_bytes(raw)
    }
}

fn engine() -> Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    let make = || Arc::new(Engine::new(Tuning::default()).expect("the host has what the engine needs"));
    ENGINE.get_or_init(make).clone()
}

/// Runs the sentry's side of a guest thread against a script. Panics are findings; whatever it reports is right.
pub fn hostile(data: &[u8]) {
    let mut script = Script(data);
    let shape = script.word(1);
    match shape {
        0xff => return orders(script),
        0xfe => {
            sites::play(&mut script);
            return;
        }
        _ => {}
    }
    let engine = engine();
    let nothing = File::open("/dev/null").expect("/dev/null").into();
    let process = Process::unreal(i32::MAX, engine.clone(), nothing).expect("a channel");
    let slot = Arc::new(Slot {
        area: engine.areas.take().expect("a free area"),
        tid: AtomicI32::new(i32::MAX),
        kicked: AtomicBool::new(false),
    });
    let at = frame::initial_offset(engine.layout);
    frame::create(&slot.area, at, engine.layout);
    let access = Access {
        prot: Prot::READ | Prot::WRITE,
        shared: false,
    };
    process.regions().set(0x10_0000, 0x20_0000, access);
    let starting = shape & 1 == 1;
    let first = if starting { state::RUN } else { state::EVENT };
    slot.area.word(area::STATE).store(first, Ordering::SeqCst);
    let (sentry, guest) = script.0.split_at(script.0.len() / 3);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| play(Script(guest), &slot, &over));
        let parked = Parked {
            slot: slot.clone(),
            uc: at,
            starting,
            far: shape & 2 != 0,
        };
        serve(
            Script(sentry),
            Thread::new(process, parked, &Registers::default(), &XState::default()).ok(),
        );
        over.store(true, Ordering::SeqCst);
    });
}

/// The sentry's side: events, and everything that a kernel does between them.
fn serve(mut script: Script<'_>, thread: Option<Thread>) {
    let Some(mut thread) = thread else { return };
    for _ in 0..MAX_STEPS {
        let addr = UserAddr(0x10_0000 + script.word(2));
        match script.word(1) % 16 {
            0 => {
                let mut bytes = vec![0; script.word(2) as usize];
                let _ = thread.read(addr, &mut bytes);
            }
            1 => drop(thread.write(addr, &vec![7; script.word(2) as usize])),
            2 => drop(thread.flush()),
            3 => {
                if let Ok(mut state) = thread.xstate() {
                    if let Some(byte) = state.0.get_mut(script.word(2) as usize) {
                        *byte = script.word(1) as u8;
                    }
                    let _ = thread.set_xstate(&state);
                }
            }
            4 => {
                let regs = thread.regs_mut();
                (regs.rip, regs.fs_base, regs.gs_base) = (script.word(8), script.word(8), script.word(6));
                (regs.eflags, regs.rsp) = (script.word(8), script.word(8));
            }
            5 => thread.interrupter().interrupt(),
            6 => thread.set_local_answers(&LocalAnswers::default()),
            7 => thread.will_sleep(),
            8 => thread.set_return(script.word(8)),
            _ => {
                if let Event::Died(_) = thread.run() {
                    break;
                }
                let regs = *thread.regs();
                let mut bytes = [0; 64];
                let _ = thread.read(UserAddr(regs.rsi), &mut bytes);
                let _ = thread.read(UserAddr(regs.rdi), &mut bytes[..8]);
            }
        }
    }
}

/// The guest's side: whenever it is its turn, and when it is not.
fn play(mut script: Script<'_>, slot: &Slot, over: &AtomicBool) {
    let word = slot.area.word(area::STATE);
    while !over.load(Ordering::SeqCst) {
        let shape = script.word(1);
        let out_of_turn = shape & 3 == 3;
        while !out_of_turn && !over.load(Ordering::SeqCst) {
            let now = word.load(Ordering::SeqCst) & !state::SLEEP;
            if matches!(now, state::RUN | state::SAVE | state::EXIT) {
                break;
            }
            thread::yield_now();
        }
        for _ in 0..shape >> 2 & 7 {
            write(&mut script, slot);
        }
        let next = match shape >> 5 {
            _ if script.0.is_empty() => state::DEAD,
            0 => script.word(4) as u32,
            _ => state::EVENT,
        };
        if !out_of_turn || script.0.is_empty() {
            word.store(next, Ordering::SeqCst);
            futex::wake(word, 1);
        }
        if script.0.is_empty() && next == state::DEAD {
            // Whoever asks again hears the same.
            while !over.load(Ordering::SeqCst) {
                if word.swap(state::DEAD, Ordering::SeqCst) != state::DEAD {
                    futex::wake(word, 1);
                }
                thread::yield_now();
            }
        }
    }
}

fn write(script: &mut Script<'_>, slot: &Slot) {
    let choice = script.word(1) as usize;
    let (at, value) = match choice % 8 {
        0 | 1 => {
            slot.area
                .word(area::SIG)
                .store(SIGNALS[choice / 8 % SIGNALS.len()] as u32, Ordering::SeqCst);
            return;
        }
        2 => (area::UC, slot.area.address() + area::FAST as u64),
        3 => (area::UC, slot.area.address() + script.word(2)),
        4 => (script.word(3) as usize % (AREA_LEN / 8) * 8, script.word(8)),
        5 => (area::FAST + uc::FPSTATE, slot.area.address() + script.word(3)),
        _ => (PLACES[choice / 8 % PLACES.len()] & !7, script.word(8)),
    };
    if at != area::STATE {
        slot.area.set(at, value);
    }
}

/// Orders to a helper that is not there, while somebody writes the hint page and the acknowledgements.
fn orders(script: Script<'_>) {
    let mut channel = Channel::new().expect("a channel");
    let file = channel.file().try_clone().map(File::from).expect("a copy");
    let script = Mutex::new(script);
    let looks = AtomicI32::new(0);
    for _ in 0..3 {
        let ops = [Op::call(9, [0; 6]), Op::call(11, [1; 6])];
        let _ = channel.execute(&ops, || {
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            let at = hint::DONE as u64 + script.word(1) % ((CHANNEL_LEN - hint::DONE) as u64 / 4) * 4;
            let _ = file.write_all_at(&(script.word(4) as u32).to_le_bytes(), at);
            use std::io::{Seek, SeekFrom};
            let _ = (&file).seek(SeekFrom::Start(script.word(8)));
            looks.fetch_add(1, Ordering::SeqCst) % 2 == 1
        });
    }
}

#[cfg(test)]
mod tests {
    /// What a guest may write anywhere, without an end and in all orders, comes to nothing; the long runs are the fuzz target's.
    #[test]
    fn a_guest_that_keeps_to_no_rule_is_borne() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..300 {
            let mut bytes = Vec::new();
            for _ in 0..60 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                bytes.extend(random.to_le_bytes());
            }
            if bytes[0] == 0xff {
                bytes[0] = 0;
            }
            super::hostile(&bytes);
        }
        super::hostile(&[0xff; 64]);
    }

    /// The same for guests whose text is whatever suits them, and whose calls come from anywhere.
    #[test]
    fn text_of_any_kind_is_patched_or_left_alone() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut patched = 0;
        for _ in 0..400 {
            let mut bytes = Vec::new();
            for _ in 0..100 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                bytes.extend(random.to_le_bytes());
            }
            patched += super::sites::play(&mut super::Script(&bytes));
        }
        assert!(patched > 10, "{patched}");
    }
}
