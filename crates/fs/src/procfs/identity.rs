//! What kernel this is: /proc/{version,cmdline,filesystems,devices,cgroups}, and empty tables of what it does not have.

use std::fmt::Write;

use abi::Errno;
use kernel::syscall::{RELEASE, VERSION};

use super::system::System;

/// /proc/version.
pub fn version(_: &System) -> Result<Vec<u8>, Errno> {
    Ok(format!("Linux version {RELEASE} (tegmen@tegmen) (rustc, lld) {VERSION}\n").into_bytes())
}

/// /proc/cmdline.
pub fn cmdline(_: &System) -> Result<Vec<u8>, Errno> {
    Ok(b"BOOT_IMAGE=/tegmen quiet\n".to_vec())
}

/// /proc/filesystems.
pub fn filesystems(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let mut out = String::new();
    for kind in kernel.vfs.types.read().iter() {
        let nodev = if kind.nodev() { "nodev" } else { "" };
        let _ = writeln!(out, "{nodev}\t{}", kind.name());
    }
    Ok(out.into_bytes())
}

/// /proc/devices.
pub fn devices(_: &System) -> Result<Vec<u8>, Errno> {
    Ok(b"Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n128 ptm\n136 pts\n\nBlock devices:\n".to_vec())
}

/// /proc/cgroups.
pub fn cgroups(_: &System) -> Result<Vec<u8>, Errno> {
    let mut out = String::from("#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
    for name in ["cpuset", "cpu", "cpuacct", "io", "memory", "pids"] {
        let _ = writeln!(out, "{name}\t0\t1\t1");
    }
    Ok(out.into_bytes())
}

/// /proc/tty/drivers.
pub fn tty_drivers(_: &System) -> Result<Vec<u8>, Errno> {
    Ok(b"/dev/tty             /dev/tty        5       0 system:/dev/tty\n/dev/console         /dev/console    5       1 system:console\n/dev/ptmx            /dev/ptmx       5       2 system\npty_slave            /dev/pts      136 0-1048575 pty:slave\npty_master           /dev/ptm      128 0-1048575 pty:master\n".to_vec())
}
