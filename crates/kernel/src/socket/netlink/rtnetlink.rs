//! rtnetlink(7): which message goes where, and who may change something.

use std::sync::Arc;

use abi::Errno;

use super::message::{self, Answer, Request};
use super::{addr, link, neigh, new_link, nsid, route};
use crate::socket::NetNs;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETRULE: u16 = 34;
const RTM_NEWNSID: u16 = nsid::NEW;
const RTM_GETNSID: u16 = 90;

/// The reply datagrams to a request datagram from `port`; `admin`: the sender has CAP_NET_ADMIN.
pub(super) fn answer(net: &Arc<NetNs>, admin: bool, datagram: &[u8], port: u32) -> Vec<Vec<u8>> {
    message::answer(datagram, port, |request| serve(net, admin, request))
}

fn serve(net: &Arc<NetNs>, admin: bool, request: &Request<'_>) -> Result<Answer, Errno> {
    // Gets are every third after new and delete; all others change something.
    // An interface of the host is never the sandbox's to change.
    let admin = admin && net.network.shared().is_none();
    if request.header.kind % 4 != 2 && !admin {
        return Err(Errno::EPERM);
    }
    match request.header.kind {
        RTM_GETLINK => link::get(net, request),
        RTM_NEWLINK => new_link::add(net, request),
        RTM_SETLINK => new_link::set(net, request),
        RTM_DELLINK => new_link::remove(net, request),
        RTM_GETNSID => nsid::get(net, request),
        RTM_NEWNSID => nsid::add(net, request),
        RTM_GETADDR if request.is_dump() => Ok(addr::get(net, request)),
        RTM_NEWADDR => addr::add(net, request),
        RTM_DELADDR => addr::remove(net, request),
        RTM_GETROUTE => route::get(net, request),
        RTM_NEWROUTE => route::add(net, request),
        RTM_DELROUTE => route::remove(net, request),
        RTM_GETNEIGH if request.is_dump() => Ok(neigh::get(net, request)),
        RTM_NEWNEIGH => neigh::change(net, request, true),
        RTM_DELNEIGH => neigh::change(net, request, false),
        RTM_GETRULE if request.is_dump() => Ok(route::rules(request)),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
