//! The clock page that the vDSO reads: the host's clocks as lines over the time stamp counter.
//!
//! A line is valid for a window no longer than the time over which its slope was measured, and at most
//! [`MAX_WINDOW_NS`]; then the vDSO makes the system call, at which the engine publishes the next line. So nothing
//! has to run while nobody asks. Slopes are measured a little low: the vDSO is late by up to [`NOISE_NS`], never early,
//! and so never contradicts a system call that came before. Steps of the host's clock are seen a window later.

use std::arch::x86_64::{__cpuid, _rdtsc};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use abi::Errno;
use host::mem::{self, Shared};
use host::process;

use crate::vdso;

/// Offsets in the clock page.
pub mod field {
    /// Odd while it is written.
    pub const SEQ: usize = 0;
    /// Ticks at the start of the window.
    pub const BASE: usize = 8;
    /// Ticks in the window; 0: not valid.
    pub const WINDOW: usize = 16;
    /// Nanoseconds per tick, times 2^32.
    pub const MULT: usize = 24;
    /// CLOCK_REALTIME at the start, nanoseconds.
    pub const REAL: usize = 32;
    /// CLOCK_MONOTONIC at the start.
    pub const MONO: usize = 40;
    /// CLOCK_BOOTTIME at the start.
    pub const BOOT: usize = 48;
}

/// Bytes of the clock page.
pub const PAGE_LEN: usize = 0x1000;
/// Longest window: how late a step of the host's clock may be seen.
const MAX_WINDOW_NS: u64 = 1_000_000_000;
/// Shortest time over which a slope is measured.
const MIN_MEASURE_NS: u64 = 2_000_000;
/// How far off one reading of clock and counter may be.
const NOISE_NS: u64 = 200;

/// The clock page and the vDSO image, in one file.
#[derive(Debug)]
pub struct Clock {
    /// The file: clock page, then image.
    pub file: OwnedFd,
    page: Shared,
    usable: bool,
    line: Mutex<Line>,
}

/// How often the cost of reading a clock is measured.
const READINGS: usize = 16;
/// A clock that is read faster than this, in nanoseconds, is read without a system call.
const FAST_NS: u64 = 95;
/// A wall clock that is behind by less than this was not set.
const STEP_NS: u64 = 100_000;

/// One reading of counter and clocks.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    ticks: u64,
    mono: u64,
    real: u64,
    boot: u64,
}

#[derive(Debug, Default)]
struct Line {
    /// Where the slope is measured from.
    from: Reading,
    /// What is published.
    base: Reading,
    mult: u64,
    window: u64,
}

fn ticks() -> u64 {
    // SAFETY: reading the time stamp counter has no effects.
    unsafe { _rdtsc() }
}

fn read() -> Reading {
    // The tightest of three: a reading that was interrupted is off by microseconds.
    let one = || {
        let before = ticks();
        let mono = process::clock_ns(libc::CLOCK_MONOTONIC);
        let after = ticks();
        let reading = Reading {
            ticks: after,
            mono,
            real: process::clock_ns(libc::CLOCK_REALTIME),
            boot: process::clock_ns(libc::CLOCK_BOOTTIME),
        };
        let spent = ticks().wrapping_sub(before);
        (spent, reading, process::clock_ns(libc::CLOCK_MONOTONIC))
    };
    let (_, mut reading, end) = (0..3)
        .map(|_| one())
        .min_by_key(|(spent, ..)| *spent)
        .unwrap_or_default();
    // The other two clocks were read later: bring them back, rather too far.
    let late = end.saturating_sub(reading.mono);
    reading.real = reading.real.saturating_sub(late);
    reading.boot = reading.boot.saturating_sub(late);
    reading
}

/// Whether the counter runs at one rate, and the host itself keeps time by it: then its clocks are read in a few
/// dozen nanoseconds, without a system call. (The jail may hold no `/sys` that would name the host's clock source.)
fn counter_usable() -> bool {
    let invariant = __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & (1 << 8) != 0;
    let costs = (0..READINGS).map(|_| {
        let before = process::clock_ns(libc::CLOCK_MONOTONIC);
        let _ = (0..8).map(|_| process::clock_ns(libc::CLOCK_MONOTONIC)).max();
        (process::clock_ns(libc::CLOCK_MONOTONIC) - before) / 9
    });
    invariant && costs.min().is_some_and(|cost| cost < FAST_NS)
}

impl Clock {
    /// Makes the file. The page becomes valid with the first [`Clock::refresh`] after a few milliseconds.
    pub fn new() -> Result<Clock, Errno> {
        let file = mem::memfd(c"tegmen-vdso", (PAGE_LEN + vdso::IMAGE_LEN) as u64)?;
        let page = Shared::map(&file, 0, PAGE_LEN)?;
        {
            let image = vdso::image();
            let text = Shared::map(&file, PAGE_LEN as u64, vdso::IMAGE_LEN)?;
            // SAFETY: the mapping is new, writable, as long as the image, and nobody else knows it yet.
            unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), text.start(), image.len()) };
        }
        mem::seal_future_writes(&file)?;
        let from = read();
        Ok(Clock {
            file,
            page,
            usable: counter_usable(),
            line: Mutex::new(Line {
                from,
                ..Line::default()
            }),
        })
    }

    fn quad(&self, at: usize) -> &AtomicU64 {
        assert!(
            at.is_multiple_of(8) && at + 8 <= PAGE_LEN,
            "offset in the clock page"
        );
        // SAFETY: inside the mapping, aligned; shared memory is accessed through atomics only.
        unsafe { AtomicU64::from_ptr(self.page.start().add(at).cast()) }
    }

    /// Called when a guest asked for the time by a system call: publishes a new line if the last one has ended.
    pub fn refresh(&self) {
        if !self.usable {
            return;
        }
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = ticks().wrapping_sub(line.base.ticks);
        if line.window > 0 && passed < line.window {
            return;
        }
        let now = read();
        let measured = now.mono.saturating_sub(line.from.mono);
        let ticks = now.ticks.saturating_sub(line.from.ticks);
        if measured < MIN_MEASURE_NS || ticks == 0 {
            return;
        }
        let slope = u128::from(measured.saturating_sub(NOISE_NS)) << 32;
        let mult = u64::try_from(slope / u128::from(ticks)).unwrap_or(0);
        let window_ns = measured.min(MAX_WINDOW_NS);
        let window = u128::from(window_ns) * u128::from(ticks) / u128::from(measured);
        let next = Line {
            from: if measured >= 4 * MAX_WINDOW_NS {
                now
            } else {
                line.from
            },
            base: line.not_before(now),
            mult,
            window: u64::try_from(window).unwrap_or(0),
        };
        *line = next;
        self.publish(&line);
    }

    fn publish(&self, line: &Line) {
        let seq = self.quad(field::SEQ);
        let old = seq.load(Ordering::Relaxed);
        seq.store(old | 1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let fields = [
            (field::BASE, line.base.ticks),
            (field::WINDOW, line.window),
            (field::MULT, line.mult),
            (field::REAL, line.base.real),
            (field::MONO, line.base.mono),
            (field::BOOT, line.base.boot),
        ];
        for (at, value) in fields {
            self.quad(at).store(value, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        // The low half counts; it wraps without touching the rest.
        seq.store(u64::from((old as u32 | 1).wrapping_add(1)), Ordering::Release);
    }
}

impl Line {
    /// `now`, but for the monotonic clocks not before what the old line says: time does not go back.
    fn not_before(&self, now: Reading) -> Reading {
        if self.window == 0 {
            return now;
        }
        let delta = now.ticks.wrapping_sub(self.base.ticks).min(self.window);
        let passed = u64::try_from((u128::from(delta) * u128::from(self.mult)) >> 32).unwrap_or(0);
        let real = self.base.real + passed;
        Reading {
            mono: now.mono.max(self.base.mono + passed),
            boot: now.boot.max(self.base.boot + passed),
            // The wall clock may be set back, but noise is no such step.
            real: if real.saturating_sub(now.real) < STEP_NS {
                now.real.max(real)
            } else {
                now.real
            },
            ..now
        }
    }
}
