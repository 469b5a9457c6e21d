//! Datagrams on their way into inboxes: from inside the sandbox, from outside, and the errors that come back.

use std::net::SocketAddr;
use std::sync::Arc;

use abi::Errno;

use super::UdpSocket;
use super::error_queue::{Origin, Report};
use super::ports::share;
use crate::socket::address::encode_inet;
use crate::socket::filter::Beside;
use crate::socket::inbox::Arrival;
use crate::socket::network::{DatagramOut, LO_INDEX};
use crate::socket::{Control, NetNs, Outgoing, SocketOps};

/// ECONNREFUSED and its kin as the errno that they are numbered after.
pub(super) fn errno(error: net::Error) -> Errno {
    Errno::from_raw(error as i32)
}

impl UdpSocket {
    /// Whether a datagram from `from` is for this socket: a connected one takes its peer's only.
    fn accepts(&self, from: SocketAddr, interface: u32) -> bool {
        let device = self.base.options.lock().device();
        if device.is_some_and(|device| device != interface) {
            return false;
        }
        let state = self.state.lock();
        !state.closed && state.remote.is_none_or(|remote| remote == from)
    }

    /// Puts a datagram into this socket's inbox, if it has room.
    fn take(&self, from: SocketAddr, data: Vec<u8>, control: &mut Control, arrival: Arrival) {
        let limit = self.base.options.lock().receive_buffer;
        let Some(data) = self.filter(from, data, &arrival) else {
            return;
        };
        if self.inbox.has_room(data.len(), limit) {
            let from = Some(encode_inet(self.base.family, from));
            self.inbox.push_arrival(data, from, None, control, Some(arrival));
        }
    }

    /// What the socket's own filter leaves of a datagram, which it sees with its UDP header.
    fn filter(&self, from: SocketAddr, mut data: Vec<u8>, arrival: &Arrival) -> Option<Vec<u8>> {
        const HEADER: usize = 8;
        if self.base.has_filter() {
            let port = self.state.lock().local.map_or(0, |local| local.port());
            let len = u16::try_from(HEADER + data.len()).unwrap_or(0);
            let words = [from.port(), port, len, 0].map(u16::to_be_bytes);
            let beside = Beside::of(arrival);
            let kept = self
                .base
                .filtered(&[&words.concat(), &data[..]].concat(), beside)?;
            // Linux keeps the header whatever the filter says.
            data.truncate(kept.saturating_sub(HEADER));
        }
        Some(data)
    }

    /// Delivers to whoever has `to` in the sandbox; false when nobody does.
    pub(super) fn deliver(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        data: Vec<u8>,
        message: &mut Outgoing<'_>,
    ) -> bool {
        let Some(receiver) = choose(&self.base.net, from, to, LO_INDEX) else {
            return false;
        };
        let (hops, class) = self.knobs.journey(to.is_ipv6(), message.control.journey);
        let arrival = Arrival {
            to: to.ip(),
            interface: LO_INDEX,
            hops,
            class,
            time: crate::vfs::now_ns(),
        };
        receiver.take(from, data, &mut message.control, arrival);
        true
    }

    /// Sends a datagram over an interface.
    pub(super) fn send_outside(
        &self,
        interface: u32,
        from: SocketAddr,
        to: SocketAddr,
        data: Vec<u8>,
        message: &mut Outgoing<'_>,
    ) -> Result<(), Errno> {
        let journey = message.control.journey;
        let (mut hops, class) = self.knobs.journey(to.is_ipv6(), journey);
        if to.ip().is_multicast() {
            let (group_hops, back) = self.knobs.group_journey(to.is_ipv6());
            if journey.hops.is_none() {
                hops = group_hops;
            }
            if back {
                let arrival = Arrival {
                    to: to.ip(),
                    interface,
                    hops,
                    class,
                    time: crate::vfs::now_ns(),
                };
                to_all(&self.base.net, from, to, &data, arrival);
            }
        }
        let sent = self.base.net.network.send_datagram(&DatagramOut {
            interface,
            source: from,
            destination: to,
            hops: u8::try_from(hops).unwrap_or(u8::MAX),
            class: u8::try_from(class).unwrap_or(0),
            whole: self.knobs.whole(to.is_ipv6()),
            data: &data,
        });
        match sent {
            // Lost on the way out, as a full queue of a device loses it.
            Err(Errno::ENOBUFS | Errno::EAGAIN) => Ok(()),
            Err(Errno::EMSGSIZE) if self.knobs.receive_errors() => {
                self.errors.push(Report {
                    errno: Errno::EMSGSIZE,
                    origin: Origin::Local,
                    kind: 0,
                    code: 0,
                    info: self.base.net.network.path_mtu(to.ip()),
                    offender: None,
                    remote: to,
                    payload: data,
                });
                Err(Errno::EMSGSIZE)
            }
            other => other,
        }
    }

    /// Nobody in the sandbox has the port that a datagram was sent to. `quoted`: the datagram, where reports are wanted.
    pub(super) fn unreachable(&self, to: SocketAddr, quoted: Option<Vec<u8>>) {
        let reported = quoted.is_some();
        if let Some(mut payload) = quoted {
            // Type and code of "port unreachable", and what such a message quotes behind the headers (RFC 1812, RFC 4443).
            let (origin, kind, code, most) = if to.is_ipv4() {
                (Origin::Icmp, 3, 3, 576 - 56)
            } else {
                (Origin::Icmp6, 1, 4, 1280 - 96)
            };
            payload.truncate(most);
            self.errors.push(Report {
                errno: Errno::ECONNREFUSED,
                origin,
                kind,
                code,
                info: 0,
                offender: Some(to.ip()),
                remote: to,
                payload,
            });
        }
        if reported || self.state.lock().remote.is_some() {
            self.base.fail(Errno::ECONNREFUSED);
        }
    }

    fn fail_by(&self, error: &net::IcmpError) {
        let connected = self.state.lock().remote.is_some();
        let errno = errno(error.error);
        let wanted = self.knobs.receive_errors();
        if wanted {
            self.errors.push(Report::from(error));
        }
        if wanted || (connected && error.fatal) {
            self.base.fail(errno);
        }
    }
}

/// The receiver of a datagram: one that is connected to the sender, else any.
fn choose(net: &NetNs, from: SocketAddr, to: SocketAddr, interface: u32) -> Option<Arc<UdpSocket>> {
    let receivers = net.ports.udp.receivers(to, false);
    let connected = |socket: &&Arc<UdpSocket>| socket.state.lock().remote == Some(from);
    let open: Vec<_> = receivers
        .iter()
        .filter(|socket| socket.accepts(from, interface))
        .collect();
    let chosen = open.iter().copied().find(connected);
    let shared = || open.get(share(from.port().into(), open.len())).copied();
    chosen.or_else(shared).cloned()
}

/// Gives a datagram to a group or to everyone to each of its receivers; whether there was one.
fn to_all(net: &NetNs, from: SocketAddr, to: SocketAddr, data: &[u8], arrival: Arrival) -> bool {
    let mut any = false;
    for socket in net.ports.udp.matching(to) {
        let member = !to.ip().is_multicast() || socket.is_member(to.ip());
        if member && socket.accepts(from, arrival.interface) {
            any = true;
            socket.take(from, data.to_vec(), &mut Control::default(), arrival);
        }
    }
    any
}

/// A datagram came from outside. False: nobody wants it.
pub(in crate::socket) fn arrived(net: &NetNs, datagram: &mut net::Datagram) -> bool {
    let (from, to) = (datagram.source, datagram.destination);
    let arrival = Arrival {
        to: to.ip(),
        interface: datagram.interface,
        hops: i32::from(datagram.ttl),
        class: i32::from(datagram.tos),
        time: crate::vfs::now_ns(),
    };
    if datagram.group {
        return to_all(net, from, to, &datagram.data, arrival);
    }
    let Some(receiver) = choose(net, from, to, datagram.interface) else {
        return false;
    };
    let size = datagram.segment.map_or(usize::MAX, usize::from).max(1);
    if datagram.data.len() <= size {
        let data = std::mem::take(&mut datagram.data);
        receiver.take(from, data, &mut Control::default(), arrival);
    } else {
        // A train of datagrams that the device put together.
        for part in datagram.data.chunks(size) {
            receiver.take(from, part.to_vec(), &mut Control::default(), arrival);
        }
    }
    true
}

/// The engine's name server answered.
pub(in crate::socket) fn resolved(net: &NetNs, from: SocketAddr, to: SocketAddr, answer: Vec<u8>) {
    let arrival = Arrival {
        to: to.ip(),
        interface: LO_INDEX,
        hops: 64,
        class: 0,
        time: crate::vfs::now_ns(),
    };
    if let Some(receiver) = choose(net, from, to, LO_INDEX) {
        receiver.take(from, answer, &mut Control::default(), arrival);
    }
}

/// An ICMP error about a datagram came.
pub(in crate::socket) fn failed(net: &NetNs, error: &net::IcmpError) {
    for socket in net.ports.udp.matching(error.local) {
        let remote = socket.state.lock().remote;
        if remote.is_none_or(|remote| remote == error.remote) && !socket.base().has_error() {
            socket.fail_by(error);
        }
    }
}
