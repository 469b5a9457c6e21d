//! RTM_NEWLINK, RTM_SETLINK and RTM_DELLINK: interfaces are made, changed, moved to other network namespaces, removed.

use std::sync::Arc;

use abi::{AbiField, Errno};

use super::link::{IFLA_IFNAME, IFLA_MASTER, IFLA_MTU, IfInfo, asked};
use super::message::{Answer, Attributes, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Request};
use crate::cred::Caps;
use crate::socket::NetNs;
use crate::socket::network::NewLink;
use crate::task::{Namespace, NsFile, Task, current};

const IFLA_ADDRESS: u16 = 1;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_NET_NS_FD: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const BR_STP_STATE: u16 = 5;
const BR_VLAN_FILTERING: u16 = 7;
/// IFLA_MAP, IFALIAS, CARRIER, XDP: an interface has no such thing here.
const ABSENT: &[u16] = &[14, 20, 33, 43];

/// RTM_NEWLINK.
pub(super) fn add(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let info: IfInfo = request.fixed()?;
    if info.index < 0 {
        return Err(Errno::EINVAL);
    }
    let found = asked(&net.network.inventory(), request)
        .map(|link| link.index)
        .ok();
    let flags = request.header.flags;
    match found {
        Some(_) if flags & NLM_F_EXCL != 0 => Err(Errno::EEXIST),
        Some(_) if flags & NLM_F_REPLACE != 0 => Err(Errno::EOPNOTSUPP),
        Some(index) => change(net, request, index),
        None if flags & NLM_F_CREATE == 0 => Err(Errno::ENODEV),
        None => create(net, request),
    }
}

/// RTM_SETLINK.
pub(super) fn set(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let index = asked(&net.network.inventory(), request)?.index;
    change(net, request, index)
}

/// RTM_DELLINK.
pub(super) fn remove(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let index = asked(&net.network.inventory(), request)?.index;
    net.network.delete_link(index)?;
    Ok(Answer::done())
}

/// The network namespace that attributes name, if they do. `EPERM` without CAP_NET_ADMIN there.
fn target(attributes: &Attributes<'_>) -> Result<Option<Arc<NetNs>>, Errno> {
    let task = current().ok_or(Errno::EPERM)?;
    let found = if let Some(pid) = attributes.number(IFLA_NET_NS_PID) {
        of_process(&task, pid)?
    } else if let Some(fd) = attributes.number(IFLA_NET_NS_FD) {
        of_file(&task, fd)?
    } else {
        return Ok(None);
    };
    if !found.permits(&task.cred(), Caps::NET_ADMIN) {
        return Err(Errno::EPERM);
    }
    Ok(Some(found))
}

/// The network namespace of a process. `ESRCH`.
pub(super) fn of_process(task: &Task, pid: u32) -> Result<Arc<NetNs>, Errno> {
    let id = task.kernel_pid(pid)?;
    let found = task.kernel.pids.read().task(id);
    found.map(|task| task.net()).ok_or(Errno::ESRCH)
}

/// The network namespace that a descriptor stands for. `EBADF`, `EINVAL`.
pub(super) fn of_file(task: &Task, fd: u32) -> Result<Arc<NetNs>, Errno> {
    let file = task.fd(i32::try_from(fd).map_err(|_| Errno::EBADF)?)?;
    match file.ops_as::<NsFile>() {
        Some(NsFile(Namespace::Net(net))) => Ok(net.clone()),
        _ => Err(Errno::EINVAL),
    }
}

fn name(attributes: &Attributes<'_>) -> Result<Option<String>, Errno> {
    let text = attributes.text(IFLA_IFNAME);
    let text = text.map(|name| String::from_utf8(name.to_vec()).map_err(|_| Errno::EINVAL));
    text.transpose()
}

/// A new interface's properties; without a name it gets one after its kind.
fn properties(info: &IfInfo, attributes: &Attributes<'_>, kind: &str) -> Result<NewLink, Errno> {
    let given = name(attributes)?.filter(|name| !name.is_empty());
    let mac = match attributes.get(IFLA_ADDRESS) {
        Some(_) => Some(attributes.mac(IFLA_ADDRESS).ok_or(Errno::EINVAL)?),
        None => None,
    };
    Ok(NewLink {
        name: given.unwrap_or_else(|| format!("{kind}%d")),
        index: u32::try_from(info.index).map_err(|_| Errno::EINVAL)?,
        mac,
        mtu: attributes.number(IFLA_MTU),
    })
}

fn create(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let info: IfInfo = request.fixed()?;
    let attributes = request.attributes(IfInfo::SIZE);
    if attributes.any(ABSENT) {
        return Err(Errno::EOPNOTSUPP);
    }
    let details = Attributes::read(attributes.get(IFLA_LINKINFO).unwrap_or_default());
    let kind = details.text(INFO_KIND).ok_or(Errno::EOPNOTSUPP)?;
    let data = Attributes::read(details.get(INFO_DATA).unwrap_or_default());
    let place = target(&attributes)?.unwrap_or_else(|| net.clone());
    let network = &place.network;
    let index = match kind {
        b"veth" => create_veth(net, &place, &info, &attributes, &data)?,
        b"bridge" => {
            let on = |kind| {
                data.get(kind)
                    .is_some_and(|value| value.iter().any(|byte| *byte != 0))
            };
            if on(BR_STP_STATE) || on(BR_VLAN_FILTERING) {
                return Err(Errno::EOPNOTSUPP);
            }
            network.add_bridge(&properties(&info, &attributes, "bridge")?)?
        }
        b"dummy" => network.add_dummy(&properties(&info, &attributes, "dummy")?)?,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let done = configure(&place, index, &info, &attributes);
    if done.is_err() {
        let _ = network.delete_link(index);
    }
    done.map(|()| Answer::done())
}

/// A pair: its second half is described in the first one's data, or is like it.
fn create_veth(
    net: &Arc<NetNs>,
    place: &Arc<NetNs>,
    info: &IfInfo,
    attributes: &Attributes<'_>,
    data: &Attributes<'_>,
) -> Result<u32, Errno> {
    let new = properties(info, attributes, "veth")?;
    let Some(described) = data.get(VETH_INFO_PEER) else {
        let peer = NewLink {
            name: "veth%d".into(),
            mtu: new.mtu,
            ..NewLink::default()
        };
        return place.network.add_veth(&new, &peer, place);
    };
    if described.len() < IfInfo::SIZE {
        return Err(Errno::EINVAL);
    }
    let peer_info = IfInfo::get(described);
    let peer_attributes = Attributes::read(&described[IfInfo::SIZE..]);
    let peer = properties(&peer_info, &peer_attributes, "veth")?;
    let peer_place = target(&peer_attributes)?.unwrap_or_else(|| net.clone());
    let index = place.network.add_veth(&new, &peer, &peer_place)?;
    if peer_info.flags & 1 != 0
        && let Some((_, there)) = place.network.peer(index)
    {
        peer_place
            .network
            .set_flags(there, peer_info.flags, peer_info.change | 1)?;
    }
    Ok(index)
}

/// What is changed of new and old interfaces alike.
fn configure(net: &Arc<NetNs>, index: u32, info: &IfInfo, attributes: &Attributes<'_>) -> Result<(), Errno> {
    let network = &net.network;
    if let Some(len) = attributes.number(IFLA_TXQLEN) {
        network.set_queue_len(index, len)?;
    }
    if let Some(bridge) = attributes.number(IFLA_MASTER) {
        network.set_master(index, bridge)?;
    }
    // Old programs name no mask and mean all flags.
    let change = if info.change == 0 && info.flags != 0 {
        u32::MAX
    } else {
        info.change
    };
    network.set_flags(index, info.flags, change)
}

fn change(net: &Arc<NetNs>, request: &Request<'_>, index: u32) -> Result<Answer, Errno> {
    let info: IfInfo = request.fixed()?;
    let attributes = request.attributes(IfInfo::SIZE);
    if attributes.any(ABSENT) {
        return Err(Errno::EOPNOTSUPP);
    }
    let new_name = name(&attributes)?.filter(|_| info.index > 0);
    let network = &net.network;
    if let Some(place) = target(&attributes)?
        && !Arc::ptr_eq(&place, net)
    {
        let there = network.move_link(index, &place, new_name.as_deref())?;
        return configure(&place, there, &info, &attributes).map(|()| Answer::done());
    }
    if attributes.get(IFLA_ADDRESS).is_some() {
        network.set_mac(index, attributes.mac(IFLA_ADDRESS).ok_or(Errno::EINVAL)?)?;
    }
    if let Some(mtu) = attributes.number(IFLA_MTU) {
        network.set_mtu(index, mtu)?;
    }
    if let Some(name) = new_name {
        network.rename(index, &name)?;
    }
    configure(net, index, &info, &attributes)?;
    Ok(Answer::done())
}
