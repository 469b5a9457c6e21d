//! process_vm_readv(2) and process_vm_writev(2): memory of guest processes.

use abi::Errno;

/// Copies from `addr` of process `pid`; returns how many bytes came before an unreadable page.
pub fn read(pid: i32, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut libc::c_void,
        iov_len: buf.len(),
    };
    // SAFETY: the local vector is the exclusive buffer; the remote one names memory of another process,
    // which the host checks.
    let done = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    crate::check(done as i64).map(|n| n as usize)
}

/// Copies to `addr` of process `pid`; returns how many bytes went before an unwritable page.
pub fn write(pid: i32, addr: u64, data: &[u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut libc::c_void,
        iov_len: data.len(),
    };
    // SAFETY: the local vector is only read; the remote one names memory of another process, which the host checks.
    let done = unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) };
    crate::check(done as i64).map(|n| n as usize)
}
