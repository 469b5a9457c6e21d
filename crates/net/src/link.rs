//! The link's way out: next hops' addresses, ethernet headers, the queue of the device, what comes back on `lo`.

use crate::event::{Direction, Event, Frame};
use crate::interface::{Kind, LOOPBACK};
use crate::ip::{Device, Header, Ip, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, Path, Sent};
use crate::neighbor::{self, Resolution};
use crate::route::RouteKind;
use crate::wire::checksum::multicast_mac;
use crate::wire::ethernet;
use crate::{Error, Instant, Offload};
use std::net::IpAddr;

impl Ip {
    /// Finds the link address of the next hop and hands the frame over.
    #[expect(clippy::too_many_arguments, reason = "what a packet is made of")]
    pub(crate) fn output_link(
        &mut self,
        now: Instant,
        path: &Path,
        dst: IpAddr,
        mut header: Header,
        body: &[&[u8]],
        offload: Offload,
        device: Option<&mut Device<'_>>,
    ) -> Result<Sent, Error> {
        let Some(interface) = self.interface(path.interface).filter(|i| i.is_running()) else {
            self.counters.ip_out_discards += 1;
            return Err(Error::NetworkDown);
        };
        let (src_mac, is_loopback) = (interface.mac, interface.kind == Kind::Loopback);
        let no_arp = interface.no_arp;
        let kind = if dst.is_ipv4() {
            ethernet::IPV4
        } else {
            ethernet::IPV6
        };
        let mut wait = None;
        let dst_mac = match path.kind {
            _ if is_loopback => [0; 6],
            RouteKind::Broadcast => [0xff; 6],
            RouteKind::Multicast => multicast_mac(dst),
            _ if no_arp => src_mac,
            _ => {
                let hop = path.gateway.unwrap_or(dst);
                match self.neighbors.resolve(now, path.interface, hop) {
                    Resolution::Known(mac) => mac,
                    Resolution::Wait { solicit } => {
                        wait = Some((hop, solicit));
                        [0; 6]
                    }
                }
            }
        };
        header.prepend(
            &ethernet::Ethernet {
                dst: dst_mac,
                src: src_mac,
                kind,
            }
            .emit(),
        );

        if let Some((hop, solicit)) = wait {
            let frame = linear(header.all(), body);
            if !self.neighbors.wait(path.interface, hop, (offload, frame)) {
                self.counters.ip_out_discards += 1;
            }
            if solicit {
                self.solicit(now, path.interface, hop, None);
            }
            return Ok(Sent::Done);
        }
        if is_loopback {
            let frame = linear(header.all(), body);
            self.loop_back(now, offload, frame);
            return Ok(Sent::Done);
        }
        match device {
            Some(device) if self.queue.is_empty() => {
                let none: &[u8] = &[];
                let pieces = [
                    header.all(),
                    body.first().copied().unwrap_or(none),
                    body.get(1).copied().unwrap_or(none),
                ];
                let used = 1 + body.len().min(2);
                if !device(path.interface, &offload, &pieces[..used]) {
                    return Ok(Sent::Full);
                }
                self.account(now, path.interface, &offload, &pieces[..used]);
            }
            Some(_) => return Ok(Sent::Full),
            None => self.enqueue(path.interface, offload, linear(header.all(), body)),
        }
        Ok(Sent::Done)
    }

    /// Sends a whole frame that a packet socket built.
    pub(crate) fn output_frame(&mut self, now: Instant, interface: u32, frame: &[u8]) {
        if interface == LOOPBACK {
            self.loop_back(now, Offload::default(), frame.to_vec());
        } else {
            self.enqueue(interface, Offload::default(), frame.to_vec());
        }
    }

    /// A whole frame goes over an interface: counts it, and gives taps a copy.
    pub(crate) fn count(
        &mut self,
        now: Instant,
        index: u32,
        direction: Direction,
        offload: &Offload,
        frame: &[u8],
    ) {
        if direction == Direction::Out {
            return self.account(now, index, offload, &[frame]);
        }
        if let Some(interface) = self.interface_mut(index) {
            interface.counters.rx_packets += 1;
            interface.counters.rx_bytes += frame.len() as u64;
        }
        if self.tap {
            let copy = Frame {
                interface: index,
                direction,
                offload: *offload,
                time: now,
                data: frame.to_vec(),
            };
            self.push_event(frame.len(), Event::Frame(copy));
        }
    }

    /// Puts a whole frame into the queue of the device.
    pub(crate) fn enqueue(&mut self, interface: u32, offload: Offload, frame: Vec<u8>) {
        if self.queue.len() >= MAX_QUEUED_FRAMES || self.queued_bytes + frame.len() > MAX_QUEUED_BYTES {
            self.counters.ip_out_discards += 1;
            if let Some(interface) = self.interface_mut(interface) {
                interface.counters.tx_dropped += 1;
            }
            return;
        }
        self.queued_bytes += frame.len();
        self.queue.push_back((interface, offload, frame));
    }

    /// Hands queued frames to the device until it has no room. True when all are gone.
    pub(crate) fn flush(&mut self, now: Instant, device: &mut Device<'_>) -> bool {
        while let Some((interface, offload, frame)) = self.queue.pop_front() {
            if !device(interface, &offload, &[&frame]) {
                self.queue.push_front((interface, offload, frame));
                return false;
            }
            self.queued_bytes -= frame.len();
            self.account(now, interface, &offload, &[&frame]);
        }
        true
    }

    fn account(&mut self, now: Instant, index: u32, offload: &Offload, pieces: &[&[u8]]) {
        if let Some(interface) = self.interface_mut(index) {
            interface.counters.tx_packets += 1;
            interface.counters.tx_bytes += pieces.iter().map(|p| p.len() as u64).sum::<u64>();
        }
        if self.tap {
            let data = pieces.concat();
            let frame = Frame {
                interface: index,
                direction: Direction::Out,
                offload: *offload,
                time: now,
                data,
            };
            self.push_event(frame.data.len(), Event::Frame(frame));
        }
    }

    /// A frame that comes back to us.
    fn loop_back(&mut self, now: Instant, offload: Offload, frame: Vec<u8>) {
        if self.looped.len() >= MAX_QUEUED_FRAMES || self.looped_bytes + frame.len() > MAX_QUEUED_BYTES {
            self.counters.ip_out_discards += 1;
            return;
        }
        self.account(now, LOOPBACK, &offload, &[&frame]);
        self.looped_bytes += frame.len();
        self.looped.push_back((offload, frame));
    }

    /// Frames that waited for a neighbour go out, with its address filled in.
    pub(crate) fn release(&mut self, interface: u32, mac: [u8; 6], frames: Vec<neighbor::Waiting>) {
        for (offload, mut frame) in frames {
            if let Some(dst) = frame.get_mut(..6) {
                dst.copy_from_slice(&mac);
            }
            self.enqueue(interface, offload, frame);
        }
    }
}

fn linear(header: &[u8], body: &[&[u8]]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(header.len() + body.iter().map(|b| b.len()).sum::<usize>());
    frame.extend_from_slice(header);
    body.iter().for_each(|b| frame.extend_from_slice(b));
    frame
}
