//! The connection to the world: interfaces and routes, and the TCP/IP stack behind them.
//!
//! What stays in the sandbox never comes here: sockets that meet on a local address exchange their bytes directly.

mod attached;
mod bridge;
pub mod config;
mod device;
mod edns;
mod ids;
mod inventory;
mod links;
mod outbox;
mod resolver;
mod resolver_streams;
mod softnet;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use net::{GSO_MAX, Offloads, Prefix, Route, Settings, Stack};
use sync::{RwLock, rank};

use crate::Kernel;
use crate::socket::host::HostNetwork;
use crate::socket::inet::TcpSocket;
use crate::socket::{NetNs, inet, netlink};

pub use attached::{Attached, Wire};
pub use bridge::Station;
pub use config::{AddressConfig, InterfaceConfig, NeighbourConfig, NetworkConfig, RouteConfig};
pub use inventory::{
    Inventory, LO_INDEX, Link, SCOPE_HOST, SCOPE_LINK, SCOPE_UNIVERSE, Way, flags, same_network,
};
pub use links::{NewLink, is_valid_name};
pub use resolver_streams::ResolverStreams;
pub use softnet::Softnet;

/// What went over an interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Frames that came.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames that came and were of no use.
    pub receive_dropped: u64,
    /// Frames sent.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that the device did not take.
    pub send_dropped: u64,
}

/// A neighbour as netlink shows it.
#[derive(Clone, Debug)]
pub struct NeighbourState {
    /// Of which interface.
    pub interface: u32,
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address, when it is known.
    pub mac: Option<[u8; 6]>,
    /// NUD_*.
    pub state: u16,
}

/// A datagram to send over an interface.
pub struct DatagramOut<'a> {
    /// The interface's index.
    pub interface: u32,
    /// From where.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// TTL, hop limit.
    pub hops: u8,
    /// TOS, traffic class.
    pub class: u8,
    /// Not to be cut into fragments.
    pub whole: bool,
    /// The payload.
    pub data: &'a [u8],
}

/// What a network namespace has beside its sockets.
pub struct Network {
    pub(super) kernel: Weak<Kernel>,
    net: Weak<NetNs>,
    /// The first namespace's loopback interface is up from the start.
    first: bool,
    /// What the stack has of interfaces and routes, for look-ups without its lock.
    inventory: RwLock<Arc<Inventory>>,
    attached: OnceLock<Arc<Attached>>,
    /// The host's network, when sockets are the host's.
    shared: OnceLock<Box<dyn HostNetwork>>,
    /// The engine's name server.
    resolver: resolver::Resolver,
    /// Who takes connections to it.
    resolver_listener: OnceLock<Weak<TcpSocket>>,
    /// Interfaces that are not devices of the host.
    devices: device::Devices,
    /// Its numbers for other namespaces.
    ids: ids::Ids,
    /// Frames that come from other namespaces, or from this one.
    backlog: softnet::Backlog,
}

/// The wire of a namespace without devices of the host.
struct NoWire;

impl Wire for NoWire {
    fn send(&self, _: u32, _: &[u8; 10], _: &[&[u8]]) -> bool {
        true
    }
}

/// Bytes that the TCP queues of a namespace beside the first one may hold, before buffers stop growing and at most.
const LATER_TCP_MEM: [usize; 2] = [12 << 20, 16 << 20];

fn errno(error: net::Error) -> Errno {
    Errno::from_raw(error as i32)
}

impl Network {
    /// The network of a new namespace: the loopback interface, up in the first namespace only.
    pub(super) fn new(kernel: Weak<Kernel>, net: Weak<NetNs>, first: bool) -> Network {
        Network {
            inventory: RwLock::new(rank::LEAF, Arc::new(Inventory::with_loopback(first))),
            attached: OnceLock::new(),
            shared: OnceLock::new(),
            resolver: resolver::Resolver::default(),
            resolver_listener: OnceLock::new(),
            devices: device::Devices::default(),
            ids: ids::Ids::default(),
            backlog: softnet::Backlog::default(),
            kernel,
            net,
            first,
        }
    }

    fn new_stack(&self, wire: Box<dyn Wire>) -> Arc<Attached> {
        let mut secret = [0; 32];
        crate::random::fill(&mut secret);
        let mut settings = Settings::default();
        if !self.first {
            settings.tcp_mem = LATER_TCP_MEM;
        }
        let stack = Stack::new(secret, settings);
        let attached = Attached::new(self.kernel.clone(), self.net.clone(), stack, wire);
        if self.first {
            // The loopback interface is always there, so this cannot fail.
            let _ = attached.call(|stack, now| stack.set_up(now, LO_INDEX, true));
        }
        attached
    }

    /// Interfaces and routes as they are now.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.inventory.read().clone()
    }

    /// The stack; made when it is first needed in a namespace without devices of the host.
    pub fn stack(&self) -> &Arc<Attached> {
        if let Some(attached) = self.attached.get() {
            return attached;
        }
        let attached = self.attached.get_or_init(|| self.new_stack(Box::new(NoWire)));
        if let Some(net) = self.net.upgrade() {
            inet::tcp_outside::adopt_listeners(&net);
        }
        attached
    }

    /// The stack, if there is one.
    pub fn attached(&self) -> Option<&Arc<Attached>> {
        self.attached.get()
    }

    /// Has sockets be the host's from now on. `EBUSY` when they are.
    pub fn share(&self, host: Box<dyn HostNetwork>) -> Result<(), Errno> {
        self.shared.set(host).map_err(|_| Errno::EBUSY)
    }

    /// The host's network, if sockets are the host's.
    pub fn shared(&self) -> Option<&dyn HostNetwork> {
        self.shared.get().map(|host| &**host)
    }

    /// Shows interfaces that nothing goes over: those of the host, when sockets are the host's. `EBUSY`.
    pub fn show(&self, config: &NetworkConfig) -> Result<(), Errno> {
        self.attach(config, Box::new(NoWire))
    }

    /// Connects the network with devices. `EBUSY` when that is too late.
    pub fn attach(&self, config: &NetworkConfig, wire: Box<dyn Wire>) -> Result<(), Errno> {
        let attached = self.new_stack(wire);
        attached
            .call(|stack, now| build(stack, now, config))
            .map_err(errno)?;
        self.attached.set(attached).map_err(|_| Errno::EBUSY)?;
        self.resolver.set(config.resolver);
        self.renew();
        Ok(())
    }

    /// Sends a frame over an interface if that is no device of the host (see [`device::Devices::send`]).
    fn send_over(
        &self,
        net: &Arc<NetNs>,
        interface: u32,
        frame: impl FnOnce() -> (net::Offload, Vec<u8>),
    ) -> Option<bool> {
        self.devices.send(net, interface, frame)
    }

    /// Copies what the stack has now.
    fn renew(&self) {
        if let Some(attached) = self.attached.get() {
            let devices = self.devices.shown();
            let new = Arc::new(attached.look(|stack| inventory::read(stack, &devices)));
            let old = std::mem::replace(&mut *self.inventory.write(), new.clone());
            if let Some(net) = self.net.upgrade() {
                netlink::events::changed(&net, &old, &new);
            }
        }
    }

    fn change<R>(
        &self,
        f: impl FnOnce(&mut Stack, net::Instant) -> Result<R, net::Error>,
    ) -> Result<R, Errno> {
        let result = self.stack().call(f).map_err(errno);
        self.renew();
        result
    }

    /// A frame came, see [`Attached::receive`]; what comes of it waits for [`Network::settle`].
    pub fn receive(&self, interface: u32, buffer: &mut Vec<u8>, len: usize) {
        if let Some(attached) = self.attached.get() {
            attached.receive(interface, buffer, len);
        }
    }

    /// After a batch of frames.
    pub fn settle(&self) {
        if let Some(attached) = self.attached.get() {
            attached.settle();
        }
    }

    /// Sends a datagram.
    pub fn send_datagram(&self, datagram: &DatagramOut<'_>) -> Result<(), Errno> {
        let attached = self.attached.get().ok_or(Errno::ENETUNREACH)?;
        let options = net::SendOptions {
            ttl: Some(datagram.hops),
            tos: datagram.class,
            dont_fragment: datagram.whole,
            interface: Some(datagram.interface),
            ..net::SendOptions::default()
        };
        let (from, to) = (datagram.source, datagram.destination);
        attached
            .call(|stack, now| stack.udp_send(now, from, to, datagram.data, &options))
            .map_err(errno)
    }

    /// The largest packet on the way to a destination, as far as it is known.
    pub fn path_mtu(&self, to: IpAddr) -> u32 {
        let path = self
            .attached
            .get()
            .and_then(|attached| attached.look(|stack| stack.route(to, None, None)).ok());
        path.map_or(0, |path| u32::try_from(path.mtu).unwrap_or(u32::MAX))
    }

    /// Joins a group on an interface.
    pub fn join(&self, interface: u32, group: IpAddr) -> Result<(), Errno> {
        let attached = self.attached.get().ok_or(Errno::ENODEV)?;
        attached
            .call(|stack, now| stack.join(now, interface, group))
            .map_err(errno)
    }

    /// Leaves a group on an interface.
    pub fn leave(&self, interface: u32, group: IpAddr) {
        if let Some(attached) = self.attached.get() {
            let _ = attached.call(|stack, now| stack.leave(now, interface, group));
        }
    }

    /// What went over an interface.
    pub fn counters(&self, index: u32) -> Counters {
        let read = |stack: &Stack| stack.interface(index).map(|own| own.counters);
        let own = self
            .attached
            .get()
            .and_then(|attached| attached.look(read))
            .unwrap_or_default();
        Counters {
            received_packets: own.rx_packets,
            received_bytes: own.rx_bytes,
            receive_dropped: own.rx_dropped,
            sent_packets: own.tx_packets,
            sent_bytes: own.tx_bytes,
            send_dropped: own.tx_dropped,
        }
    }

    /// The neighbours, fixed and found.
    pub fn neighbours(&self) -> Vec<NeighbourState> {
        let all = |stack: &Stack| {
            let each = stack.neighbors().map(|own| NeighbourState {
                interface: own.interface,
                ip: own.address,
                mac: own.mac,
                state: own.state as u16,
            });
            each.collect()
        };
        self.attached
            .get()
            .map(|attached| attached.look(all))
            .unwrap_or_default()
    }

    /// An interface's device is gone for good.
    pub fn lose_carrier(&self, index: u32) {
        let _ = self.change(|stack, _| stack.configure(index, |own| own.carrier = false));
    }

    /// Changes an interface's MTU. `ENODEV`, `EINVAL`.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Errno> {
        let mtu = usize::try_from(mtu).map_err(|_| Errno::EINVAL)?;
        self.change(|stack, _| stack.configure(index, |own| own.mtu = mtu))
    }

    /// Gives an interface an address, and the route to its network. `EEXIST`, `ENODEV`.
    pub fn add_address(&self, index: u32, address: &AddressConfig) -> Result<(), Errno> {
        self.change(|stack, now| stack.add_address(now, index, stack_address(address)))
    }

    /// Takes an address from an interface, with the routes that need it. `EADDRNOTAVAIL`, `ENODEV`.
    pub fn remove_address(&self, index: u32, ip: IpAddr, prefix: u8) -> Result<(), Errno> {
        self.change(|stack, _| stack.remove_address(index, ip, prefix))
    }

    /// Adds a route. `EEXIST`, `ENODEV`, `ENETUNREACH` for a router that is no neighbour.
    pub fn add_route(&self, route: &RouteConfig, replace: bool) -> Result<(), Errno> {
        self.change(|stack, _| stack.add_route(stack_route(route), replace))
    }

    /// Removes the first route that fits: an interface of 0, no router or a metric of 0 fit all. `ESRCH`.
    pub fn remove_route(&self, like: &RouteConfig) -> Result<(), Errno> {
        let fits = |own: &Route| {
            own.table == net::TABLE_MAIN
                && own.destination == Prefix::new(like.destination, like.prefix)
                && (like.interface == 0 || own.interface == like.interface)
                && (like.gateway.is_none() || own.gateway == like.gateway)
                && (like.metric == 0 || own.metric == like.metric)
        };
        self.change(|stack, _| stack.remove_route(fits)).map(drop)
    }

    /// Adds a neighbour that needs no asking, or changes it. `ENODEV`.
    pub fn add_neighbour(&self, neighbour: &NeighbourConfig) -> Result<(), Errno> {
        self.change(|stack, now| stack.set_neighbor(now, stack_neighbour(now, neighbour)))
    }

    /// Forgets a neighbour. `ENOENT`.
    pub fn remove_neighbour(&self, interface: u32, ip: IpAddr) -> Result<(), Errno> {
        self.change(|stack, _| stack.remove_neighbor(interface, ip))
    }
}

/// Makes a stack's interfaces as they were in the namespace.
fn build(stack: &mut Stack, now: net::Instant, config: &NetworkConfig) -> Result<(), net::Error> {
    let offloads = Offloads {
        tx_checksum: true,
        gso_max_v4: GSO_MAX,
        gso_max_v6: GSO_MAX,
    };
    for own in &config.interfaces {
        let mtu = usize::try_from(own.mtu).map_err(|_| net::Error::Invalid)?;
        stack.add_interface(net::Interface::ethernet(
            own.index, &own.name, own.mac, mtu, offloads,
        ))?;
        stack.set_up(now, own.index, true)?;
        for address in &own.addresses {
            // What the stack made itself is there already.
            let _ = stack.add_address(now, own.index, stack_address(address));
        }
    }
    // Routes to neighbours first: those over routers need them.
    for direct in [true, false] {
        for route in config
            .routes
            .iter()
            .filter(|route| route.gateway.is_none() == direct)
        {
            let _ = stack.add_route(stack_route(route), true);
        }
    }
    for neighbour in &config.neighbours {
        stack.set_neighbor(now, stack_neighbour(now, neighbour))?;
    }
    Ok(())
}

fn stack_address(address: &AddressConfig) -> net::Address {
    let mut own = net::Address::new(address.ip, address.prefix);
    if let Some(IpAddr::V4(broadcast)) = address.broadcast {
        own.broadcast = Some(broadcast);
    }
    own
}

fn stack_route(route: &RouteConfig) -> Route {
    let destination = Prefix::new(route.destination, route.prefix);
    let mut own = Route::new(destination, route.gateway, route.interface);
    own.source = route.source;
    if route.metric != 0 || destination.ip.is_ipv4() {
        own.metric = route.metric;
    }
    own.scope = route.scope;
    own.protocol = route.protocol;
    own
}

fn stack_neighbour(now: net::Instant, neighbour: &NeighbourConfig) -> net::Neighbor {
    net::Neighbor {
        interface: neighbour.interface,
        address: neighbour.ip,
        mac: Some(neighbour.mac),
        state: net::NeighborState::Permanent,
        updated: now,
        router: false,
    }
}
