//! Clocks and timers through their calls.

use std::time::{Duration, Instant};

use abi::signal::{SI_TIMER, SIGALRM, SIGVTALRM};
use abi::{AbiField, AbiStruct, Errno, UserAddr};

use super::{ITimerSpec, ITimerVal, SECOND, TimeSpec, TimeVal};
use crate::signal::{SigInfo, SigSet};
use crate::testing::Guest;

const ABSTIME: u64 = 1;

fn spec(guest: &Guest, interval: i64, value: i64) -> UserAddr {
    let spec = ITimerSpec {
        interval: TimeSpec::from_ns(interval),
        value: TimeSpec::from_ns(value),
    };
    guest.bytes(&spec.to_bytes())
}

fn time(guest: &Guest, ns: i64) -> u64 {
    guest.bytes(&TimeSpec::from_ns(ns).to_bytes()).0
}

fn clock(guest: &Guest, id: i32) -> Result<i64, Errno> {
    let at = guest.room(16);
    guest.call("clock_gettime", &[id as u64, at.0])?;
    TimeSpec::get(&guest.read(at, 16)).to_ns()
}

/// Blocks a signal, so that it stays pending.
fn block(guest: &Guest, signal: u32) {
    let mut signals = guest.task.signals.lock();
    signals.blocked = signals.blocked.union(SigSet::of(signal));
}

/// The pending signals, as soon as there is one.
fn pending(guest: &Guest) -> Vec<SigInfo> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let found = guest.task.group.signals.lock().pending.clone();
        if !found.is_empty() || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn clocks_run_and_unknown_ones_are_refused() {
    let guest = Guest::new();
    guest
        .kernel
        .time
        .calibrate(Instant::now(), 500 * SECOND, 700 * SECOND);
    for (id, least) in [
        (1, 500),
        (4, 500),
        (6, 500),
        (7, 700),
        (0, 1_600_000_000),
        (11, 1_600_000_000),
    ] {
        let (first, second) = (clock(&guest, id).unwrap(), clock(&guest, id).unwrap());
        assert!(first >= least * SECOND && first <= second, "clock {id}");
    }
    for id in [2, 3, (!guest.task.tgid() as i32) << 3 | 2, (!0 << 3) | 6] {
        assert!(clock(&guest, id).is_ok(), "clock {id}");
    }
    for id in [10, 12, 100, (!0 << 3) | 3, (!9999 << 3) | 2] {
        assert_eq!(clock(&guest, id), Err(Errno::EINVAL), "clock {id}");
    }
    assert_eq!(
        guest.call("clock_gettime", &[0, guest.bad().0]),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        guest.call("clock_settime", &[0, time(&guest, 5)]),
        Err(Errno::EPERM)
    );
    let at = guest.room(16);
    guest.call("clock_getres", &[6, at.0]).unwrap();
    assert_eq!(guest.read_u64(UserAddr(at.0 + 8)), 4_000_000);
    guest.call("gettimeofday", &[at.0, 0]).unwrap();
    assert_eq!(guest.call("time", &[0]).unwrap() - guest.read_u64(at), 0);
}

#[test]
fn sleeps_last_as_long_as_asked() {
    let guest = Guest::new();
    let start = Instant::now();
    guest.call("nanosleep", &[time(&guest, 20_000_000), 0]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    for id in [0, 1, 7] {
        let target = clock(&guest, id).unwrap() + 10_000_000;
        let args = [id as u64, ABSTIME, time(&guest, target), 0];
        guest.call("clock_nanosleep", &args).unwrap();
        assert!(clock(&guest, id).unwrap() >= target);
        // The past.
        guest.call("clock_nanosleep", &args).unwrap();
    }
    let odd = guest.bytes(&TimeSpec { sec: 0, nsec: SECOND }.to_bytes());
    assert_eq!(guest.call("nanosleep", &[odd.0, 0]), Err(Errno::EINVAL));
    assert_eq!(
        guest.call("clock_nanosleep", &[3, 0, time(&guest, 1), 0]),
        Err(Errno::EOPNOTSUPP)
    );
    assert_eq!(
        guest.call("clock_nanosleep", &[5, 0, time(&guest, 1), 0]),
        Err(Errno::EOPNOTSUPP)
    );
}

#[test]
fn an_interrupted_sleep_tells_what_is_left() {
    let guest = Guest::new();
    guest.task.notify_signal();
    let left = guest.room(16);
    let slept = guest.call("nanosleep", &[time(&guest, 100 * SECOND), left.0]);
    assert_eq!(slept, Err(Errno::ERESTART_RESTARTBLOCK));
    assert!(matches!(guest.read_u64(left), 99 | 100));
    let target = clock(&guest, 1).unwrap() + 100 * SECOND;
    let slept = guest.call("clock_nanosleep", &[1, ABSTIME, time(&guest, target), left.0]);
    assert_eq!(slept, Err(Errno::ERESTARTNOHAND));
}

#[test]
fn interval_timers_send_their_signal() {
    let guest = Guest::new();
    block(&guest, SIGALRM);
    let value = ITimerVal {
        interval: TimeVal::from_ns(0),
        value: TimeVal::from_ns(5_000_000),
    };
    let at = guest.bytes(&value.to_bytes());
    guest.call("setitimer", &[0, at.0, 0]).unwrap();
    assert_eq!(pending(&guest)[0].signal, SIGALRM);
    assert_eq!(guest.call("alarm", &[100]), Ok(0));
    assert_eq!(guest.call("alarm", &[0]), Ok(100));
    let now = guest.room(32);
    guest.call("getitimer", &[0, now.0]).unwrap();
    assert_eq!(guest.read(now, 32), [0; 32]);
    assert_eq!(guest.call("setitimer", &[3, at.0, 0]), Err(Errno::EINVAL));
    let odd = ITimerVal {
        value: TimeVal {
            sec: 0,
            usec: 1_000_000,
        },
        ..value
    };
    let odd = guest.bytes(&odd.to_bytes());
    assert_eq!(guest.call("setitimer", &[0, odd.0, 0]), Err(Errno::EINVAL));
}

#[test]
fn a_cpu_timer_counts_cpu_time() {
    let guest = Guest::new();
    block(&guest, SIGVTALRM);
    let value = ITimerVal {
        interval: TimeVal::from_ns(0),
        value: TimeVal::from_ns(1_000_000),
    };
    guest
        .call("setitimer", &[1, guest.bytes(&value.to_bytes()).0, 0])
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(guest.task.group.signals.lock().pending.is_empty());
    guest.task.state.lock().user_ns = 2_000_000;
    assert_eq!(pending(&guest)[0].signal, SIGVTALRM);
}

#[test]
fn posix_timers_count_overruns() {
    let guest = Guest::new();
    let signal = 40_u32;
    block(&guest, signal);
    let mut event = [0; 64];
    77_u64.put(&mut event);
    signal.put(&mut event[8..]);
    let number = guest.room(4);
    guest
        .call("timer_create", &[1, guest.bytes(&event).0, number.0])
        .unwrap();
    let id = u64::from(guest.read_u32(number));
    guest
        .call("timer_settime", &[id, 0, spec(&guest, 1_000_000, 1_000_000).0, 0])
        .unwrap();
    let info = pending(&guest)[0];
    assert_eq!((info.signal, info.code, info.value), (signal, SI_TIMER, 77));
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(guest.task.group.signals.lock().pending.len(), 1);
    guest.task.group.signals.lock().pending.clear();
    assert!(guest.call("timer_getoverrun", &[id]).unwrap() >= 5);
    let now = guest.room(32);
    guest.call("timer_gettime", &[id, now.0]).unwrap();
    let now = ITimerSpec::get(&guest.read(now, 32));
    assert_eq!(now.interval.to_ns(), Ok(1_000_000));
    guest.call("timer_delete", &[id]).unwrap();
    assert_eq!(guest.call("timer_delete", &[id]), Err(Errno::EINVAL));
    99_u32.put(&mut event[12..]);
    let odd = guest.bytes(&event);
    assert_eq!(
        guest.call("timer_create", &[1, odd.0, number.0]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn a_timerfd_is_readable_when_it_expired() {
    let guest = Guest::new();
    let fd = guest.call("timerfd_create", &[1, 0]).unwrap();
    let start = Instant::now();
    guest
        .call(
            "timerfd_settime",
            &[fd, 0, spec(&guest, 2_000_000, 10_000_000).0, 0],
        )
        .unwrap();
    let at = guest.room(8);
    assert_eq!(guest.call("read", &[fd, at.0, 8]), Ok(8));
    assert!(start.elapsed() >= Duration::from_millis(10));
    assert!(guest.read_u64(at) >= 1);
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(guest.call("read", &[fd, at.0, 8]), Ok(8));
    assert!(guest.read_u64(at) >= 4);
    assert_eq!(guest.call("read", &[fd, at.0, 4]), Err(Errno::EINVAL));
    let old = guest.room(32);
    guest
        .call("timerfd_settime", &[fd, 0, spec(&guest, 0, 0).0, old.0])
        .unwrap();
    assert_eq!(
        ITimerSpec::get(&guest.read(old, 32)).interval.to_ns(),
        Ok(2_000_000)
    );
    let quick = guest.call("timerfd_create", &[1, 0o4000]).unwrap();
    assert_eq!(guest.call("read", &[quick, at.0, 8]), Err(Errno::EAGAIN));
    let event = guest.call("eventfd2", &[0, 0]).unwrap();
    assert_eq!(guest.call("timerfd_gettime", &[event, old.0]), Err(Errno::EINVAL));
    assert_eq!(guest.call("timerfd_create", &[2, 0]), Err(Errno::EINVAL));
}
