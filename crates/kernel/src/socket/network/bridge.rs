//! Bridges: where a frame goes that comes in by a port or is sent by the bridge itself. No spanning tree, no VLANs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net::Offload;

use super::Network;
use super::attached::Attached;
use super::device::Device;
use crate::socket::NetNs;
use std::sync::Arc;

/// Addresses that a bridge remembers; more are sent to all ports.
const MOST_ADDRESSES: usize = 1024;
/// How long an address is remembered without a frame from it (Linux's default).
const AGEING: Duration = Duration::from_secs(300);

/// A bridge's state.
#[derive(Default)]
pub struct Bridge {
    /// By which port a station was heard, and when.
    stations: BTreeMap<[u8; 6], (u32, Instant)>,
    /// Its address was set: it no longer follows those of its ports.
    pub fixed_mac: bool,
}

impl Bridge {
    fn learn(&mut self, station: [u8; 6], port: u32, now: Instant) {
        if self.stations.len() >= MOST_ADDRESSES && !self.stations.contains_key(&station) {
            self.stations
                .retain(|_, (_, heard)| now.duration_since(*heard) < AGEING);
            if self.stations.len() >= MOST_ADDRESSES {
                return;
            }
        }
        self.stations.insert(station, (port, now));
    }

    fn port_of(&self, station: [u8; 6], now: Instant) -> Option<u32> {
        let (port, heard) = self.stations.get(&station)?;
        (now.duration_since(*heard) < AGEING).then_some(*port)
    }

    /// A port is gone.
    pub fn forget(&mut self, port: u32) {
        self.stations.retain(|_, (own, _)| *own != port);
    }

    fn stations(&self) -> Vec<([u8; 6], u32)> {
        let now = Instant::now();
        let live = self
            .stations
            .iter()
            .filter(|(_, (_, heard))| now.duration_since(*heard) < AGEING);
        live.map(|(station, (port, _))| (*station, *port)).collect()
    }
}

/// Addresses that bridges keep to themselves (01:80:c2:00:00:0X).
fn is_reserved(mac: [u8; 6]) -> bool {
    mac[..5] == [0x01, 0x80, 0xc2, 0, 0] && mac[5] < 0x10
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..)?.first_chunk().copied()
}

/// A station that a bridge has heard.
#[derive(Clone, Copy, Debug)]
pub struct Station {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// By which port.
    pub port: u32,
    /// Of which bridge.
    pub bridge: u32,
}

impl Network {
    /// What all bridges have heard.
    pub fn stations(&self) -> Vec<Station> {
        let mut all = Vec::new();
        for bridge in self.devices.shown().into_keys() {
            let heard = self.devices.with(bridge, |slot| match &slot.device {
                Device::Bridge(state) => state.stations(),
                _ => Vec::new(),
            });
            let each = heard.unwrap_or_default().into_iter();
            all.extend(each.map(|(mac, port)| Station { mac, port, bridge }));
        }
        all
    }

    /// Spreads a frame that came in by a port of a bridge, or (`None`) was sent by the bridge itself.
    pub(super) fn bridged(
        &self,
        net: &Arc<NetNs>,
        attached: &Attached,
        bridge: u32,
        from: Option<u32>,
        (offload, frame): (Offload, Vec<u8>),
    ) {
        let (Some(to), Some(station)) = (address(&frame, 0), address(&frame, 6)) else {
            return;
        };
        let inventory = self.inventory();
        let own = inventory.link(bridge).filter(|link| link.is_up());
        let Some(own) = own else { return };
        let now = Instant::now();
        let known = self.devices.with(bridge, |slot| match &mut slot.device {
            Device::Bridge(state) => {
                if let Some(from) = from.filter(|_| station[0] & 1 == 0) {
                    state.learn(station, from, now);
                }
                state.port_of(to, now)
            }
            _ => None,
        });
        let ports = self.devices.ports(bridge);
        let mac_of = |port: &u32| inventory.link(*port).map(|link| link.mac);
        let group = to[0] & 1 != 0;
        let ours = to == own.mac || ports.iter().any(|port| mac_of(port) == Some(to));
        if from.is_some() && (group || ours) {
            attached.take(bridge, &offload, &frame);
        }
        if (ours && !group) || is_reserved(to) {
            return;
        }
        let onward: Vec<u32> = match known.flatten().filter(|_| !group) {
            Some(port) => vec![port],
            None => ports,
        };
        let mut onward = onward.into_iter().filter(|port| Some(*port) != from).peekable();
        while let Some(port) = onward.next() {
            let passes =
                attached.call(|stack, now| stack.pass(now, port, net::Direction::Out, &offload, &frame));
            if !passes {
                continue;
            }
            if onward.peek().is_none() {
                self.devices.send(net, port, || (offload, frame));
                return;
            }
            self.devices.send(net, port, || (offload, frame.clone()));
        }
    }
}
