//! AF_UNIX.

use super::*;

fn abstract_name(name: &str) -> Vec<u8> {
    [b"\x01\0\0", name.as_bytes()].concat()
}

#[test]
fn a_stream_pair_carries_bytes_until_one_side_closes() {
    let net = Net::new();
    let (a, b) = net.pair(1 | O_NONBLOCK | O_CLOEXEC);
    assert_eq!(net.recv(b, 10, 0), Err(Errno::EAGAIN));
    assert_eq!(net.poll(b), OUT | 0x100);
    assert_eq!(net.send(a, b"hello", 0), Ok(5));
    assert_eq!(net.recv(b, 3, 2).unwrap(), b"hel");
    assert_eq!(net.recv(b, 3, 0).unwrap(), b"hel");
    assert_eq!(net.poll(b) & IN, IN);
    net.0.call("shutdown", &[a, 1]).unwrap();
    assert_eq!(net.recv(b, 10, 0).unwrap(), b"lo");
    assert_eq!(net.recv(b, 10, 0).unwrap(), b"");
    assert_eq!(net.poll(b) & (IN | RDHUP | HUP), IN | RDHUP);
    assert_eq!(net.send(a, b"x", 0x4000), Err(Errno::EPIPE));
    assert_eq!(net.send(b, b"back", 0), Ok(4));
    net.close(a);
    // It was closed with unread bytes.
    assert_eq!(net.poll(b) & (ERR | HUP), ERR | HUP);
    assert_eq!(net.recv(b, 10, 0), Err(Errno::ECONNRESET));
    assert_eq!(net.recv(b, 10, 0).unwrap(), b"");
}

#[test]
fn a_full_stream_says_so_and_is_writable_again_after_reads() {
    let net = Net::new();
    let (a, b) = net.pair(1 | O_NONBLOCK);
    let block = vec![7; 65_536];
    let mut sent = 0;
    loop {
        match net.send(a, &block, 0) {
            Ok(count) => sent += count,
            Err(error) => break assert_eq!(error, Errno::EAGAIN),
        }
    }
    // Twice SO_SNDBUF.
    assert_eq!(sent, 425_984);
    assert_eq!(net.poll(a) & OUT, 0);
    let mut got = 0;
    while let Ok(bytes) = net.recv(b, 65_536, 0) {
        got += bytes.len() as u64;
    }
    assert_eq!(got, sent);
    assert_eq!(net.poll(a) & OUT, OUT);
}

#[test]
fn listeners_take_connections_by_abstract_name() {
    let net = Net::new();
    let listener = net.socket(1, 1 | O_NONBLOCK);
    let client = net.socket(1, 1);
    let name = abstract_name("server");
    assert_eq!(
        net.with_address("connect", client, &name),
        Err(Errno::ECONNREFUSED)
    );
    net.with_address("bind", listener, &name).unwrap();
    assert_eq!(
        net.with_address("connect", client, &name),
        Err(Errno::ECONNREFUSED)
    );
    net.0.call("listen", &[listener, 5]).unwrap();
    assert_eq!(net.0.call("accept", &[listener, 0, 0]), Err(Errno::EAGAIN));
    net.with_address("connect", client, &name).unwrap();
    assert_eq!(net.poll(listener), IN | 0x40);
    assert_eq!(net.with_address("connect", client, &name), Err(Errno::EISCONN));
    net.send(client, b"early", 0).unwrap();
    let server = net.0.call("accept", &[listener, 0, 0]).unwrap();
    assert_eq!(net.recv(server, 9, 0).unwrap(), b"early");
    assert_eq!(net.name("getsockname", server).unwrap(), name);
    assert_eq!(net.name("getpeername", client).unwrap(), name);
    assert_eq!(net.name("getpeername", server).unwrap(), b"\x01\0");
    let (value, len) = (net.0.room(12), net.0.bytes(&12u32.to_le_bytes()));
    net.0
        .call("getsockopt", &[server, 1, 17, value.0, len.0])
        .unwrap();
    assert_eq!(net.0.read_u32(value), net.0.task.tgid());
    let other = net.socket(1, 1);
    assert_eq!(net.with_address("bind", other, &name), Err(Errno::EADDRINUSE));
    // A connection that nobody took is reset when the listener goes; then the name is free.
    net.with_address("connect", other, &name).unwrap();
    net.close(listener);
    assert_eq!(net.recv(other, 1, 0), Err(Errno::ECONNRESET));
    let again = net.socket(1, 1);
    net.with_address("bind", again, &name).unwrap();
}

#[test]
fn a_full_queue_refuses_those_who_do_not_wait() {
    let net = Net::new();
    let listener = net.socket(1, 1 | O_NONBLOCK);
    net.with_address("bind", listener, &abstract_name("q")).unwrap();
    net.0.call("listen", &[listener, 1]).unwrap();
    let results: Vec<_> = (0..3)
        .map(|_| {
            let client = net.socket(1, 1 | O_NONBLOCK);
            net.with_address("connect", client, &abstract_name("q"))
        })
        .collect();
    assert_eq!(results, [Ok(0), Ok(0), Err(Errno::EAGAIN)]);
}

#[test]
fn datagrams_keep_their_bounds_and_senders() {
    let net = Net::new();
    let (a, b) = (net.socket(1, 2 | O_NONBLOCK), net.socket(1, 2 | O_NONBLOCK));
    net.with_address("bind", a, b"\x01\0").unwrap();
    net.with_address("bind", b, &abstract_name("b")).unwrap();
    assert_eq!(net.send(a, b"x", 0), Err(Errno::ENOTCONN));
    net.with_address("connect", a, &abstract_name("b")).unwrap();
    net.send(a, b"first", 0).unwrap();
    net.send(a, b"", 0).unwrap();
    net.send(a, b"third", 0).unwrap();
    let (data, from, len) = (
        net.0.room(16),
        net.0.room(128),
        net.0.bytes(&128u32.to_le_bytes()),
    );
    // MSG_TRUNC gives the whole length.
    let got = net
        .0
        .call("recvfrom", &[b, data.0, 2, 0x20, from.0, len.0])
        .unwrap();
    assert_eq!((got, net.0.read(data, 2)), (5, b"fi".to_vec()));
    let from = net.0.read(from, net.0.read_u32(len) as usize);
    assert_eq!(from, net.name("getsockname", a).unwrap());
    assert_eq!(from.len(), 8);
    assert_eq!(net.recv(b, 9, 0).unwrap(), b"");
    assert_eq!(net.recv(b, 9, 0).unwrap(), b"third");
    net.close(b);
    assert_eq!(net.send(a, b"x", 0), Err(Errno::ECONNREFUSED));
}

#[test]
fn packets_are_messages_of_a_connection() {
    let net = Net::new();
    let (a, b) = net.pair(5 | O_NONBLOCK);
    net.send(a, b"one", 0).unwrap();
    net.send(a, b"two", 0).unwrap();
    assert_eq!(net.recv(b, 100, 0).unwrap(), b"one");
    net.close(a);
    assert_eq!(net.recv(b, 100, 0).unwrap(), b"two");
    assert_eq!(net.recv(b, 100, 0).unwrap(), b"");
    assert_eq!(net.send(b, b"x", 0), Err(Errno::EPIPE));
}

/// A control message in guest memory.
fn rights(net: &Net, fds: &[u64]) -> (UserAddr, usize) {
    let mut raw = (16 + 4 * fds.len() as u64).to_le_bytes().to_vec();
    raw.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    for fd in fds {
        raw.extend((*fd as u32).to_le_bytes());
    }
    (net.0.bytes(&raw), raw.len())
}

#[test]
fn files_travel_with_bytes() {
    let net = Net::new();
    let (a, b) = net.pair(1 | O_NONBLOCK);
    let event = net.0.call("eventfd2", &[5, 0]).unwrap();
    net.send(a, b"before", 0).unwrap();
    let (control, len) = rights(&net, &[event]);
    let header = net.message(net.0.bytes(b"with"), 4, control, len);
    assert_eq!(net.0.call("sendmsg", &[a, header.0, 0]), Ok(4));
    net.send(a, b"after", 0).unwrap();
    net.close(event);
    let (data, control) = (net.0.room(64), net.0.room(64));
    let header = net.message(data, 64, control, 64);
    // The bytes behind those with files wait.
    assert_eq!(net.0.call("recvmsg", &[b, header.0, 0x4000_0000]), Ok(10));
    assert_eq!(net.0.read(data, 10), b"beforewith");
    assert_eq!(net.0.read_u64(UserAddr(header.0 + 40)), 24);
    let fd = net.0.read_u32(UserAddr(control.0 + 16));
    let number = net.0.room(8);
    assert_eq!(net.0.call("read", &[u64::from(fd), number.0, 8]), Ok(8));
    assert_eq!(net.0.read_u64(number), 5);
    assert_eq!(net.recv(b, 64, 0).unwrap(), b"after");
}

#[test]
fn files_without_room_are_closed() {
    let net = Net::new();
    let (a, b) = net.pair(2 | O_NONBLOCK);
    let (reader, writer) = net.pair(1 | O_NONBLOCK);
    let (control, len) = rights(&net, &[writer]);
    let header = net.message(net.0.bytes(b"x"), 1, control, len);
    net.0.call("sendmsg", &[a, header.0, 0]).unwrap();
    net.close(writer);
    assert_eq!(net.recv(reader, 1, 0), Err(Errno::EAGAIN));
    let header = net.message(net.0.room(4), 4, UserAddr(0), 0);
    net.0.call("recvmsg", &[b, header.0, 0]).unwrap();
    assert_eq!(net.0.read_u32(UserAddr(header.0 + 48)) & 8, 8);
    assert_eq!(net.recv(reader, 1, 0).unwrap(), b"");
}

#[test]
fn sockets_inside_sockets_are_dropped_without_recursion() {
    let net = Net::new();
    let (mut outer, mut peer) = net.pair(1 | O_NONBLOCK);
    let first = outer;
    for _ in 0..3000 {
        let (next, next_peer) = net.pair(1 | O_NONBLOCK);
        let (control, len) = rights(&net, &[outer, peer]);
        let header = net.message(net.0.bytes(b"x"), 1, control, len);
        net.0.call("sendmsg", &[next_peer, header.0, 0]).unwrap();
        net.close(outer);
        net.close(peer);
        (outer, peer) = (next, next_peer);
    }
    assert_eq!(first, 0);
    net.close(outer);
    net.close(peer);
}

#[test]
fn credentials_come_with_what_was_asked_for() {
    let net = Net::new();
    let (a, b) = net.pair(2 | O_NONBLOCK);
    net.set_option(b, 1, 16, 1).unwrap();
    net.send(a, b"x", 0).unwrap();
    let control = net.0.room(64);
    let header = net.message(net.0.room(4), 4, control, 64);
    net.0.call("recvmsg", &[b, header.0, 0]).unwrap();
    assert_eq!(net.0.read_u64(control), 28);
    assert_eq!(net.0.read_u32(UserAddr(control.0 + 12)), 2);
    assert_eq!(net.0.read_u32(UserAddr(control.0 + 16)), net.0.task.tgid());
    // Not everyone may claim to be someone else.
    net.0.become_user(1000, 1000);
    let mut raw = 28u64.to_le_bytes().to_vec();
    raw.extend([1, 0, 0, 0, 2, 0, 0, 0]);
    raw.extend(net.0.task.tgid().to_le_bytes());
    raw.extend([0; 8]);
    let header = net.message(net.0.bytes(b"y"), 1, net.0.bytes(&raw), raw.len());
    assert_eq!(net.0.call("sendmsg", &[a, header.0, 0]), Err(Errno::EPERM));
}

#[test]
fn epoll_hears_of_sockets() {
    let net = Net::new();
    let (a, b) = net.pair(1 | O_NONBLOCK);
    let epoll = net.0.call("epoll_create1", &[0]).unwrap();
    let mut event = 0x8000_2001u32.to_le_bytes().to_vec();
    event.extend(99u64.to_le_bytes());
    let at = net.0.bytes(&event);
    net.0.call("epoll_ctl", &[epoll, 1, b, at.0]).unwrap();
    let out = net.0.room(36);
    let wait = || net.0.call("epoll_wait", &[epoll, out.0, 3, 0]).unwrap();
    assert_eq!(wait(), 0);
    net.send(a, b"x", 0).unwrap();
    assert_eq!(
        (wait(), net.0.read_u32(out), net.0.read_u64(UserAddr(out.0 + 4))),
        (1, 1, 99)
    );
    assert_eq!(wait(), 0);
    net.send(a, b"x", 0).unwrap();
    assert_eq!(wait(), 1);
    net.close(a);
    assert_eq!((wait(), net.0.read_u32(out) & 0x2011), (1, 0x2011));
}
