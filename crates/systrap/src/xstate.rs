//! Extended state: its layout on this machine, and checking images that guests make.

use std::arch::x86_64::{__cpuid_count, _xgetbv};

use abi::Errno;

/// Bytes of the legacy region and the XSAVE header.
pub const MIN_LEN: usize = 576;
/// Offset of XSTATE_BV.
pub const XSTATE_BV: usize = 512;
/// Offset of MXCSR; its mask follows.
pub const MXCSR: usize = 24;
/// The bytes of the legacy region that the host uses in signal frames (`sw_reserved`).
pub const SOFTWARE: std::ops::Range<usize> = 464..512;
/// AMX tile state: off until a process asks for it, which guests cannot.
const DYNAMIC: u64 = 0x6_0000;

/// Size of an XSAVE area and the state components in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes.
    pub len: usize,
    /// Components (XCR0 without those that processes must ask for).
    pub mask: u64,
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: called only after CPUID said that XSAVE is enabled.
    unsafe { _xgetbv(0) }
}

/// Reads the layout; `ENOSYS` without XSAVE or the FSGSBASE instructions.
pub fn layout() -> Result<Layout, Errno> {
    let fsgsbase = 2;
    // SAFETY: AT_HWCAP2 is answered from the auxiliary vector.
    let hwcap2 = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    if !std::arch::is_x86_feature_detected!("xsave") || hwcap2 & fsgsbase == 0 {
        return Err(Errno::ENOSYS);
    }
    // SAFETY: the feature was just detected.
    let mask = unsafe { xcr0() } & !DYNAMIC;
    let mut len = MIN_LEN;
    for component in 2..63 {
        if mask & (1 << component) != 0 {
            let leaf = __cpuid_count(0xd, component);
            len = len.max((leaf.eax + leaf.ebx) as usize);
        }
    }
    Ok(Layout { len, mask })
}

/// The initial state.
pub fn initial(layout: Layout) -> Vec<u8> {
    let mut image = vec![0; layout.len];
    image[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
    image[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
    image
}

/// Checks and completes an image that a guest may have made.
pub fn checked(layout: Layout, image: &[u8]) -> Result<Vec<u8>, Errno> {
    if image.is_empty() {
        return Ok(initial(layout));
    }
    if image.len() < MIN_LEN || image.len() > layout.len {
        return Err(Errno::EINVAL);
    }
    let mut full = vec![0; layout.len];
    full[..image.len()].copy_from_slice(image);
    full[SOFTWARE].fill(0);
    let mut word = [0; 8];
    word.copy_from_slice(&full[XSTATE_BV..XSTATE_BV + 8]);
    if u64::from_le_bytes(word) & !layout.mask != 0 || full[XSTATE_BV + 8..MIN_LEN].iter().any(|b| *b != 0) {
        return Err(Errno::EINVAL);
    }
    let mut mxcsr = [0; 4];
    mxcsr.copy_from_slice(&full[MXCSR..MXCSR + 4]);
    // Bits above 16 are reserved everywhere; bit 6 (DAZ) exists on every CPU with FSGSBASE.
    if u32::from_le_bytes(mxcsr) & !0xffff != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(full)
}
