//! Sockets of the host's network in place of the sandbox's own (`--network=host`): the first network namespace has them then.

use std::sync::Arc;

use super::{Kind, NetNs, NewSocket};
use crate::Kernel;

/// Makes sockets of the host's network.
pub trait HostNetwork: Send + Sync {
    /// An internet socket of a family: a stream or datagrams.
    fn socket(&self, kernel: &Arc<Kernel>, net: &Arc<NetNs>, family: u16, kind: Kind) -> NewSocket;
}
