//! Socket addresses in guest memory: sockaddr_un, sockaddr_in, sockaddr_in6, sockaddr_nl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use abi::{AbiField, Errno};

use super::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX};

/// Bytes of the largest address (sockaddr_storage).
pub const MAX_BYTES: usize = 128;
/// Bytes of a unix socket's path.
const UNIX_PATH_MAX: usize = 108;

/// The family; `EINVAL` when even that is cut.
pub fn family(raw: &[u8]) -> Result<u16, Errno> {
    if raw.len() < 2 {
        return Err(Errno::EINVAL);
    }
    Ok(u16::get(raw))
}

/// The name of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnixName {
    /// A path, as it was given.
    Path(Vec<u8>),
    /// A name in the abstract namespace (without its leading NUL).
    Abstract(Vec<u8>),
}

impl UnixName {
    /// Decodes sockaddr_un; `None` for an address without a name (autobind). `EINVAL` for another family or a bad length.
    pub fn decode(raw: &[u8]) -> Result<Option<UnixName>, Errno> {
        if family(raw)? != AF_UNIX || raw.len() > 2 + UNIX_PATH_MAX {
            return Err(Errno::EINVAL);
        }
        let name = &raw[2..];
        match name.split_first() {
            None => Ok(None),
            Some((0, rest)) => Ok(Some(UnixName::Abstract(rest.to_vec()))),
            Some(_) => {
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                Ok(Some(UnixName::Path(name[..end].to_vec())))
            }
        }
    }

    /// As /proc/net/unix shows it.
    pub fn shown(&self) -> Vec<u8> {
        match self {
            UnixName::Path(path) => path.clone(),
            UnixName::Abstract(name) => [b"@", &name[..]].concat(),
        }
    }
}

/// Encodes sockaddr_un.
pub fn encode_unix(name: Option<&UnixName>) -> Vec<u8> {
    let mut raw = AF_UNIX.to_le_bytes().to_vec();
    match name {
        None => {}
        Some(UnixName::Path(path)) => {
            raw.extend_from_slice(path);
            raw.push(0);
        }
        Some(UnixName::Abstract(name)) => {
            raw.push(0);
            raw.extend_from_slice(name);
        }
    }
    raw
}

/// Decodes sockaddr_in or sockaddr_in6. `EINVAL` when it is too short, `EAFNOSUPPORT` for other families.
pub fn decode_inet(raw: &[u8]) -> Result<SocketAddr, Errno> {
    let port = |raw: &[u8]| u16::from_be_bytes([raw[2], raw[3]]);
    match family(raw)? {
        AF_INET if raw.len() >= 16 => {
            let ip = Ipv4Addr::new(raw[4], raw[5], raw[6], raw[7]);
            Ok(SocketAddr::new(IpAddr::V4(ip), port(raw)))
        }
        AF_INET6 if raw.len() >= 24 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&raw[8..24]);
            Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(octets)), port(raw)))
        }
        AF_INET | AF_INET6 => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Encodes an address as sockets of `family` show it: IPv4 as a mapped address on AF_INET6 sockets.
pub fn encode_inet(family: u16, addr: SocketAddr) -> Vec<u8> {
    let mut raw = family.to_le_bytes().to_vec();
    raw.extend(addr.port().to_be_bytes());
    if family == AF_INET6 {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        raw.extend([0; 4]);
        raw.extend(ip.octets());
        raw.extend([0; 4]);
    } else {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(ip) => ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
        };
        raw.extend(ip.octets());
        raw.extend([0; 8]);
    }
    raw
}

/// Decodes sockaddr_nl: port id and groups.
pub fn decode_netlink(raw: &[u8]) -> Result<(u32, u32), Errno> {
    if raw.len() < 12 || family(raw)? != AF_NETLINK {
        return Err(Errno::EINVAL);
    }
    Ok((u32::get(&raw[4..]), u32::get(&raw[8..])))
}

/// Encodes sockaddr_nl.
pub fn encode_netlink(port: u32, groups: u32) -> Vec<u8> {
    let mut raw = vec![0; 12];
    AF_NETLINK.put(&mut raw);
    port.put(&mut raw[4..]);
    groups.put(&mut raw[8..]);
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_names_survive_the_round_trip() {
        for raw in [&b"\x01\0/tmp/x\0"[..], b"\x01\0\0abstract\0name", b"\x01\0"] {
            let name = UnixName::decode(raw).unwrap();
            assert_eq!(encode_unix(name.as_ref()), raw);
        }
        assert_eq!(UnixName::decode(b"\x01"), Err(Errno::EINVAL));
        assert_eq!(UnixName::decode(&[1; 111]), Err(Errno::EINVAL));
    }

    #[test]
    fn inet_addresses_survive_the_round_trip() {
        for text in ["127.0.0.1:80", "[::1]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            let family = if addr.is_ipv4() { AF_INET } else { AF_INET6 };
            assert_eq!(decode_inet(&encode_inet(family, addr)), Ok(addr));
        }
        assert_eq!(decode_inet(&[2, 0, 0, 1]), Err(Errno::EINVAL));
    }
}
