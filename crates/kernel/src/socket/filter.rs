//! SO_ATTACH_FILTER: a program of the socket's owner decides what the socket receives (socket(7)).
//!
//! It is run on datagrams, packets and messages; TCP's segments and the streams of unix(7) are not shown to it.

use std::sync::Arc;

use abi::{AbiField, Errno, UserAddr, abi_struct};

use super::Base;
use crate::bpf::{self, ANCILLARY, Instruction, PROGRAM_MAX};
use crate::task::CurrentTask;

abi_struct! {
    /// `struct sock_fprog`.
    struct Program { len: u16, pad: [u16; 3], filter: UserAddr }
}
const INSTRUCTION: usize = 8;

/// A filter that a socket has.
pub type Filter = Arc<[Instruction]>;

/// What a program can learn beside the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// Protocol, as in an Ethernet header.
    pub protocol: u16,
    /// PACKET_*: for whom it was.
    pub kind: u8,
    /// The interface.
    pub interface: u32,
}

impl Beside {
    /// Of a packet of an internet family.
    pub fn of(arrival: &super::inbox::Arrival) -> Beside {
        Beside {
            protocol: if arrival.to.is_ipv4() { 0x0800 } else { 0x86dd },
            kind: 0,
            interface: arrival.interface,
        }
    }

    /// SKF_AD_*.
    fn load(self, at: u32) -> Option<u32> {
        /// ARPHRD_ETHER.
        const ETHERNET: u32 = 1;
        Some(match at {
            0 => self.protocol.into(),
            4 => self.kind.into(),
            8 => self.interface,
            // Mark, queue, hash, processor, VLAN: none.
            20 | 24 | 32 | 36 | 44 | 48 | 60 => 0,
            28 => ETHERNET,
            56 => {
                let mut bytes = [0; 4];
                crate::random::fill(&mut bytes);
                u32::from_le_bytes(bytes)
            }
            _ => return None,
        })
    }
}

/// How many bytes of `data` a program lets pass; 0: the packet is dropped.
pub fn passes(filter: &[Instruction], data: &[u8], beside: Beside) -> usize {
    let load = |size: u32, at: u32| {
        if at >= ANCILLARY {
            return beside.load(at - ANCILLARY);
        }
        let start = usize::try_from(at).ok()?;
        let bytes = data.get(start..start.checked_add(size as usize)?)?;
        Some(bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
    };
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let answer = bpf::run(filter, len, load).unwrap_or(0);
    usize::try_from(answer).unwrap_or(usize::MAX).min(data.len())
}

impl Base {
    /// Whether there is a filter.
    pub fn has_filter(&self) -> bool {
        self.filter.lock().is_some()
    }

    /// How many bytes of a packet the socket's filter lets pass; `None`: it is dropped.
    pub fn filtered(&self, data: &[u8], beside: Beside) -> Option<usize> {
        let filter = self.filter.lock().clone();
        match filter {
            None => Some(data.len()),
            Some(filter) => Some(passes(&filter, data, beside)).filter(|len| *len > 0),
        }
    }
}

/// SO_ATTACH_FILTER. `EINVAL` for a program that Linux refuses, `EPERM` when the filter is locked.
pub fn attach(task: &CurrentTask, base: &Base, value: &[u8]) -> Result<(), Errno> {
    if value.len() != Program::SIZE {
        return Err(Errno::EINVAL);
    }
    // The host's sockets are not filtered here.
    if base.is_of_host() || base.options.lock().filter_locked() {
        return Err(Errno::EPERM);
    }
    let program = Program::get(value);
    let len = usize::from(program.len);
    if len == 0 || len > PROGRAM_MAX || program.filter.0 == 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; len * INSTRUCTION];
    task.copy_in(program.filter, &mut bytes)?;
    let instructions: Filter = bytes
        .chunks_exact(INSTRUCTION)
        .map(|raw| Instruction {
            code: u16::get(raw),
            jt: raw[2],
            jf: raw[3],
            k: u32::get(&raw[4..]),
        })
        .collect();
    bpf::check(&instructions)?;
    *base.filter.lock() = Some(instructions);
    Ok(())
}

/// SO_DETACH_FILTER. `ENOENT`, `EPERM`.
pub fn detach(base: &Base, value: &[u8]) -> Result<(), Errno> {
    super::options::int(value)?;
    if base.options.lock().filter_locked() {
        return Err(Errno::EPERM);
    }
    base.filter.lock().take().map(drop).ok_or(Errno::ENOENT)
}

/// SO_GET_FILTER: lengths count instructions here; without room for any, their number is told.
pub fn get(
    task: &CurrentTask,
    base: &Base,
    value: UserAddr,
    len: UserAddr,
    room: usize,
) -> Result<(), Errno> {
    let filter = base.filter.lock().clone();
    let filter = filter.as_deref().unwrap_or_default();
    if room != 0 && !filter.is_empty() {
        if room < filter.len() {
            return Err(Errno::EINVAL);
        }
        let mut bytes = Vec::with_capacity(filter.len() * INSTRUCTION);
        for one in filter {
            bytes.extend(one.code.to_le_bytes());
            bytes.extend([one.jt, one.jf]);
            bytes.extend(one.k.to_le_bytes());
        }
        task.copy_out(value, &bytes)?;
    }
    task.write_struct(len, &u32::try_from(filter.len()).unwrap_or(0))
}
