//! mprotect(2).

use abi::{Errno, UserAddr};
use platform::Prot;

use super::arg::Flags;
use crate::task::CurrentTask;

const PROT_SEM: u32 = 8;
const PROT_GROWSDOWN: u32 = 0x0100_0000;
const PROT_GROWSUP: u32 = 0x0200_0000;

/// mprotect(2).
pub fn mprotect(task: &CurrentTask, addr: UserAddr, len: u64, prot: Flags) -> Result<(), Errno> {
    let grows = prot.0 & (PROT_GROWSDOWN | PROT_GROWSUP);
    if grows == PROT_GROWSDOWN | PROT_GROWSUP || !addr.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(());
    }
    let bits = prot.0 & !(PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP);
    let prot = Prot::from_bits(bits).ok_or(Errno::EINVAL)?;
    let mm = task.mm_ref();
    match grows {
        PROT_GROWSDOWN => mm.protect_down(addr, len, prot),
        // Nothing grows up on x86.
        PROT_GROWSUP => Err(Errno::EINVAL),
        _ => mm.protect(addr, len, prot),
    }
}
