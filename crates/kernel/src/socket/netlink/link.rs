//! RTM_GETLINK and its kin: interfaces.

use std::sync::Arc;

use abi::{AbiField, AbiStruct, Errno, abi_struct};

use super::message::{Answer, Request, attribute, text};
use crate::socket::NetNs;
use crate::socket::network::{Inventory, Link};

abi_struct! {
    /// `struct ifinfomsg`.
    pub(super) struct IfInfo { pub family: u8, pad: u8, pub kind: u16, pub index: i32, pub flags: u32, pub change: u32 }
}

/// RTM_NEWLINK.
pub(super) const NEW: u16 = 16;
const IFLA_MTU: u16 = 4;
const IFLA_IFNAME: u16 = 3;

/// The interface that a request means, by index or name.
fn asked<'a>(inventory: &'a Inventory, request: &Request<'_>) -> Result<&'a Link, Errno> {
    const IFLA_ALT_IFNAME: u16 = 53;
    let info: IfInfo = request.fixed()?;
    let attributes = request.attributes(IfInfo::SIZE);
    let name = attributes
        .text(IFLA_IFNAME)
        .or_else(|| attributes.text(IFLA_ALT_IFNAME));
    match (u32::try_from(info.index), name) {
        (Ok(0), None) | (Err(_), _) => Err(Errno::EINVAL),
        (Ok(0), Some(name)) => inventory.named(name).ok_or(Errno::ENODEV),
        (Ok(index), _) => inventory.link(index).ok_or(Errno::ENODEV),
    }
}

/// RTM_GETLINK.
pub(super) fn get(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let network = &net.network;
    let inventory = network.inventory();
    let bodies = if request.is_dump() {
        inventory.links.iter().map(|link| describe(net, link)).collect()
    } else {
        vec![describe(net, asked(&inventory, request)?)]
    };
    Ok(Answer::of(NEW, bodies))
}

/// RTM_NEWLINK and RTM_SETLINK of an interface that is there: flags and MTU. `EOPNOTSUPP` for new interfaces.
pub(super) fn set(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let info: IfInfo = request.fixed()?;
    let attributes = request.attributes(IfInfo::SIZE);
    let index = match asked(&net.network.inventory(), request) {
        Ok(link) => link.index,
        Err(Errno::ENODEV) if request.header.kind == NEW => return Err(Errno::EOPNOTSUPP),
        Err(error) => return Err(error),
    };
    if let Some(mtu) = attributes.number(IFLA_MTU) {
        net.network.set_mtu(index, mtu)?;
    }
    // Old programs name no mask and mean all flags.
    let change = if info.change == 0 && info.flags != 0 {
        u32::MAX
    } else {
        info.change
    };
    net.network.set_flags(index, info.flags, change)?;
    Ok(Answer::done())
}

pub(super) fn describe(net: &NetNs, link: &Link) -> Vec<u8> {
    const IFLA_STATS: u16 = 7;
    const IFLA_STATS64: u16 = 23;
    const OPER_UNKNOWN: u8 = 0;
    const OPER_DOWN: u8 = 2;
    const OPER_UP: u8 = 6;
    let lower = if link.is_up() {
        crate::socket::network::flags::LOWER_UP
    } else {
        0
    };
    let info = IfInfo {
        family: 0,
        pad: 0,
        kind: link.hardware(),
        index: i32::try_from(link.index).unwrap_or(0),
        flags: link.flags | lower,
        change: 0,
    };
    let state = match (link.is_loopback(), link.is_up()) {
        (true, true) => OPER_UNKNOWN,
        (false, true) => OPER_UP,
        (_, false) => OPER_DOWN,
    };
    let mut bytes = info.to_bytes();
    text(&mut bytes, IFLA_IFNAME, &link.name);
    attribute(&mut bytes, 13, &1000u32.to_le_bytes()); // IFLA_TXQLEN
    attribute(&mut bytes, 16, &[state]); // IFLA_OPERSTATE
    attribute(&mut bytes, 17, &[0]); // IFLA_LINKMODE
    attribute(&mut bytes, IFLA_MTU, &link.mtu.to_le_bytes());
    attribute(&mut bytes, 50, &68u32.to_le_bytes()); // IFLA_MIN_MTU
    attribute(&mut bytes, 51, &65_535u32.to_le_bytes()); // IFLA_MAX_MTU
    attribute(&mut bytes, 27, &0u32.to_le_bytes()); // IFLA_GROUP
    attribute(&mut bytes, 30, &0u32.to_le_bytes()); // IFLA_PROMISCUITY
    attribute(&mut bytes, 31, &1u32.to_le_bytes()); // IFLA_NUM_TX_QUEUES
    attribute(&mut bytes, 32, &1u32.to_le_bytes()); // IFLA_NUM_RX_QUEUES
    attribute(&mut bytes, 33, &[1]); // IFLA_CARRIER
    text(&mut bytes, 6, "noqueue"); // IFLA_QDISC
    attribute(&mut bytes, 1, &link.mac); // IFLA_ADDRESS
    let broadcast = if link.is_loopback() { [0; 6] } else { [0xff; 6] };
    attribute(&mut bytes, 2, &broadcast); // IFLA_BROADCAST
    let counters = net.network.counters(link.index);
    let numbers = [
        counters.received_packets,
        counters.sent_packets,
        counters.received_bytes,
        counters.sent_bytes,
        0,
        0,
        counters.receive_dropped,
        counters.send_dropped,
    ];
    let small: Vec<u8> = numbers
        .iter()
        .flat_map(|number| (*number as u32).to_le_bytes())
        .collect();
    let mut small = small;
    small.resize(96, 0);
    attribute(&mut bytes, IFLA_STATS, &small);
    let mut large: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    large.resize(192, 0);
    attribute(&mut bytes, IFLA_STATS64, &large);
    bytes
}
