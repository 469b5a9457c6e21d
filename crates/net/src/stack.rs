//! A network namespace: configuration, time, events.

use std::net::IpAddr;

use crate::counters::Counters;
use crate::event::Event;
use crate::filter::Filter;
use crate::interface::{
    Address, Interface, InterfaceCounters, Kind, LOOPBACK, MAX_ADDRESSES, MAX_INTERFACES, MIN_MTU_V6,
};
use crate::ip::{Device, Ip};
use crate::neighbor::{Due, Neighbor};
use crate::route::{Prefix, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};
use crate::wire::icmp;
use crate::{Error, Instant, Path, Settings, tcp};

/// Frames of `lo` that one [`Stack::poll`] takes, so that a call ends though sockets keep talking to each other.
const LOOPBACK_BUDGET: usize = 512;

/// One network namespace: interfaces, addresses, routes, neighbours, TCP sockets.
///
/// Nothing in it runs by itself. After any call: take [`Stack::next_event`] until `None`; if [`Stack::has_output`], call
/// [`Stack::poll`]; call that also when [`Stack::deadline`] has come.
#[derive(Debug)]
pub struct Stack {
    pub(crate) ip: Ip,
    pub(crate) tcp: tcp::Table,
}

impl Stack {
    /// A stack with `lo`, which is down. `secret` must be random; it keys hash tables and sequence numbers (RFC 6528).
    pub fn new(secret: [u8; 32], settings: Settings) -> Stack {
        let ip = Ip::new(&secret, settings);
        let tcp = tcp::Table::new(ip.key);
        Stack { ip, tcp }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.ip.settings
    }

    /// The settings, to change them. Open sockets keep what they copied at their start.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.ip.settings
    }

    /// The packet filter.
    pub fn filter_mut(&mut self) -> &mut Filter {
        &mut self.ip.filter
    }

    /// Counters since the start.
    pub fn counters(&self) -> &Counters {
        &self.ip.counters
    }

    /// Connections in ESTABLISHED or CLOSE_WAIT (`CurrEstab`).
    pub fn established(&self) -> usize {
        self.tcp.established()
    }

    /// Bytes that the queues of all TCP sockets hold (`mem` of /proc/net/sockstat, there in pages).
    pub fn tcp_memory(&self) -> usize {
        self.tcp.memory()
    }

    /// All interfaces, in the order of their making.
    pub fn interfaces(&self) -> &[Interface] {
        &self.ip.interfaces
    }

    /// The interface with this index.
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.ip.interface(index)
    }

    /// Adds an interface.
    ///
    /// # Errors
    /// `Exists` for an index or name in use, `Invalid`, `NoBuffers`.
    pub fn add_interface(&mut self, interface: Interface) -> Result<(), Error> {
        interface.check()?;
        if self
            .ip
            .interfaces
            .iter()
            .any(|i| i.index == interface.index || i.name == interface.name)
        {
            return Err(Error::Exists);
        }
        if self.ip.interfaces.len() >= MAX_INTERFACES {
            return Err(Error::NoBuffers);
        }
        self.ip.interfaces.push(interface);
        self.ip.generation += 1;
        Ok(())
    }

    /// Removes an interface with its addresses, routes and neighbours. What is returned may be added to another stack.
    ///
    /// # Errors
    /// `NoDevice`; `NotSupported` for `lo`.
    pub fn remove_interface(&mut self, now: Instant, index: u32) -> Result<Interface, Error> {
        if index == LOOPBACK {
            return Err(Error::NotSupported);
        }
        self.set_up(now, index, false)?;
        let at = self.ip.interfaces.iter().position(|i| i.index == index);
        let mut gone = self.ip.interfaces.remove(at.ok_or(Error::NoDevice)?);
        self.ip.routes.retain(|r| r.interface != index);
        self.ip.local.retain(|_, i| *i != index);
        self.ip.groups.retain(|(i, _), _| *i != index);
        self.ip.generation += 1;
        gone.addresses.clear();
        gone.counters = InterfaceCounters::default();
        Ok(gone)
    }

    /// Changes an interface's name, MTU, address, carrier or offloads.
    ///
    /// # Errors
    /// `NoDevice`; `Invalid` when the result is no valid interface.
    pub fn configure(&mut self, index: u32, change: impl FnOnce(&mut Interface)) -> Result<(), Error> {
        let interface = self.ip.interface_mut(index).ok_or(Error::NoDevice)?;
        let mut changed = interface.clone();
        change(&mut changed);
        changed.check()?;
        if changed.index != interface.index || changed.kind != interface.kind || changed.up != interface.up {
            return Err(Error::Invalid);
        }
        *interface = changed;
        self.ip.generation += 1;
        Ok(())
    }

    /// Brings an interface up or down. Up: the routes of its addresses come; `lo` without addresses gets 127.0.0.1/8
    /// and ::1/128. Down: its routes and neighbours go, as on Linux.
    ///
    /// # Errors
    /// `NoDevice`.
    pub fn set_up(&mut self, now: Instant, index: u32, up: bool) -> Result<(), Error> {
        let interface = self.ip.interface_mut(index).ok_or(Error::NoDevice)?;
        if interface.up == up {
            return Ok(());
        }
        interface.up = up;
        self.ip.generation += 1;
        if up {
            let addresses = self
                .ip
                .interface(index)
                .map(|i| i.addresses.clone())
                .unwrap_or_default();
            for address in &addresses {
                self.add_address_routes(index, address);
            }
            if index == LOOPBACK && addresses.is_empty() {
                self.add_address(now, index, Address::new(IpAddr::from([127, 0, 0, 1]), 8))?;
                self.add_address(
                    now,
                    index,
                    Address::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128),
                )?;
            }
        } else {
            self.ip.routes.retain(|r| r.interface != index);
            self.ip.neighbors.remove_interface(index);
        }
        Ok(())
    }

    /// Gives an interface an address, and the routes that follow from it when it is up.
    ///
    /// # Errors
    /// `NoDevice`, `Exists`, `Invalid`, `NoBuffers`.
    pub fn add_address(&mut self, _now: Instant, index: u32, address: Address) -> Result<(), Error> {
        let widest = if address.ip.is_ipv4() { 32 } else { 128 };
        if address.prefix > widest || address.ip.is_multicast() || address.ip.is_unspecified() {
            return Err(Error::Invalid);
        }
        let interface = self.ip.interface_mut(index).ok_or(Error::NoDevice)?;
        if address.ip.is_ipv6() && interface.mtu < MIN_MTU_V6 {
            return Err(Error::NoBuffers);
        }
        if interface
            .addresses
            .iter()
            .any(|a| a.ip == address.ip && a.prefix == address.prefix)
        {
            return Err(Error::Exists);
        }
        if interface.addresses.len() >= MAX_ADDRESSES {
            return Err(Error::NoBuffers);
        }
        interface.addresses.push(address.clone());
        let up = interface.up;
        self.ip.local.entry(address.ip).or_insert(index);
        self.ip.generation += 1;
        if up {
            self.add_address_routes(index, &address);
        }
        Ok(())
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// `NoDevice`, `AddressNotAvailable`.
    pub fn remove_address(&mut self, index: u32, ip: IpAddr, prefix: u8) -> Result<(), Error> {
        let interface = self.ip.interface_mut(index).ok_or(Error::NoDevice)?;
        let at = interface
            .addresses
            .iter()
            .position(|a| a.ip == ip && a.prefix == prefix);
        let gone = interface.addresses.remove(at.ok_or(Error::AddressNotAvailable)?);
        let still = |n: Prefix, i: &Interface| i.addresses.iter().any(|a| a.network() == n);
        let (network, kept) = (gone.network(), still(gone.network(), interface));
        self.ip.routes.retain(|r| {
            let own = r.interface == index && r.protocol == 2;
            let connected = own && r.table == TABLE_MAIN && r.destination == network && !kept;
            let local = own && r.table == TABLE_LOCAL && r.destination.ip == ip;
            !(connected || local || r.source == Some(ip))
        });
        let other = self
            .ip
            .interfaces
            .iter()
            .find(|i| i.addresses.iter().any(|a| a.ip == ip))
            .map(|i| i.index);
        match other {
            Some(other) => self.ip.local.insert(ip, other),
            None => self.ip.local.remove(&ip),
        };
        self.ip.generation += 1;
        Ok(())
    }

    /// The routes that follow from an address: itself in the local table, its subnet in the main one.
    fn add_address_routes(&mut self, index: u32, address: &Address) {
        let full = if address.ip.is_ipv4() { 32 } else { 128 };
        let loopback = self.ip.interface(index).is_some_and(|i| i.kind == Kind::Loopback);
        let mut local = Route::new(Prefix::new(address.ip, full), None, index);
        (local.table, local.kind, local.protocol, local.scope) = (TABLE_LOCAL, RouteKind::Local, 2, 254);
        (local.source, local.metric) = (address.ip.is_ipv4().then_some(address.ip), 0);
        if loopback && address.ip.is_ipv4() {
            let mut net = local.clone();
            net.destination = address.network();
            let _ = self.ip.routes.add(net, false);
        }
        let _ = self.ip.routes.add(local, false);
        if address.prefix < full && !loopback {
            let mut connected = Route::new(address.network(), None, index);
            connected.protocol = 2;
            if address.ip.is_ipv4() {
                (connected.source, connected.scope) = (Some(address.ip), 253);
            } else {
                connected.metric = 256;
            }
            let _ = self.ip.routes.add(connected, false);
        }
    }

    /// All routes, in the order of lookup.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.ip.routes.iter()
    }

    /// Adds a route, or replaces the one of the same prefix and metric.
    ///
    /// # Errors
    /// `Exists`, `NoDevice`, `NetworkUnreachable` when the gateway is not on a link of the interface, `Invalid`, `NoBuffers`.
    pub fn add_route(&mut self, mut route: Route, replace: bool) -> Result<(), Error> {
        route.destination = Prefix::new(route.destination.ip, route.destination.len);
        let widest = if route.destination.ip.is_ipv4() { 32 } else { 128 };
        if route.destination.len > widest {
            return Err(Error::Invalid);
        }
        if let Some(gateway) = route.gateway {
            if gateway.is_ipv4() != route.destination.ip.is_ipv4() {
                return Err(Error::Invalid);
            }
            let via = (route.interface != 0).then_some(route.interface);
            let link_local = matches!(gateway, IpAddr::V6(a) if a.is_unicast_link_local());
            let on_link = |r: &Route| r.gateway.is_none() && r.destination.len > 0;
            let found = self
                .ip
                .routes
                .lookup(gateway, via, |_| true)
                .filter(|r| on_link(r))
                .map(|r| r.interface);
            match found {
                Some(index) => route.interface = index,
                None if route.flags & 4 != 0 || link_local => {}
                None => return Err(Error::NetworkUnreachable),
            }
        }
        let needs = !matches!(
            route.kind,
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
        );
        if needs && self.ip.interface(route.interface).is_none() {
            return Err(Error::NoDevice);
        }
        self.ip.generation += 1;
        self.ip.routes.add(route, replace)
    }

    /// Removes the first route that `wanted` holds for.
    ///
    /// # Errors
    /// `NoRoute`.
    pub fn remove_route(&mut self, wanted: impl FnMut(&Route) -> bool) -> Result<Route, Error> {
        self.ip.generation += 1;
        self.ip.routes.remove(wanted)
    }

    /// The way to `dst` for packets from `src` (when bound) or by `interface` (when bound to one).
    ///
    /// # Errors
    /// `NetworkUnreachable`, `HostUnreachable`, `AccessDenied`, `AddressNotAvailable`, `Invalid` (blackhole).
    pub fn route(&self, dst: IpAddr, src: Option<IpAddr>, interface: Option<u32>) -> Result<Path, Error> {
        self.ip
            .route(dst.to_canonical(), src.map(|s| s.to_canonical()), interface)
    }

    /// Whether `ip` is one of our own addresses, 127.0.0.0/8 included once `lo` was up.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        self.ip.is_local(ip.to_canonical())
    }

    /// Whether `ip` is a broadcast address of one of our subnets.
    pub fn is_broadcast(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self
                .ip
                .interfaces
                .iter()
                .any(|i| i.kind == Kind::Ethernet && i.is_broadcast(ip)),
            IpAddr::V6(_) => false,
        }
    }

    /// The neighbour table.
    pub fn neighbors(&self) -> impl Iterator<Item = &Neighbor> {
        self.ip.neighbors.iter()
    }

    /// Sets a neighbour entry by hand.
    ///
    /// # Errors
    /// `NoDevice`.
    pub fn set_neighbor(&mut self, now: Instant, neighbor: Neighbor) -> Result<(), Error> {
        self.ip.interface(neighbor.interface).ok_or(Error::NoDevice)?;
        let (interface, mac) = (neighbor.interface, neighbor.mac);
        let waiting = self.ip.neighbors.set(now, neighbor);
        if let Some(mac) = mac {
            self.ip.release(interface, mac, waiting);
        }
        Ok(())
    }

    /// Removes a neighbour entry.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_neighbor(&mut self, interface: u32, address: IpAddr) -> Result<(), Error> {
        if self.ip.neighbors.remove(interface, address) {
            Ok(())
        } else {
            Err(Error::NotFound)
        }
    }

    /// Whether taps (packet sockets) want copies of frames: they come as [`Event::Frame`].
    pub fn want_frames(&mut self, wanted: bool) {
        self.ip.tap = wanted;
    }

    /// The next thing to pass on.
    pub fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.tcp.next_event() {
            return Some(event);
        }
        let event = self.ip.events.pop_front()?;
        let size = match &event {
            Event::Datagram(d) => d.data.len(),
            Event::Raw(r) => r.data.len(),
            Event::Icmp(e) => e.quoted.len(),
            Event::Frame(f) => f.data.len(),
            Event::Tcp { .. } | Event::Neighbor { .. } => 0,
        };
        self.ip.event_bytes = self.ip.event_bytes.saturating_sub(size);
        Some(event)
    }

    /// Whether [`Stack::poll`] has frames to send, or to take from `lo`.
    pub fn has_output(&self) -> bool {
        self.ip.has_output() || self.tcp.has_output()
    }

    /// When [`Stack::poll`] is to be called at the latest. `None`: not before something happens.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.tcp.deadline(),
            self.ip.neighbors.deadline(),
            self.ip.reassembly.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Runs timers that have come, and hands frames to `device` until there are none or it has no room. What it has no
    /// room for stays ([`Stack::has_output`] says so): poll again when the device can take more.
    pub fn poll(&mut self, now: Instant, device: &mut Device<'_>) {
        self.run_timers(now);
        let mut budget = LOOPBACK_BUDGET;
        loop {
            if self.ip.flush(now, device) {
                self.tcp_output(now, device);
                self.ip.flush(now, device);
            }
            if self.ip.looped.is_empty() || budget == 0 {
                return;
            }
            let batch = self.ip.looped.len().min(budget);
            budget -= batch;
            for _ in 0..batch {
                let Some((offload, frame)) = self.ip.looped.pop_front() else {
                    break;
                };
                self.ip.looped_bytes -= frame.len();
                self.receive(now, LOOPBACK, &offload, &frame);
            }
        }
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(((interface, address), due)) = self.ip.neighbors.due(now) {
            match due {
                Due::Solicit(to) => self.ip.solicit(now, interface, address, to),
                Due::Changed => {}
                Due::Failed(frames) => {
                    for (_, frame) in &frames {
                        self.neighbor_failed(now, interface, frame);
                    }
                }
            }
            self.ip.push_event(0, Event::Neighbor { interface, address });
        }
        while let Some((name, first)) = self.ip.reassembly.expire(now) {
            self.ip.counters.ip_reasm_timeout += 1;
            self.ip.counters.ip_reasm_fails += 1;
            let Some(first) = first else { continue };
            let meta = crate::ingress::Meta {
                interface: name.interface,
                src: name.src,
                dst: name.dst,
                protocol: name.protocol,
                ttl: 64,
                tos: 0,
                group: name.dst.is_multicast(),
                verified: true,
                gso: None,
            };
            let header = crate::icmp::rebuilt_header(name.src, name.dst, name.protocol, 64, 0, first.len());
            let kind = if name.dst.is_ipv4() {
                icmp::TIME_EXCEEDED
            } else {
                icmp::V6_TIME_EXCEEDED
            };
            self.send_error(now, &meta, kind, 1, 0, &header, &first);
        }
        self.tcp_timers(now);
    }
}
