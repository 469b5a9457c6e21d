//! RTM_GETADDR and its kin: addresses of interfaces.

use std::sync::Arc;

use abi::{AbiField, AbiStruct, Errno, abi_struct};

use super::message::{Answer, NLM_F_EXCL, Request, attribute, family_of, octets, text};
use crate::socket::NetNs;
use crate::socket::network::{AddressConfig, Link};

abi_struct! {
    /// `struct ifaddrmsg`.
    struct IfAddr { family: u8, prefix: u8, flags: u8, scope: u8, index: u32 }
}

/// RTM_NEWADDR.
pub(super) const NEW: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

/// RTM_GETADDR.
pub(super) fn get(net: &Arc<NetNs>, request: &Request<'_>) -> Answer {
    let inventory = net.network.inventory();
    let wanted = request.family();
    let index = request.fixed::<IfAddr>().map_or(0, |message| message.index);
    let mut bodies = Vec::new();
    for link in &inventory.links {
        for address in &link.addresses {
            let family = wanted == 0 || wanted == family_of(address.ip);
            if family && (index == 0 || index == link.index) {
                bodies.push(describe(link, address));
            }
        }
    }
    Answer::of(NEW, bodies)
}

pub(super) fn describe(link: &Link, address: &AddressConfig) -> Vec<u8> {
    const IFA_F_PERMANENT: u8 = 0x80;
    let message = IfAddr {
        family: family_of(address.ip),
        prefix: address.prefix,
        flags: IFA_F_PERMANENT,
        scope: address.scope,
        index: link.index,
    };
    let mut bytes = message.to_bytes();
    let ip = octets(address.ip);
    attribute(&mut bytes, IFA_ADDRESS, &ip);
    if address.ip.is_ipv4() {
        attribute(&mut bytes, IFA_LOCAL, &ip);
        if let Some(broadcast) = address.broadcast {
            attribute(&mut bytes, IFA_BROADCAST, &octets(broadcast));
        }
        text(&mut bytes, 3, &link.name); // IFA_LABEL
    }
    attribute(&mut bytes, 8, &u32::from(IFA_F_PERMANENT).to_le_bytes()); // IFA_FLAGS
    let forever = [[0xff; 8], [0; 8]].concat();
    attribute(&mut bytes, 6, &forever); // IFA_CACHEINFO
    bytes
}

/// What a change is about: the interface and the address.
fn named(request: &Request<'_>) -> Result<(u32, AddressConfig), Errno> {
    let message: IfAddr = request.fixed()?;
    let attributes = request.attributes(IfAddr::SIZE);
    let ip = attributes
        .address(IFA_LOCAL)
        .or_else(|| attributes.address(IFA_ADDRESS));
    let ip = ip
        .filter(|ip| family_of(*ip) == message.family)
        .ok_or(Errno::EINVAL)?;
    if message.prefix > if ip.is_ipv4() { 32 } else { 128 } {
        return Err(Errno::EINVAL);
    }
    Ok((
        message.index,
        AddressConfig {
            ip,
            prefix: message.prefix,
            broadcast: attributes.address(IFA_BROADCAST),
            scope: message.scope,
        },
    ))
}

/// RTM_NEWADDR.
pub(super) fn add(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let (index, address) = named(request)?;
    match net.network.add_address(index, &address) {
        Err(Errno::EEXIST) if request.header.flags & NLM_F_EXCL == 0 => Ok(Answer::done()),
        other => other.map(|()| Answer::done()),
    }
}

/// RTM_DELADDR.
pub(super) fn remove(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let (index, address) = named(request)?;
    net.network.remove_address(index, address.ip, address.prefix)?;
    Ok(Answer::done())
}
