//! What the engine's operations cost: `cargo bench -p systrap` (prints medians in microseconds).

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use abi::UserAddr;
use platform::{AddressSpace, Event, MapFlags, MapOp, MapSource, Prot, XState};
use support::{space, start_regs, syscall, thread};
use systrap::Systrap;

snippet!(noop, "20: mov eax, 1000", "syscall", "jmp 20b");
snippet!(
    work,
    "21: mov eax, 1000",
    "syscall",
    "mov ecx, 10000",
    "22: dec ecx",
    "jnz 22b",
    "jmp 21b"
);

/// CPU time of this process, in microseconds.
fn own_cpu() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the timespec is a live, writable reference.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// Runs `each` `count` times and prints the median and the CPU time used by the sentry and the guest.
fn measure_with(name: &str, space: &dyn AddressSpace, count: usize, each: impl FnMut()) {
    let (own, guest) = (own_cpu(), space.cpu_time());
    measure(name, count, each);
    let guest = (space.cpu_time() - guest).as_secs_f64() * 1e6;
    println!(
        "{:40} sentry {:9.2} us   guest {:9.2} us of CPU each",
        "",
        (own_cpu() - own) / count as f64,
        guest / count as f64
    );
}

/// Runs `each` `count` times and prints the median.
fn measure(name: &str, count: usize, mut each: impl FnMut()) {
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            each();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let mean = times.iter().sum::<f64>() / count as f64;
    println!(
        "{name:40} median {:9.2} us   mean {mean:9.2} us",
        times[count / 2]
    );
}

fn main() {
    let engine = Systrap::new().expect("engine");
    let one = space(&engine, noop());
    let mut context = thread(&*one);
    let rounds = if std::env::args().nth(2).is_some() { 3 } else { 300 };
    measure_with("no-op to the sentry (x100)", &*one, rounds, || {
        for _ in 0..100 {
            assert_eq!(context.run(), Event::Syscall);
            context.set_return(0);
        }
    });
    if std::env::args().nth(1).as_deref() == Some("noop") {
        return;
    }
    let two = space(&engine, work());
    let mut worker = thread(&*two);
    measure_with("no-op and 3 us of work (x100)", &*two, 100, || {
        for _ in 0..100 {
            assert_eq!(worker.run(), Event::Syscall);
            worker.set_return(0);
        }
    });
    let start = Instant::now();
    std::thread::scope(|scope| {
        for context in [&mut context, &mut worker] {
            scope.spawn(move || {
                for _ in 0..20000 {
                    assert_eq!(context.run(), Event::Syscall);
                    context.set_return(0);
                }
            });
        }
    });
    println!("two threads, 20000 calls each: {:?}", start.elapsed());
    let rw = Prot::READ | Prot::WRITE;
    measure_with("map and unmap 64 KiB", &*one, 2000, || {
        one.apply(&[support::map(0x3000_0000, 0x1_0000, rw)])
            .expect("map");
        let unmap = MapOp::Unmap {
            addr: UserAddr(0x3000_0000),
            len: 0x1_0000,
        };
        one.apply(&[unmap]).expect("unmap");
    });
    measure("process_vm read of 64 bytes", 2000, || {
        let mut buf = [0; 64];
        assert_eq!(one.read(UserAddr(support::DATA), &mut buf), Ok(64));
    });
    measure("new context, first event, drop", 2000, || {
        let mut context = thread(&*one);
        syscall(&mut *context);
    });
    let mut many = Vec::new();
    measure("new thread, first event", 200, || {
        let mut context = thread(&*one);
        syscall(&mut *context);
        many.push(context);
    });
    drop(many);
    measure("fork, first event, kill", 500, || {
        let child = one.fork().expect("fork");
        let mut context = child
            .new_context(&start_regs(), &XState::default())
            .expect("context");
        syscall(&mut *context);
        child.kill();
    });
    let big = space(&engine, noop());
    let huge = MapOp::Map {
        addr: UserAddr(0x4000_0000),
        len: 256 << 20,
        prot: rw,
        flags: MapFlags::HUGE,
        source: MapSource::Anonymous,
    };
    big.apply(&[huge]).expect("map");
    let block = vec![1; 1 << 20];
    let start = Instant::now();
    for mib in 0..256u64 {
        assert_eq!(
            big.write(UserAddr(0x4000_0000 + (mib << 20)), &block),
            Ok(1 << 20)
        );
    }
    println!("256 MiB touched in {:?}", start.elapsed());
    measure("fork of 256 MiB, first event, kill", 100, || {
        let child = big.fork().expect("fork");
        let mut context = child
            .new_context(&start_regs(), &XState::default())
            .expect("context");
        syscall(&mut *context);
        child.kill();
    });
    measure("empty address space and kill", 300, || {
        engine.space().expect("space").kill();
    });
}
