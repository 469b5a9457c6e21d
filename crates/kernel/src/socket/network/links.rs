//! Making, changing, moving and removing interfaces, as rtnetlink(7) asks for it. One change at a time in the whole sandbox.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Weak};

use abi::Errno;
use net::{GSO_MAX, Interface, Offloads};
use sync::MutexGuard;

use super::Network;
use super::bridge::Bridge;
use super::device::Device;
use super::inventory::{LO_INDEX, Link, flags};
use crate::socket::NetNs;

/// Bytes of an interface's name with its NUL (IFNAMSIZ).
const NAME_BYTES: usize = 16;
/// MTU of Ethernet.
const ETHERNET_MTU: usize = 1500;
/// Names that are tried for an interface without one.
const MOST_NUMBERED: u32 = 1024;

/// An interface to be made.
#[derive(Clone, Debug, Default)]
pub struct NewLink {
    /// Its name; `%d` in it stands for the first free number.
    pub name: String,
    /// Its index; 0: any.
    pub index: u32,
    /// Its hardware address; `None`: a random one.
    pub mac: Option<[u8; 6]>,
    /// Its MTU; `None`: that of its kind.
    pub mtu: Option<u32>,
}

/// Whether an interface may have this name (dev_valid_name).
pub fn is_valid_name(name: &str) -> bool {
    let odd = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace();
    !name.is_empty() && name.len() < NAME_BYTES && name != "." && name != ".." && !name.contains(odd)
}

/// Whether it can be an Ethernet interface's own address: neither a group's nor none.
fn is_valid_mac(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

fn random_mac() -> [u8; 6] {
    let mut mac = [0; 6];
    crate::random::fill(&mut mac);
    // Locally administered, of one station.
    mac[0] = mac[0] & 0xfe | 2;
    mac
}

/// The link-local address that an interface gives itself (RFC 4291, appendix A).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        (a ^ 2) << 8 | b,
        c << 8 | 0xff,
        0xfe00 | d,
        e << 8 | f,
    )
}

impl Network {
    /// Held over every change of interfaces.
    fn changing<R>(&self, f: impl FnOnce() -> Result<R, Errno>) -> Result<R, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let _one: MutexGuard<'_, ()> = kernel.rtnl.lock();
        f()
    }

    /// A name for a new interface. `EINVAL`, `EEXIST`, `ENFILE` when all numbers are taken.
    fn name_for(&self, wanted: &str) -> Result<String, Errno> {
        let inventory = self.inventory();
        let taken = |name: &str| inventory.named(name.as_bytes()).is_some();
        let Some((before, after)) = wanted.split_once("%d") else {
            return match is_valid_name(wanted) {
                false => Err(Errno::EINVAL),
                true if taken(wanted) => Err(Errno::EEXIST),
                true => Ok(wanted.to_string()),
            };
        };
        let numbered = (0..MOST_NUMBERED).map(|number| format!("{before}{number}{after}"));
        let name = numbered.into_iter().find(|name| !taken(name));
        let name = name.ok_or(Errno::ENFILE)?;
        if is_valid_name(&name) {
            Ok(name)
        } else {
            Err(Errno::EINVAL)
        }
    }

    fn index_for(&self, wanted: u32) -> Result<u32, Errno> {
        let inventory = self.inventory();
        let taken = |index: u32| inventory.link(index).is_some();
        match wanted {
            0 => Ok(self.devices.next_index(taken)),
            index if taken(index) => Err(Errno::EBUSY),
            index if i32::try_from(index).is_err() => Err(Errno::EINVAL),
            index => Ok(index),
        }
    }

    /// Enters an interface; `device` is told its index.
    fn enter(&self, new: &NewLink, no_arp: bool, device: impl FnOnce(u32) -> Device) -> Result<u32, Errno> {
        let name = self.name_for(&new.name)?;
        let index = self.index_for(new.index)?;
        if new.mac.is_some_and(|mac| !is_valid_mac(mac)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let mtu = match new.mtu {
            Some(mtu) => usize::try_from(mtu).map_err(|_| Errno::EINVAL)?,
            None => ETHERNET_MTU,
        };
        let offloads = Offloads {
            tx_checksum: true,
            gso_max_v4: GSO_MAX,
            gso_max_v6: GSO_MAX,
        };
        let mac = new.mac.unwrap_or_else(random_mac);
        let mut interface = Interface::ethernet(index, &name, mac, mtu, offloads);
        interface.no_arp = no_arp;
        self.devices.insert(index, device(index));
        self.stack().add_devices();
        let added = self.change(|stack, _| stack.add_interface(interface));
        if added.is_err() {
            self.devices.remove(index);
        }
        added.map(|()| index)
    }

    /// Makes a bridge.
    pub fn add_bridge(&self, new: &NewLink) -> Result<u32, Errno> {
        self.changing(|| {
            let mut bridge = Bridge::default();
            bridge.fixed_mac = new.mac.is_some();
            self.enter(new, false, |_| Device::Bridge(bridge))
        })
    }

    /// Makes an interface that loses what is sent.
    pub fn add_dummy(&self, new: &NewLink) -> Result<u32, Errno> {
        self.changing(|| self.enter(new, true, |_| Device::Dummy))
    }

    /// Makes a pair of interfaces: one here, its peer in `net`. Like Linux the peer first.
    pub fn add_veth(&self, new: &NewLink, peer: &NewLink, net: &Arc<NetNs>) -> Result<u32, Errno> {
        self.changing(|| {
            let here = self.net.clone();
            // The peer is told of this end once that has an index.
            let unknown = |_| Device::Veth {
                net: here.clone(),
                index: 0,
            };
            let there = net.network.enter(peer, false, unknown)?;
            let other = Arc::downgrade(net);
            let made = self.enter(new, false, |_| Device::Veth {
                net: other,
                index: there,
            });
            let Ok(index) = made else {
                net.network.remove(there)?;
                return made;
            };
            net.network.devices.with(there, |slot| {
                slot.device = Device::Veth { net: here, index };
            });
            net.network.refresh();
            self.refresh();
            Ok(index)
        })
    }

    /// Removes an interface, a veth with its other end. `ENODEV`; `EOPNOTSUPP` for those that were not made here.
    pub fn delete_link(&self, index: u32) -> Result<(), Errno> {
        self.changing(|| {
            self.inventory().link(index).ok_or(Errno::ENODEV)?;
            self.devices.with(index, |_| ()).ok_or(Errno::EOPNOTSUPP)?;
            let peer = self.peer(index);
            self.remove(index)?;
            if let Some((net, index)) = peer
                && let Some(net) = net.upgrade()
            {
                net.network.remove(index)?;
            }
            Ok(())
        })
    }

    /// The other end's namespace is gone.
    pub(super) fn lose_peer(&self, index: u32) {
        let _ = self.changing(|| {
            let gone = self.devices.with(index, |slot| match &slot.device {
                Device::Veth { net, .. } => net.strong_count() == 0,
                _ => false,
            });
            if gone == Some(true) {
                self.remove(index).map(drop)
            } else {
                Ok(())
            }
        });
    }

    /// Takes an interface out; its ports, if it is a bridge, are free.
    fn remove(&self, index: u32) -> Result<(Device, Interface), Errno> {
        for port in self.devices.ports(index) {
            self.devices.with(port, |slot| slot.master = 0);
        }
        if let Some(bridge) = self.devices.master(index) {
            self.leave_bridge(bridge, index);
        }
        let slot = self.devices.remove(index).ok_or(Errno::ENODEV)?;
        let interface = self.change(|stack, now| stack.remove_interface(now, index))?;
        self.refresh();
        Ok((slot.device, interface))
    }

    /// Moves an interface to another namespace, where it may get another name; returns its index there. It comes down and
    /// loses its addresses. `ENODEV`, `EINVAL` for those that cannot be moved, `EEXIST` when the name is taken there.
    pub fn move_link(&self, index: u32, to: &Arc<NetNs>, name: Option<&str>) -> Result<u32, Errno> {
        self.changing(|| {
            let inventory = self.inventory();
            let link = inventory.link(index).ok_or(Errno::ENODEV)?;
            let bridge = self
                .devices
                .with(index, |slot| matches!(slot.device, Device::Bridge(_)));
            // The loopback interface, and devices of the host, whose frames come to the first namespace.
            let movable = bridge.ok_or(Errno::EINVAL)?;
            if movable && !self.devices.ports(index).is_empty() {
                return Err(Errno::EBUSY);
            }
            let name = to.network.name_for(name.unwrap_or(&link.name))?;
            let (device, mut interface) = self.remove(index)?;
            let new = match to.network.index_for(index) {
                Ok(index) => index,
                Err(_) => to.network.index_for(0)?,
            };
            (interface.index, interface.name) = (new, name);
            if let Device::Veth { net, index } = &device
                && let Some(peer) = net.upgrade()
            {
                let other = Device::Veth {
                    net: Arc::downgrade(to),
                    index: new,
                };
                peer.network.devices.with(*index, |slot| slot.device = other);
                peer.network.refresh();
            }
            to.network.devices.insert(new, device);
            to.network.stack().add_devices();
            to.network.change(|stack, _| stack.add_interface(interface))?;
            to.network.refresh();
            Ok(new)
        })
    }

    /// A veth's other end.
    pub fn peer(&self, index: u32) -> Option<(Weak<NetNs>, u32)> {
        let peer = self.devices.with(index, |slot| match &slot.device {
            Device::Veth { net, index } => Some((net.clone(), *index)),
            _ => None,
        });
        peer.flatten()
    }

    /// Makes an interface a port of a bridge (0: of none). `ENODEV`; `EINVAL` for what cannot be a port; `ELOOP`.
    pub fn set_master(&self, index: u32, bridge: u32) -> Result<(), Errno> {
        self.changing(|| {
            let inventory = self.inventory();
            inventory.link(index).ok_or(Errno::ENODEV)?;
            let is_bridge = |index| {
                self.devices
                    .with(index, |slot| matches!(slot.device, Device::Bridge(_)))
            };
            if bridge != 0 {
                inventory.link(bridge).ok_or(Errno::EINVAL)?;
                if is_bridge(bridge) != Some(true) {
                    return Err(Errno::EOPNOTSUPP);
                }
                match is_bridge(index) {
                    Some(true) => return Err(Errno::ELOOP),
                    None => return Err(Errno::EINVAL),
                    Some(false) => {}
                }
            }
            match self.devices.master(index) {
                Some(old) if old == bridge => return Err(Errno::EBUSY),
                Some(old) => self.leave_bridge(old, index),
                None => {}
            }
            self.devices.with(index, |slot| slot.master = bridge);
            self.refresh();
            Ok(())
        })
    }

    fn leave_bridge(&self, bridge: u32, port: u32) {
        self.devices.with(port, |slot| slot.master = 0);
        self.devices.with(bridge, |slot| {
            if let Device::Bridge(state) = &mut slot.device {
                state.forget(port);
            }
        });
    }

    /// Changes an interface's name. `ENODEV`, `EINVAL`, `EEXIST`.
    pub fn rename(&self, index: u32, name: &str) -> Result<(), Errno> {
        self.changing(|| {
            let inventory = self.inventory();
            let link = inventory.link(index).ok_or(Errno::ENODEV)?;
            if link.name == name {
                return Ok(());
            }
            let name = self.name_for(name)?;
            self.change(|stack, _| stack.configure(index, |own| own.name = name))
        })
    }

    /// Changes an interface's hardware address. `ENODEV`; `EOPNOTSUPP` for devices of the host, `EADDRNOTAVAIL` for an address
    /// that is none.
    pub fn set_mac(&self, index: u32, mac: [u8; 6]) -> Result<(), Errno> {
        self.changing(|| {
            self.inventory().link(index).ok_or(Errno::ENODEV)?;
            let virtual_device = self.devices.with(index, |slot| {
                if let Device::Bridge(state) = &mut slot.device {
                    state.fixed_mac = true;
                }
            });
            virtual_device.ok_or(Errno::EOPNOTSUPP)?;
            if !is_valid_mac(mac) {
                return Err(Errno::EADDRNOTAVAIL);
            }
            self.change(|stack, _| stack.configure(index, |own| own.mac = mac))
        })
    }

    /// Changes the length of an interface's queue, which is only shown. `ENODEV`.
    pub fn set_queue_len(&self, index: u32, len: u32) -> Result<(), Errno> {
        self.change(|stack, _| stack.configure(index, |own| own.tx_queue_len = len))
    }

    /// Brings an interface up or down, or makes it promiscuous. `ENODEV`.
    pub fn set_flags(&self, index: u32, wanted: u32, change: u32) -> Result<(), Errno> {
        self.changing(|| {
            let up = wanted & flags::UP != 0;
            self.change(|stack, now| {
                if change & flags::UP != 0 {
                    stack.set_up(now, index, up)?;
                }
                if change & flags::PROMISC != 0 {
                    stack.configure(index, |own| own.promiscuous = wanted & flags::PROMISC != 0)?;
                }
                stack.interface(index).map(drop).ok_or(net::Error::NoDevice)
            })?;
            if change & flags::UP != 0 {
                self.was_brought(index, up)?;
            }
            Ok(())
        })
    }

    /// An interface was brought up or down: IPv6 addresses come and go, and so does the carrier of the other end.
    fn was_brought(&self, index: u32, up: bool) -> Result<(), Errno> {
        let own = |link: &Link| -> Vec<(IpAddr, u8)> {
            let ipv6 = link.addresses.iter().filter(|own| own.ip.is_ipv6());
            ipv6.map(|own| (own.ip, own.prefix)).collect()
        };
        let addresses = self.inventory().link(index).map(own).unwrap_or_default();
        if !up {
            self.devices.with(index, |slot| slot.configured = false);
            self.change(|stack, _| {
                addresses
                    .iter()
                    .try_for_each(|(ip, prefix)| stack.remove_address(index, *ip, *prefix))
            })?;
        } else if index == LO_INDEX && addresses.is_empty() {
            let own = net::Address::new(Ipv6Addr::LOCALHOST.into(), 128);
            self.change(|stack, now| stack.add_address(now, index, own))?;
        }
        self.refresh();
        if let Some((net, _)) = self.peer(index)
            && let Some(peer) = net.upgrade()
        {
            peer.network.refresh();
        }
        Ok(())
    }

    /// Brings in order what follows from the devices' states: carriers, bridges' addresses, link-local addresses.
    fn refresh(&self) {
        let shown = self.devices.shown();
        let inventory = self.inventory();
        let up = |index: u32| inventory.link(index).is_some_and(Link::is_up);
        let mut carriers: BTreeMap<u32, bool> = BTreeMap::new();
        for (index, own) in &shown {
            let carrier = match &own.peer {
                Some((net, peer)) => up(*index) && net.upgrade().is_some_and(|net| net.network.is_up(*peer)),
                None => true,
            };
            carriers.insert(*index, carrier);
        }
        let mut macs: BTreeMap<u32, [u8; 6]> = BTreeMap::new();
        for (index, _) in shown.iter().filter(|(_, own)| own.kind == "bridge") {
            let ports: Vec<u32> = shown
                .iter()
                .filter_map(|(port, own)| (own.master == *index).then_some(*port))
                .collect();
            let running = |port: &u32| up(*port) && carriers.get(port) == Some(&true);
            carriers.insert(*index, ports.is_empty() || ports.iter().any(running));
            let follows = self.devices.with(*index, |slot| match &slot.device {
                Device::Bridge(state) => !state.fixed_mac,
                _ => false,
            });
            let of_ports = ports
                .iter()
                .filter_map(|port| inventory.link(*port))
                .map(|link| link.mac);
            if let Some(least) = of_ports.min().filter(|_| follows == Some(true)) {
                macs.insert(*index, least);
            }
        }
        let _ = self.change(|stack, now| {
            for (index, carrier) in &carriers {
                stack.configure(*index, |own| {
                    own.carrier = *carrier;
                    own.mac = macs.get(index).copied().unwrap_or(own.mac);
                })?;
            }
            for (index, _) in carriers
                .iter()
                .filter(|(index, carrier)| **carrier && up(**index))
            {
                self.configure_ipv6(stack, now, *index);
            }
            Ok(())
        });
    }

    fn is_up(&self, index: u32) -> bool {
        self.inventory().link(index).is_some_and(Link::is_up)
    }

    /// Gives an interface its link-local address, once after it was brought up.
    fn configure_ipv6(&self, stack: &mut net::Stack, now: net::Instant, index: u32) {
        let before = self
            .devices
            .with(index, |slot| std::mem::replace(&mut slot.configured, true));
        let Some(interface) = stack.interface(index).filter(|_| before == Some(false)) else {
            return;
        };
        let own = net::Address::new(link_local(interface.mac).into(), 64);
        // Too small an MTU leaves it without IPv6, and what is there already stays.
        let _ = stack.add_address(now, index, own);
    }
}
