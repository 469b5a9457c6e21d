//! The relay's process: a jail in the host's network, with nothing else of the host (docs/decisions/0024).

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use host::ns::{self, Child};
use host::rlimit::{self, Resource};
use host::signal::SignalSet;
use host::{caps, fd, mount, prctl};
use relay::{
    GATEWAY, GATEWAY_V6, GUEST, GUEST_MAC, GUEST_V6, MOST_SERVERS, MTU, PREFIX, PREFIX_V6, Policy, Relay,
};
use sandbox::network::{AddressConfig, InterfaceConfig, NetworkConfig, RouteConfig};

use crate::failure::{Failure, OWN_ERROR, While};
use crate::jail::{IdMaps, cannot_clone};

/// Index and name of the interface inside.
const INDEX: u32 = 2;
const NAME: &str = "eth0";
/// RT_SCOPE_UNIVERSE, RT_SCOPE_LINK; RTPROT_BOOT.
const UNIVERSE: u8 = 0;
const LINK: u8 = 253;
const BOOT: u8 = 3;
/// Where the host's name servers are told.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Longest report of the relay.
const MAX_PACKET: usize = 512;
/// An address in the middle of nowhere, to ask whether there is a route.
const FAR_AWAY: &str = "[2000::1]:9";

/// A relay that serves. With this value it ends.
pub struct Relayed {
    /// The network that the sandbox gets.
    pub config: NetworkConfig,
    /// Text for /etc/resolv.conf inside.
    pub resolv_conf: String,
    child: Child,
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relayed {
    /// Starts a relay. Returns it and the sandbox's end of its wire.
    pub fn start() -> Result<(Relayed, OwnedFd), Failure> {
        let host_conf = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let servers = servers(&host_conf);
        let resolv_conf = resolv_conf(&host_conf, servers.len());
        let mut secret = [0; 32];
        host::machine::random(&mut secret).while_doing("random numbers")?;
        let (inside, wire) = fd::frame_pair().while_doing("sockets for frames")?;
        let (ours, theirs) = fd::packet_pair().while_doing("control socket")?;
        let ids = IdMaps::of_caller()?;
        let policy = Policy::new(servers);
        let child = ns::spawn(ns::RELAY, || {
            let keep = [wire.as_fd(), theirs.as_fd()];
            let ready = close_walls(&keep, &theirs)
                .and_then(|()| Relay::new(wire, policy, secret).while_doing("relay"))
                .and_then(|relay| {
                    host::surface::close_relay().while_doing("filter of host calls")?;
                    Ok(relay)
                });
            let mut relay = match ready {
                Ok(relay) => relay,
                Err(failure) => {
                    let _ = fd::send(theirs.as_fd(), failure.message.as_bytes());
                    return i32::from(OWN_ERROR);
                }
            };
            // An empty report is the end of the pair: all is well.
            drop(theirs);
            match relay.serve() {
                Ok(()) => 0,
                Err(_) => i32::from(OWN_ERROR),
            }
        });
        let child = child.map_err(cannot_clone)?;
        let relayed = Relayed {
            config: config(has_ipv6()),
            resolv_conf,
            child,
        };
        ids.write(relayed.child.pid)?;
        let _ = fd::send(ours.as_fd(), b"mapped");
        let mut report = [0; MAX_PACKET];
        match fd::receive(ours.as_fd(), &mut report) {
            Ok(0) => Ok((relayed, inside)),
            Ok(len) => {
                let report = String::from_utf8_lossy(report.get(..len).unwrap_or_default()).into_owned();
                Err(Failure::own(format!("network: {report}")))
            }
            Err(error) => Err(error).while_doing("network: relay"),
        }
    }
}

/// The child's way from clone to relay: no file system, no capability, no descriptor but its own.
fn close_walls(keep: &[std::os::fd::BorrowedFd<'_>], theirs: &OwnedFd) -> Result<(), Failure> {
    prctl::set_name(c"tegmen-relay");
    fd::close_all_but(keep).while_doing("closing descriptors")?;
    let mut buf = [0; 16];
    match fd::receive(theirs.as_fd(), &mut buf) {
        Ok(0) | Err(_) => return Err(Failure::own("the command ended")),
        Ok(_) => {}
    }
    ns::new_session().while_doing("new session")?;
    mount::make_private().while_doing("making mounts private")?;
    let empty =
        mount::new_filesystem(c"tmpfs", &[(c"size", c"4k"), (c"mode", c"0555")]).while_doing("tmpfs")?;
    let scratch = mount::open_path("/proc".as_ref()).while_doing("/proc")?;
    mount::pivot_into(empty.as_fd(), scratch.as_fd()).while_doing("changing the root")?;
    drop(scratch);
    mount::restrict_one(empty.as_fd(), mount::Access::ReadOnly).while_doing("restricting the root")?;
    caps::keep_only(&[]).while_doing("dropping capabilities")?;
    prctl::no_new_privs().while_doing("no_new_privs")?;
    let (_, hard) = rlimit::get(Resource::NoFile).while_doing("resource limits")?;
    rlimit::set(Resource::NoFile, hard.min(relay::DESCRIPTORS), hard).while_doing("resource limits")?;
    rlimit::set(Resource::Core, 0, 0).while_doing("resource limits")?;
    prctl::die_with_parent().while_doing("parent death signal")?;
    // The command may have died before the line above; its end of the pair tells.
    if let Ok(0) = fd::try_receive(theirs.as_fd(), &mut buf) {
        return Err(Failure::own("the command ended"));
    }
    host::signal::reset_actions();
    SignalSet::empty().block_exactly().while_doing("signal mask")?;
    prctl::not_dumpable().while_doing("closing the process to others")
}

/// Whether the host has a way to the world for IPv6. Nothing is sent.
fn has_ipv6() -> bool {
    UdpSocket::bind("[::]:0").is_ok_and(|socket| socket.connect(FAR_AWAY).is_ok())
}

/// The name servers of resolv.conf(5); that of a host without any is its own.
fn servers(conf: &str) -> Vec<SocketAddr> {
    let named = conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words
            .next()
            .filter(|word| *word == "nameserver")
            .and(words.next())?;
        // A link-local address may name its interface.
        let address = address.split('%').next()?;
        Some(SocketAddr::new(address.parse().ok()?, 53))
    });
    let mut servers: Vec<SocketAddr> = named.take(MOST_SERVERS).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
    }
    servers
}

/// The same file as the sandbox sees it: other addresses, the rest as it is.
fn resolv_conf(host: &str, servers: usize) -> String {
    let mut text = String::new();
    for number in 0..servers {
        text.push_str(&format!("nameserver {}\n", relay::server_address(number)));
    }
    let kept = |line: &&str| {
        let word = line.split_whitespace().next();
        matches!(word, Some("search" | "domain" | "options"))
    };
    for line in host.lines().filter(kept) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// One interface with a default route over the relay.
fn config(ipv6: bool) -> NetworkConfig {
    let address = |ip: IpAddr, prefix: u8| AddressConfig {
        ip,
        prefix,
        broadcast: None,
        scope: UNIVERSE,
    };
    let route = |destination: IpAddr, prefix: u8, gateway: Option<IpAddr>| RouteConfig {
        destination,
        prefix,
        gateway,
        interface: INDEX,
        source: None,
        metric: if destination.is_ipv6() { 1024 } else { 0 },
        scope: if gateway.is_none() && destination.is_ipv4() {
            LINK
        } else {
            UNIVERSE
        },
        protocol: BOOT,
    };
    let any = |ip: IpAddr| -> IpAddr {
        match ip {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        }
    };
    let mut families: Vec<(IpAddr, IpAddr, u8)> = vec![(GUEST.into(), GATEWAY.into(), PREFIX)];
    if ipv6 {
        families.push((GUEST_V6.into(), GATEWAY_V6.into(), PREFIX_V6));
    }
    let addresses = families
        .iter()
        .map(|(own, _, prefix)| address(*own, *prefix))
        .collect();
    let routes = families
        .iter()
        .map(|(own, gateway, _)| route(any(*own), 0, Some(*gateway)))
        .collect();
    NetworkConfig {
        interfaces: vec![InterfaceConfig {
            index: INDEX,
            name: NAME.into(),
            mac: GUEST_MAC,
            mtu: MTU,
            addresses,
        }],
        routes,
        neighbours: Vec::new(),
        resolver: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_renamed_and_the_rest_stays() {
        let host = "# made by hand\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\noptions edns0\nsearch example.org\n";
        let found = servers(host);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], "127.0.0.53:53".parse().unwrap());
        assert_eq!(
            resolv_conf(host, found.len()),
            "nameserver 192.0.2.53\nnameserver 192.0.2.54\noptions edns0\nsearch example.org\n"
        );
        assert_eq!(servers(""), ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(servers(&"nameserver 10.0.0.1\n".repeat(9)).len(), 3);
    }
}
