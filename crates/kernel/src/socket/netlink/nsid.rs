//! RTM_NEWNSID and RTM_GETNSID: the numbers by which a network namespace calls others.

use std::sync::Arc;

use abi::Errno;

use super::message::{Answer, Attributes, Request, attribute};
use super::new_link::{of_file, of_process};
use crate::socket::NetNs;
use crate::task::current;

/// RTM_NEWNSID.
pub(super) const NEW: u16 = 88;
/// Bytes of struct rtgenmsg, padded.
const FIXED: usize = 4;
const NETNSA_NSID: u16 = 1;
const NETNSA_PID: u16 = 2;
const NETNSA_FD: u16 = 3;

fn describe(id: i32) -> Vec<u8> {
    let mut bytes = vec![0; FIXED];
    attribute(&mut bytes, NETNSA_NSID, &id.to_le_bytes());
    bytes
}

/// The namespace that a request means.
fn meant(attributes: &Attributes<'_>) -> Result<Arc<NetNs>, Errno> {
    let task = current().ok_or(Errno::EINVAL)?;
    match (attributes.number(NETNSA_PID), attributes.number(NETNSA_FD)) {
        (Some(pid), _) => of_process(&task, pid),
        (None, Some(fd)) => of_file(&task, fd),
        (None, None) => Err(Errno::EINVAL),
    }
}

/// RTM_GETNSID: -1 for one without a number.
pub(super) fn get(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    if request.is_dump() {
        let ids = net.network.ids();
        return Ok(Answer::of(NEW, ids.into_iter().map(describe).collect()));
    }
    let attributes = request.attributes(FIXED);
    let other = match attributes.number(NETNSA_NSID) {
        Some(id) => net.network.by_id(id.cast_signed()).ok_or(Errno::ENOENT)?,
        None => meant(&attributes)?,
    };
    let id = net.network.id_of(&Arc::downgrade(&other)).unwrap_or(-1);
    Ok(Answer::of(NEW, vec![describe(id)]))
}

/// RTM_NEWNSID. `EEXIST` when the namespace has a number, or the number is taken.
pub(super) fn add(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let attributes = request.attributes(FIXED);
    let wanted = attributes.number(NETNSA_NSID).ok_or(Errno::EINVAL)?.cast_signed();
    let other = meant(&attributes)?;
    net.network.give_id(&Arc::downgrade(&other), wanted)?;
    Ok(Answer::done())
}
