//! System V objects and POSIX message queues through their calls.

use abi::{AbiField, Errno};

use super::mq::MqAttr;
use crate::testing::Guest;

const CREAT: u64 = 0o1000;
const EXCL: u64 = 0o2000;
const NOWAIT: u64 = 0o4000;
const RMID: u64 = 0;
const STAT: u64 = 2;
const GETVAL: u64 = 12;
const SETVAL: u64 = 16;
const UNDO: i16 = 0x1000;

fn ops(guest: &Guest, list: &[(u16, i16, i16)]) -> u64 {
    let mut raw = Vec::new();
    for (num, op, flags) in list {
        raw.extend(num.to_le_bytes());
        raw.extend(op.to_le_bytes());
        raw.extend(flags.to_le_bytes());
    }
    guest.bytes(&raw).0
}

#[test]
fn keys_find_make_and_forget_objects() {
    let guest = Guest::new();
    assert_eq!(guest.call("semget", &[5, 1, 0]), Err(Errno::ENOENT));
    let id = guest.call("semget", &[5, 2, CREAT | 0o600]).unwrap();
    assert_eq!(guest.call("semget", &[5, 1, CREAT]), Ok(id));
    assert_eq!(guest.call("semget", &[5, 3, 0]), Err(Errno::EINVAL));
    assert_eq!(guest.call("semget", &[5, 1, CREAT | EXCL]), Err(Errno::EEXIST));
    assert_ne!(guest.call("semget", &[0, 1, 0o600]), Ok(id));
    guest.become_user(1000, 1000);
    assert_eq!(guest.call("semget", &[5, 1, 0o400]), Err(Errno::EACCES));
    assert_eq!(guest.call("semctl", &[id, 0, RMID]), Err(Errno::EPERM));
    guest.become_user(0, 0);
    guest.call("semctl", &[id, 0, RMID]).unwrap();
    assert_eq!(guest.call("semctl", &[id, 0, GETVAL]), Err(Errno::EINVAL));
    let again = guest.call("semget", &[5, 2, CREAT]).unwrap();
    assert_ne!(again, id, "an identifier is not given out again at once");
}

#[test]
fn semaphore_operations_are_all_or_nothing_and_undone_at_the_end() {
    let guest = Guest::new();
    let id = guest.call("semget", &[0, 2, 0o600]).unwrap();
    let value = |n: u64| guest.call("semctl", &[id, n, GETVAL]).unwrap();
    guest.call("semctl", &[id, 0, SETVAL, 3]).unwrap();
    assert_eq!(guest.call("semctl", &[id, 0, SETVAL, 40000]), Err(Errno::ERANGE));
    let both = ops(&guest, &[(0, -2, 0), (1, -1, NOWAIT as i16)]);
    assert_eq!(guest.call("semop", &[id, both, 2]), Err(Errno::EAGAIN));
    assert_eq!((value(0), value(1)), (3, 0));
    let undo = ops(&guest, &[(0, -2, UNDO), (1, 4, UNDO), (1, -1, 0)]);
    guest.call("semop", &[id, undo, 3]).unwrap();
    assert_eq!((value(0), value(1)), (1, 3));
    guest.kernel.ipc.exit_process(guest.task.tgid());
    assert_eq!((value(0), value(1)), (3, 0));
    assert_eq!(
        guest.call("semop", &[id, ops(&guest, &[(9, 1, 0)]), 1]),
        Err(Errno::EFBIG)
    );
    assert_eq!(guest.call("semop", &[id, undo, 0]), Err(Errno::EINVAL));
    assert_eq!(guest.call("semop", &[id, undo, 501]), Err(Errno::E2BIG));
    let time = guest.bytes(&[0; 16]);
    let take = ops(&guest, &[(1, -1, 0)]);
    assert_eq!(
        guest.call("semtimedop", &[id, take, 1, time.0]),
        Err(Errno::EAGAIN)
    );
}

#[test]
fn messages_are_taken_by_type() {
    let guest = Guest::new();
    let id = guest.call("msgget", &[0, 0o600]).unwrap();
    let send = |kind: i64, text: &[u8]| {
        let mut raw = kind.to_le_bytes().to_vec();
        raw.extend(text);
        let at = guest.bytes(&raw);
        guest.call("msgsnd", &[id, at.0, text.len() as u64, NOWAIT])
    };
    let into = guest.room(9000);
    let take = |max: u64, kind: i64, flags: u64| {
        let got = guest.call("msgrcv", &[id, into.0, max, kind as u64, NOWAIT | flags])?;
        Ok((guest.read_u64(into), guest.read(into.add(8)?, got as usize)))
    };
    for (kind, text) in [(3, &b"three"[..]), (1, b"one"), (2, b"two"), (9, b"nine")] {
        send(kind, text).unwrap();
    }
    assert_eq!(send(0, b"x"), Err(Errno::EINVAL));
    assert_eq!(send(1, &[0; 8193]), Err(Errno::EINVAL));
    assert_eq!(take(100, 2, 0), Ok((2, b"two".to_vec())));
    assert_eq!(take(100, -2, 0), Ok((1, b"one".to_vec())));
    assert_eq!(take(100, -2, 0), Err(Errno::ENOMSG));
    assert_eq!(take(100, 3, 0o20000), Ok((9, b"nine".to_vec())));
    assert_eq!(take(2, 0, 0), Err(Errno::E2BIG));
    assert_eq!(take(2, 0, 0o10000), Ok((3, b"th".to_vec())));
    while send(1, &[1; 8000]).is_ok() {}
    assert_eq!(send(1, &[1; 8000]), Err(Errno::EAGAIN));
    let stat = guest.room(120);
    guest.call("msgctl", &[id, STAT, stat.0]).unwrap();
    assert_eq!(guest.read_u64(stat.add(80).unwrap()), 2);
    guest.call("msgctl", &[id, RMID, 0]).unwrap();
    assert_eq!(take(1, 0, 0), Err(Errno::EINVAL));
}

#[test]
fn segments_have_sizes_owners_and_an_end() {
    let guest = Guest::new();
    assert_eq!(guest.call("shmget", &[7, 0, CREAT]), Err(Errno::EINVAL));
    let id = guest.call("shmget", &[7, 5000, CREAT | 0o600]).unwrap();
    assert_eq!(guest.call("shmget", &[7, 6000, 0]), Err(Errno::EINVAL));
    let stat = guest.room(112);
    guest.call("shmctl", &[id, STAT, stat.0]).unwrap();
    assert_eq!(guest.read_u64(stat.add(48).unwrap()), 5000);
    assert_eq!(guest.read_u64(stat.add(88).unwrap()), 0);
    assert_eq!(guest.call("shmat", &[id, 1, 0]), Err(Errno::EINVAL));
    // Memory on the test's heap cannot be mapped.
    assert_eq!(guest.call("shmat", &[id, 0, 0]), Err(Errno::ENODEV));
    assert_eq!(guest.call("shmdt", &[0x10_0000]), Err(Errno::EINVAL));
    guest.call("shmctl", &[id, RMID, 0]).unwrap();
    assert_eq!(guest.call("shmctl", &[id, STAT, stat.0]), Err(Errno::EINVAL));
}

#[test]
fn posix_queues_order_by_priority_and_tell_when_full() {
    let guest = Guest::new();
    let name = guest.string("q");
    let attr = MqAttr {
        maxmsg: 2,
        msgsize: 16,
        ..MqAttr::default()
    };
    let mut raw = vec![0; MqAttr::SIZE];
    attr.put(&mut raw);
    let attr = guest.bytes(&raw);
    let (create, rdwr, nonblock) = (0o100, 2, 0o4000);
    assert_eq!(guest.call("mq_open", &[name.0, rdwr, 0, 0]), Err(Errno::ENOENT));
    let fd = guest
        .call("mq_open", &[name.0, create | rdwr | nonblock, 0o600, attr.0])
        .unwrap();
    let text = guest.string("hello");
    let send = |prio: u64| guest.call("mq_timedsend", &[fd, text.0, prio + 1, prio, 0]);
    send(1).unwrap();
    send(3).unwrap();
    assert_eq!(send(2), Err(Errno::EAGAIN));
    assert_eq!(
        guest.call("mq_timedsend", &[fd, text.0, 17, 0, 0]),
        Err(Errno::EMSGSIZE)
    );
    let (into, prio) = (guest.room(16), guest.room(4));
    let take = |len: u64| guest.call("mq_timedreceive", &[fd, into.0, len, prio.0, 0]);
    assert_eq!(take(15), Err(Errno::EMSGSIZE));
    assert_eq!((take(16), guest.read_u32(prio)), (Ok(4), 3));
    assert_eq!((take(16), guest.read_u32(prio)), (Ok(2), 1));
    assert_eq!(take(16), Err(Errno::EAGAIN));
    guest.call("mq_unlink", &[name.0]).unwrap();
    assert_eq!(guest.call("mq_unlink", &[name.0]), Err(Errno::ENOENT));
    send(0).unwrap();
}

#[test]
fn what_objects_hold_is_given_back() {
    let guest = Guest::new();
    let budgets = || {
        let ipc = &guest.kernel.ipc;
        [&ipc.message_bytes, &ipc.undo_entries].map(|budget| budget.0.load(super::Ordering::Relaxed))
    };
    let queue = guest.call("msgget", &[0, 0o600]).unwrap();
    let set = guest.call("semget", &[0, 2, 0o600]).unwrap();
    let message = guest.bytes(&[1, 0, 0, 0, 0, 0, 0, 0, b'x']);
    guest.call("msgsnd", &[queue, message.0, 1, 0]).unwrap();
    guest.call("msgsnd", &[queue, message.0, 1, 0]).unwrap();
    let undo = ops(&guest, &[(0, 1, UNDO), (1, 1, UNDO)]);
    guest.call("semop", &[set, undo, 2]).unwrap();
    guest.call("semop", &[set, undo, 2]).unwrap();
    assert_eq!(budgets(), [2 * 65, 2]);
    guest.call("semctl", &[set, 0, SETVAL, 0]).unwrap();
    guest.call("msgrcv", &[queue, message.0, 1, 0, 0]).unwrap();
    assert_eq!(budgets(), [65, 1]);
    guest.call("msgctl", &[queue, RMID, 0]).unwrap();
    guest.call("semctl", &[set, 0, RMID]).unwrap();
    assert_eq!(budgets(), [0, 0]);
}
