//! RTM_GETNEIGH and its kin: neighbours and their hardware addresses.

use std::sync::Arc;

use abi::{AbiField, AbiStruct, Errno, abi_struct};

use super::message::{Answer, Request, attribute, family_of, octets};
use crate::socket::NetNs;
use crate::socket::network::{NeighbourConfig, NeighbourState, Station};

abi_struct! {
    /// `struct ndmsg`.
    struct NdMsg { family: u8, pad: u8, pad2: u16, index: i32, state: u16, flags: u8, kind: u8 }
}

/// RTM_NEWNEIGH.
pub(super) const NEW: u16 = 28;
/// Not a family of addresses: forwarding tables of bridges.
pub(super) const AF_BRIDGE: u8 = 7;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// RTM_GETNEIGH, dumps only.
pub(super) fn get(net: &Arc<NetNs>, request: &Request<'_>) -> Answer {
    let wanted = request.family();
    if wanted == AF_BRIDGE {
        return Answer::of(NEW, net.network.stations().iter().map(station).collect());
    }
    let all = net.network.neighbours();
    let all = all
        .iter()
        .filter(|own| wanted == 0 || wanted == family_of(own.ip));
    Answer::of(NEW, all.map(describe).collect())
}

pub(super) fn describe(own: &NeighbourState) -> Vec<u8> {
    let message = NdMsg {
        family: family_of(own.ip),
        pad: 0,
        pad2: 0,
        index: i32::try_from(own.interface).unwrap_or(0),
        state: own.state,
        flags: 0,
        kind: 1,
    };
    let mut bytes = message.to_bytes();
    attribute(&mut bytes, NDA_DST, &octets(own.ip));
    if let Some(mac) = own.mac {
        attribute(&mut bytes, NDA_LLADDR, &mac);
    }
    bytes
}

/// A station that a bridge has learnt.
fn station(own: &Station) -> Vec<u8> {
    const NDA_MASTER: u16 = 9;
    const NUD_REACHABLE: u16 = 2;
    let message = NdMsg {
        family: AF_BRIDGE,
        pad: 0,
        pad2: 0,
        index: i32::try_from(own.port).unwrap_or(0),
        state: NUD_REACHABLE,
        flags: 0,
        kind: 0,
    };
    let mut bytes = message.to_bytes();
    attribute(&mut bytes, NDA_LLADDR, &own.mac);
    attribute(&mut bytes, NDA_MASTER, &own.bridge.to_le_bytes());
    bytes
}

/// RTM_NEWNEIGH (a fixed one) and RTM_DELNEIGH.
pub(super) fn change(net: &Arc<NetNs>, request: &Request<'_>, add: bool) -> Result<Answer, Errno> {
    let message: NdMsg = request.fixed()?;
    let attributes = request.attributes(NdMsg::SIZE);
    let ip = attributes.address(NDA_DST).ok_or(Errno::EINVAL)?;
    let interface = u32::try_from(message.index).map_err(|_| Errno::EINVAL)?;
    let network = &net.network;
    if add {
        let mac = attributes.mac(NDA_LLADDR).ok_or(Errno::EINVAL)?;
        network.add_neighbour(&NeighbourConfig { interface, ip, mac })?;
    } else {
        network.remove_neighbour(interface, ip)?;
    }
    Ok(Answer::done())
}
