//! What config.json arranges beside mounts: devices, sysctls, masked and read-only paths; and what it asks for that cannot be.

use std::os::unix::ffi::OsStrExt;

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, Spec};
use sandbox::container::{Device, DeviceKind, Setup};

use crate::failure::Failure;

/// The arrangements, and what of the configuration is passed over because isolation does not depend on it.
pub fn of_spec(spec: &Spec) -> Result<(Setup, Vec<String>), Failure> {
    let mut warnings = Vec::new();
    let terminal = spec
        .process()
        .as_ref()
        .and_then(|process| process.terminal())
        .unwrap_or(false);
    let mut setup = Setup {
        populate_dev: true,
        console: terminal,
        ..Setup::default()
    };
    let Some(linux) = spec.linux() else {
        return Ok((setup, warnings));
    };
    devices(linux, &mut setup, &mut warnings)?;
    let bytes = |paths: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        paths
            .iter()
            .flatten()
            .map(|path| path.as_bytes().to_vec())
            .collect()
    };
    setup.masked = bytes(linux.masked_paths());
    setup.read_only = bytes(linux.readonly_paths());
    let sysctls = linux.sysctl().iter().flatten();
    setup.sysctls = sysctls.map(|(key, value)| (key.clone(), value.clone())).collect();
    setup.sysctls.sort();
    passed_over(spec, linux, &mut warnings);
    Ok((setup, warnings))
}

fn devices(linux: &Linux, setup: &mut Setup, warnings: &mut Vec<String>) -> Result<(), Failure> {
    for device in linux.devices().iter().flatten() {
        let made = of_device(device)?;
        if !made.has_driver() {
            warnings.push(format!(
                "device '{}' cannot be opened: devices of the host are not reachable from a sandbox",
                device.path().display()
            ));
        }
        setup.devices.push(made);
    }
    Ok(())
}

fn of_device(device: &LinuxDevice) -> Result<Device, Failure> {
    let wrong = |why: &str| Failure::own(format!("device '{}': {why}", device.path().display()));
    if !device.path().is_absolute() {
        return Err(wrong("the path is not absolute"));
    }
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Pipe,
        LinuxDeviceType::A => return Err(wrong("type 'a' is no kind of device")),
    };
    let part = |number: i64| u32::try_from(number).map_err(|_| wrong("a number below zero"));
    let number = match kind {
        DeviceKind::Pipe => (0, 0),
        _ => (part(device.major())?, part(device.minor())?),
    };
    Ok(Device {
        path: device.path().as_os_str().as_bytes().to_vec(),
        kind,
        number,
        perm: device.file_mode().unwrap_or(0o666) & 0o7777,
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    })
}

/// Settings that do not apply to a sandbox. None of them would keep a container in that gets out without it.
fn passed_over(spec: &Spec, linux: &Linux, warnings: &mut Vec<String>) {
    let mut ignored = |what: &str, why: &str| warnings.push(format!("{what} is ignored: {why}"));
    if let Some(process) = spec.process() {
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        if named(process.apparmor_profile()) {
            ignored(
                "process.apparmorProfile",
                "no call of the container reaches the host's kernel",
            );
        }
        if named(process.selinux_label()) {
            ignored(
                "process.selinuxLabel",
                "no call of the container reaches the host's kernel",
            );
        }
    }
    if linux.intel_rdt().is_some() {
        ignored("linux.intelRdt", "not supported");
    }
}
