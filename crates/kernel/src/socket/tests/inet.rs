//! AF_INET, AF_INET6 and AF_NETLINK.

use super::*;

fn v4(ip: [u8; 4], port: u16) -> Vec<u8> {
    let mut raw = vec![2, 0];
    raw.extend(port.to_be_bytes());
    raw.extend(ip);
    raw.extend([0; 8]);
    raw
}

fn v6(last: u8, port: u16) -> Vec<u8> {
    let mut raw = vec![10, 0];
    raw.extend(port.to_be_bytes());
    raw.extend([0; 19]);
    raw.push(last);
    raw.extend([0; 4]);
    raw
}

const LO: [u8; 4] = [127, 0, 0, 1];

fn port_of(net: &Net, fd: u64) -> u16 {
    let raw = net.name("getsockname", fd).unwrap();
    u16::from_be_bytes([raw[2], raw[3]])
}

/// A connection over a listener that is closed again: client and server.
fn connection(net: &Net) -> (u64, u64) {
    let listener = net.socket(2, 1);
    net.0.call("listen", &[listener, 5]).unwrap();
    let client = net.socket(2, 1);
    net.with_address("connect", client, &v4(LO, port_of(net, listener)))
        .unwrap();
    let server = net.0.call("accept4", &[listener, 0, 0, O_NONBLOCK]).unwrap();
    net.close(listener);
    (client, server)
}

#[test]
fn a_connection_is_made_used_and_ended_in_order() {
    let net = Net::new();
    let (client, server) = connection(&net);
    assert_eq!(
        net.name("getpeername", client).unwrap(),
        net.name("getsockname", server).unwrap()
    );
    assert_eq!(
        net.name("getpeername", server).unwrap(),
        net.name("getsockname", client).unwrap()
    );
    net.send(client, b"ping", 0).unwrap();
    assert_eq!(net.recv(server, 9, 0).unwrap(), b"ping");
    assert_eq!(net.recv(server, 9, 0), Err(Errno::EAGAIN));
    net.0.call("shutdown", &[client, 1]).unwrap();
    assert_eq!(net.poll(server) & (IN | OUT | RDHUP | HUP), IN | OUT | RDHUP);
    assert_eq!(net.recv(server, 9, 0).unwrap(), b"");
    net.send(server, b"pong", 0).unwrap();
    net.close(server);
    assert_eq!(net.recv(client, 9, 0).unwrap(), b"pong");
    assert_eq!(net.recv(client, 9, 0).unwrap(), b"");
}

#[test]
fn writing_to_a_peer_that_closed_fails_the_second_time() {
    let net = Net::new();
    let (client, server) = connection(&net);
    net.close(client);
    assert_eq!(net.send(server, b"lost", 0x4000), Ok(4));
    assert_eq!(net.send(server, b"x", 0x4000), Err(Errno::EPIPE));
    assert_eq!(net.recv(server, 9, 0).unwrap(), b"");
}

#[test]
fn closing_with_unread_bytes_resets() {
    let net = Net::new();
    let (client, server) = connection(&net);
    net.send(client, b"unread", 0).unwrap();
    net.send(server, b"kept", 0).unwrap();
    net.close(server);
    assert_eq!(net.poll(client) & (IN | ERR | HUP), IN | ERR | HUP);
    assert_eq!(net.recv(client, 9, 0).unwrap(), b"kept");
    assert_eq!(net.recv(client, 9, 0), Err(Errno::ECONNRESET));
    assert_eq!(net.recv(client, 9, 0).unwrap(), b"");
    assert_eq!(net.send(client, b"x", 0x4000), Err(Errno::EPIPE));
}

#[test]
fn connecting_without_waiting_tells_later() {
    let net = Net::new();
    let listener = net.socket(2, 1);
    net.with_address("bind", listener, &v4(LO, 0)).unwrap();
    let port = port_of(&net, listener);
    let client = net.socket(2, 1 | O_NONBLOCK);
    let to = v4(LO, port);
    assert_eq!(net.with_address("connect", client, &to), Err(Errno::EINPROGRESS));
    assert_eq!(net.poll(client) & (OUT | ERR | HUP), OUT | ERR | HUP);
    assert_eq!(net.option(client, 1, 4).unwrap(), Errno::ECONNREFUSED.raw());
    assert_eq!(net.option(client, 1, 4), Ok(0));
    net.0.call("listen", &[listener, 0]).unwrap();
    assert_eq!(net.with_address("connect", client, &to), Err(Errno::EINPROGRESS));
    assert_eq!(net.poll(client) & (OUT | ERR | HUP), OUT);
    assert_eq!(net.option(client, 1, 4), Ok(0));
    assert_eq!(net.with_address("connect", client, &to), Ok(0));
    assert_eq!(net.with_address("connect", client, &to), Err(Errno::EISCONN));
    // The queue is full now: the next one waits until there is room.
    let second = net.socket(2, 1 | O_NONBLOCK);
    assert_eq!(net.with_address("connect", second, &to), Err(Errno::EINPROGRESS));
    assert_eq!(net.poll(second), 0);
    net.0.call("accept", &[listener, 0, 0]).unwrap();
    assert_eq!(net.poll(second) & OUT, OUT);
    net.0.call("accept", &[listener, 0, 0]).unwrap();
}

#[test]
fn ports_are_taken_once_unless_shared() {
    let net = Net::new();
    let one = net.socket(2, 1);
    net.with_address("bind", one, &v4([0; 4], 8080)).unwrap();
    net.0.call("listen", &[one, 1]).unwrap();
    let two = net.socket(2, 1);
    assert_eq!(
        net.with_address("bind", two, &v4(LO, 8080)),
        Err(Errno::EADDRINUSE)
    );
    net.set_option(one, 1, 2, 1).unwrap();
    net.set_option(two, 1, 2, 1).unwrap();
    assert_eq!(
        net.with_address("bind", two, &v4(LO, 8080)),
        Err(Errno::EADDRINUSE)
    );
    let six = net.socket(10, 1);
    assert_eq!(
        net.with_address("bind", six, &v6(0, 8080)),
        Err(Errno::EADDRINUSE)
    );
    net.set_option(six, 41, 26, 1).unwrap();
    net.with_address("bind", six, &v6(0, 8080)).unwrap();
    net.close(one);
    net.with_address("bind", two, &v4(LO, 8080)).unwrap();
    assert_eq!(
        net.with_address("bind", net.socket(2, 1), &v4([8, 8, 8, 8], 1)),
        Err(Errno::EADDRNOTAVAIL)
    );
    for _ in 0..2 {
        let shared = net.socket(2, 1);
        net.set_option(shared, 1, 15, 1).unwrap();
        net.with_address("bind", shared, &v4([0; 4], 9090)).unwrap();
        net.0.call("listen", &[shared, 1]).unwrap();
    }
    net.0.become_user(1000, 1000);
    assert_eq!(
        net.with_address("bind", net.socket(2, 1), &v4(LO, 80)),
        Err(Errno::EACCES)
    );
}

#[test]
fn what_is_outside_cannot_be_reached() {
    let net = Net::new();
    let tcp = net.socket(2, 1);
    assert_eq!(
        net.with_address("connect", tcp, &v4([8, 8, 8, 8], 53)),
        Err(Errno::ENETUNREACH)
    );
    let udp = net.socket(2, 2);
    assert_eq!(
        net.with_address("connect", udp, &v4([8, 8, 8, 8], 53)),
        Err(Errno::ENETUNREACH)
    );
    net.0.become_user(1000, 1000);
    assert_eq!(net.0.call("socket", &[2, 3, 1]), Err(Errno::EPERM));
    assert_eq!(net.0.call("socket", &[17, 3, 0]), Err(Errno::EPERM));
    assert_eq!(net.0.call("socket", &[2, 2, 1]), Err(Errno::EACCES));
}

#[test]
fn ipv6_sockets_serve_ipv4_clients() {
    let net = Net::new();
    let listener = net.socket(10, 1);
    net.with_address("bind", listener, &v6(0, 0)).unwrap();
    net.0.call("listen", &[listener, 1]).unwrap();
    let port = port_of(&net, listener);
    let (four, six) = (net.socket(2, 1), net.socket(10, 1));
    net.with_address("connect", four, &v4(LO, port)).unwrap();
    net.with_address("connect", six, &v6(1, port)).unwrap();
    let first = net.0.call("accept", &[listener, 0, 0]).unwrap();
    let peer = net.name("getpeername", first).unwrap();
    assert_eq!(
        peer[8..24],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]
    );
}

#[test]
fn datagrams_arrive_with_their_sender() {
    let net = Net::new();
    let (a, b) = (net.socket(2, 2 | O_NONBLOCK), net.socket(2, 2 | O_NONBLOCK));
    net.with_address("bind", b, &v4([0; 4], 0)).unwrap();
    let to = net.0.bytes(&v4(LO, port_of(&net, b)));
    let data = net.0.bytes(b"datagram");
    assert_eq!(net.0.call("sendto", &[a, data.0, 8, 0, to.0, 16]), Ok(8));
    let (out, from, len) = (net.0.room(16), net.0.room(16), net.0.bytes(&16u32.to_le_bytes()));
    assert_eq!(net.0.call("recvfrom", &[b, out.0, 16, 0, from.0, len.0]), Ok(8));
    assert_eq!(net.0.read(out, 8), b"datagram");
    assert_eq!(net.0.read(from, 16), v4(LO, port_of(&net, a)));
    net.close(b);
    net.0.call("connect", &[a, to.0, 16]).unwrap();
    assert_eq!(net.send(a, b"x", 0), Ok(1));
    assert_eq!(net.send(a, b"x", 0), Err(Errno::ECONNREFUSED));
}

#[test]
fn options_are_kept() {
    let net = Net::new();
    let fd = net.socket(2, 1);
    net.set_option(fd, 6, 1, 1).unwrap();
    assert_eq!(net.option(fd, 6, 1), Ok(1));
    net.set_option(fd, 1, 7, 10_000).unwrap();
    assert_eq!(net.option(fd, 1, 7), Ok(20_000));
    assert_eq!(net.option(fd, 1, 3), Ok(1));
    assert_eq!(net.option(fd, 1, 39), Ok(2));
    assert_eq!(net.set_option(fd, 6, 999, 1), Err(Errno::ENOPROTOOPT));
    assert_eq!(net.set_option(fd, 1, 4, 1), Err(Errno::ENOPROTOOPT));
    assert_eq!(net.option(999, 1, 3), Err(Errno::EBADF));
    let event = net.0.call("eventfd2", &[0, 0]).unwrap();
    assert_eq!(net.option(event, 1, 3), Err(Errno::ENOTSOCK));
}

#[test]
fn a_receive_timeout_ends_the_wait() {
    let net = Net::new();
    let (a, _b) = net.pair(1);
    let mut time = 0i64.to_le_bytes().to_vec();
    time.extend(20_000i64.to_le_bytes());
    let at = net.0.bytes(&time);
    net.0.call("setsockopt", &[a, 1, 20, at.0, 16]).unwrap();
    assert_eq!(net.recv(a, 1, 0), Err(Errno::EAGAIN));
    let buf = net.0.room(1);
    assert_eq!(net.0.call("read", &[a, buf.0, 1]), Err(Errno::EAGAIN));
}

#[test]
fn interfaces_can_be_listed() {
    let net = Net::new();
    let fd = net.socket(16, 3);
    net.with_address("bind", fd, &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .unwrap();
    let name = net.name("getsockname", fd).unwrap();
    assert_eq!(name[4..8], net.0.task.tgid().to_le_bytes());
    // RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP.
    let mut request = vec![20, 0, 0, 0, 22, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0];
    request.extend([0; 4]);
    assert_eq!(net.send(fd, &request, 0), Ok(20));
    let reply = net.recv(fd, 8192, 0).unwrap();
    assert_eq!(reply[4..6], 20u16.to_le_bytes());
    assert!(reply.windows(4).any(|bytes| bytes == LO));
    let end = net.recv(fd, 8192, 0).unwrap();
    assert_eq!(end[4..6], 3u16.to_le_bytes());
    let request = net.0.bytes(&[&b"lo"[..], &[0; 38]].concat());
    net.0.call("ioctl", &[fd, 0x8933, request.0]).unwrap();
    assert_eq!(net.0.read_u32(UserAddr(request.0 + 16)), 1);
}

#[test]
fn datagrams_tell_of_their_way_when_asked() {
    let net = Net::new();
    let (a, b) = (net.socket(10, 2 | O_NONBLOCK), net.socket(10, 2 | O_NONBLOCK));
    net.with_address("bind", b, &v6(1, 0)).unwrap();
    let to = v6(1, port_of(&net, b));
    net.with_address("connect", a, &to).unwrap();
    net.set_option(b, 41, 51, 1).unwrap();
    net.set_option(b, 41, 49, 1).unwrap();
    net.set_option(a, 41, 16, 17).unwrap();
    net.send(a, b"x", 0).unwrap();
    let control = net.0.room(96);
    let header = net.message(net.0.room(4), 4, control, 96);
    net.0.call("recvmsg", &[b, header.0, 0]).unwrap();
    assert_eq!(net.0.read_u64(UserAddr(header.0 + 40)), 40 + 24);
    assert_eq!(net.0.read_u32(UserAddr(control.0 + 12)), 50);
    assert_eq!(net.0.read_u32(UserAddr(control.0 + 40 + 12)), 52);
    assert_eq!(net.0.read_u32(UserAddr(control.0 + 40 + 16)), 17);
    // Cut short, the first message has what fits.
    net.send(a, b"x", 0).unwrap();
    let header = net.message(net.0.room(4), 4, control, 20);
    net.0.call("recvmsg", &[b, header.0, 0]).unwrap();
    assert_eq!(net.0.read_u64(UserAddr(header.0 + 40)), 20);
    assert_eq!(net.0.read_u32(UserAddr(header.0 + 48)) & 8, 8);
}

#[test]
fn an_urgent_byte_is_read_apart() {
    let net = Net::new();
    let (client, server) = connection(&net);
    net.send(client, b"ab", 0).unwrap();
    net.send(client, b"cd!", 1).unwrap();
    net.send(client, b"ef", 0).unwrap();
    assert_eq!(net.poll(server) & 2, 2);
    assert_eq!(net.recv(server, 9, 0).unwrap(), b"abcd");
    assert_eq!(net.recv(server, 9, 1).unwrap(), b"!");
    assert_eq!(net.recv(server, 9, 1), Err(Errno::EINVAL));
    assert_eq!(net.recv(server, 9, 0).unwrap(), b"ef");
    net.0.call("shutdown", &[client, 2]).unwrap();
    assert_eq!(net.send(client, b"", 0x4000), Err(Errno::EPIPE));
}
