//! What interfaces are: veth(4) pairs, bridges, dummies; and where a frame goes that is sent over one.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use net::Offload;
use sync::{Mutex, rank};

use super::bridge::Bridge;
use super::inventory::LO_INDEX;
use super::softnet::Arrival;
use crate::socket::NetNs;

/// Kinds of interfaces that rtnetlink(7) makes.
pub enum Device {
    /// What is sent arrives at the other end.
    Veth {
        /// The other end's namespace.
        net: Weak<NetNs>,
        /// Its index there.
        index: u32,
    },
    /// Joins the interfaces that have it as their master.
    Bridge(Bridge),
    /// What is sent is lost.
    Dummy,
}

impl Device {
    /// Its name in IFLA_INFO_KIND.
    pub fn kind(&self) -> &'static str {
        match self {
            Device::Veth { .. } => "veth",
            Device::Bridge(_) => "bridge",
            Device::Dummy => "dummy",
        }
    }
}

/// A device with what belongs to it.
pub(super) struct Slot {
    pub device: Device,
    /// Index of the bridge that it is a port of; 0: none.
    pub master: u32,
    /// It has got its link-local address since it was brought up.
    pub configured: bool,
}

/// What an inventory shows of a device.
#[derive(Clone)]
pub struct Shown {
    /// IFLA_INFO_KIND.
    pub kind: &'static str,
    /// Index of its bridge; 0: none.
    pub master: u32,
    /// A veth's other end: its namespace and index.
    pub peer: Option<(Weak<NetNs>, u32)>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peer = self.peer.as_ref().map(|(_, index)| *index);
        write!(f, "{} {} {peer:?}", self.kind, self.master)
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Shown) -> bool {
        let peers = match (&self.peer, &other.peer) {
            (None, None) => true,
            (Some(one), Some(two)) => Weak::ptr_eq(&one.0, &two.0) && one.1 == two.1,
            _ => false,
        };
        self.kind == other.kind && self.master == other.master && peers
    }
}

/// The devices of a namespace but for those of the host, by their indices.
pub(super) struct Devices(Mutex<State>);

struct State {
    slots: BTreeMap<u32, Slot>,
    /// The index given last.
    last: u32,
}

impl Default for Devices {
    fn default() -> Devices {
        let state = State {
            slots: BTreeMap::new(),
            last: LO_INDEX,
        };
        Devices(Mutex::new(rank::LEAF, state))
    }
}

impl Devices {
    /// An index that is in nobody's use.
    pub fn next_index(&self, taken: impl Fn(u32) -> bool) -> u32 {
        let mut state = self.0.lock();
        loop {
            state.last = state.last.checked_add(1).unwrap_or(LO_INDEX + 1);
            if !taken(state.last) {
                return state.last;
            }
        }
    }

    pub fn insert(&self, index: u32, device: Device) {
        let slot = Slot {
            device,
            master: 0,
            configured: false,
        };
        self.0.lock().slots.insert(index, slot);
    }

    pub fn remove(&self, index: u32) -> Option<Slot> {
        self.0.lock().slots.remove(&index)
    }

    /// Looks at a device, or changes it. `None`: there is none.
    pub fn with<R>(&self, index: u32, f: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.0.lock().slots.get_mut(&index).map(f)
    }

    pub fn shown(&self) -> BTreeMap<u32, Shown> {
        let state = self.0.lock();
        let each = state.slots.iter().map(|(index, slot)| {
            let peer = match &slot.device {
                Device::Veth { net, index } => Some((net.clone(), *index)),
                _ => None,
            };
            let shown = Shown {
                kind: slot.device.kind(),
                master: slot.master,
                peer,
            };
            (*index, shown)
        });
        each.collect()
    }

    /// The ports of a bridge.
    pub fn ports(&self, bridge: u32) -> Vec<u32> {
        let state = self.0.lock();
        let ports = state.slots.iter().filter(|(_, slot)| slot.master == bridge);
        ports.map(|(index, _)| *index).collect()
    }

    /// The bridge that an interface is a port of.
    pub fn master(&self, index: u32) -> Option<u32> {
        let master = self.0.lock().slots.get(&index).map(|slot| slot.master);
        master.filter(|master| *master != 0)
    }

    /// Sends a frame over a device. It arrives later, so that a stack's lock may be held. `None`: there is no such device;
    /// else whether something is on its way.
    pub fn send(
        &self,
        net: &Arc<NetNs>,
        index: u32,
        frame: impl FnOnce() -> (Offload, Vec<u8>),
    ) -> Option<bool> {
        let (to, interface) = match &self.0.lock().slots.get(&index)?.device {
            Device::Veth { net, index } => (net.upgrade(), *index),
            // A bridge's own frames are spread like those of its ports.
            Device::Bridge(_) => (Some(net.clone()), index),
            Device::Dummy => (None, 0),
        };
        let Some(to) = to else { return Some(false) };
        let (offload, frame) = frame();
        let arrival = Arrival {
            interface,
            sent: interface == index && Arc::ptr_eq(&to, net),
            offload,
            frame,
        };
        to.network.arrives(arrival);
        Some(true)
    }
}
