//! Frames into the TCP/IP stack, while it has a listening socket and a connection on the way.

use std::net::{IpAddr, SocketAddr};

use net::{Address, Instant, Interface, LOOPBACK, Offload, Offloads, Settings, Stack, TcpOptions};

use super::bytes::Bytes;

/// Frames in one run.
const MAX_FRAMES: usize = 64;

pub fn run(data: &[u8]) {
    let mut now = Instant::from_nanos(1_000_000_000);
    let mut stack = Stack::new([7; 32], Settings::default());
    let offloads = Offloads {
        tx_checksum: true,
        gso_max_v4: net::GSO_MAX,
        gso_max_v6: net::GSO_MAX,
    };
    let ours = [2, 0, 0, 0, 0, 1];
    let _ = stack.set_up(now, LOOPBACK, true);
    let _ = stack.add_interface(Interface::ethernet(2, "eth0", ours, 1500, offloads));
    let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]);
    let _ = stack.add_address(now, 2, Address::new(IpAddr::from([10, 0, 0, 1]), 24));
    let _ = stack.add_address(now, 2, Address::new(v6, 64));
    let _ = stack.set_up(now, 2, true);
    sockets(&mut stack, now);
    let mut input = Bytes(data);
    for _ in 0..MAX_FRAMES {
        if input.is_empty() {
            break;
        }
        let shape = input.byte();
        let len = input.word(2) as usize % 1600;
        let mut frame = Vec::new();
        if shape & 1 == 1 {
            frame.extend(ours);
            frame.extend([2, 0, 0, 0, 0, 2]);
            frame.extend(match shape >> 1 & 3 {
                0 => [0x08, 0x00, 0x45],
                1 => [0x86, 0xdd, 0x60],
                2 => [0x08, 0x06, 0x00],
                _ => [0x81, 0x00, 0x00],
            });
        }
        frame.extend(input.take(len));
        if shape & 8 != 0 && frame.len() >= 34 {
            // To us, with checksums right or taken on trust: deeper than noise would come.
            address(&mut frame);
        }
        let offload = Offload::default();
        // Kept or not, as a device would hand it over.
        let len = frame.len();
        if shape & 32 != 0 {
            stack.receive_kept(now, 2, &offload, &mut frame, 0..len);
        } else {
            stack.receive(now, 2, &offload, &frame);
        }
        if shape & 16 != 0 {
            now = Instant::from_nanos(now.as_nanos() + (1 << ((shape >> 5) * 5)));
        }
        stack.poll(now, &mut |_, _, _| true);
        while stack.next_event().is_some() {}
    }
}

/// Makes an IPv4 frame one for our address with a right header checksum.
fn address(frame: &mut [u8]) {
    if frame[12..14] != [8, 0] {
        return;
    }
    frame[14] = 0x45;
    let total = u16::try_from(frame.len() - 14).unwrap_or(u16::MAX);
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[26..30].copy_from_slice(&[10, 0, 0, 2]);
    frame[30..34].copy_from_slice(&[10, 0, 0, 1]);
    frame[24..26].fill(0);
    let sum: u32 = frame[14..34]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    frame[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
}

fn sockets(stack: &mut Stack, now: Instant) {
    let local = SocketAddr::from(([10, 0, 0, 1], 80));
    let _ = stack.tcp_listen(local, 8, TcpOptions::default(), 1);
    let from = SocketAddr::from(([10, 0, 0, 1], 4000));
    let to = SocketAddr::from(([10, 0, 0, 2], 80));
    let _ = stack.tcp_connect(now, from, to, TcpOptions::default(), 2);
}
