//! RTM_GETLINK and its kin: interfaces.

use std::sync::Arc;

use abi::{AbiField, AbiStruct, Errno, abi_struct};

use super::message::{Answer, Attributes, Request, attribute, text};
use super::neigh::AF_BRIDGE;
use crate::socket::NetNs;
use crate::socket::network::{Inventory, Link, flags};

abi_struct! {
    /// `struct ifinfomsg`.
    pub(super) struct IfInfo { pub family: u8, pad: u8, pub kind: u16, pub index: i32, pub flags: u32, pub change: u32 }
}

/// RTM_NEWLINK.
pub(super) const NEW: u16 = 16;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;

/// The interface that a request means, by index or name.
pub(super) fn asked<'a>(inventory: &'a Inventory, request: &Request<'_>) -> Result<&'a Link, Errno> {
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

/// The kind that a request names.
fn kind_of<'a>(attributes: &Attributes<'a>) -> Option<&'a [u8]> {
    Attributes::read(attributes.get(IFLA_LINKINFO)?).text(1)
}

/// RTM_GETLINK.
pub(super) fn get(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let network = &net.network;
    let inventory = network.inventory();
    let bodies = if request.is_dump() {
        let attributes = request.attributes(IfInfo::SIZE);
        let (master, kind) = (attributes.number(IFLA_MASTER), kind_of(&attributes));
        // Of the family of bridges, their ports are asked for.
        let ports = request.family() == AF_BRIDGE;
        let fits = |link: &&Link| {
            let own = link.device.as_ref().filter(|own| !ports || own.master != 0);
            if ports && own.is_none() {
                return false;
            }
            let of_master = master.is_none_or(|master| own.is_some_and(|own| own.master == master));
            of_master && kind.is_none_or(|kind| own.is_some_and(|own| own.kind.as_bytes() == kind))
        };
        let wanted = inventory.links.iter().filter(fits);
        wanted.map(|link| describe(net, link)).collect()
    } else {
        vec![describe(net, asked(&inventory, request)?)]
    };
    Ok(Answer::of(NEW, bodies))
}

/// IFLA_OPERSTATE.
fn operational_state(link: &Link) -> u8 {
    const UNKNOWN: u8 = 0;
    const DOWN: u8 = 2;
    const LOWER_LAYER_DOWN: u8 = 3;
    const UP: u8 = 6;
    let kind = link.device.as_ref().map(|device| device.kind);
    match (link.flags & flags::RUNNING != 0, kind) {
        (true, Some("dummy")) => UNKNOWN,
        (true, _) if link.is_loopback() => UNKNOWN,
        (true, _) => UP,
        (false, Some("veth")) if link.is_up() => LOWER_LAYER_DOWN,
        (false, _) => DOWN,
    }
}

pub(super) fn describe(net: &NetNs, link: &Link) -> Vec<u8> {
    const IFLA_STATS: u16 = 7;
    const IFLA_STATS64: u16 = 23;
    let running = link.flags & flags::RUNNING != 0;
    let lower = if running { flags::LOWER_UP } else { 0 };
    let info = IfInfo {
        family: 0,
        pad: 0,
        kind: link.hardware(),
        index: i32::try_from(link.index).unwrap_or(0),
        flags: link.flags | lower,
        change: 0,
    };
    let other_end = net.network.other_end(link.index);
    let mut bytes = info.to_bytes();
    text(&mut bytes, IFLA_IFNAME, &link.name);
    attribute(&mut bytes, 13, &link.queue_len.to_le_bytes()); // IFLA_TXQLEN
    attribute(&mut bytes, 16, &[operational_state(link)]); // IFLA_OPERSTATE
    attribute(&mut bytes, 17, &[0]); // IFLA_LINKMODE
    attribute(&mut bytes, IFLA_MTU, &link.mtu.to_le_bytes());
    let (least, most) = if link.is_loopback() {
        (0u32, 0u32)
    } else {
        (68, 65_535)
    };
    attribute(&mut bytes, 50, &least.to_le_bytes()); // IFLA_MIN_MTU
    attribute(&mut bytes, 51, &most.to_le_bytes()); // IFLA_MAX_MTU
    attribute(&mut bytes, 27, &0u32.to_le_bytes()); // IFLA_GROUP
    attribute(&mut bytes, 30, &0u32.to_le_bytes()); // IFLA_PROMISCUITY
    attribute(&mut bytes, 31, &1u32.to_le_bytes()); // IFLA_NUM_TX_QUEUES
    attribute(&mut bytes, 32, &1u32.to_le_bytes()); // IFLA_NUM_RX_QUEUES
    attribute(&mut bytes, 33, &[u8::from(running)]); // IFLA_CARRIER
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
    if let Some((index, place)) = other_end {
        attribute(&mut bytes, 5, &index.to_le_bytes()); // IFLA_LINK
        if let Some(place) = place {
            attribute(&mut bytes, 37, &place.to_le_bytes()); // IFLA_LINK_NETNSID
        }
    }
    if let Some(device) = &link.device {
        let mut details = Vec::new();
        text(&mut details, 1, device.kind); // IFLA_INFO_KIND
        if device.master != 0 {
            attribute(&mut bytes, IFLA_MASTER, &device.master.to_le_bytes());
            text(&mut details, 4, "bridge"); // IFLA_INFO_SLAVE_KIND
        }
        attribute(&mut bytes, IFLA_LINKINFO, &details);
    }
    bytes
}
