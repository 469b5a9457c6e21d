//! What config.json arranges beside mounts: devices, sysctls, masked and read-only paths; and what it asks for that cannot be.

use std::os::unix::ffi::OsStrExt;

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Spec};
use sandbox::container::{Device, Setup, has_driver};

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
        let path = device.path().display();
        match of_device(device)? {
            Some(device) => {
                if !has_driver(device.block, device.number) {
                    warnings.push(format!(
                        "device '{path}' cannot be opened: devices of the host are not reachable from a sandbox"
                    ));
                }
                setup.devices.push(device);
            }
            None => warnings.push(format!("device '{path}' is left out: its type is not supported")),
        }
    }
    Ok(())
}

fn of_device(device: &LinuxDevice) -> Result<Option<Device>, Failure> {
    let path = device.path();
    if !path.is_absolute() {
        return Err(Failure::own(format!(
            "device '{}': the path is not absolute",
            path.display()
        )));
    }
    let block = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => false,
        LinuxDeviceType::B => true,
        _ => return Ok(None),
    };
    let (Ok(major), Ok(minor)) = (u32::try_from(device.major()), u32::try_from(device.minor())) else {
        return Ok(None);
    };
    Ok(Some(Device {
        path: path.as_os_str().as_bytes().to_vec(),
        block,
        number: (major, minor),
        perm: device.file_mode().unwrap_or(0o666) & 0o7777,
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    }))
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
    let namespaces = linux.namespaces().iter().flatten();
    for namespace in namespaces {
        let joined = namespace
            .path()
            .as_ref()
            .is_some_and(|path| !path.as_os_str().is_empty());
        if joined && namespace.typ() != LinuxNamespaceType::Network {
            ignored(
                &format!("the path of the {} namespace", namespace.typ()),
                "each sandbox has its own",
            );
        }
    }
}
