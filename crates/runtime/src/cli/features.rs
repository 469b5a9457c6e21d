//! `tegmen features`: what this runtime supports, in the specification's form.

use lexopt::Parser;
use serde_json::json;

use super::{Globals, only_flags, show};
use crate::failure::Failure;

const HELP: &str = "\
Prints what this runtime supports, as JSON.

usage: tegmen features
";

/// The newest version of the runtime specification that is understood.
pub const SPEC_VERSION: &str = "1.2.0";

const HOOKS: &[&str] = &[
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

const MOUNT_OPTIONS: &[&str] = &[
    "bind",
    "nodev",
    "nodiratime",
    "noatime",
    "noexec",
    "nosuid",
    "rbind",
    "relatime",
    "ro",
    "rw",
];

pub fn run(_: &Globals, parser: Parser) -> Result<u8, Failure> {
    if only_flags(parser, HELP, &[])?.is_none() {
        return Ok(0);
    }
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": HOOKS,
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": false },
            "seccomp": { "enabled": true },
            "apparmor": { "enabled": false },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": false } }
        },
        "annotations": { "io.tegmen.version": env!("CARGO_PKG_VERSION") },
        "potentiallyUnsafeConfigAnnotations": []
    });
    show(&format!("{features:#}\n"));
    Ok(0)
}
