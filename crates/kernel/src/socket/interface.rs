//! netdevice(7): the ioctls that ask about network interfaces. There is one: lo.

use abi::{AbiField, Errno, UserAddr};

use super::address::encode_inet;
use super::{AF_INET, AF_INET6};
use crate::task::CurrentTask;

/// Bytes of struct ifreq.
const IFREQ: usize = 40;
/// Bytes of its name.
const NAME: usize = 16;

/// Index of lo.
pub const LO_INDEX: i32 = 1;
/// MTU of lo.
pub const LO_MTU: i32 = 65_536;
/// IFF_UP, IFF_LOOPBACK, IFF_RUNNING.
pub const LO_FLAGS: u32 = 0x49;
/// ARPHRD_LOOPBACK.
pub const ARPHRD_LOOPBACK: u16 = 772;

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFDSTADDR: u32 = 0x8917;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
const SIOCETHTOOL: u32 = 0x8946;

fn ipv4(text: &str) -> Vec<u8> {
    let addr = text.parse().map(|ip| std::net::SocketAddr::new(ip, 0));
    addr.map_or_else(|_| Vec::new(), |addr| encode_inet(AF_INET, addr))
}

/// Serves an interface ioctl. `ENOTTY` for others, `EPERM` for changes.
pub(super) fn ioctl(task: &CurrentTask, command: u32, arg: UserAddr) -> Result<i64, Errno> {
    match command {
        SIOCGIFCONF => return list(task, arg),
        // SIOCADDRT, SIOCSIF*: the network is not the guest's to change.
        0x890b..=0x890d | 0x8914 | 0x8916 | 0x8918 | 0x891a | 0x891c | 0x8922 | 0x8924 => {
            return Err(Errno::EPERM);
        }
        SIOCETHTOOL => return Err(Errno::EOPNOTSUPP),
        0x8910..=0x8948 => {}
        _ => return Err(Errno::ENOTTY),
    }
    let mut request = [0; IFREQ];
    task.copy_in(arg, &mut request)?;
    if command == SIOCGIFNAME {
        if i32::get(&request[NAME..]) != LO_INDEX {
            return Err(Errno::ENODEV);
        }
        request[..NAME].fill(0);
        request[..2].copy_from_slice(b"lo");
        return task.copy_out(arg, &request).map(|()| 0);
    }
    let name = request[..NAME]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    if name != b"lo" {
        return Err(Errno::ENODEV);
    }
    let value: Vec<u8> = match command {
        SIOCGIFFLAGS => (LO_FLAGS as u16).to_le_bytes().to_vec(),
        SIOCGIFADDR | SIOCGIFDSTADDR => ipv4("127.0.0.1"),
        SIOCGIFBRDADDR => ipv4("0.0.0.0"),
        SIOCGIFNETMASK => ipv4("255.0.0.0"),
        SIOCGIFMETRIC => 0i32.to_le_bytes().to_vec(),
        SIOCGIFMTU => LO_MTU.to_le_bytes().to_vec(),
        SIOCGIFINDEX => LO_INDEX.to_le_bytes().to_vec(),
        SIOCGIFTXQLEN => 1000i32.to_le_bytes().to_vec(),
        SIOCGIFHWADDR => {
            let mut bytes = ARPHRD_LOOPBACK.to_le_bytes().to_vec();
            bytes.extend([0; 14]);
            bytes
        }
        _ => return Err(Errno::ENOTTY),
    };
    request[NAME..NAME + value.len()].copy_from_slice(&value);
    task.copy_out(arg, &request).map(|()| 0)
}

/// SIOCGIFCONF: struct ifconf with a length and a buffer of struct ifreq.
fn list(task: &CurrentTask, arg: UserAddr) -> Result<i64, Errno> {
    let mut raw = [0; 16];
    task.copy_in(arg, &mut raw)?;
    let (room, buffer) = (i32::get(&raw), UserAddr(u64::get(&raw[8..])));
    let mut len = i32::try_from(IFREQ).unwrap_or(0);
    if !buffer.is_null() {
        if room >= len {
            let mut request = [0; IFREQ];
            request[..2].copy_from_slice(b"lo");
            request[NAME..NAME + 16].copy_from_slice(&ipv4("127.0.0.1"));
            task.copy_out(buffer, &request)?;
        } else {
            len = 0;
        }
    }
    task.write_struct(arg, &len).map(|()| 0)
}

/// The families that lo has addresses of, with prefix lengths and addresses.
pub(super) fn addresses() -> [(u16, u8, Vec<u8>); 2] {
    let mut v6 = vec![0; 16];
    v6[15] = 1;
    [(AF_INET, 8, vec![127, 0, 0, 1]), (AF_INET6, 128, v6)]
}
