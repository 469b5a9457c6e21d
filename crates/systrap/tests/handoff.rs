//! Where the threads of pairs run: pairs that compute use all cores, pairs that wait for each other do not starve.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use abi::UserAddr;
use host::process::{self, CpuSet};
use platform::{Event, MapFlags, MapOp, MapSource, Prot};
use support::{space, thread};
use systrap::{Systrap, Tuning};

// Computes for a while between two calls: some 100 us.
snippet!(
    computing,
    "70: mov eax, 1000",
    "syscall",
    "mov ecx, 300000",
    "71: dec ecx",
    "jnz 71b",
    "jmp 70b"
);
snippet!(calling, "72: mov eax, 1000", "syscall", "jmp 72b");

/// How long `count` pairs take for some calls each with computing in between, side by side. All of them say that
/// their calls wait, so they meet on one core at first.
fn time_of(engine: &Systrap, count: usize) -> Duration {
    let spaces: Vec<_> = (0..count).map(|_| space(engine, computing())).collect();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for space in &spaces {
            scope.spawn(|| {
                let mut context = thread(&**space);
                for _ in 0..1500 {
                    assert_eq!(context.run(), Event::Syscall);
                    context.will_sleep();
                    context.set_return(0);
                }
            });
        }
    });
    begin.elapsed()
}

/// The same with plain threads: what the machine has to give at the moment.
fn plain_time_of(count: usize) -> Duration {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                for n in 0..20_000_000u64 {
                    std::hint::black_box(n);
                }
            });
        }
    });
    begin.elapsed()
}

fn ratio(time_of: impl Fn(usize) -> Duration) -> f64 {
    let (alone, both) = (time_of(1), time_of(2));
    both.as_secs_f64() / alone.as_secs_f64()
}

#[test]
fn pairs_that_compute_use_both_cores() {
    let engine = Systrap::new().expect("engine");
    let mut ratios = Vec::new();
    for _ in 0..6 {
        // Other work on the machine, or a single core, leaves nothing to be shown.
        if ratio(plain_time_of) > 1.3 {
            continue;
        }
        let found = ratio(|count| time_of(&engine, count));
        if found < 1.6 {
            return;
        }
        ratios.push(found);
    }
    assert!(ratios.len() < 3, "{ratios:?}");
}

/// Sentry threads that wait for each other, as those of a pipe's two ends do.
#[test]
fn pairs_that_wait_for_each_other_take_turns() {
    let engine = Systrap::new().expect("engine");
    let spaces: Vec<_> = (0..2).map(|_| space(&engine, calling())).collect();
    let (there, from_there) = mpsc::channel::<u32>();
    let (back, from_back) = mpsc::channel::<u32>();
    let begin = Instant::now();
    let (one, two) = (spaces[0].clone(), spaces[1].clone());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut context = thread(&*one);
            for n in 0..5000 {
                assert_eq!(context.run(), Event::Syscall);
                there.send(n).expect("send");
                context.will_sleep();
                assert_eq!(from_back.recv(), Ok(n));
                context.set_return(0);
            }
        });
        scope.spawn(move || {
            let mut context = thread(&*two);
            for n in 0..5000 {
                context.will_sleep();
                assert_eq!(from_there.recv(), Ok(n));
                context.set_return(0);
                assert_eq!(context.run(), Event::Syscall);
                back.send(n).expect("send");
            }
        });
    });
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

/// How long calls, and memory mapped and unmapped meanwhile, take on a core that a thread that computes has too.
fn time_beside_a_stranger(tuning: Tuning) -> Duration {
    let calls = move || {
        process::set_affinity(0, &CpuSet::one(process::current_cpu())).expect("affinity");
        let over = AtomicBool::new(false);
        let engine = Systrap::tuned(tuning).expect("engine");
        let space = space(&engine, calling());
        let (addr, len) = (UserAddr(0x3000_0000), 0x1_0000);
        let map = MapOp::Map {
            addr,
            len,
            prot: Prot::READ | Prot::WRITE,
            flags: MapFlags::empty(),
            source: MapSource::Anonymous,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::black_box((0..1000_u64).sum::<u64>());
                }
            });
            let mut context = thread(&*space);
            let begin = Instant::now();
            for n in 0..4000 {
                assert_eq!(context.run(), Event::Syscall);
                context.set_return(0);
                if n % 8 == 0 {
                    assert_eq!(space.apply(std::slice::from_ref(&map)), Ok(()));
                    assert_eq!(space.apply(&[MapOp::Unmap { addr, len }]), Ok(()));
                }
            }
            over.store(true, Ordering::Relaxed);
            begin.elapsed()
        })
    };
    std::thread::spawn(calls).join().expect("thread")
}

/// A yield to a thread that computes takes a whole turn of it: pairs and helpers beside one soon sleep instead.
#[test]
fn a_pair_beside_a_thread_that_computes_is_served_soon() {
    let without = Tuning {
        turns: false,
        ..Tuning::default()
    };
    let mut found = Vec::new();
    for _ in 0..4 {
        let (plain, with) = (
            time_beside_a_stranger(without),
            time_beside_a_stranger(Tuning::default()),
        );
        if with < 3 * plain + Duration::from_millis(100) {
            return;
        }
        found.push((plain, with));
    }
    panic!("{found:?}");
}

/// A pair that is never answered takes no processor time.
#[test]
fn a_guest_whose_call_waits_sleeps() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, calling());
    let mut context = thread(&*space);
    for _ in 0..100 {
        assert_eq!(context.run(), Event::Syscall);
        context.set_return(0);
    }
    let before = space.cpu_time();
    context.will_sleep();
    std::thread::sleep(Duration::from_millis(300));
    let used = space.cpu_time() - before;
    assert!(used < Duration::from_millis(5), "{used:?}");
}
