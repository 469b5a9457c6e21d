//! rtnetlink(7): which message goes where, and who may change something.

use std::sync::Arc;

use abi::Errno;

use super::message::{self, Answer, Request};
use super::{addr, link, neigh, route};
use crate::Kernel;

const RTM_NEWLINK: u16 = 16;
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

/// The reply datagrams to a request datagram from `port`; `admin`: the sender has CAP_NET_ADMIN.
pub(super) fn answer(kernel: &Arc<Kernel>, admin: bool, datagram: &[u8], port: u32) -> Vec<Vec<u8>> {
    message::answer(datagram, port, |request| serve(kernel, admin, request))
}

fn serve(kernel: &Arc<Kernel>, admin: bool, request: &Request<'_>) -> Result<Answer, Errno> {
    // Gets are every third after new and delete; all others change something.
    if request.header.kind % 4 != 2 && !admin {
        return Err(Errno::EPERM);
    }
    match request.header.kind {
        RTM_GETLINK => link::get(kernel, request),
        RTM_NEWLINK | RTM_SETLINK => link::set(kernel, request),
        RTM_GETADDR if request.is_dump() => Ok(addr::get(kernel, request)),
        RTM_NEWADDR => addr::add(kernel, request),
        RTM_DELADDR => addr::remove(kernel, request),
        RTM_GETROUTE => route::get(kernel, request),
        RTM_NEWROUTE => route::add(kernel, request),
        RTM_DELROUTE => route::remove(kernel, request),
        RTM_GETNEIGH if request.is_dump() => Ok(neigh::get(kernel, request)),
        RTM_NEWNEIGH => neigh::change(kernel, request, true),
        RTM_DELNEIGH => neigh::change(kernel, request, false),
        RTM_GETRULE if request.is_dump() => Ok(route::rules(request)),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
