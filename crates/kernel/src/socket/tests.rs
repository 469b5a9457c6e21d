//! Sockets through system calls of one task.

mod inet;
mod random;
mod unix;

use abi::{Errno, UserAddr};

use crate::testing::Guest;

const O_NONBLOCK: u64 = 0o4000;
const O_CLOEXEC: u64 = 0o2000000;

/// Socket calls with less to write.
struct Net(Guest);

impl Net {
    fn new() -> Net {
        Net(Guest::new())
    }

    fn socket(&self, family: u64, kind: u64) -> u64 {
        self.0.call("socket", &[family, kind, 0]).unwrap()
    }

    fn pair(&self, kind: u64) -> (u64, u64) {
        let fds = self.0.room(8);
        self.0.call("socketpair", &[1, kind, 0, fds.0]).unwrap();
        let second = UserAddr(fds.0 + 4);
        (
            u64::from(self.0.read_u32(fds)),
            u64::from(self.0.read_u32(second)),
        )
    }

    fn with_address(&self, call: &str, fd: u64, addr: &[u8]) -> Result<u64, Errno> {
        let at = self.0.bytes(addr);
        self.0.call(call, &[fd, at.0, addr.len() as u64])
    }

    fn send(&self, fd: u64, data: &[u8], flags: u64) -> Result<u64, Errno> {
        let at = self.0.bytes(data);
        self.0.call("sendto", &[fd, at.0, data.len() as u64, flags, 0, 0])
    }

    fn recv(&self, fd: u64, max: usize, flags: u64) -> Result<Vec<u8>, Errno> {
        let at = self.0.room(max);
        let got = self.0.call("recvfrom", &[fd, at.0, max as u64, flags, 0, 0])?;
        Ok(self.0.read(at, max.min(got as usize)))
    }

    fn name(&self, call: &str, fd: u64) -> Result<Vec<u8>, Errno> {
        let (addr, len) = (self.0.room(128), self.0.bytes(&128u32.to_le_bytes()));
        self.0.call(call, &[fd, addr.0, len.0])?;
        Ok(self.0.read(addr, self.0.read_u32(len) as usize))
    }

    fn option(&self, fd: u64, level: u64, name: u64) -> Result<i32, Errno> {
        let (value, len) = (self.0.room(16), self.0.bytes(&4u32.to_le_bytes()));
        self.0.call("getsockopt", &[fd, level, name, value.0, len.0])?;
        Ok(self.0.read_u32(value) as i32)
    }

    fn set_option(&self, fd: u64, level: u64, name: u64, value: i32) -> Result<u64, Errno> {
        let at = self.0.bytes(&value.to_le_bytes());
        self.0.call("setsockopt", &[fd, level, name, at.0, 4])
    }

    /// poll(2) without waiting.
    fn poll(&self, fd: u64) -> u16 {
        let mut raw = (fd as u32).to_le_bytes().to_vec();
        // Not POLLWRBAND, which Linux reports of some kinds only.
        raw.extend(0x2dffu16.to_le_bytes());
        raw.extend([0, 0]);
        let at = self.0.bytes(&raw);
        self.0.call("poll", &[at.0, 1, 0]).unwrap();
        let raw = self.0.read(at, 8);
        u16::from_le_bytes([raw[6], raw[7]])
    }

    fn close(&self, fd: u64) {
        self.0.call("close", &[fd]).unwrap();
    }

    /// A msghdr in guest memory.
    fn message(&self, data: UserAddr, len: usize, control: UserAddr, control_len: usize) -> UserAddr {
        let mut vector = data.0.to_le_bytes().to_vec();
        vector.extend((len as u64).to_le_bytes());
        let vector = self.0.bytes(&vector);
        let mut raw = vec![0; 16];
        for word in [vector.0, 1, control.0, control_len as u64, 0] {
            raw.extend(word.to_le_bytes());
        }
        self.0.bytes(&raw)
    }
}

const IN: u16 = 0x1;
const OUT: u16 = 0x4;
const ERR: u16 = 0x8;
const HUP: u16 = 0x10;
const RDHUP: u16 = 0x2000;
