//! linux.resources of config.json and of `update`: limits of the host's control group.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice};

use crate::cgroup::{Device, IoLimit, Limits};

/// The limits, and what of them cannot be honoured.
pub fn limits(resources: &LinuxResources) -> (Limits, Vec<String>) {
    let mut limits = Limits::default();
    let mut warnings = Vec::new();
    if let Some(memory) = resources.memory() {
        limits.memory = memory.limit();
        limits.memory_and_swap = memory.swap();
        limits.reservation = memory.reservation();
        limits.swappiness = memory.swappiness();
        limits.no_oom_killer = memory.disable_oom_killer();
    }
    if let Some(cpu) = resources.cpu() {
        limits.shares = cpu.shares();
        limits.quota = cpu.quota();
        limits.period = cpu.period();
        limits.burst = cpu.burst();
        limits.realtime_runtime = cpu.realtime_runtime();
        limits.realtime_period = cpu.realtime_period();
        limits.idle = cpu.idle();
        let given = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
        limits.cpus = given(cpu.cpus());
        limits.mems = given(cpu.mems());
    }
    limits.pids = resources
        .pids()
        .as_ref()
        .map(|pids| pids.limit())
        .filter(|limit| *limit != 0);
    if let Some(io) = resources.block_io() {
        block_io(io, &mut limits);
    }
    let pages = resources.hugepage_limits().iter().flatten();
    limits.huge_pages = pages
        .filter_map(|limit| Some((limit.page_size().clone(), u64::try_from(limit.limit()).ok()?)))
        .collect();
    let unified = resources.unified().iter().flatten();
    limits.unified = unified
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<BTreeMap<_, _>>();
    if resources.network().is_some() {
        warnings.push("linux.resources.network (net_cls, net_prio) is ignored".to_string());
    }
    if resources.rdma().is_some() {
        warnings.push("linux.resources.rdma is ignored: no such device is reachable".to_string());
    }
    (limits, warnings)
}

fn block_io(io: &LinuxBlockIo, limits: &mut Limits) {
    limits.io_weight = io.weight().filter(|weight| *weight > 0);
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            limits
                .io_weight_of
                .push(((device.major(), device.minor()), weight));
        }
    }
    let mut add = |kind: IoLimit, list: &Option<Vec<LinuxThrottleDevice>>| {
        for device in list.iter().flatten() {
            let number: Device = (device.major(), device.minor());
            limits.io_limits.push((kind, number, device.rate()));
        }
    };
    add(IoLimit::ReadBytes, io.throttle_read_bps_device());
    add(IoLimit::WriteBytes, io.throttle_write_bps_device());
    add(IoLimit::Reads, io.throttle_read_iops_device());
    add(IoLimit::Writes, io.throttle_write_iops_device());
}
