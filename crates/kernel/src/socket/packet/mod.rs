//! packet(7): sockets that see and send whole frames of the interfaces. What sockets inside the sandbox exchange over local
//! addresses passes no interface, so nothing is seen of it here.

mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use abi::{AbiField, AbiStruct, Errno, abi_struct};
use sync::{Events, Mutex, PollTable, rank};

use self::ring::Ring;
use super::filter::Beside;
use super::inbox::{Arrival, Inbox, read_message};
use super::inet::has_net_raw;
use super::options::int;
use super::{AF_PACKET, Base, Control, Incoming, Kind, NetNs, Outgoing, Shutdown, SocketOps};
use crate::Kernel;
use crate::file::MapPiece;
use crate::io::Sink;
use crate::task::CurrentTask;

const BUFFER: usize = 212_992;
/// Frames that wait at one socket.
const MOST_MESSAGES: usize = 4096;
/// Bytes of the largest frame that is sent.
const MAX_FRAME: usize = 65_550;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Every protocol, as the sender writes it.
const ETH_P_ALL: u16 = 3;
const SOL_PACKET: i32 = 263;

/// Kinds of frames (PACKET_HOST and its kin).
const TO_US: u8 = 0;
const TO_ALL: u8 = 1;
const TO_GROUP: u8 = 2;
const TO_OTHERS: u8 = 3;
const FROM_US: u8 = 4;

abi_struct! {
    /// `struct sockaddr_ll`; the protocol is in network byte order.
    struct SockaddrLl {
        family: u16, protocol: u16, index: i32, hardware: u16, kind: u8, len: u8, addr: [u8; 8],
    }
}

#[derive(Default)]
struct State {
    /// Ethertype that it takes; 0: nothing.
    protocol: u16,
    /// Of which interface; 0: all.
    interface: u32,
    /// PACKET_VERSION.
    version: i32,
    /// PACKET_RESERVE.
    reserve: usize,
    /// PACKET_AUXDATA.
    auxdata: bool,
    ignore_outgoing: bool,
    /// Of [`HARMLESS`], those that were set.
    harmless: BTreeMap<i32, i32>,
    seen: u32,
    dropped: u32,
    closed: bool,
}

/// Options that are kept and given back.
const HARMLESS: &[i32] = &[7, 9, 14, 17, 20];
/// Bytes of struct packet_mreq.
const MEMBERSHIP: usize = 16;

/// A packet socket.
pub struct PacketSocket {
    base: Base,
    kernel: Arc<Kernel>,
    inbox: Inbox,
    state: Mutex<State>,
    ring: Mutex<Option<Ring>>,
    _me: Weak<PacketSocket>,
}

/// socket(2) of AF_PACKET.
pub(super) fn create(
    kernel: &Arc<Kernel>,
    net: &Arc<NetNs>,
    kind: Kind,
    protocol: i32,
) -> Result<Arc<dyn SocketOps>, Errno> {
    if !has_net_raw(net) || net.network.shared().is_some() {
        return Err(Errno::EPERM);
    }
    if !matches!(kind, Kind::Raw | Kind::Datagram) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    let ino = kernel.next_ino();
    let base = Base::new(net, AF_PACKET, kind, protocol, ino, (BUFFER, BUFFER));
    let state = State {
        protocol: u16::try_from(protocol & 0xffff).unwrap_or(0).swap_bytes(),
        ..State::default()
    };
    let socket = Arc::new_cyclic(|me| PacketSocket {
        inbox: Inbox::new(MOST_MESSAGES, &base.queue),
        base,
        kernel: kernel.clone(),
        state: Mutex::new(rank::FILE_STATE, state),
        ring: Mutex::new(rank::FILE_STATE_PEER, None),
        _me: me.clone(),
    });
    net.packets.lock().insert(ino, Arc::downgrade(&socket));
    net.network.stack().call(|stack, _| stack.want_frames(true));
    Ok(socket)
}

/// A frame passed by.
pub(super) fn passed(net: &NetNs, frame: &net::Frame) {
    let sockets: Vec<_> = net.packets.lock().values().filter_map(Weak::upgrade).collect();
    for socket in sockets {
        socket.take(frame);
    }
}

/// What a frame is to this sandbox.
fn kind_of(frame: &net::Frame, own: [u8; 6]) -> u8 {
    let to = frame.data.get(..6).unwrap_or_default();
    match (frame.direction, to) {
        (net::Direction::Out, _) => FROM_US,
        (_, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => TO_ALL,
        (_, [first, ..]) if first & 1 != 0 => TO_GROUP,
        (_, to) if to == own => TO_US,
        _ => TO_OTHERS,
    }
}

impl PacketSocket {
    fn take(&self, frame: &net::Frame) {
        let Some(ethertype) = frame.data.get(12..ETHERNET) else {
            return;
        };
        let ethertype = u16::from_be_bytes([ethertype[0], ethertype[1]]);
        let own = self
            .base
            .net
            .network
            .inventory()
            .link(frame.interface)
            .map(|link| link.mac);
        let kind = kind_of(frame, own.unwrap_or_default());
        {
            let state = self.state.lock();
            let wanted = state.protocol == ETH_P_ALL || (state.protocol == ethertype && kind != FROM_US);
            if state.closed
                || !wanted
                || (state.ignore_outgoing && kind == FROM_US)
                || (state.interface != 0 && state.interface != frame.interface)
            {
                return;
            }
        }
        let mut addr = [0; 8];
        addr[..6].copy_from_slice(frame.data.get(6..12).unwrap_or(&[0; 6]));
        let from = SockaddrLl {
            family: AF_PACKET,
            protocol: ethertype.to_be(),
            index: i32::try_from(frame.interface).unwrap_or(0),
            hardware: 1,
            kind,
            len: 6,
            addr,
        }
        .to_bytes();
        let skip = if self.base.kind == Kind::Datagram {
            ETHERNET
        } else {
            0
        };
        let beside = Beside {
            protocol: ethertype,
            kind,
            interface: frame.interface,
        };
        let shown = frame.data.get(skip..).unwrap_or_default();
        let Some(kept) = self.base.filtered(shown, beside) else {
            return;
        };
        let now = crate::vfs::now_ns();
        let in_ring = self
            .ring
            .lock()
            .as_mut()
            .map(|ring| ring.put(&frame.data, skip, &from, now));
        let taken = in_ring.unwrap_or_else(|| self.queue(frame.interface, &shown[..kept], from, now));
        let mut state = self.state.lock();
        state.seen = state.seen.wrapping_add(1);
        if taken {
            drop(state);
            self.base.queue.wake(Events::READABLE);
        } else {
            state.dropped = state.dropped.wrapping_add(1);
        }
    }

    fn queue(&self, interface: u32, data: &[u8], from: Vec<u8>, time: i64) -> bool {
        let limit = self.base.options.lock().receive_buffer;
        if !self.inbox.has_room(data.len(), limit) {
            return false;
        }
        let arrival = Arrival {
            to: std::net::Ipv4Addr::UNSPECIFIED.into(),
            interface,
            hops: 0,
            class: 0,
            time,
        };
        let control = &mut Control::default();
        self.inbox
            .push_arrival(data.to_vec(), Some(from), None, control, Some(arrival));
        true
    }

    /// The interface and the whole frame of a message.
    fn outgoing(&self, to: Option<&[u8]>, data: Vec<u8>) -> Result<(u32, Vec<u8>), Errno> {
        let to = match to.filter(|to| !to.is_empty()) {
            Some(to) if to.len() < SockaddrLl::SIZE - 2 => return Err(Errno::EINVAL),
            Some(to) => {
                let mut raw = [0; SockaddrLl::SIZE];
                let len = to.len().min(SockaddrLl::SIZE);
                raw[..len].copy_from_slice(&to[..len]);
                Some(SockaddrLl::get(&raw))
            }
            None => None,
        };
        let (interface, protocol) = {
            let state = self.state.lock();
            (state.interface, state.protocol)
        };
        let interface = match &to {
            Some(to) => u32::try_from(to.index).map_err(|_| Errno::ENXIO)?,
            None => interface,
        };
        let link = self
            .base
            .net
            .network
            .inventory()
            .link(interface)
            .cloned()
            .ok_or(Errno::ENXIO)?;
        if self.base.kind == Kind::Raw {
            return Ok((interface, data));
        }
        let to = to.ok_or(Errno::EDESTADDRREQ)?;
        let protocol = if to.protocol == 0 {
            protocol
        } else {
            u16::from_be(to.protocol)
        };
        let frame = [&to.addr[..6], &link.mac, &protocol.to_be_bytes(), &data].concat();
        Ok((interface, frame))
    }

    /// PACKET_RX_RING: four numbers, or more with version 3, which is not there.
    fn set_ring(&self, value: &[u8]) -> Result<(), Errno> {
        let (version, reserve) = {
            let state = self.state.lock();
            (state.version, state.reserve)
        };
        if value.len() < 16 {
            return Err(Errno::EINVAL);
        }
        if version != ring::VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let numbers = [0, 4, 8, 12].map(|at| usize::try_from(u32::get(&value[at..])).unwrap_or(usize::MAX));
        let new = Ring::new(&*self.kernel.memory, numbers, reserve)?;
        *self.ring.lock() = new;
        Ok(())
    }
}

impl SocketOps for PacketSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, _: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        if addr.len() < SockaddrLl::SIZE {
            return Err(Errno::EINVAL);
        }
        let addr = SockaddrLl::get(addr);
        if addr.family != AF_PACKET {
            return Err(Errno::EINVAL);
        }
        let interface = u32::try_from(addr.index).map_err(|_| Errno::ENODEV)?;
        if interface != 0 && self.base.net.network.inventory().link(interface).is_none() {
            return Err(Errno::ENODEV);
        }
        let mut state = self.state.lock();
        state.interface = interface;
        if addr.protocol != 0 {
            state.protocol = u16::from_be(addr.protocol);
        }
        Ok(())
    }

    fn connect(&self, _: &CurrentTask, _: &[u8], _: bool) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn name(&self) -> Result<Vec<u8>, Errno> {
        let state = self.state.lock();
        let link = self.base.net.network.inventory().link(state.interface).cloned();
        let mut addr = [0; 8];
        addr[..6].copy_from_slice(&link.as_ref().map_or([0; 6], |link| link.mac));
        let name = SockaddrLl {
            family: AF_PACKET,
            protocol: state.protocol.to_be(),
            index: i32::try_from(state.interface).unwrap_or(0),
            hardware: link.map_or(0, |link| link.hardware()),
            kind: 0,
            len: 6,
            addr,
        };
        Ok(name.to_bytes())
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn shutdown(&self, _: Shutdown) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        let data = read_message(message.src, MAX_FRAME)?;
        let len = data.len();
        let (interface, frame) = self.outgoing(message.to, data)?;
        let stack = self.base.net.network.stack();
        let sent = stack.call(|stack, now| stack.frame_send(now, interface, &frame));
        sent.map(|()| len).map_err(|error| Errno::from_raw(error as i32))
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        self.base.take_error()?;
        let mut incoming = self.inbox.receive(dst, flags)?;
        if let Some(arrival) = incoming.arrival {
            let timestamp = {
                let mut options = self.base.options.lock();
                options.note_stamp(arrival.time);
                options.timestamp(arrival.time)
            };
            incoming.control.records.extend(timestamp);
        }
        Ok(incoming)
    }

    fn poll(&self, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.base.queue);
        }
        let mut events = Events::WRITABLE | Events::WRBAND;
        if !self.inbox.is_empty() || self.ring.lock().as_ref().is_some_and(Ring::has_frames) {
            events |= Events::READABLE;
        }
        if self.base.has_error() {
            events |= Events::ERR;
        }
        events
    }

    fn set_option(&self, _: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level != SOL_PACKET {
            return Err(Errno::ENOPROTOOPT);
        }
        match name {
            // PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP: all frames that come are shown anyhow.
            1 | 2 => {
                let index = value.get(..MEMBERSHIP).map(u32::get).ok_or(Errno::EINVAL)?;
                if name == 1 && self.base.net.network.inventory().link(index).is_none() {
                    return Err(Errno::ENODEV);
                }
                Ok(())
            }
            5 => self.set_ring(value),
            8 => {
                self.state.lock().auxdata = int(value)? != 0;
                Ok(())
            }
            10 => match int(value)? {
                version @ 0..=ring::VERSION => {
                    self.state.lock().version = version;
                    Ok(())
                }
                _ => Err(Errno::EINVAL),
            },
            12 => {
                let reserve = usize::try_from(int(value)?).map_err(|_| Errno::EINVAL)?;
                if reserve > ring::MOST_RESERVE {
                    return Err(Errno::EINVAL);
                }
                self.state.lock().reserve = reserve;
                Ok(())
            }
            // PACKET_COPY_THRESH, PACKET_ORIGDEV, PACKET_LOSS, PACKET_TIMESTAMP, PACKET_QDISC_BYPASS: without an effect here.
            name if HARMLESS.contains(&name) => {
                let value = int(value)?;
                let switch = !matches!(name, 7 | 17);
                let kept = if switch { i32::from(value != 0) } else { value };
                self.state.lock().harmless.insert(name, kept);
                Ok(())
            }
            23 => {
                self.state.lock().ignore_outgoing = int(value)? != 0;
                Ok(())
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if level != SOL_PACKET {
            return Err(Errno::ENOPROTOOPT);
        }
        let mut state = self.state.lock();
        match name {
            // PACKET_STATISTICS: since the last time.
            6 => {
                let (seen, dropped) = (
                    std::mem::take(&mut state.seen),
                    std::mem::take(&mut state.dropped),
                );
                Ok([seen.to_le_bytes(), dropped.to_le_bytes()].concat())
            }
            8 => Ok(i32::from(state.auxdata).to_le_bytes().to_vec()),
            10 => Ok(state.version.to_le_bytes().to_vec()),
            11 => Ok(ring::HEADER_BYTES.to_le_bytes().to_vec()),
            12 => Ok(i32::try_from(state.reserve).unwrap_or(0).to_le_bytes().to_vec()),
            23 => Ok(i32::from(state.ignore_outgoing).to_le_bytes().to_vec()),
            name if HARMLESS.contains(&name) => Ok(state
                .harmless
                .get(&name)
                .copied()
                .unwrap_or(0)
                .to_le_bytes()
                .to_vec()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn option_of(&self, level: i32, name: i32, asked: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
        // PACKET_HDRLEN: the header's length in the version that the caller names.
        if (level, name) != (SOL_PACKET, 11) {
            return None;
        }
        Some(match asked.get(..4).map(i32::get) {
            Some(ring::VERSION) => Ok(ring::HEADER_BYTES.to_le_bytes().to_vec()),
            _ => Err(Errno::EINVAL),
        })
    }

    fn map(&self, offset: u64, len: u64) -> Result<Vec<MapPiece>, Errno> {
        match &*self.ring.lock() {
            Some(ring) if offset == 0 => ring.map(len),
            _ => Err(Errno::EINVAL),
        }
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.inbox.next_len())
    }

    fn close(&self) {
        self.state.lock().closed = true;
        let last = {
            let mut all = self.base.net.packets.lock();
            all.remove(&self.base.ino);
            all.is_empty()
        };
        if last {
            let stack = self.base.net.network.stack();
            stack.call(|stack, _| stack.want_frames(false));
        }
        self.inbox.clear();
        *self.ring.lock() = None;
    }
}
