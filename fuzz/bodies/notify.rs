//! A filter's supervisor (seccomp_unotify(2)): ioctls of its listener with anything in them, while another process asks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kernel::task::ListenerFile;
use kernel::testing::Guest;

use super::bytes::Bytes;
use super::syscalls::{guest, take_apart};

/// Steps of the supervisor in one run.
const MAX_STEPS: usize = 24;
/// Questions in one run.
const QUESTIONS: usize = 8;
const SIGUSR1: u64 = 10;
/// SECCOMP_IOCTL_NOTIF_RECV, SEND, ID_VALID, its first form, ADDFD, SET_FLAGS.
const REQUESTS: [u64; 6] = [
    0xc050_2100,
    0xc018_2101,
    0x4008_2102,
    0x8008_2102,
    0x4018_2103,
    0x4008_2104,
];

pub fn run(data: &[u8]) {
    let guest = guest();
    let Some(fd) = listener(&guest) else {
        return take_apart(guest);
    };
    let file = guest.task.fd(fd as i32).expect("a listener");
    let listener = file.ops_as::<ListenerFile>().expect("a listener").0.clone();
    let (kernel, root) = (guest.kernel.clone(), guest.task.fs().root());
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let task = Guest::beside(&kernel, root);
            for number in 0..QUESTIONS {
                asked.fetch_add(1, Ordering::SeqCst);
                if listener.ask_of(&task, number as i32, [7; 6]).is_err() {
                    break;
                }
            }
        });
        let mut input = Bytes(data);
        while asked.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        supervise(&guest, fd, &mut input);
        drop(file);
        // Whoever still asks is told that nobody answers.
        let _ = guest.call("close_range", &[0, u64::from(u32::MAX), 0]);
    });
    drop((listener, kernel));
    take_apart(guest);
}

/// A listener of a filter that asks about every call.
fn listener(guest: &Guest) -> Option<u64> {
    let program = guest.bytes(&[0x06, 0, 0, 0, 0, 0, 0xc0, 0x7f]);
    let mut header = vec![1, 0, 0, 0, 0, 0, 0, 0];
    header.extend(program.0.to_le_bytes());
    let header = guest.bytes(&header);
    let _ = guest.call("prctl", &[38, 1, 0, 0, 0]);
    guest.call("seccomp", &[1, 8, header.0]).ok()
}

fn supervise(guest: &Guest, fd: u64, input: &mut Bytes<'_>) {
    let room = guest.room(128).0;
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            return;
        }
        let choice = input.byte();
        let request = match choice % 8 {
            at @ 0..6 => REQUESTS[usize::from(at)],
            6 => input.word(4),
            _ => REQUESTS[0],
        };
        // Mostly what the request is about; else anything.
        let id = match choice >> 6 {
            3 => input.word(8),
            _ => u64::from(input.byte()) % (QUESTIONS as u64 + 2),
        };
        let mut bytes = id.to_le_bytes().to_vec();
        if request == REQUESTS[0] && choice & 32 == 0 {
            bytes.fill(0);
        }
        let len = if request == REQUESTS[0] { 0 } else { 24 };
        bytes.extend(input.take(len));
        bytes.resize(128, 0);
        let at = match input.byte() {
            255 => guest.bad().0,
            _ => room,
        };
        let _ = guest.task.copy_out(abi::UserAddr(room), &bytes);
        // A signal waits for delivery, so that nothing waits for a question.
        let _ = guest.call("kill", &[1, SIGUSR1]);
        let _ = guest.call("ioctl", &[fd, request, at]);
        let poll = guest.bytes(&[fd as u8, 0, 0, 0, 5, 0, 0, 0]).0;
        let _ = guest.call("poll", &[poll, 1, 0]);
    }
}
