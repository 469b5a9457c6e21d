//! Netlink messages (route, sock_diag) with attributes that nest, and ioctls of interfaces.

use super::bytes::Bytes;
use super::syscalls::{guest, take_apart};

/// Messages in one run.
const MAX_MESSAGES: usize = 24;
/// RTM_*, SOCK_DIAG_BY_FAMILY, NLMSG_DONE and their like.
const TYPES: [u16; 24] = [
    16, 17, 18, 19, 20, 21, 22, 24, 25, 26, 28, 29, 30, 32, 33, 34, 66, 78, 80, 82, 86, 88, 3, 1,
];
const MSG_DONTWAIT: u64 = 0x40;

pub fn run(data: &[u8]) {
    let guest = guest();
    let mut input = Bytes(data);
    let protocol = [0, 0, 0, 4, 15, 16][usize::from(input.byte()) % 6];
    let Ok(fd) = guest.call("socket", &[16, 3, protocol]) else {
        return take_apart(guest);
    };
    let plain = guest.call("socket", &[2, 2, 0]).unwrap_or(0);
    let answer = guest.room(4096);
    for _ in 0..MAX_MESSAGES {
        if input.is_empty() {
            break;
        }
        let shape = input.byte();
        if shape % 16 == 15 {
            // struct ifreq by name.
            let mut request = b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            request.extend(input.take(24));
            request.resize(40, 0);
            let at = guest.bytes(&request).0;
            let _ = guest.call("ioctl", &[plain, 0x8900 | u64::from(input.byte()), at]);
            continue;
        }
        let message = message(&mut input, shape);
        let at = guest.bytes(&message).0;
        let _ = guest.call("sendto", &[fd, at, message.len() as u64, MSG_DONTWAIT, 0, 0]);
        for _ in 0..8 {
            if guest
                .call("recvfrom", &[fd, answer.0, 4096, MSG_DONTWAIT, 0, 0])
                .is_err()
            {
                break;
            }
        }
    }
    take_apart(guest);
}

fn message(input: &mut Bytes<'_>, shape: u8) -> Vec<u8> {
    let kind = match shape & 1 {
        0 => TYPES[usize::from(input.byte()) % TYPES.len()],
        _ => input.word(2) as u16,
    };
    let flags = input.word(2) as u16 | 1;
    let mut body = input.take(usize::from(shape >> 1 & 3) * 8).to_vec();
    attributes(input, &mut body, 0);
    let len = match shape >> 3 & 3 {
        3 => input.word(4) as u32,
        _ => body.len() as u32 + 16,
    };
    let mut message = len.to_le_bytes().to_vec();
    message.extend(kind.to_le_bytes());
    message.extend(flags.to_le_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    message
}

fn attributes(input: &mut Bytes<'_>, body: &mut Vec<u8>, depth: usize) {
    let count = input.byte() % 6;
    for _ in 0..count {
        let head = input.byte();
        let mut value = Vec::new();
        if head & 0x80 != 0 && depth < 4 {
            attributes(input, &mut value, depth + 1);
        } else {
            let len = usize::from(input.byte() % 40);
            value.extend(input.take(len));
        }
        let len = if head & 0x40 == 0 {
            value.len() as u16 + 4
        } else {
            input.word(2) as u16
        };
        body.extend(len.to_le_bytes());
        body.extend([head & 0x3f, if depth > 0 && head & 0x20 != 0 { 0x80 } else { 0 }]);
        body.extend(value);
        while !body.len().is_multiple_of(4) {
            body.push(0);
        }
    }
}
