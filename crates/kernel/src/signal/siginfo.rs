//! siginfo_t as guest bytes, by the layout that signal and code decide (Linux's siginfo_layout).

use abi::signal::*;
use abi::{AbiField, UserAddr};

use super::SigInfo;

/// Bytes of siginfo_t.
pub const SIGINFO_BYTES: usize = 128;

/// NSIGPOLL.
const POLL_CODES: i32 = 6;

/// Which member of the union holds the details.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Kill,
    Timer,
    Poll,
    Queue,
    Fault,
    Child,
    Syscall,
}

fn layout(info: &SigInfo) -> Layout {
    if info.code > SI_USER && info.code < SI_KERNEL {
        return match info.signal {
            SIGILL | SIGFPE | SIGSEGV | SIGBUS | SIGTRAP => Layout::Fault,
            SIGCHLD => Layout::Child,
            SIGIO => Layout::Poll,
            SIGSYS => Layout::Syscall,
            // F_SETSIG: POLL_IN to POLL_HUP with any signal.
            _ if info.code <= POLL_CODES => Layout::Poll,
            _ => Layout::Kill,
        };
    }
    match info.code {
        SI_TIMER => Layout::Timer,
        SI_SIGIO => Layout::Poll,
        SI_TKILL => Layout::Kill,
        code if code < 0 => Layout::Queue,
        _ => Layout::Kill,
    }
}

/// Whether the details name a sender: process and user.
pub(super) fn names_sender(info: &SigInfo) -> bool {
    matches!(layout(info), Layout::Kill | Layout::Queue | Layout::Child)
}

/// The guest's siginfo_t.
pub fn to_bytes(info: &SigInfo) -> [u8; SIGINFO_BYTES] {
    let mut bytes = [0; SIGINFO_BYTES];
    info.signal.put(&mut bytes[0..]);
    info.errno.put(&mut bytes[4..]);
    info.code.put(&mut bytes[8..]);
    match layout(info) {
        Layout::Kill => {
            info.pid.put(&mut bytes[16..]);
            info.uid.put(&mut bytes[20..]);
        }
        Layout::Timer | Layout::Queue => {
            info.pid.put(&mut bytes[16..]);
            info.uid.put(&mut bytes[20..]);
            info.value.put(&mut bytes[24..]);
        }
        Layout::Poll => {
            info.band.put(&mut bytes[16..]);
            info.fd.put(&mut bytes[24..]);
        }
        Layout::Fault => info.addr.put(&mut bytes[16..]),
        Layout::Child => {
            info.pid.put(&mut bytes[16..]);
            info.uid.put(&mut bytes[20..]);
            info.status.put(&mut bytes[24..]);
            info.utime.put(&mut bytes[32..]);
            info.stime.put(&mut bytes[40..]);
        }
        Layout::Syscall => {
            info.addr.put(&mut bytes[16..]);
            info.syscall.0.put(&mut bytes[24..]);
            info.syscall.1.put(&mut bytes[28..]);
        }
    }
    bytes
}

/// A siginfo_t that a guest gave (rt_sigqueueinfo(2)); the signal number is set by the caller.
pub fn from_bytes(bytes: &[u8; SIGINFO_BYTES]) -> SigInfo {
    let mut info = SigInfo {
        signal: u32::get(&bytes[0..]),
        errno: i32::get(&bytes[4..]),
        code: i32::get(&bytes[8..]),
        ..SigInfo::default()
    };
    match layout(&info) {
        Layout::Poll => {
            info.band = i64::get(&bytes[16..]);
            info.fd = i32::get(&bytes[24..]);
        }
        Layout::Fault => info.addr = UserAddr::get(&bytes[16..]),
        _ => {
            info.pid = u32::get(&bytes[16..]);
            info.uid = u32::get(&bytes[20..]);
            info.value = u64::get(&bytes[24..]);
        }
    }
    info
}
