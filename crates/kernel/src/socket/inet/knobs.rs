//! Options of the internet levels: kept and given back; what has an effect is looked up here by those who act on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use abi::Errno;
use sync::{Mutex, rank};

use crate::socket::ancillary::{Journey, Record};
use crate::socket::inbox::Arrival;
use crate::socket::options::int;
use crate::socket::{AF_INET6, Kind};

pub const IPPROTO_IP: i32 = 0;
pub const IPPROTO_TCP: i32 = 6;
pub const IPPROTO_UDP: i32 = 17;
pub const IPPROTO_IPV6: i32 = 41;
pub const IPV6_V6ONLY: i32 = 26;

const IP_TOS: i32 = 1;
const IP_TTL: i32 = 2;
const IP_PKTINFO: i32 = 8;
const IP_RECVERR: i32 = 11;
const IP_RECVTTL: i32 = 12;
const IP_RECVTOS: i32 = 13;
const IPV6_RECVERR: i32 = 25;
const IPV6_RECVPKTINFO: i32 = 49;
const IPV6_PKTINFO: i32 = 50;
const IPV6_RECVHOPLIMIT: i32 = 51;
const IPV6_HOPLIMIT: i32 = 52;
const IPV6_RECVTCLASS: i32 = 66;
const IPV6_TCLASS: i32 = 67;
/// Hops that a datagram has when nothing is said (net.ipv4.ip_default_ttl).
const DEFAULT_HOPS: i32 = 64;

const TCP_INFO: i32 = 11;
const TCP_CONGESTION: i32 = 13;
/// Bytes of TCP_CONGESTION (TCP_CA_NAME_MAX).
const CONGESTION_NAME: usize = 16;
/// Bytes of struct tcp_info that old and new programs expect.
const TCP_INFO_BYTES: usize = 232;

/// A known option: level, name, default.
struct Known(i32, i32, i32);

const KNOWN: &[Known] = &[
    Known(IPPROTO_TCP, 1, 0),      // TCP_NODELAY
    Known(IPPROTO_TCP, 2, 65_483), // TCP_MAXSEG
    Known(IPPROTO_TCP, 3, 0),      // TCP_CORK
    Known(IPPROTO_TCP, 4, 7200),   // TCP_KEEPIDLE
    Known(IPPROTO_TCP, 5, 75),     // TCP_KEEPINTVL
    Known(IPPROTO_TCP, 6, 9),      // TCP_KEEPCNT
    Known(IPPROTO_TCP, 7, 6),      // TCP_SYNCNT
    Known(IPPROTO_TCP, 8, 60),     // TCP_LINGER2
    Known(IPPROTO_TCP, 9, 0),      // TCP_DEFER_ACCEPT
    Known(IPPROTO_TCP, 10, 0),     // TCP_WINDOW_CLAMP
    Known(IPPROTO_TCP, 12, 1),     // TCP_QUICKACK
    Known(IPPROTO_TCP, 18, 0),     // TCP_USER_TIMEOUT
    Known(IPPROTO_TCP, 23, 0),     // TCP_FASTOPEN
    Known(IPPROTO_TCP, 25, -1),    // TCP_NOTSENT_LOWAT
    Known(IPPROTO_TCP, 30, 0),     // TCP_FASTOPEN_CONNECT
    Known(IPPROTO_UDP, 1, 0),      // UDP_CORK
    Known(IPPROTO_IP, 1, 0),       // IP_TOS
    Known(IPPROTO_IP, 2, 64),      // IP_TTL
    Known(IPPROTO_IP, 6, 0),       // IP_RECVOPTS
    Known(IPPROTO_IP, 8, 0),       // IP_PKTINFO
    Known(IPPROTO_IP, 10, 1),      // IP_MTU_DISCOVER
    Known(IPPROTO_IP, 11, 0),      // IP_RECVERR
    Known(IPPROTO_IP, 12, 0),      // IP_RECVTTL
    Known(IPPROTO_IP, 13, 0),      // IP_RECVTOS
    Known(IPPROTO_IP, 15, 0),      // IP_FREEBIND
    Known(IPPROTO_IP, 24, 0),      // IP_BIND_ADDRESS_NO_PORT
    Known(IPPROTO_IP, 33, 1),      // IP_MULTICAST_TTL
    Known(IPPROTO_IP, 34, 1),      // IP_MULTICAST_LOOP
    Known(IPPROTO_IP, 49, 1),      // IP_MULTICAST_ALL
    Known(IPPROTO_IPV6, 16, 64),   // IPV6_UNICAST_HOPS
    Known(IPPROTO_IPV6, 18, 1),    // IPV6_MULTICAST_HOPS
    Known(IPPROTO_IPV6, 19, 1),    // IPV6_MULTICAST_LOOP
    Known(IPPROTO_IPV6, 23, 1),    // IPV6_MTU_DISCOVER
    Known(IPPROTO_IPV6, 25, 0),    // IPV6_RECVERR
    Known(IPPROTO_IPV6, IPV6_V6ONLY, 0),
    Known(IPPROTO_IPV6, 49, 0), // IPV6_RECVPKTINFO
    Known(IPPROTO_IPV6, 51, 0), // IPV6_RECVHOPLIMIT
    Known(IPPROTO_IPV6, 66, 0), // IPV6_RECVTCLASS
    Known(IPPROTO_IPV6, 67, 0), // IPV6_TCLASS
    Known(IPPROTO_IPV6, 72, 0), // IPV6_ADDR_PREFERENCES
];

/// The options of a socket.
pub struct Knobs {
    family: u16,
    kind: Kind,
    set: Mutex<BTreeMap<(i32, i32), i32>>,
    /// TCP_CONGESTION, when it was set.
    congestion: Mutex<Option<String>>,
}

impl Knobs {
    /// All at their defaults.
    pub fn new(family: u16, kind: Kind) -> Knobs {
        Knobs {
            family,
            kind,
            set: Mutex::new(rank::LEAF, BTreeMap::new()),
            congestion: Mutex::new(rank::LEAF, None),
        }
    }

    /// Takes over another socket's options (accept(2)).
    pub fn copy_from(&self, other: &Knobs) {
        let theirs = other.set.lock().clone();
        *self.set.lock() = theirs;
        let theirs = other.congestion.lock().clone();
        *self.congestion.lock() = theirs;
    }

    fn known(&self, level: i32, name: i32) -> Result<&'static Known, Errno> {
        let fits = match level {
            IPPROTO_TCP => self.kind == Kind::Stream,
            IPPROTO_UDP => self.kind == Kind::Datagram,
            IPPROTO_IPV6 => self.family == AF_INET6,
            _ => true,
        };
        let known = KNOWN.iter().find(|known| known.0 == level && known.1 == name);
        known.filter(|_| fits).ok_or(Errno::ENOPROTOOPT)
    }

    /// setsockopt(2). A single byte is enough for most of them.
    pub fn set(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if (level, name) == (IPPROTO_TCP, TCP_CONGESTION) && self.kind == Kind::Stream {
            let wanted = value.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = std::str::from_utf8(wanted).map_err(|_| Errno::ENOENT)?;
            let known = net::Congestion::by_name(name).ok_or(Errno::ENOENT)?;
            *self.congestion.lock() = Some(known.name().to_string());
            return Ok(());
        }
        self.known(level, name)?;
        let value = match value {
            [byte] if level == IPPROTO_IP => i32::from(*byte),
            _ => int(value)?,
        };
        self.set.lock().insert((level, name), value);
        Ok(())
    }

    /// getsockopt(2); `state` is what TCP_INFO shows.
    pub fn get(&self, level: i32, name: i32, state: u8) -> Result<Vec<u8>, Errno> {
        if level == IPPROTO_TCP && self.kind == Kind::Stream {
            if name == TCP_CONGESTION {
                let name = self.congestion.lock().clone().unwrap_or_else(|| "cubic".into());
                let mut bytes = name.into_bytes();
                bytes.resize(CONGESTION_NAME, 0);
                return Ok(bytes);
            }
            if name == TCP_INFO {
                let mut info = vec![0; TCP_INFO_BYTES];
                info[0] = state;
                return Ok(info);
            }
        }
        let known = self.known(level, name)?;
        let value = self.set.lock().get(&(level, name)).copied().unwrap_or(known.2);
        Ok(value.to_le_bytes().to_vec())
    }

    /// An option's value.
    pub(super) fn value(&self, level: i32, name: i32) -> i32 {
        let default = KNOWN.iter().find(|known| known.0 == level && known.1 == name);
        let set = self.set.lock().get(&(level, name)).copied();
        set.or(default.map(|known| known.2)).unwrap_or(0)
    }

    /// Hop limit and class of what this socket sends, unless a message says otherwise.
    pub fn journey(&self, ipv6: bool, asked: Journey) -> (i32, i32) {
        let (hops, class) = if ipv6 {
            (
                self.value(IPPROTO_IPV6, 16),
                self.value(IPPROTO_IPV6, IPV6_TCLASS),
            )
        } else {
            (self.value(IPPROTO_IP, IP_TTL), self.value(IPPROTO_IP, IP_TOS))
        };
        let usual = |value: Option<i32>| value.filter(|value| *value >= 0);
        let hops = usual(asked.hops).unwrap_or(if hops < 0 { DEFAULT_HOPS } else { hops });
        (hops, usual(asked.class).unwrap_or(class))
    }

    /// An option's value if it was set.
    fn chosen(&self, level: i32, name: i32) -> Option<i32> {
        self.set.lock().get(&(level, name)).copied()
    }

    /// What the stack is told of a TCP socket's options.
    pub fn tcp_options(&self, family: u16) -> net::TcpOptions {
        let tcp = |name| self.chosen(IPPROTO_TCP, name);
        let on = |name| tcp(name).is_some_and(|value| value != 0);
        let positive = |name| {
            tcp(name)
                .and_then(|value| u32::try_from(value).ok())
                .filter(|value| *value > 0)
        };
        let seconds = |name| positive(name).map(|value| Duration::from_secs(value.into()));
        let byte = |value: i32| u8::try_from(value).ok();
        let (hops, class) = if family == AF_INET6 {
            (
                self.chosen(IPPROTO_IPV6, 16),
                self.chosen(IPPROTO_IPV6, IPV6_TCLASS),
            )
        } else {
            (self.chosen(IPPROTO_IP, IP_TTL), self.chosen(IPPROTO_IP, IP_TOS))
        };
        let congestion = self.congestion.lock().clone();
        net::TcpOptions {
            ttl: hops.and_then(byte).filter(|hops| *hops > 0),
            tos: class.and_then(byte).unwrap_or(0),
            nodelay: on(1),
            cork: on(3),
            quickack: on(12),
            keepalive_times: net::Keepalive {
                idle: seconds(4),
                interval: seconds(5),
                count: positive(6).and_then(|count| u8::try_from(count).ok()),
            },
            user_timeout: positive(18).map(|value| Duration::from_millis(value.into())),
            congestion: congestion.and_then(|name| net::Congestion::by_name(&name)),
            max_segment: positive(2).and_then(|size| u16::try_from(size).ok()),
            window_clamp: positive(10),
            syn_retries: positive(7).and_then(|count| u8::try_from(count).ok()),
            linger2: seconds(8),
            notsent_lowat: positive(25),
            defer_accept: seconds(9),
            ..net::TcpOptions::default()
        }
    }

    /// The control messages that the socket asked for about a datagram.
    pub fn records(&self, arrival: &Arrival) -> Vec<Record> {
        let on = |level, name| self.value(level, name) != 0;
        let mut records = Vec::new();
        let mut add = |level, kind, data: Vec<u8>| records.push(Record { level, kind, data });
        if self.family == AF_INET6 {
            let level = IPPROTO_IPV6;
            if on(level, IPV6_RECVPKTINFO) {
                let ip = match arrival.to {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                add(
                    level,
                    IPV6_PKTINFO,
                    [&ip.octets()[..], &arrival.interface.to_le_bytes()].concat(),
                );
            }
            if on(level, IPV6_RECVHOPLIMIT) {
                add(level, IPV6_HOPLIMIT, arrival.hops.to_le_bytes().to_vec());
            }
            if on(level, IPV6_RECVTCLASS) {
                add(level, IPV6_TCLASS, arrival.class.to_le_bytes().to_vec());
            }
        } else if let IpAddr::V4(ip) = arrival.to {
            let level = IPPROTO_IP;
            if on(level, IP_PKTINFO) {
                let info = [&arrival.interface.to_le_bytes()[..], &ip.octets(), &ip.octets()].concat();
                add(level, IP_PKTINFO, info);
            }
            if on(level, IP_RECVTTL) {
                add(level, IP_TTL, arrival.hops.to_le_bytes().to_vec());
            }
            if on(level, IP_RECVTOS) {
                add(level, IP_TOS, vec![arrival.class.to_le_bytes()[0]]);
            }
        }
        records
    }

    /// IP_RECVERR, IPV6_RECVERR.
    pub fn receive_errors(&self) -> bool {
        self.value(IPPROTO_IP, IP_RECVERR) != 0 || self.value(IPPROTO_IPV6, IPV6_RECVERR) != 0
    }

    /// Whether datagrams may be cut on their way: not with IP_PMTUDISC_DO and PROBE (nor WANT, before a smaller path is known).
    pub fn whole(&self, ipv6: bool) -> bool {
        let mode = if ipv6 {
            self.value(IPPROTO_IPV6, 23)
        } else {
            self.value(IPPROTO_IP, 10)
        };
        matches!(mode, 2 | 3)
    }

    /// Hops of datagrams to groups, and whether they come back to members in the sandbox.
    pub fn group_journey(&self, ipv6: bool) -> (i32, bool) {
        if ipv6 {
            (self.value(IPPROTO_IPV6, 18), self.value(IPPROTO_IPV6, 19) != 0)
        } else {
            (self.value(IPPROTO_IP, 33), self.value(IPPROTO_IP, 34) != 0)
        }
    }

    /// IPV6_V6ONLY.
    pub fn v6only(&self) -> bool {
        let set = self.set.lock();
        set.get(&(IPPROTO_IPV6, IPV6_V6ONLY))
            .is_some_and(|value| *value != 0)
    }
}
