//! The sockets of a sandbox by name: abstract unix names, ports, and lists for /proc/net.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use sync::{Mutex, rank};

use super::inet::Ports;
use super::unix::UnixSocket;

/// All tables of the one network namespace.
pub struct SocketTables {
    /// Abstract unix names.
    pub(super) names: Mutex<BTreeMap<Vec<u8>, Weak<UnixSocket>>>,
    /// All unix sockets by inode number.
    unix: Mutex<BTreeMap<u64, Weak<UnixSocket>>>,
    /// Ports in use.
    pub(super) ports: Ports,
    /// Packet sockets by inode number.
    pub(super) packets: Mutex<BTreeMap<u64, Weak<super::packet::PacketSocket>>>,
    /// Interfaces, routes, and the stack behind them.
    pub network: super::network::Network,
    /// Netlink sockets by their port ids.
    pub(super) netlink: Mutex<BTreeMap<u32, Weak<super::netlink::NetlinkSocket>>>,
}

impl Default for SocketTables {
    fn default() -> Self {
        SocketTables {
            names: Mutex::new(rank::LEAF, BTreeMap::new()),
            unix: Mutex::new(rank::LEAF, BTreeMap::new()),
            ports: Ports::default(),
            packets: Mutex::new(rank::LEAF, BTreeMap::new()),
            network: super::network::Network::default(),
            netlink: Mutex::new(rank::LEAF, BTreeMap::new()),
        }
    }
}

impl SocketTables {
    /// Enters a new unix socket.
    pub(super) fn add_unix(&self, ino: u64, socket: &Arc<UnixSocket>) {
        self.unix.lock().insert(ino, Arc::downgrade(socket));
    }

    /// Takes a closed unix socket out.
    pub(super) fn remove_unix(&self, ino: u64) {
        self.unix.lock().remove(&ino);
    }

    /// All unix sockets, for /proc/net/unix.
    pub fn unix_sockets(&self) -> Vec<Arc<UnixSocket>> {
        self.unix.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// The inet sockets, for /proc/net/tcp and its like.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }
}
