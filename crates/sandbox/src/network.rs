//! Frames between the packet sockets that came through the wall and the kernel's stack.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use abi::Errno;
use host::packet::{self, MOST_DESCRIPTORS, OFFLOAD_HEADER};
use kernel::Kernel;
pub use kernel::socket::network::{
    AddressConfig, InterfaceConfig, NeighbourConfig, NetworkConfig, RouteConfig,
};
use kernel::socket::network::{ResolverStreams, Wire};

/// Bytes of the largest frame: a super-segment with its headers, and some to spare.
const FRAME: usize = OFFLOAD_HEADER + 65_536 + 256;
/// Frames that are taken from one interface before the stack sends what they caused, and the next one has its turn.
const BATCH: usize = 32;
/// How long a device without room is waited for before the stack is told.
const PATIENCE: Duration = Duration::from_millis(1);

/// Bytes of the largest answer of a name server.
const ANSWER: usize = 65_536;

/// The packet sockets, with the indices of their interfaces, and the socket of the engine's name server.
struct Interfaces(Vec<(u32, OwnedFd)>, Option<OwnedFd>);

impl Wire for Interfaces {
    fn send(&self, interface: u32, header: &[u8; OFFLOAD_HEADER], parts: &[&[u8]]) -> bool {
        let Some((_, socket)) = self.0.iter().find(|(index, _)| *index == interface) else {
            // Nobody will ever take it.
            return true;
        };
        let mut all = [&[][..]; packet::MOST_PARTS];
        all[0] = header;
        let Some(places) = all.get_mut(1..=parts.len()) else {
            return true;
        };
        places.copy_from_slice(parts);
        let all = &all[..=parts.len()];
        match packet::send(socket.as_fd(), all) {
            Err(Errno::EAGAIN) => {
                let _ = packet::wait(&[socket.as_fd()], 1, Some(PATIENCE));
                packet::send(socket.as_fd(), all) != Err(Errno::EAGAIN)
            }
            // Sent, or lost (`ENOBUFS`, `ENETDOWN`) as on a wire that is unplugged or too slow.
            _ => true,
        }
    }
}

/// Connects the kernel's network with its interfaces. Called before the first process starts.
pub fn start(kernel: &Arc<Kernel>, config: &NetworkConfig, sockets: Vec<OwnedFd>) -> Result<(), Errno> {
    if config.interfaces.is_empty() {
        return Ok(());
    }
    if kernel.net.network.shared().is_some() {
        return kernel.net.network.show(config);
    }
    let wanted = config.interfaces.len() + usize::from(config.resolver.is_some());
    if sockets.len() < wanted || wanted > MOST_DESCRIPTORS {
        return Err(Errno::EINVAL);
    }
    let indices = config.interfaces.iter().map(|interface| interface.index);
    let mut sockets = sockets;
    let mut more = sockets.split_off(config.interfaces.len());
    let resolver = config.resolver.and_then(|_| more.pop());
    let interfaces = Arc::new(Interfaces(indices.zip(sockets).collect(), resolver));
    kernel
        .net
        .network
        .attach(config, Box::new(Shared(interfaces.clone())))?;
    if let Some(mut streams) = ResolverStreams::new(kernel) {
        let builder = std::thread::Builder::new().name("resolver".into());
        let serve = move || {
            loop {
                streams.turn();
            }
        };
        builder.spawn(serve).map_err(|_| Errno::EAGAIN)?;
    }
    let kernel = kernel.clone();
    let builder = std::thread::Builder::new().name("network".into());
    builder
        .spawn(move || receive(&kernel, &interfaces))
        .map_err(|_| Errno::EAGAIN)?;
    Ok(())
}

struct Shared(Arc<Interfaces>);

impl Wire for Shared {
    fn send(&self, interface: u32, header: &[u8; OFFLOAD_HEADER], parts: &[&[u8]]) -> bool {
        self.0.send(interface, header, parts)
    }

    fn query(&self, query: &[u8]) {
        if let Some(resolver) = &self.0.1 {
            // Lost, as a datagram may be: who asked will ask again.
            let _ = packet::send(resolver.as_fd(), &[query]);
        }
    }
}

/// Takes frames for as long as the process lives.
fn receive(kernel: &Arc<Kernel>, interfaces: &Interfaces) {
    let mut buf = vec![0; FRAME];
    let mut live: Vec<&(u32, OwnedFd)> = interfaces.0.iter().collect();
    while !live.is_empty() {
        let packets = live.iter().map(|(_, fd)| fd.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = packets.chain(interfaces.1.iter().map(AsFd::as_fd)).collect();
        let mut lost = None;
        while lost.is_none() {
            let Ok(found) = packet::wait(&descriptors, 0, None) else {
                return;
            };
            for (at, (index, socket)) in live.iter().enumerate() {
                if found.readable & (1 << at) != 0 && !take(kernel, *index, socket, &mut buf) {
                    lost = Some(*index);
                }
            }
            if let Some(resolver) = &interfaces.1
                && found.readable & (1 << live.len()) != 0
            {
                answers(kernel, resolver, &mut buf);
            }
        }
        if let Some(index) = lost {
            kernel.net.network.lose_carrier(index);
            live.retain(|(other, _)| *other != index);
        }
    }
}

/// Takes what the engine's name server answers.
fn answers(kernel: &Arc<Kernel>, resolver: &OwnedFd, buf: &mut [u8]) {
    for _ in 0..BATCH {
        match packet::receive(resolver.as_fd(), &mut buf[..ANSWER]) {
            Ok(len) => kernel.net.network.resolver_answered(&buf[..len]),
            Err(Errno::EAGAIN) => return,
            // Nobody is there (any more): taking the error has cleared it.
            Err(_) => {}
        }
    }
}

/// Takes frames of one interface; false when nothing will ever come from it any more (the relay ended).
fn take(kernel: &Arc<Kernel>, index: u32, socket: &OwnedFd, buf: &mut Vec<u8>) -> bool {
    let network = &kernel.net.network;
    for _ in 0..BATCH {
        // The last one may have been kept.
        buf.resize(FRAME, 0);
        match packet::receive(socket.as_fd(), buf) {
            Ok(0) => return false,
            Ok(len) => network.receive(index, buf, len),
            // Nothing more, or the interface went down: a later frame will tell.
            Err(_) => break,
        }
    }
    network.settle();
    true
}
