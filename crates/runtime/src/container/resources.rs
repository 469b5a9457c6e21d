//! linux.resources of config.json and of `update`: limits of the host's control group.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice};

use sandbox::container::Limits as Seen;

use crate::cgroup::{Device, IoLimit, Limits, number_list, weight_of_shares};
use crate::failure::Failure;

/// Engines write zero for "not asked for".
fn asked<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// What the container sees of its limits.
pub fn seen_inside(limits: &Limits) -> Seen {
    let some = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let memory = some(limits.memory);
    let swap = match (some(limits.memory_and_swap), memory) {
        (Some(both), Some(memory)) => Some(both.saturating_sub(memory)),
        _ => None,
    };
    Seen {
        memory,
        swap,
        reservation: some(limits.reservation),
        cpu_quota: some(limits.quota),
        cpu_period: limits.period,
        cpu_weight: limits.shares.map(weight_of_shares),
        cpus: limits.cpus.clone(),
        processors: limits.cpus.as_deref().map(mask),
        mems: limits.mems.clone(),
        pids: some(limits.pids),
    }
}

/// A list of processors as a mask; there are not more than 64 inside.
fn mask(list: &str) -> u64 {
    let bits = number_list(list).into_iter();
    bits.fold(0, |mask, cpu| {
        mask | u32::try_from(cpu)
            .ok()
            .and_then(|cpu| 1_u64.checked_shl(cpu))
            .unwrap_or(0)
    })
}

/// How many processors the container has. A quota of time does not change it, as with Linux.
pub fn processors(limits: &Limits) -> u32 {
    let own = host::machine::processors();
    let set = limits.cpus.as_deref().map_or(0, |list| number_list(list).len());
    match u32::try_from(set) {
        Ok(count @ 1..) => count.min(own),
        _ => own,
    }
}

/// What cannot be honoured and must not be left out.
pub fn refused(resources: &LinuxResources) -> Result<(), Failure> {
    let class = resources
        .network()
        .as_ref()
        .and_then(|network| network.class_id());
    match class.filter(|class| *class != 0) {
        // A firewall may go by it.
        Some(class) => Err(Failure::own(format!(
            "linux.resources.network.classID {class}: packets of a sandbox are not sent by processes of its control group, \
             and have no class"
        ))),
        None => Ok(()),
    }
}

/// The limits, and what of them cannot be honoured.
pub fn limits(resources: &LinuxResources) -> (Limits, Vec<String>) {
    let mut limits = Limits::default();
    let mut warnings = Vec::new();
    if let Some(memory) = resources.memory() {
        limits.memory = asked(memory.limit());
        limits.memory_and_swap = asked(memory.swap());
        limits.reservation = asked(memory.reservation());
        limits.swappiness = memory.swappiness();
        limits.no_oom_killer = memory.disable_oom_killer();
    }
    if let Some(cpu) = resources.cpu() {
        limits.shares = asked(cpu.shares());
        limits.quota = asked(cpu.quota());
        limits.period = asked(cpu.period());
        limits.burst = cpu.burst();
        limits.realtime_runtime = asked(cpu.realtime_runtime());
        limits.realtime_period = asked(cpu.realtime_period());
        limits.idle = cpu.idle();
        let given = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
        limits.cpus = given(cpu.cpus());
        limits.mems = given(cpu.mems());
    }
    limits.pids = asked(resources.pids().as_ref().map(|pids| pids.limit()));
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
    let network = resources.network().as_ref();
    if network.is_some_and(|network| network.priorities().iter().flatten().next().is_some()) {
        warnings.push("linux.resources.network.priorities (net_prio) is ignored".to_string());
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
