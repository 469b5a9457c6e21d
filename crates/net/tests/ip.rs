//! Below TCP: neighbours, routes, fragments, ICMP, UDP, groups, taps, loopback.

mod link;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use link::*;
use net::*;

const TICK: Duration = Duration::from_millis(10);

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

fn datagrams(p: &mut Pair, side: usize) -> Vec<Datagram> {
    let all = std::mem::take(&mut p.events[side]);
    all.into_iter()
        .filter_map(|e| if let Event::Datagram(d) = e { Some(d) } else { None })
        .collect()
}

fn errors(p: &mut Pair, side: usize) -> Vec<IcmpError> {
    let all = std::mem::take(&mut p.events[side]);
    all.into_iter()
        .filter_map(|e| if let Event::Icmp(d) = e { Some(d) } else { None })
        .collect()
}

fn send(p: &mut Pair, to: IpAddr, bytes: &[u8], options: &SendOptions) -> Result<(), Error> {
    let any = if to.is_ipv4() { "0.0.0.0:700" } else { "[::]:700" };
    let now = p.now;
    p.stacks[0].udp_send(now, any.parse().unwrap(), at(to, 800), bytes, options)
}

#[test]
fn a_super_datagram_of_too_many_pieces_is_no_datagram() {
    let mut p = Pair::new(6, Faults::default(), gso());
    p.seen = Some(Vec::new());
    send(&mut p, B, &pattern(1280), &SendOptions::default()).unwrap();
    p.run(TICK);
    let seen = p.seen.take().unwrap();
    let (_, frame) = seen.iter().find(|(_, frame)| frame.len() > 1280).unwrap();
    let mut arrived = |size: u16| {
        datagrams(&mut p, 1);
        let gso = Gso {
            kind: GsoKind::Udp,
            size,
            header_len: 42,
        };
        let offload = Offload {
            checksum: Checksum::Verified,
            gso: Some(gso),
        };
        let now = p.now;
        p.stacks[1].receive(now, 2, &offload, frame);
        p.run(TICK);
        datagrams(&mut p, 1).first().map(|d| d.segment)
    };
    // 128 pieces are the most that a sender may make.
    assert_eq!(arrived(10), Some(Some(10)));
    assert_eq!(arrived(9), None);
    assert_eq!(arrived(1), None);
}

#[test]
fn datagrams_of_any_length_arrive() {
    for offloads in [Offloads::default(), gso()] {
        let faults = Faults {
            reorder: 500,
            duplicate: 100,
            ..Faults::default()
        };
        let mut p = Pair::new(5, faults, offloads);
        for to in [B, B6] {
            for len in [0, 1, 2, 3, 1400, 1452, 1453, 1472, 1473, 9001, 65_000] {
                let bytes = pattern(len);
                let options = SendOptions {
                    tos: 0x10,
                    ttl: Some(9),
                    ..SendOptions::default()
                };
                send(&mut p, to, &bytes, &options).unwrap();
                p.run(TICK);
                let got = datagrams(&mut p, 1);
                assert!(!got.is_empty(), "{to} {len}");
                let d = &got[0];
                assert!(d.data == bytes);
                assert_eq!((d.ttl, d.tos, d.interface, d.group), (9, 0x10, 2, false));
                assert_eq!((d.source.port(), d.destination), (700, at(to, 800)));
                p.run(TICK);
                datagrams(&mut p, 1);
            }
        }
    }
}

#[test]
fn too_long_is_refused() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    let whole = SendOptions {
        dont_fragment: true,
        ..SendOptions::default()
    };
    assert_eq!(send(&mut p, B, &[0; 1472], &whole), Ok(()));
    assert_eq!(send(&mut p, B, &[0; 1473], &whole), Err(Error::MessageTooLong));
    assert_eq!(
        send(&mut p, B, &[0; 65_508], &SendOptions::default()),
        Err(Error::MessageTooLong)
    );
    assert_eq!(
        send(&mut p, [8, 8, 8, 8].into(), &[0], &whole),
        Err(Error::NetworkUnreachable)
    );
}

#[test]
fn segments_of_one_call() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    let options = SendOptions {
        segment: Some(1000),
        ..SendOptions::default()
    };
    send(&mut p, B, &pattern(3500), &options).unwrap();
    p.run(TICK);
    let lengths: Vec<usize> = datagrams(&mut p, 1).iter().map(|d| d.data.len()).collect();
    assert_eq!(lengths, [1000, 1000, 1000, 500]);
}

#[test]
fn nobody_listens() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    for to in [B, B6] {
        send(&mut p, to, b"anybody?", &SendOptions::default()).unwrap();
        p.run(TICK);
        let datagram = datagrams(&mut p, 1).remove(0);
        let now = p.now;
        p.stacks[1].udp_unreachable(now, &datagram);
        p.run(TICK);
        let error = errors(&mut p, 0).remove(0);
        assert_eq!((error.error, error.fatal), (Error::ConnectionRefused, true));
        assert_eq!(
            (error.remote, error.local.port(), error.offender),
            (at(to, 800), 700, to)
        );
        assert_eq!(error.quoted, b"anybody?");
    }
}

#[test]
fn nobody_has_the_address() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    send(&mut p, [10, 0, 0, 77].into(), b"hello", &SendOptions::default()).unwrap();
    p.run(Duration::from_millis(2900));
    assert_eq!(errors(&mut p, 0).len(), 0);
    p.run(Duration::from_millis(200));
    let error = errors(&mut p, 0).remove(0);
    assert_eq!(
        (error.error, error.remote),
        (Error::HostUnreachable, at([10, 0, 0, 77].into(), 800))
    );
    let entry = p.stacks[0]
        .neighbors()
        .find(|n| n.address == IpAddr::from([10, 0, 0, 77]))
        .unwrap();
    assert_eq!(entry.state, NeighborState::Failed);
}

#[test]
fn neighbours_age_and_are_probed_when_used() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    let state = |p: &Pair| p.stacks[0].neighbors().find(|n| n.address == B).unwrap().state;
    send(&mut p, B, b"1", &SendOptions::default()).unwrap();
    p.run(TICK);
    assert_eq!(state(&p), NeighborState::Reachable);
    p.run(Duration::from_secs(31));
    assert_eq!(state(&p), NeighborState::Stale);
    send(&mut p, B, b"2", &SendOptions::default()).unwrap();
    assert_eq!(state(&p), NeighborState::Delay);
    p.run(Duration::from_secs(6));
    assert_eq!(state(&p), NeighborState::Reachable);
    assert_eq!(datagrams(&mut p, 1).len(), 2);
}

#[test]
fn echo_is_answered_and_replies_come_up() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    for (to, protocol, request, reply) in [(B, 1, 8, 0), (B6, 58, 128, 129)] {
        let options = SendOptions {
            checksum_at: Some(2),
            ..SendOptions::default()
        };
        let mut message = vec![request, 0, 0, 0, 0x12, 0x34, 0, 1];
        message.extend(pattern(3000));
        let now = p.now;
        p.stacks[0]
            .raw_send(now, None, to, protocol, &message, &options)
            .unwrap();
        p.run(TICK);
        let raw = p.events[0]
            .iter()
            .find_map(|e| if let Event::Raw(r) = e { Some(r) } else { None });
        let raw = raw.unwrap_or_else(|| panic!("{:?}", p.events[0]));
        let body = &raw.data[raw.header_len..];
        assert_eq!(
            (body[0], &body[4..6], body.len()),
            (reply, &[0x12, 0x34][..], 3008)
        );
        assert!(body[8..] == message[8..]);
        p.events[0].clear();
    }
}

#[test]
fn raw_protocols_and_headers() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    p.stacks[1].want_raw(false, 200, true);
    let now = p.now;
    let options = SendOptions::default();
    p.stacks[0]
        .raw_send(now, None, B, 200, b"payload", &options)
        .unwrap();
    p.run(TICK);
    assert!(matches!(&p.events[1][0], Event::Raw(r) if r.data.ends_with(b"payload") && r.header_len == 20));
    p.events[1].clear();
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 5, 200, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
    packet.extend(b"own header");
    let now = p.now;
    p.stacks[0].raw_send_header(now, &packet, &options).unwrap();
    p.run(TICK);
    assert!(matches!(&p.events[1][0], Event::Raw(r) if r.ttl == 5 && r.source == A));
    // A protocol that nobody wants is answered.
    let now = p.now;
    p.stacks[0]
        .raw_send(now, None, B, 201, b"payload", &options)
        .unwrap();
    p.run(TICK);
    assert_eq!(errors(&mut p, 0)[0].error, Error::NoProtocolOption);
}

#[test]
fn groups_are_joined_reported_and_left() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    for group in ["239.1.2.3", "ff02::1234"] {
        let group: IpAddr = group.parse().unwrap();
        let options = SendOptions {
            interface: Some(2),
            ..SendOptions::default()
        };
        send(&mut p, group, b"before", &options).unwrap();
        p.run(TICK);
        assert_eq!(datagrams(&mut p, 1).len(), 0);
        let now = p.now;
        let before = p.frames;
        p.stacks[1].join(now, 2, group).unwrap();
        p.run(TICK);
        assert_eq!(p.frames, before + 1);
        send(&mut p, group, b"member", &options).unwrap();
        p.run(TICK);
        let got = datagrams(&mut p, 1);
        assert_eq!((got.len(), got[0].group, got[0].ttl), (1, true, 1));
        let now = p.now;
        p.stacks[1].leave(now, 2, group).unwrap();
        assert_eq!(p.stacks[1].leave(now, 2, group), Err(Error::AddressNotAvailable));
        send(&mut p, group, b"after", &options).unwrap();
        p.run(TICK);
        assert_eq!(datagrams(&mut p, 1).len(), 0);
    }
}

#[test]
fn broadcast() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    for to in [[10, 0, 0, 255], [255, 255, 255, 255]] {
        let options = SendOptions {
            interface: Some(2),
            ..SendOptions::default()
        };
        send(&mut p, to.into(), b"all", &options).unwrap();
        p.run(TICK);
        let got = datagrams(&mut p, 1);
        assert_eq!(
            (got.len(), got[0].group, got[0].destination.ip()),
            (1, true, IpAddr::from(to))
        );
        // And earns no error.
        let now = p.now;
        p.stacks[1].udp_unreachable(now, &got[0]);
        p.run(TICK);
        assert_eq!(errors(&mut p, 0).len(), 0);
    }
}

#[test]
fn taps_see_both_directions() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    p.stacks[0].want_frames(true);
    send(&mut p, B, b"x", &SendOptions::default()).unwrap();
    p.run(TICK);
    let seen: Vec<(Direction, [u8; 2])> = p.events[0]
        .iter()
        .filter_map(|e| {
            if let Event::Frame(f) = e {
                Some((f.direction, [f.data[12], f.data[13]]))
            } else {
                None
            }
        })
        .collect();
    let arp = [8, 6];
    assert_eq!(
        seen,
        [
            (Direction::Out, arp),
            (Direction::In, arp),
            (Direction::Out, [8, 0])
        ]
    );
}

#[test]
fn routes_follow_addresses_and_the_longest_prefix_wins() {
    let mut s = stack(0, 1500, Offloads::default());
    let now = Instant::ZERO;
    let lan = Prefix::new([10, 0, 0, 0].into(), 24);
    assert!(
        s.routes()
            .any(|r| r.destination == lan && r.source == Some(A) && r.protocol == 2)
    );
    let default = Prefix::new([0, 0, 0, 0].into(), 0);
    let route = Route::new(default, Some([10, 0, 0, 254].into()), 0);
    s.add_route(route.clone(), false).unwrap();
    assert_eq!(s.add_route(route.clone(), false), Err(Error::Exists));
    let far = Route::new(default, Some([192, 168, 1, 1].into()), 2);
    assert_eq!(s.add_route(far, false), Err(Error::NetworkUnreachable));
    let out = s.route([8, 8, 8, 8].into(), None, None).unwrap();
    assert_eq!(
        (out.interface, out.gateway, out.source),
        (2, Some([10, 0, 0, 254].into()), A)
    );
    let mut blocked = Route::new(Prefix::new([8, 8, 0, 0].into(), 16), None, 0);
    blocked.kind = RouteKind::Unreachable;
    s.add_route(blocked.clone(), false).unwrap();
    assert_eq!(
        s.route([8, 8, 8, 8].into(), None, None),
        Err(Error::HostUnreachable)
    );
    blocked.metric = 5;
    blocked.kind = RouteKind::Prohibit;
    s.add_route(blocked, false).unwrap();
    s.remove_route(|r| r.kind == RouteKind::Unreachable).unwrap();
    assert_eq!(s.route([8, 8, 8, 8].into(), None, None), Err(Error::AccessDenied));
    assert_eq!(s.route(A, None, None).unwrap().interface, LOOPBACK);
    assert!(s.is_local([127, 9, 9, 9].into()) && s.is_local(A6) && !s.is_local(B));
    s.set_up(now, 2, false).unwrap();
    assert_eq!(s.route(B, None, None), Err(Error::NetworkUnreachable));
    s.set_up(now, 2, true).unwrap();
    assert!(s.route(B, None, None).is_ok());
    assert_eq!(s.route([8, 8, 8, 8].into(), None, None), Err(Error::AccessDenied));
    s.remove_address(2, A, 24).unwrap();
    assert_eq!(s.route(B, None, None), Err(Error::NetworkUnreachable));
    assert!(!s.is_local(A));
}

/// Two sockets of one stack talk by way of `lo`.
#[test]
fn loopback() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    for ip in [IpAddr::from([127, 0, 0, 1]), A, A6] {
        let now = p.now;
        let options = TcpOptions::default();
        let listener = p.stacks[0].tcp_listen(at(ip, 90), 5, options.clone(), 1).unwrap();
        let any = if ip.is_ipv4() { "0.0.0.0:91" } else { "[::]:91" };
        let client = p.stacks[0]
            .tcp_connect(now, any.parse().unwrap(), at(ip, 90), options, 2)
            .unwrap();
        p.run(TICK);
        let (server, local, remote) = p.stacks[0].tcp_accept(listener, 3).unwrap();
        assert_eq!((local, remote), (at(ip, 90), at(ip, 91)));
        p.send(0, client, &pattern(30_000)).unwrap();
        p.run(TICK);
        assert!(p.read(0, server).unwrap() == pattern(30_000));
        assert_eq!(p.frames, 0);
        let now = p.now;
        p.stacks[0].tcp_close(now, client);
        p.stacks[0].tcp_close(now, server);
        p.stacks[0].tcp_close(now, listener);
        p.run(Duration::from_secs(130));
        assert_eq!(p.stacks[0].tcp_entries(p.now), []);
    }
}

/// A link-local peer is found by the interface that the scope names.
#[test]
fn link_local() {
    let mut p = Pair::new(5, Faults::default(), Offloads::default());
    for side in 0..2u16 {
        let ip = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, side + 1]);
        p.stacks[side as usize]
            .add_address(Instant::ZERO, 2, Address::new(ip, 64))
            .unwrap();
    }
    let any: SocketAddr = "[::]:90".parse().unwrap();
    let listener = p.stacks[1].tcp_listen(any, 5, TcpOptions::default(), 1).unwrap();
    let to: SocketAddr = "[fe80::2%2]:90".parse().unwrap();
    let now = p.now;
    let client = p.stacks[0]
        .tcp_connect(now, any, to, TcpOptions::default(), 2)
        .unwrap();
    p.run(TICK);
    assert_eq!(p.state(0, client), TcpState::Established);
    let (server, ..) = p.stacks[1].tcp_accept(listener, 3).unwrap();
    p.transfer(1, server, client, &pattern(50_000), Duration::from_secs(1));
}

#[test]
fn a_relays_interface_takes_packets_for_any_host() {
    let mut p = Pair::new(77, Faults::default(), gso());
    let far: [IpAddr; 2] = ["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
    for (to, gateway) in far.into_iter().zip([B, B6]) {
        let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
        let default = Route::new(Prefix::new(any.parse().unwrap(), 0), Some(gateway), 2);
        p.stacks[0].add_route(default, false).unwrap();
        send(&mut p, to, b"hello", &SendOptions::default()).unwrap();
        p.run(TICK);
        assert!(datagrams(&mut p, 1).is_empty(), "it is nobody's yet");
    }
    p.stacks[1].configure(2, |own| own.any_address = true).unwrap();
    p.stacks[1].settings_mut().icmp_echo_ignore_all = true;
    p.stacks[1].want_raw(false, protocol::ICMP, true);
    p.seen = Some(Vec::new());
    for to in far {
        send(&mut p, to, b"hello", &SendOptions::default()).unwrap();
        p.run(TICK);
        let got = datagrams(&mut p, 1);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].destination, at(to, 800));
        // The answer comes from the address that was asked.
        let now = p.now;
        let (from, asker) = (got[0].destination, got[0].source);
        p.stacks[1]
            .udp_send(now, from, asker, b"there", &SendOptions::default())
            .unwrap();
        p.run(TICK);
        assert_eq!(datagrams(&mut p, 0)[0].source, from);
        let mut local = at(if to.is_ipv4() { A } else { A6 }, 900);
        local.set_port(901);
        p.stacks[0]
            .tcp_connect(now, local, at(to, 80), TcpOptions::default(), 1)
            .unwrap();
        p.run(TICK);
        let seen = p.seen.replace(Vec::new()).unwrap();
        let opened: Vec<_> = seen.iter().filter_map(|(_, frame)| opening(frame)).collect();
        assert_eq!(opened, [(local, at(to, 80))], "one SYN, whatever else passed");
    }
    // An echo request that the stack does not answer itself is seen by those who asked for it.
    let now = p.now;
    let echo = SendOptions {
        checksum_at: Some(2),
        ..SendOptions::default()
    };
    let request = [8, 0, 0, 0, 0, 7, 0, 1];
    p.stacks[0]
        .raw_send(now, None, far[0], protocol::ICMP, &request, &echo)
        .unwrap();
    p.run(TICK);
    let raw = p.events[1]
        .iter()
        .any(|e| matches!(e, Event::Raw(r) if r.destination == far[0] && r.data[20] == 8));
    assert!(raw);
    assert!(
        !p.events[0].iter().any(|e| matches!(e, Event::Raw(_))),
        "nobody answers"
    );
}
