//! A network namespace (network_namespaces(7)): interfaces and routes, ports, abstract unix names, netlink and packet sockets,
//! and the values of /proc/sys/net.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Mutex, rank};

use super::inet::Ports;
use super::netlink::NetlinkSocket;
use super::network::Network;
use super::packet::PacketSocket;
use super::unix::UnixSocket;
use crate::Kernel;
use crate::cred::{Caps, Credentials, UserNs};
use crate::sysctl::Sysctls;
use crate::task::{Counted, next_number};

/// Inode number of the first one.
const INITIAL: u64 = 0xf0000000;
/// Network namespaces of a sandbox (user.max_net_namespaces): each may hold some megabytes of packets.
const MOST: usize = 256;

/// A network namespace. Tasks, sockets and open files of /proc/PID/ns/net hold it.
pub struct NetNs {
    /// Inode number of its file.
    pub number: u64,
    /// The user namespace that it belongs to.
    pub user_ns: Arc<UserNs>,
    counted: Counted,
    /// Abstract unix names.
    pub(super) names: Mutex<BTreeMap<Vec<u8>, Weak<UnixSocket>>>,
    /// All unix sockets by inode number.
    unix: Mutex<BTreeMap<u64, Weak<UnixSocket>>>,
    /// Ports in use.
    pub(super) ports: Ports,
    /// Packet sockets by inode number.
    pub(super) packets: Mutex<BTreeMap<u64, Weak<PacketSocket>>>,
    /// Interfaces, routes, and the stack behind them.
    pub network: Network,
    /// Netlink sockets by their port ids.
    pub(super) netlink: Mutex<BTreeMap<u32, Weak<NetlinkSocket>>>,
    /// Changed values of /proc/sys/net.
    pub sysctls: Sysctls,
}

impl NetNs {
    fn new(kernel: Weak<Kernel>, number: u64, user_ns: Arc<UserNs>, counted: Counted) -> Arc<NetNs> {
        Arc::new_cyclic(|me| NetNs {
            number,
            user_ns,
            counted,
            names: Mutex::new(rank::LEAF, BTreeMap::new()),
            unix: Mutex::new(rank::LEAF, BTreeMap::new()),
            ports: Ports::default(),
            packets: Mutex::new(rank::LEAF, BTreeMap::new()),
            network: Network::new(kernel, me.clone(), number == INITIAL),
            netlink: Mutex::new(rank::LEAF, BTreeMap::new()),
            sysctls: Sysctls::default(),
        })
    }

    /// The first one, whose loopback interface is up.
    pub fn first(kernel: Weak<Kernel>) -> Arc<NetNs> {
        NetNs::new(kernel, INITIAL, UserNs::first(), Counted::first())
    }

    /// A new one with a loopback interface that is down, beside this one. `ENOSPC`.
    pub fn another(&self, user_ns: &Arc<UserNs>) -> Result<Arc<NetNs>, Errno> {
        let counted = self.counted.another_of(MOST)?;
        let kernel = self.network.kernel.clone();
        Ok(NetNs::new(kernel, next_number(), user_ns.clone(), counted))
    }

    /// SO_NETNS_COOKIE: the first one's is 1.
    pub fn cookie(&self) -> u64 {
        self.number - INITIAL + 1
    }

    /// Whether credentials have a capability over it.
    pub fn permits(&self, cred: &Credentials, cap: Caps) -> bool {
        cred.has_in(&self.user_ns, cap)
    }

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
