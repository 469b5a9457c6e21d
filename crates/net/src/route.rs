//! The routing table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Error;

/// Routes of one stack.
pub const MAX_ROUTES: usize = 4096;
/// The table that `ip route` shows (RT_TABLE_MAIN).
pub const TABLE_MAIN: u32 = 254;
/// The table of our own addresses (RT_TABLE_LOCAL).
pub const TABLE_LOCAL: u32 = 255;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The first address.
    pub ip: IpAddr,
    /// Bits that count.
    pub len: u8,
}

impl Prefix {
    /// The prefix of `len` bits that `ip` is in.
    pub fn new(ip: IpAddr, len: u8) -> Prefix {
        let ip = match ip {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a) & mask(32, len) as u32)),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a) & mask(128, len))),
        };
        Prefix { ip, len }
    }

    /// Whether `ip` is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.ip.is_ipv4() && Prefix::new(ip, self.len).ip == self.ip
    }
}

/// The upper `len` of `width` bits.
fn mask(width: u32, len: u8) -> u128 {
    let low = width.saturating_sub(u32::from(len));
    let all = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    all & u128::MAX.checked_shl(low).unwrap_or(0)
}

/// What a route does with a packet: rtnetlink(7)'s `rtm_type`, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RouteKind {
    /// To the gateway or the host itself.
    Unicast = 1,
    /// Ours.
    Local = 2,
    /// To all on the link.
    Broadcast = 3,
    /// To a group.
    Multicast = 5,
    /// Dropped silently.
    Blackhole = 6,
    /// EHOSTUNREACH.
    Unreachable = 7,
    /// EACCES.
    Prohibit = 8,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Prefix,
    /// By whom; `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the interface; 0 for kinds that need none.
    pub interface: u32,
    /// The source address of packets of unbound sockets.
    pub source: Option<IpAddr>,
    /// The lower wins.
    pub metric: u32,
    /// MTU of the path, when the route sets one.
    pub mtu: Option<u32>,
    /// What is done.
    pub kind: RouteKind,
    /// Table; lookups use [`TABLE_LOCAL`] first, then [`TABLE_MAIN`]; others are kept for dumps.
    pub table: u32,
    /// Who made it (RTPROT_*: 2 kernel, 3 boot, 4 static).
    pub protocol: u8,
    /// RT_SCOPE_*: 0 universe, 253 link, 254 host.
    pub scope: u8,
    /// RTNH_F_* flags; `RTNH_F_ONLINK` (4) admits a gateway that is not on the link.
    pub flags: u32,
}

impl Route {
    /// A unicast route in the main table, as `ip route add` makes it.
    pub fn new(destination: Prefix, gateway: Option<IpAddr>, interface: u32) -> Route {
        Route {
            destination,
            gateway,
            interface,
            source: None,
            metric: if destination.ip.is_ipv6() { 1024 } else { 0 },
            mtu: None,
            kind: RouteKind::Unicast,
            table: TABLE_MAIN,
            protocol: 3,
            scope: if gateway.is_some() || destination.ip.is_ipv6() {
                0
            } else {
                253
            },
            flags: 0,
        }
    }

    fn key(&self) -> (u32, Prefix, u32) {
        (self.table, self.destination, self.metric)
    }
}

/// All routes, the longest prefix first, then the lowest metric.
#[derive(Debug, Default)]
pub(crate) struct Table {
    routes: Vec<Route>,
}

impl Table {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Adds a route. IPv4: one route per prefix and metric. IPv6: also one per gateway and interface.
    pub(crate) fn add(&mut self, route: Route, replace: bool) -> Result<(), Error> {
        let same = |r: &Route| {
            r.key() == route.key()
                && (route.destination.ip.is_ipv4()
                    || replace
                    || (r.gateway == route.gateway && r.interface == route.interface))
        };
        if let Some(at) = self.routes.iter().position(same) {
            if !replace {
                return Err(Error::Exists);
            }
            self.routes.remove(at);
        }
        if self.routes.len() >= MAX_ROUTES {
            return Err(Error::NoBuffers);
        }
        let order = |r: &Route| (r.table != TABLE_LOCAL, u8::MAX - r.destination.len, r.metric);
        let at = self.routes.partition_point(|r| order(r) <= order(&route));
        self.routes.insert(at, route);
        Ok(())
    }

    /// Removes the first route that `wanted` holds for.
    pub(crate) fn remove(&mut self, wanted: impl FnMut(&Route) -> bool) -> Result<Route, Error> {
        let at = self.routes.iter().position(wanted).ok_or(Error::NoRoute)?;
        Ok(self.routes.remove(at))
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Route) -> bool) {
        self.routes.retain(keep);
    }

    /// The route for `dst`, by interface `via` when one is asked for, among those whose interface is `usable`.
    pub(crate) fn lookup(
        &self,
        dst: IpAddr,
        via: Option<u32>,
        usable: impl Fn(u32) -> bool,
    ) -> Option<&Route> {
        self.routes.iter().find(|r| {
            (r.table == TABLE_MAIN || r.table == TABLE_LOCAL)
                && r.destination.contains(dst)
                && via.is_none_or(|v| v == r.interface)
                && (r.interface == 0 || usable(r.interface))
        })
    }
}
