//! Futexes between the test's guest and waiters that the test makes itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::{Errno, UserAddr};
use sync::Waiter;

use super::table::{Entry, Kind, Waiting};
use super::{ANY, Word};
use crate::testing::Guest;

const WAIT: u64 = 0;
const WAKE: u64 = 1;
const REQUEUE: u64 = 3;
const CMP_REQUEUE: u64 = 4;
const WAKE_OP: u64 = 5;
const LOCK_PI: u64 = 6;
const UNLOCK_PI: u64 = 7;
const TRYLOCK_PI: u64 = 8;
const PRIVATE: u64 = 128;

/// Puts a waiter of its own on the queue of a private word.
fn wait(guest: &Guest, addr: UserAddr, tid: u32, kind: Kind, owner: u32) -> Arc<Waiting> {
    let word = Word::new(guest.task.mm_ref(), addr, true).unwrap();
    let waiting = Waiting::new(Arc::new(Waiter::default()), tid, ANY);
    let entry = Entry {
        key: word.key,
        kind,
        owner,
        waiting: waiting.clone(),
    };
    let table = &guest.kernel.futexes;
    table.bucket(&word.key).push(table, entry);
    waiting
}

fn plain(guest: &Guest, addr: UserAddr) -> Arc<Waiting> {
    wait(guest, addr, 99, Kind::Plain, 0)
}

#[test]
fn waiting_needs_the_expected_value_and_ends_in_time() {
    let guest = Guest::new();
    let word = guest.bytes(&7_u32.to_le_bytes());
    let mut time = 0_i64.to_le_bytes().to_vec();
    time.extend(1_000_000_i64.to_le_bytes());
    let time = guest.bytes(&time);
    assert_eq!(guest.call("futex", &[word.0, WAIT, 8, 0]), Err(Errno::EAGAIN));
    assert_eq!(
        guest.call("futex", &[word.0, WAIT | PRIVATE, 7, time.0]),
        Err(Errno::ETIMEDOUT)
    );
    assert_eq!(guest.call("futex", &[word.0 + 1, WAIT, 7, 0]), Err(Errno::EINVAL));
    assert_eq!(
        guest.call("futex", &[guest.bad().0, WAIT | PRIVATE, 7, 0]),
        Err(Errno::EFAULT)
    );
    assert_eq!(guest.call("futex", &[word.0, 99, 7, 0]), Err(Errno::ENOSYS));
    let bad_time = guest.bytes(&[0xff; 16]);
    assert_eq!(
        guest.call("futex", &[word.0, WAIT, 7, bad_time.0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(guest.kernel.futexes.lock_waiters.load(Ordering::SeqCst), 0);
}

#[test]
fn wakes_are_counted_and_go_to_the_longest_waiting() {
    let guest = Guest::new();
    let word = guest.room(8);
    let waiters: Vec<_> = (0..3).map(|_| plain(&guest, word)).collect();
    assert_eq!(guest.call("futex", &[word.0, WAKE, 1]), Ok(0));
    assert_eq!(guest.call("futex", &[word.0, WAKE | PRIVATE, 2]), Ok(2));
    let woken: Vec<bool> = waiters.iter().map(|waiting| waiting.is_woken()).collect();
    assert_eq!(woken, [true, true, false]);
    assert_eq!(guest.call("futex", &[word.0, WAKE | PRIVATE, 10]), Ok(1));
}

#[test]
fn requeued_waiters_wake_on_the_other_word() {
    let guest = Guest::new();
    let (one, two) = (guest.room(4), guest.room(4));
    let waiters: Vec<_> = (0..4).map(|_| plain(&guest, one)).collect();
    let wrong = [one.0, CMP_REQUEUE | PRIVATE, 1, 2, two.0, 5];
    assert_eq!(guest.call("futex", &wrong), Err(Errno::EAGAIN));
    assert_eq!(
        guest.call("futex", &[one.0, REQUEUE | PRIVATE, 1, 2, two.0]),
        Ok(3)
    );
    assert!(waiters[0].is_woken() && !waiters[1].is_woken());
    assert_eq!(guest.call("futex", &[two.0, WAKE | PRIVATE, 10]), Ok(2));
    assert!(guest.kernel.futexes.cancel(&waiters[3]));
    assert!(!guest.kernel.futexes.cancel(&waiters[3]));
    assert_eq!(
        guest.call("futex", &[one.0, REQUEUE | PRIVATE, u64::MAX, 2, two.0]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn wake_op_changes_the_second_word_and_compares_its_old_value() {
    let guest = Guest::new();
    let (one, two) = (guest.room(4), guest.bytes(&5_u32.to_le_bytes()));
    let first = plain(&guest, one);
    let second = plain(&guest, two);
    // Add 3; wake the second if the old value was more than 4.
    let op = (1 << 28) | (4 << 24) | (3 << 12) | 4;
    assert_eq!(
        guest.call("futex", &[one.0, WAKE_OP | PRIVATE, 1, 1, two.0, op]),
        Ok(2)
    );
    assert!(first.is_woken() && second.is_woken());
    assert_eq!(guest.read_u32(two), 8);
}

#[test]
fn locks_are_taken_marked_and_handed_over() {
    let guest = Guest::new();
    let tid = guest.task.tid;
    let word = guest.room(4);
    assert_eq!(guest.call("futex", &[word.0, LOCK_PI | PRIVATE, 0, 0]), Ok(0));
    assert_eq!(guest.read_u32(word), tid);
    assert_eq!(
        guest.call("futex", &[word.0, LOCK_PI | PRIVATE, 0, 0]),
        Err(Errno::EDEADLK)
    );
    let heir = wait(&guest, word, 77, Kind::Lock, tid);
    let later = wait(&guest, word, 78, Kind::Lock, tid);
    assert_eq!(guest.call("futex", &[word.0, UNLOCK_PI | PRIVATE]), Ok(0));
    assert!(heir.is_woken() && !later.is_woken());
    assert_eq!(guest.read_u32(word), 77 | 0x8000_0000);
    assert_eq!(
        guest.call("futex", &[word.0, UNLOCK_PI | PRIVATE]),
        Err(Errno::EPERM)
    );
    assert_eq!(
        guest.call("futex", &[word.0, TRYLOCK_PI | PRIVATE]),
        Err(Errno::EAGAIN)
    );
    // The owner that the word names does not exist.
    assert_eq!(
        guest.call("futex", &[word.0, LOCK_PI | PRIVATE, 0, 0]),
        Err(Errno::ESRCH)
    );
}

#[test]
fn a_thread_leaves_its_locks_marked_and_its_word_cleared() {
    let guest = Guest::new();
    let tid = guest.task.tid;
    let lock = guest.bytes(&tid.to_le_bytes());
    let entry = guest.room(8);
    let head = guest.room(24);
    let mut raw = entry.0.to_le_bytes().to_vec();
    raw.extend((lock.0.wrapping_sub(entry.0)).to_le_bytes());
    raw.extend(0_u64.to_le_bytes());
    guest.task.copy_out(head, &raw).unwrap();
    guest.task.copy_out(entry, &head.0.to_le_bytes()).unwrap();
    assert_eq!(guest.call("set_robust_list", &[head.0, 23]), Err(Errno::EINVAL));
    guest.call("set_robust_list", &[head.0, 24]).unwrap();
    let clear = guest.bytes(&[1; 4]);
    guest.task.state.lock().clear_child_tid = clear;
    super::exit_task(&guest.task);
    assert_eq!(guest.read_u32(lock), 0x4000_0000);
    assert_eq!(guest.read_u32(clear), 0);
}

#[test]
fn a_robust_list_that_is_a_circle_or_broken_ends() {
    let guest = Guest::new();
    let head = guest.room(24);
    let entry = guest.room(8);
    guest.task.copy_out(entry, &entry.0.to_le_bytes()).unwrap();
    let mut raw = entry.0.to_le_bytes().to_vec();
    raw.extend(u64::MAX.to_le_bytes());
    raw.extend(guest.bad().0.to_le_bytes());
    guest.task.copy_out(head, &raw).unwrap();
    guest.call("set_robust_list", &[head.0, 24]).unwrap();
    super::exit_task(&guest.task);
}

#[test]
fn waiting_for_many_words_checks_them_all() {
    let guest = Guest::new();
    let word = guest.bytes(&1_u32.to_le_bytes());
    let vector = |value: u64, addr: u64, flags: u32| {
        let mut raw = value.to_le_bytes().to_vec();
        raw.extend(addr.to_le_bytes());
        raw.extend(flags.to_le_bytes());
        raw.extend([0; 4]);
        guest.bytes(&raw)
    };
    let call = |at: UserAddr, count: u64| guest.call("futex_waitv", &[at.0, count, 0, 0, 0]);
    assert_eq!(call(vector(2, word.0, 2 | 128), 1), Err(Errno::EAGAIN));
    assert_eq!(call(vector(1, word.0, 3), 1), Err(Errno::EINVAL));
    assert_eq!(call(vector(1, word.0, 2), 0), Err(Errno::EINVAL));
    assert_eq!(call(vector(1, word.0, 2), 129), Err(Errno::EINVAL));
}
