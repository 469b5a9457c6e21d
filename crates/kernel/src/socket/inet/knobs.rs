//! Options of the internet levels: kept and given back; what has an effect is looked up here by those who act on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use abi::Errno;
use sync::{Mutex, rank};

use crate::socket::ancillary::{Journey, Record};
use crate::socket::inbox::Arrival;
use crate::socket::options::{SOL_SOCKET, int};
use crate::socket::{AF_INET6, Base, Incoming, Kind};

pub const IPPROTO_IP: i32 = 0;
pub const IPPROTO_TCP: i32 = 6;
pub const IPPROTO_UDP: i32 = 17;
pub(super) const UDP_CORK: i32 = 1;
pub const IPPROTO_IPV6: i32 = 41;
pub const SOL_RAW: i32 = 255;
pub const IPV6_V6ONLY: i32 = 26;

const IP_TOS: i32 = 1;
const IP_TTL: i32 = 2;
const IP_PKTINFO: i32 = 8;
const IP_RECVERR: i32 = 11;
const IP_RECVTTL: i32 = 12;
const IP_RECVTOS: i32 = 13;
const IP_FREEBIND: i32 = 15;
const IPV6_FREEBIND: i32 = 78;
const IPV6_RECVERR: i32 = 25;
const IPV6_RECVPKTINFO: i32 = 49;
const IPV6_PKTINFO: i32 = 50;
const IPV6_RECVHOPLIMIT: i32 = 51;
const IPV6_HOPLIMIT: i32 = 52;
const IPV6_RECVTCLASS: i32 = 66;
const IPV6_TCLASS: i32 = 67;
/// Hops that a datagram has when nothing is said (net.ipv4.ip_default_ttl).
const DEFAULT_HOPS: i32 = 64;

const TCP_MAXSEG: i32 = 2;
const TCP_LINGER2: i32 = 8;
const TCP_DEFER_ACCEPT: i32 = 9;
const TCP_WINDOW_CLAMP: i32 = 10;
const TCP_INFO: i32 = 11;
const TCP_THIN_DUPACK: i32 = 17;
const TCP_FASTOPEN: i32 = 23;
const TCP_SAVED_SYN: i32 = 28;
const TCP_ULP: i32 = 31;
const TCP_CONGESTION: i32 = 13;
/// Bytes of TCP_CONGESTION (TCP_CA_NAME_MAX).
const CONGESTION_NAME: usize = 16;
/// Bytes of struct tcp_info that old and new programs expect.
const TCP_INFO_BYTES: usize = 232;

/// What setsockopt(2) takes for an option.
#[derive(Clone, Copy)]
enum Rule {
    /// Anything; kept as 0 or 1.
    Switch,
    /// A number in this range; `EINVAL` for others.
    Range(i32, i32),
    /// The same, and -1 for the default.
    Default(i32, i32),
    /// Anything.
    Number,
    /// Nothing: `ENOPROTOOPT`.
    Fixed,
}
use Rule::{Default as OrDefault, Fixed, Number, Range, Switch};

/// A known option: level, name, default, rule.
struct Known(i32, i32, i32, Rule);

const MOST: i32 = i32::MAX;

/// ip(7), ipv6(7), tcp(7), udp(7), by their numbers in Linux's headers.
const KNOWN: &[Known] = &[
    Known(IPPROTO_TCP, 1, 0, Switch),              // TCP_NODELAY
    Known(IPPROTO_TCP, 2, 536, Range(0, 32_767)),  // TCP_MAXSEG
    Known(IPPROTO_TCP, 3, 0, Switch),              // TCP_CORK
    Known(IPPROTO_TCP, 4, 7200, Range(1, 32_767)), // TCP_KEEPIDLE
    Known(IPPROTO_TCP, 5, 75, Range(1, 32_767)),   // TCP_KEEPINTVL
    Known(IPPROTO_TCP, 6, 9, Range(1, 127)),       // TCP_KEEPCNT
    Known(IPPROTO_TCP, 7, 6, Range(1, 127)),       // TCP_SYNCNT
    Known(IPPROTO_TCP, 8, 60, Number),             // TCP_LINGER2
    Known(IPPROTO_TCP, 9, 0, Number),              // TCP_DEFER_ACCEPT
    Known(IPPROTO_TCP, 10, 0, Number),             // TCP_WINDOW_CLAMP
    Known(IPPROTO_TCP, 12, 1, Switch),             // TCP_QUICKACK
    Known(IPPROTO_TCP, 16, 0, Range(0, 1)),        // TCP_THIN_LINEAR_TIMEOUTS
    Known(IPPROTO_TCP, 17, 0, Range(0, 1)),        // TCP_THIN_DUPACK
    Known(IPPROTO_TCP, 18, 0, Range(0, MOST)),     // TCP_USER_TIMEOUT
    Known(IPPROTO_TCP, 23, 0, Range(0, MOST)),     // TCP_FASTOPEN
    Known(IPPROTO_TCP, 25, 0, Number),             // TCP_NOTSENT_LOWAT
    Known(IPPROTO_TCP, 27, 0, Range(0, 1)),        // TCP_SAVE_SYN
    Known(IPPROTO_TCP, 30, 0, Range(0, 1)),        // TCP_FASTOPEN_CONNECT
    Known(IPPROTO_TCP, 34, 0, Range(0, 1)),        // TCP_FASTOPEN_NO_COOKIE
    Known(IPPROTO_TCP, 36, 0, Range(0, 1)),        // TCP_INQ
    Known(IPPROTO_TCP, 37, 0, Range(0, MOST)),     // TCP_TX_DELAY
    Known(IPPROTO_UDP, UDP_CORK, 0, Switch),
    Known(IPPROTO_UDP, 10, 0, Fixed),               // UDPLITE_SEND_CSCOV
    Known(IPPROTO_UDP, 11, 0, Fixed),               // UDPLITE_RECV_CSCOV
    Known(IPPROTO_UDP, 101, 0, Switch),             // UDP_NO_CHECK6_TX
    Known(IPPROTO_UDP, 102, 0, Switch),             // UDP_NO_CHECK6_RX
    Known(IPPROTO_IP, 1, 0, Number),                // IP_TOS
    Known(IPPROTO_IP, 2, 64, OrDefault(1, 255)),    // IP_TTL
    Known(IPPROTO_IP, 3, 0, Fixed),                 // IP_HDRINCL, of other sockets than raw ones
    Known(IPPROTO_IP, 5, 0, Range(1, 0)),           // IP_ROUTER_ALERT
    Known(IPPROTO_IP, 6, 0, Switch),                // IP_RECVOPTS
    Known(IPPROTO_IP, 7, 0, Switch),                // IP_RETOPTS
    Known(IPPROTO_IP, 8, 0, Switch),                // IP_PKTINFO
    Known(IPPROTO_IP, 10, 1, Range(0, 5)),          // IP_MTU_DISCOVER
    Known(IPPROTO_IP, 11, 0, Switch),               // IP_RECVERR
    Known(IPPROTO_IP, 12, 0, Switch),               // IP_RECVTTL
    Known(IPPROTO_IP, 13, 0, Switch),               // IP_RECVTOS
    Known(IPPROTO_IP, 15, 0, Switch),               // IP_FREEBIND
    Known(IPPROTO_IP, 18, 0, Switch),               // IP_PASSSEC
    Known(IPPROTO_IP, 19, 0, Switch),               // IP_TRANSPARENT
    Known(IPPROTO_IP, 20, 0, Switch),               // IP_RECVORIGDSTADDR
    Known(IPPROTO_IP, 21, 0, Range(0, 255)),        // IP_MINTTL
    Known(IPPROTO_IP, 22, 0, Fixed),                // IP_NODEFRAG
    Known(IPPROTO_IP, 32, 0, Fixed),                // IP_MULTICAST_IF, of other sockets than datagram ones
    Known(IPPROTO_IP, 23, 0, Switch),               // IP_CHECKSUM
    Known(IPPROTO_IP, 24, 0, Switch),               // IP_BIND_ADDRESS_NO_PORT
    Known(IPPROTO_IP, 25, 0, Switch),               // IP_RECVFRAGSIZE
    Known(IPPROTO_IP, 26, 0, Range(0, 1)),          // IP_RECVERR_RFC4884
    Known(IPPROTO_IP, 33, 1, OrDefault(0, 255)),    // IP_MULTICAST_TTL
    Known(IPPROTO_IP, 34, 1, Switch),               // IP_MULTICAST_LOOP
    Known(IPPROTO_IP, 49, 1, Range(0, 1)),          // IP_MULTICAST_ALL
    Known(IPPROTO_IP, 52, 0, Fixed),                // IP_PROTOCOL
    Known(IPPROTO_IPV6, 2, 0, Switch),              // IPV6_2292PKTINFO
    Known(IPPROTO_IPV6, 3, 0, Switch),              // IPV6_2292HOPOPTS
    Known(IPPROTO_IPV6, 4, 0, Switch),              // IPV6_2292DSTOPTS
    Known(IPPROTO_IPV6, 5, 0, Switch),              // IPV6_2292RTHDR
    Known(IPPROTO_IPV6, 8, 0, Switch),              // IPV6_2292HOPLIMIT
    Known(IPPROTO_IPV6, 11, 0, Switch),             // IPV6_FLOWINFO
    Known(IPPROTO_IPV6, 16, 64, OrDefault(0, 255)), // IPV6_UNICAST_HOPS
    Known(IPPROTO_IPV6, 18, 1, OrDefault(0, 255)),  // IPV6_MULTICAST_HOPS
    Known(IPPROTO_IPV6, 19, 1, Range(0, 1)),        // IPV6_MULTICAST_LOOP
    Known(IPPROTO_IPV6, 23, 1, Range(0, 5)),        // IPV6_MTU_DISCOVER
    Known(IPPROTO_IPV6, 25, 0, Switch),             // IPV6_RECVERR
    Known(IPPROTO_IPV6, IPV6_V6ONLY, 0, Switch),
    Known(IPPROTO_IPV6, 29, 1, Switch),            // IPV6_MULTICAST_ALL
    Known(IPPROTO_IPV6, 30, 0, Switch),            // IPV6_ROUTER_ALERT_ISOLATE
    Known(IPPROTO_IPV6, 31, 0, Range(0, 1)),       // IPV6_RECVERR_RFC4884
    Known(IPPROTO_IPV6, 33, 0, Switch),            // IPV6_FLOWINFO_SEND
    Known(IPPROTO_IPV6, 49, 0, Switch),            // IPV6_RECVPKTINFO
    Known(IPPROTO_IPV6, 51, 0, Switch),            // IPV6_RECVHOPLIMIT
    Known(IPPROTO_IPV6, 53, 0, Switch),            // IPV6_RECVHOPOPTS
    Known(IPPROTO_IPV6, 56, 0, Switch),            // IPV6_RECVRTHDR
    Known(IPPROTO_IPV6, 58, 0, Switch),            // IPV6_RECVDSTOPTS
    Known(IPPROTO_IPV6, 60, 0, Switch),            // IPV6_RECVPATHMTU
    Known(IPPROTO_IPV6, 62, 0, Switch),            // IPV6_DONTFRAG
    Known(IPPROTO_IPV6, 66, 0, Switch),            // IPV6_RECVTCLASS
    Known(IPPROTO_IPV6, 67, 0, OrDefault(0, 255)), // IPV6_TCLASS
    Known(IPPROTO_IPV6, 70, 1, Switch),            // IPV6_AUTOFLOWLABEL
    Known(IPPROTO_IPV6, 73, 0, Range(0, 255)),     // IPV6_MINHOPCOUNT
    Known(IPPROTO_IPV6, 74, 0, Switch),            // IPV6_RECVORIGDSTADDR
    Known(IPPROTO_IPV6, 75, 0, Switch),            // IPV6_TRANSPARENT
    Known(IPPROTO_IPV6, 77, 0, Switch),            // IPV6_RECVFRAGSIZE
    Known(IPPROTO_IPV6, 78, 0, Switch),            // IPV6_FREEBIND
];

/// Options of ip(7) that need at least a byte; the others are 0 without one.
const NEED_BYTE: &[i32] = &[2, 5, 15, 19, 21, 33, 34, 49];
/// Those that only datagrams have: `EINVAL` for streams.
const NOT_OF_STREAMS: &[i32] = &[25, 32, 33];
/// Joining and leaving groups: `EPROTO` for streams. What else there is about groups is `EINVAL` for them.
const MEMBERSHIP: std::ops::RangeInclusive<i32> = 35..=36;
const GROUPS: std::ops::RangeInclusive<i32> = 37..=48;
/// Options of ipv6(7) that are understood only in messages, or that are not here.
const IPV6_REFUSED: &[i32] = &[1, 20, 21, 27, 28, 32, 35, 43, 44, 45, 46, 47, 48, 50];

/// IP_LOCAL_PORT_RANGE, IP_OPTIONS, IP_PKTOPTIONS, IP_MTU, IP_UNICAST_IF.
const IP_OPTIONS: i32 = 4;
const IP_PKTOPTIONS: i32 = 9;
const IP_MTU: i32 = 14;
const IP_UNICAST_IF: i32 = 50;
const IP_LOCAL_PORT_RANGE: i32 = 51;
const IPV6_MTU: i32 = 24;
const IPV6_ADDR_PREFERENCES: i32 = 72;
const IPV6_UNICAST_IF: i32 = 76;
/// Headers that a socket sends with each packet: none can be set, as they are not sent.
const IPV6_STICKY: &[i32] = &[54, 55, 57, 59];

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
        let known = KNOWN.iter().find(|known| known.0 == level && known.1 == name);
        known.filter(|_| self.has_level(level)).ok_or(Errno::ENOPROTOOPT)
    }

    fn has_level(&self, level: i32) -> bool {
        match level {
            IPPROTO_TCP => self.kind == Kind::Stream,
            IPPROTO_UDP => self.kind == Kind::Datagram,
            IPPROTO_IPV6 => self.family == AF_INET6,
            // A raw socket has the options of its own family only.
            IPPROTO_IP => self.family != AF_INET6 || self.kind != Kind::Raw,
            _ => false,
        }
    }

    /// setsockopt(2), in Linux's order of checks.
    pub fn set(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if !self.has_level(level) {
            return Err(Errno::ENOPROTOOPT);
        }
        if (level, name) == (IPPROTO_TCP, TCP_ULP) {
            // None is there.
            return Err(if value.is_empty() {
                Errno::EINVAL
            } else {
                Errno::ENOENT
            });
        }
        if (level, name) == (IPPROTO_TCP, TCP_CONGESTION) {
            if value.is_empty() {
                return Err(Errno::EINVAL);
            }
            let wanted = value.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = std::str::from_utf8(wanted).map_err(|_| Errno::ENOENT)?;
            let known = net::Congestion::by_name(name).ok_or(Errno::ENOENT)?;
            *self.congestion.lock() = Some(known.name().to_string());
            return Ok(());
        }
        if level == IPPROTO_IP && self.kind == Kind::Stream {
            if NOT_OF_STREAMS.contains(&name) {
                return Err(Errno::EINVAL);
            }
            if MEMBERSHIP.contains(&name) {
                return Err(Errno::EPROTO);
            }
            if GROUPS.contains(&name) {
                return Err(Errno::EINVAL);
            }
        }
        let value = match level {
            IPPROTO_IP => self.ip_value(name, value)?,
            // Before the option is looked at.
            IPPROTO_TCP | IPPROTO_UDP => int(value)?,
            _ => match self.ipv6_value(name, value)? {
                Some(value) => value,
                None => return Ok(()),
            },
        };
        if self.set_special(level, name, value)? {
            return Ok(());
        }
        let Known(_, _, default, rule) = self.known(level, name)?;
        let kept = match *rule {
            Fixed => return Err(Errno::ENOPROTOOPT),
            Switch => i32::from(value != 0),
            OrDefault(..) if value == -1 => *default,
            Range(least, most) | OrDefault(least, most) if !(least..=most).contains(&value) => {
                return Err(Errno::EINVAL);
            }
            Range(..) | OrDefault(..) | Number => value,
        };
        self.set.lock().insert((level, name), kept);
        Ok(())
    }

    /// The number in an option's value at the level of ip(7): a single byte is enough, for many even none.
    fn ip_value(&self, name: i32, value: &[u8]) -> Result<i32, Errno> {
        let whole = matches!(name, 26 | 49 | IP_UNICAST_IF | IP_LOCAL_PORT_RANGE);
        match value {
            [] if name == IP_OPTIONS => Ok(0),
            // The header's options cannot be set, because none are sent.
            [..] if name == IP_OPTIONS => Err(Errno::EINVAL),
            [] if NEED_BYTE.contains(&name) || (whole && name != 26) => Err(Errno::EINVAL),
            _ if matches!(name, IP_UNICAST_IF | IP_LOCAL_PORT_RANGE) && value.len() != 4 => {
                Err(Errno::EINVAL)
            }
            [_, _, _, _, ..] => int(value),
            [byte, ..] => Ok(i32::from(*byte)),
            [] => Ok(0),
        }
    }

    /// The same of ipv6(7); `None`: there is nothing to keep.
    fn ipv6_value(&self, name: i32, value: &[u8]) -> Result<Option<i32>, Errno> {
        if IPV6_REFUSED.contains(&name) {
            return Err(Errno::EINVAL);
        }
        if IPV6_STICKY.contains(&name) {
            return if value.is_empty() {
                Ok(None)
            } else {
                Err(Errno::EINVAL)
            };
        }
        match value {
            [_, _, _, _, ..] => int(value).map(Some),
            _ if matches!(name, 62 | 70 | 77) => Ok(Some(value.first().map_or(0, |byte| i32::from(*byte)))),
            _ if self.known(IPPROTO_IPV6, name).is_ok() => Err(Errno::EINVAL),
            _ if matches!(name, IPV6_MTU | IPV6_ADDR_PREFERENCES | IPV6_UNICAST_IF) => Err(Errno::EINVAL),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// Options with rules of their own; true when that was one, and it is done.
    fn set_special(&self, level: i32, name: i32, value: i32) -> Result<bool, Errno> {
        let kept = match (level, name) {
            // The lower two bits are the stack's (ECN), where there are connections.
            (IPPROTO_IP, IP_TOS) if self.kind == Kind::Stream => value & 0xfc,
            (IPPROTO_IP, IP_TOS) => value & 0xff,
            (IPPROTO_IP, IP_LOCAL_PORT_RANGE) => {
                let (low, high) = (value & 0xffff, value >> 16 & 0xffff);
                if low > high && high != 0 {
                    return Err(Errno::EINVAL);
                }
                value
            }
            (IPPROTO_IP, IP_UNICAST_IF) | (IPPROTO_IPV6, IPV6_UNICAST_IF) if value != 0 => {
                return Err(Errno::EADDRNOTAVAIL);
            }
            (IPPROTO_IP, IP_UNICAST_IF) | (IPPROTO_IPV6, IPV6_UNICAST_IF) => 0,
            (IPPROTO_IPV6, IPV6_MTU) if value != 0 && value < 1280 => return Err(Errno::EINVAL),
            (IPPROTO_IPV6, IPV6_MTU) => value,
            (IPPROTO_IPV6, IPV6_ADDR_PREFERENCES) => return self.prefer_addresses(value).map(|()| true),
            // No limit of one's own.
            (IPPROTO_TCP, TCP_MAXSEG) if value == 0 => {
                self.set.lock().remove(&(level, name));
                return Ok(true);
            }
            (IPPROTO_TCP, TCP_MAXSEG) if !(88..=32_767).contains(&value) => {
                return Err(Errno::EINVAL);
            }
            (IPPROTO_TCP, TCP_LINGER2) => match value {
                ..0 => -1,
                // TCP_FIN_TIMEOUT_MAX; the default for none.
                0 => 60,
                value => value.min(120),
            },
            (IPPROTO_TCP, TCP_DEFER_ACCEPT) => deferred(value),
            // SOCK_MIN_RCVBUF / 2 is the least.
            (IPPROTO_TCP, TCP_WINDOW_CLAMP) if value != 0 => value.max(1152),
            (IPPROTO_TCP, TCP_FASTOPEN) if value > 4096 => 4096,
            (IPPROTO_TCP, TCP_THIN_DUPACK) if (0..=1).contains(&value) => 0,
            _ => return Ok(false),
        };
        self.set.lock().insert((level, name), kept);
        Ok(true)
    }

    /// IPV6_ADDR_PREFERENCES: of each pair of preferences at most one.
    fn prefer_addresses(&self, value: i32) -> Result<(), Errno> {
        const TEMPORARY: i32 = 1;
        const PUBLIC: i32 = 2;
        const NEITHER: i32 = 0x100;
        const CARE_OF: i32 = 4;
        const HOME: i32 = 0x400;
        const GENERATED: i32 = 8;
        const NOT_GENERATED: i32 = 0x800;
        let groups = [
            &[TEMPORARY, PUBLIC, NEITHER][..],
            &[CARE_OF, HOME],
            &[GENERATED, NOT_GENERATED],
        ];
        let several = |group: &&[i32]| group.iter().filter(|bit| value & **bit != 0).count() > 1;
        if groups.iter().any(several) {
            return Err(Errno::EINVAL);
        }
        let mut shown = value & (TEMPORARY | PUBLIC | CARE_OF);
        if value & (TEMPORARY | PUBLIC) == 0 {
            shown |= NEITHER;
        }
        if value & CARE_OF == 0 {
            shown |= HOME;
        }
        self.set
            .lock()
            .insert((IPPROTO_IPV6, IPV6_ADDR_PREFERENCES), shown);
        Ok(())
    }

    /// getsockopt(2); `state` is what TCP_INFO shows.
    pub fn get(&self, level: i32, name: i32, state: u8) -> Result<Vec<u8>, Errno> {
        if !self.has_level(level) {
            let raw = self.kind == Kind::Raw && level == SOL_RAW;
            return Err(if self.family == AF_INET6 || level == SOL_SOCKET || raw {
                Errno::ENOPROTOOPT
            } else {
                Errno::EOPNOTSUPP
            });
        }
        let stream = self.kind == Kind::Stream;
        match (level, name) {
            (IPPROTO_TCP, TCP_CONGESTION) => {
                let name = self.congestion.lock().clone().unwrap_or_else(|| "cubic".into());
                let mut bytes = name.into_bytes();
                bytes.resize(CONGESTION_NAME, 0);
                return Ok(bytes);
            }
            (IPPROTO_TCP, TCP_INFO) => {
                let mut info = vec![0; TCP_INFO_BYTES];
                info[0] = state;
                return Ok(info);
            }
            (IPPROTO_TCP, TCP_ULP | TCP_SAVED_SYN) => return Ok(Vec::new()),
            (IPPROTO_IP, IP_OPTIONS) if self.chosen(level, name).is_none() => return Ok(Vec::new()),
            (IPPROTO_IP, IP_PKTOPTIONS) if stream => return Ok(Vec::new()),
            (IPPROTO_IP, IP_MTU) | (IPPROTO_IPV6, IPV6_MTU) => return Err(Errno::ENOTCONN),
            (IPPROTO_IPV6, name) if IPV6_STICKY.contains(&name) => return Ok(Vec::new()),
            (IPPROTO_IP, IP_UNICAST_IF | IP_LOCAL_PORT_RANGE) | (IPPROTO_IPV6, IPV6_UNICAST_IF) => {
                return Ok(self.value(level, name).to_le_bytes().to_vec());
            }
            (IPPROTO_IPV6, IPV6_ADDR_PREFERENCES) => {
                // Public or temporary, whichever there is; the home address.
                let usual = 0x500;
                let value = self.chosen(level, name).unwrap_or(usual);
                return Ok(value.to_le_bytes().to_vec());
            }
            _ => {}
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

    /// UDP_CORK.
    pub fn corks(&self) -> bool {
        self.chosen(IPPROTO_UDP, UDP_CORK).is_some_and(|value| value != 0)
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

    /// Adds what the socket asked for about a datagram that it received.
    pub fn annotate(&self, base: &Base, mut incoming: Incoming) -> Incoming {
        if let Some(arrival) = incoming.arrival {
            let timestamp = {
                let mut options = base.options.lock();
                options.note_stamp(arrival.time);
                options.timestamp(arrival.time)
            };
            incoming.control.records.extend(timestamp);
            incoming.control.records.extend(self.records(&arrival));
        }
        incoming
    }

    /// The control messages that the socket asked for about a datagram.
    fn records(&self, arrival: &Arrival) -> Vec<Record> {
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

    /// IP_FREEBIND, IPV6_FREEBIND.
    pub fn free_bind(&self) -> bool {
        self.value(IPPROTO_IP, IP_FREEBIND) != 0 || self.value(IPPROTO_IPV6, IPV6_FREEBIND) != 0
    }

    /// IPV6_V6ONLY.
    pub fn v6only(&self) -> bool {
        let set = self.set.lock();
        set.get(&(IPPROTO_IPV6, IPV6_V6ONLY))
            .is_some_and(|value| *value != 0)
    }
}

/// TCP_DEFER_ACCEPT as Linux shows it: the time until the last repetition that fits, which doubles from a second.
fn deferred(seconds: i32) -> i32 {
    const LONGEST: i32 = 120;
    const REPETITIONS: i32 = 255;
    if seconds <= 0 {
        return 0;
    }
    let (mut period, mut wait) = (1, 1);
    for _ in 1..REPETITIONS {
        if period >= seconds {
            break;
        }
        wait = (wait * 2).min(LONGEST);
        period += wait;
    }
    period
}
