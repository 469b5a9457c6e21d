//! Frames between the packet sockets that came through the wall and the kernel's stack.

pub use kernel::socket::network::{
    AddressConfig, InterfaceConfig, NeighbourConfig, NetworkConfig, RouteConfig,
};
