//! The errors that a datagram's way brought back (IP_RECVERR of ip(7)): read with MSG_ERRQUEUE.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use abi::Errno;
use sync::{Mutex, rank};

use crate::io::Sink;
use crate::socket::address::encode_inet;
use crate::socket::ancillary::Record;
use crate::socket::{AF_INET, AF_INET6, Control, Incoming, msg};

/// Reports that wait; later ones are lost, as when the socket's buffer is full in Linux.
const MOST_REPORTS: usize = 64;

/// Where an error comes from (SO_EE_ORIGIN_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sandbox itself.
    Local = 1,
    /// An ICMP message.
    Icmp = 2,
    /// An ICMPv6 message.
    Icmp6 = 3,
}

/// An error about something sent.
#[derive(Clone, Debug)]
pub struct Report {
    /// What a call would answer.
    pub errno: Errno,
    /// Where it comes from.
    pub origin: Origin,
    /// Type and code of the ICMP message.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The MTU, when that is the matter.
    pub info: u32,
    /// Who told.
    pub offender: Option<IpAddr>,
    /// Where the datagram was to go.
    pub remote: SocketAddr,
    /// What is left of it.
    pub payload: Vec<u8>,
}

impl From<&net::IcmpError> for Report {
    fn from(error: &net::IcmpError) -> Report {
        Report {
            errno: super::udp_arrival::errno(error.error),
            origin: if error.remote.is_ipv4() {
                Origin::Icmp
            } else {
                Origin::Icmp6
            },
            kind: error.kind,
            code: error.code,
            info: error.mtu,
            offender: Some(error.offender),
            remote: error.remote,
            payload: error.quoted.clone(),
        }
    }
}

/// The reports of a socket.
pub struct ErrorQueue(Mutex<VecDeque<Report>>);

impl Default for ErrorQueue {
    fn default() -> Self {
        ErrorQueue(Mutex::new(rank::LEAF, VecDeque::new()))
    }
}

impl ErrorQueue {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Adds a report.
    pub fn push(&self, report: Report) {
        let mut queue = self.0.lock();
        if queue.len() < MOST_REPORTS {
            queue.push_back(report);
        }
    }

    /// Gives the oldest report: the datagram's bytes, and what happened as a control message. `EAGAIN`.
    pub fn receive(&self, family: u16, dst: &mut dyn Sink) -> Result<Incoming, Errno> {
        let report = self.0.lock().pop_front().ok_or(Errno::EAGAIN)?;
        let take = report.payload.len().min(dst.remaining());
        let stored = if take == 0 {
            0
        } else {
            dst.write(&report.payload[..take])?
        };
        let cut = if stored < report.payload.len() {
            msg::TRUNC
        } else {
            0
        };
        Ok(Incoming {
            stored,
            full: report.payload.len(),
            from: Some(encode_inet(family, report.remote)),
            flags: msg::ERRQUEUE | cut,
            control: Control {
                records: vec![record(family, &report)],
                ..Control::default()
            },
            arrival: None,
        })
    }
}

/// `struct sock_extended_err` with the offender's address.
fn record(family: u16, report: &Report) -> Record {
    const IP_RECVERR: i32 = 11;
    const IPV6_RECVERR: i32 = 25;
    let mut data = report.errno.raw().to_le_bytes().to_vec();
    data.extend([report.origin as u8, report.kind, report.code, 0]);
    data.extend(report.info.to_le_bytes());
    data.extend([0; 4]);
    let own = if report.remote.is_ipv4() && family != AF_INET6 {
        AF_INET
    } else {
        family
    };
    match report.offender {
        Some(ip) => data.extend(encode_inet(own, SocketAddr::new(ip, 0))),
        None => data.extend([0; 16]),
    }
    let (level, kind) = if family == AF_INET6 {
        (super::knobs::IPPROTO_IPV6, IPV6_RECVERR)
    } else {
        (super::knobs::IPPROTO_IP, IP_RECVERR)
    };
    Record { level, kind, data }
}
