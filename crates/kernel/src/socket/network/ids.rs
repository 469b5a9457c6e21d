//! Numbers that a namespace has for others (network_namespaces(7) calls them nsids): netlink names the place of a veth's other
//! end by them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Mutex, rank};

use super::Network;
use crate::socket::NetNs;

/// Numbers of one namespace: those of namespaces that are gone are given up when a new one is given.
pub(super) struct Ids(Mutex<BTreeMap<i32, Weak<NetNs>>>);

impl Default for Ids {
    fn default() -> Ids {
        Ids(Mutex::new(rank::LEAF, BTreeMap::new()))
    }
}

impl Network {
    /// The numbers that are in use.
    pub fn ids(&self) -> Vec<i32> {
        let ids = self.ids.0.lock();
        let live = ids.iter().filter(|(_, net)| net.strong_count() > 0);
        live.map(|(id, _)| *id).collect()
    }

    /// The namespace with a number.
    pub fn by_id(&self, id: i32) -> Option<Arc<NetNs>> {
        let found = self.ids.0.lock().get(&id).cloned();
        found.and_then(|net| net.upgrade())
    }

    /// The number of a namespace, if it has one.
    pub fn id_of(&self, net: &Weak<NetNs>) -> Option<i32> {
        let ids = self.ids.0.lock();
        let found = ids.iter().find(|(_, own)| Weak::ptr_eq(own, net));
        found.map(|(id, _)| *id)
    }

    /// Gives a namespace a number: a negative one stands for the least that is free. `EEXIST`.
    pub fn give_id(&self, net: &Weak<NetNs>, wanted: i32) -> Result<i32, Errno> {
        if self.id_of(net).is_some() {
            return Err(Errno::EEXIST);
        }
        let mut ids = self.ids.0.lock();
        ids.retain(|_, own| own.strong_count() > 0);
        let id = if wanted >= 0 {
            Some(wanted)
                .filter(|id| !ids.contains_key(id))
                .ok_or(Errno::EEXIST)?
        } else {
            (0..i32::MAX)
                .find(|id| !ids.contains_key(id))
                .ok_or(Errno::ENOSPC)?
        };
        ids.insert(id, net.clone());
        Ok(id)
    }

    /// The index of a veth's other end, and the number of its namespace unless that is this one.
    pub(in crate::socket) fn other_end(&self, index: u32) -> Option<(u32, Option<i32>)> {
        let (net, there) = self.peer(index)?;
        if Weak::ptr_eq(&net, &self.net) {
            return Some((there, None));
        }
        let id = self.id_of(&net).or_else(|| self.give_id(&net, -1).ok());
        Some((there, id))
    }
}
