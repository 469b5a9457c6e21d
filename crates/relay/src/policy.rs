//! Addresses of the sandbox's network, and which destination leads where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The router. The network is one that nobody may use otherwise (RFC 5737), so that it hides nobody's.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The sandbox.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Length of the network's prefix.
pub const PREFIX: u8 = 24;
/// The same for IPv6: a unique local network (RFC 4193).
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd74, 0x6567, 0x6d65, 0x6e, 0, 0, 0, 1);
/// The sandbox.
pub const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd74, 0x6567, 0x6d65, 0x6e, 0, 0, 0, 2);
/// Length of the network's prefix.
pub const PREFIX_V6: u8 = 64;
/// The router's hardware address.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x74, 0x65, 0x67, 0x6d, 0x01];
/// The sandbox's.
pub const GUEST_MAC: [u8; 6] = [0x02, 0x74, 0x65, 0x67, 0x6d, 0x02];
/// Bytes of the largest packet. TCP goes in super-segments of up to 64 KiB nevertheless.
pub const MTU: u32 = 1500;

/// Name servers of the host that are passed on (MAXNS of resolv.conf(5)).
pub const MOST_SERVERS: usize = 3;
/// Last byte of the first name server's address.
const FIRST_SERVER: u8 = 53;
const DNS: u16 = 53;

/// The address inside of a name server of the host.
pub fn server_address(number: usize) -> Ipv4Addr {
    let [a, b, c, _] = GATEWAY.octets();
    let number = u8::try_from(number.min(MOST_SERVERS)).unwrap_or(0);
    Ipv4Addr::new(a, b, c, FIRST_SERVER + number)
}

/// Where packets of the sandbox may go.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    servers: Vec<SocketAddr>,
    /// Nothing but the name servers is reached.
    names_only: bool,
}

impl Policy {
    /// With these name servers, which may be on a loopback address of the host.
    pub fn new(mut servers: Vec<SocketAddr>) -> Policy {
        servers.truncate(MOST_SERVERS);
        Policy {
            servers,
            names_only: false,
        }
    }

    /// The same, and nothing else is reached.
    #[cfg(any(test, feature = "testing"))]
    pub fn names_only(servers: Vec<SocketAddr>) -> Policy {
        Policy {
            names_only: true,
            ..Policy::new(servers)
        }
    }

    /// The name servers: as they are named inside, and where they are.
    pub fn servers(&self) -> impl Iterator<Item = (IpAddr, SocketAddr)> {
        self.servers
            .iter()
            .enumerate()
            .map(|(number, server)| (server_address(number).into(), *server))
    }

    /// Where on the host's side a destination is. `None`: nowhere, as with loopback addresses, which are the host's own
    /// business, those of its links, which no router passes on (RFC 3927, section 7; RFC 4291, 2.5.6) and where machines of clouds are told
    /// their secrets, and everything that is not the address of one host.
    pub fn way(&self, to: SocketAddr) -> Option<SocketAddr> {
        let ip = to.ip().to_canonical();
        if to.port() == DNS
            && let Some((_, server)) = self.servers().find(|(inside, _)| *inside == ip)
        {
            return Some(server);
        }
        let allowed = match ip {
            IpAddr::V4(ip) => {
                let first = ip.octets()[0];
                let inside = ip.octets()[..3] == GATEWAY.octets()[..3];
                !inside && first != 0 && first != 127 && first < 224 && !ip.is_link_local()
            }
            IpAddr::V6(ip) => {
                // ::/96 holds the unspecified, the loopback and the long dead IPv4-compatible addresses.
                let embedded = ip.segments()[..6] == [0; 6];
                let inside = ip.segments()[..4] == GATEWAY_V6.segments()[..4];
                !inside && !embedded && !ip.is_multicast() && !ip.is_unicast_link_local()
            }
        };
        (allowed && !self.names_only).then_some(SocketAddr::new(ip, to.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_hosts_loopback_is_reached_by_no_spelling() {
        let policy = Policy::new(vec![at("127.0.0.53:53")]);
        for to in [
            "127.0.0.1:80",
            "127.255.255.254:53",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::1]:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:0.0.0.0]:80",
            "[::127.0.0.1]:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[ff02::1]:80",
            "192.0.2.1:80",
            "192.0.2.53:54",
            "192.0.2.54:53",
            "[fd74:6567:6d65:6e::1]:80",
        ] {
            assert_eq!(policy.way(at(to)), None, "{to}");
        }
    }

    #[test]
    fn what_belongs_to_a_link_of_the_host_is_not_reached() {
        let policy = Policy::new(vec![at("169.254.169.253:53")]);
        for to in [
            "169.254.169.254:80",
            "169.254.0.1:443",
            "[::ffff:169.254.169.254]:80",
            "[fe80::1]:80",
        ] {
            assert_eq!(policy.way(at(to)), None, "{to}");
        }
        // As a name server it was named by the host.
        assert_eq!(policy.way(at("192.0.2.53:53")), Some(at("169.254.169.253:53")));
    }

    #[test]
    fn the_world_and_the_name_servers_are_reached() {
        let policy = Policy::new(vec![at("127.0.0.53:53"), at("10.0.0.1:53")]);
        assert_eq!(policy.way(at("192.0.2.53:53")), Some(at("127.0.0.53:53")));
        assert_eq!(policy.way(at("192.0.2.54:53")), Some(at("10.0.0.1:53")));
        for to in [
            "10.0.0.1:80",
            "203.0.113.9:53",
            "[2001:db8::1]:443",
            "192.0.3.1:1",
        ] {
            assert_eq!(policy.way(at(to)), Some(at(to)));
        }
        assert_eq!(policy.way(at("[::ffff:10.0.0.1]:80")), Some(at("10.0.0.1:80")));
    }
}
