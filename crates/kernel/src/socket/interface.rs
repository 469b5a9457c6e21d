//! netdevice(7): the ioctls about network interfaces, by name.

use abi::{AbiField, Errno, UserAddr};

use super::address::encode_inet;
use super::network::Link;
use super::{AF_INET, NetNs};
use crate::cred::Caps;
use crate::task::CurrentTask;

/// Bytes of struct ifreq.
const IFREQ: usize = 40;
/// Bytes of its name.
const NAME: usize = 16;

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCSIFFLAGS: u32 = 0x8914;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFDSTADDR: u32 = 0x8917;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCSIFMTU: u32 = 0x8922;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
const SIOCETHTOOL: u32 = 0x8946;
const SIOCGIFMAP: u32 = 0x8970;

fn encoded(ip: std::net::IpAddr) -> Vec<u8> {
    encode_inet(AF_INET, std::net::SocketAddr::new(ip, 0))
}

/// Serves an interface ioctl. `ENOTTY` for others.
pub(super) fn ioctl(net: &NetNs, task: &CurrentTask, command: u32, arg: UserAddr) -> Result<i64, Errno> {
    match command {
        SIOCGIFCONF => return list(net, task, arg),
        SIOCSIFFLAGS | SIOCSIFMTU => return set(net, task, command, arg),
        // SIOCADDRT, SIOCDELRT, SIOCSIF*: changes are made over netlink.
        0x890b..=0x890d | 0x8916 | 0x8918 | 0x891a | 0x891c | 0x8924 => {
            return Err(if net.permits(&task.cred(), Caps::NET_ADMIN) {
                Errno::EOPNOTSUPP
            } else {
                Errno::EPERM
            });
        }
        SIOCETHTOOL => return Err(Errno::EOPNOTSUPP),
        0x8910..=0x8948 | SIOCGIFMAP | 0x89f0..=0x89ff => {}
        _ => return Err(Errno::ENOTTY),
    }
    let mut request = [0; IFREQ];
    task.copy_in(arg, &mut request)?;
    let inventory = net.network.inventory();
    if command == SIOCGIFNAME {
        let index = u32::get(&request[NAME..]);
        let name = inventory.link(index).ok_or(Errno::ENODEV)?.name.clone();
        drop(inventory);
        put_name(&mut request, &name);
        return task.copy_out(arg, &request).map(|()| 0);
    }
    let link = inventory.named(name_of(&request)).ok_or(Errno::ENODEV)?;
    let value = value(link, command)?;
    drop(inventory);
    request[NAME..NAME + value.len()].copy_from_slice(&value);
    task.copy_out(arg, &request).map(|()| 0)
}

/// The name in a request; `eth0:1` (an alias of old) means eth0.
fn name_of(request: &[u8]) -> &[u8] {
    let mut parts = request[..NAME].split(|byte| matches!(byte, 0 | b':'));
    parts.next().unwrap_or_default()
}

fn put_name(request: &mut [u8; IFREQ], name: &str) {
    request[..NAME].fill(0);
    // The last byte stays NUL.
    for (place, byte) in request[..NAME - 1].iter_mut().zip(name.bytes()) {
        *place = byte;
    }
}

fn value(link: &Link, command: u32) -> Result<Vec<u8>, Errno> {
    let address = || link.ipv4().ok_or(Errno::EADDRNOTAVAIL);
    let unspecified = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    Ok(match command {
        SIOCGIFFLAGS => (link.flags as u16).to_le_bytes().to_vec(),
        SIOCGIFADDR | SIOCGIFDSTADDR => encoded(address()?.ip),
        SIOCGIFBRDADDR => encoded(address()?.broadcast.unwrap_or(unspecified)),
        SIOCGIFNETMASK => {
            let bits = 32u32.saturating_sub(address()?.prefix.into());
            let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
            encoded(std::net::Ipv4Addr::from_bits(mask).into())
        }
        SIOCGIFMETRIC => 0i32.to_le_bytes().to_vec(),
        SIOCGIFMTU => link.mtu.to_le_bytes().to_vec(),
        SIOCGIFINDEX => link.index.to_le_bytes().to_vec(),
        SIOCGIFTXQLEN => 1000i32.to_le_bytes().to_vec(),
        SIOCGIFHWADDR => {
            let mut bytes = link.hardware().to_le_bytes().to_vec();
            bytes.extend(link.mac);
            bytes.resize(16, 0);
            bytes
        }
        SIOCGIFMAP => vec![0; 24],
        _ => return Err(Errno::ENOTTY),
    })
}

/// SIOCSIFFLAGS, SIOCSIFMTU.
fn set(net: &NetNs, task: &CurrentTask, command: u32, arg: UserAddr) -> Result<i64, Errno> {
    let mut request = [0; IFREQ];
    task.copy_in(arg, &mut request)?;
    if !net.permits(&task.cred(), Caps::NET_ADMIN) {
        return Err(Errno::EPERM);
    }
    let network = &net.network;
    let index = network
        .inventory()
        .named(name_of(&request))
        .map(|link| link.index);
    let index = index.ok_or(Errno::ENODEV)?;
    if command == SIOCSIFMTU {
        network.set_mtu(index, u32::get(&request[NAME..]))?;
    } else {
        let flags = u32::from(u16::get(&request[NAME..]));
        network.set_flags(index, flags, u32::from(u16::MAX))?;
    }
    Ok(0)
}

/// SIOCGIFCONF: struct ifconf with a length and a buffer of struct ifreq, one for each IPv4 address.
fn list(net: &NetNs, task: &CurrentTask, arg: UserAddr) -> Result<i64, Errno> {
    let mut raw = [0; 16];
    task.copy_in(arg, &mut raw)?;
    let (room, buffer) = (i32::get(&raw), UserAddr(u64::get(&raw[8..])));
    let mut out = Vec::new();
    for link in &net.network.inventory().links {
        for address in link.addresses.iter().filter(|address| address.ip.is_ipv4()) {
            let mut request = [0; IFREQ];
            put_name(&mut request, &link.name);
            request[NAME..NAME + 16].copy_from_slice(&encoded(address.ip));
            out.extend(request);
        }
    }
    if !buffer.is_null() {
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
        out.truncate(room / IFREQ * IFREQ);
        task.copy_out(buffer, &out)?;
    }
    let len = i32::try_from(out.len()).unwrap_or(i32::MAX);
    task.write_struct(arg, &len).map(|()| 0)
}
