//! What programs look for in /sys.

use crate::testing::{guest, names, readlink, slurp};

#[test]
fn processors_are_listed() {
    let guest = guest();
    assert_eq!(slurp(&guest, "/sys/devices/system/cpu/online").unwrap(), "0\n");
    assert_eq!(
        slurp(&guest, "/sys/devices/system/cpu/cpu0/topology/core_id").unwrap(),
        "0\n"
    );
    assert!(slurp(&guest, "/sys/devices/system/cpu/cpu1/topology/core_id").is_err());
    let names = names(&guest, "/sys/devices/system/cpu").unwrap();
    assert!(names.contains(&"cpu0".to_string()));
}

#[test]
fn the_loopback_interface_is_there() {
    let guest = guest();
    assert_eq!(
        readlink(&guest, "/sys/class/net/lo").unwrap(),
        "../../devices/virtual/net/lo"
    );
    assert_eq!(slurp(&guest, "/sys/class/net/lo/mtu").unwrap(), "65536\n");
}

#[test]
fn the_cgroup_is_the_root_of_what_is_seen() {
    let guest = guest();
    assert_eq!(slurp(&guest, "/sys/fs/cgroup/cgroup.procs").unwrap(), "1\n");
    assert_eq!(slurp(&guest, "/sys/fs/cgroup/memory.max").unwrap(), "max\n");
    let controllers = slurp(&guest, "/sys/fs/cgroup/cgroup.controllers").unwrap();
    assert_eq!(controllers, "cpuset cpu io memory pids\n");
}
