//! Podman, which has no daemon.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use crate::engine::{Scratch, compare, find, must, ready, tegmen};
use crate::image;

#[test]
fn podman_does_the_same_as_with_runc() {
    if !ready(&["podman", "conmon", "runc", "busybox"]) {
        return;
    }
    let scratch = Scratch::new("podman");
    let Some(archive) = image::archive(&scratch.0) else {
        return;
    };
    let path = |name: &str| scratch.path(name).display().to_string();
    // Nothing of the machine's own configuration.
    fs::write(
        scratch.path("containers.conf"),
        "[engine]\nevents_logger = \"file\"\n",
    )
    .unwrap();
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        path("data"),
        path("run")
    );
    fs::write(scratch.path("storage.conf"), storage).unwrap();
    let options = format!(
        "--root {} --runroot {} --tmpdir {} --cgroup-manager cgroupfs",
        path("data"),
        path("run"),
        path("tmp")
    );
    let (config, storage) = (path("containers.conf"), path("storage.conf"));
    let shared = scratch.path("shared");
    fs::create_dir_all(&shared).unwrap();
    let env = [
        ("OPTIONS", OsStr::new(&options)),
        ("CONTAINERS_CONF", OsStr::new(&config)),
        ("CONTAINERS_STORAGE_CONF", OsStr::new(&storage)),
        ("IMAGE", OsStr::new(image::NAME)),
        ("SHARED", shared.as_os_str()),
    ];
    must(
        Command::new("podman")
            .args(options.split(' '))
            .args(["load", "-i"])
            .arg(&archive)
            .envs(env),
    );
    let runc = find("runc").unwrap();
    let runtimes = (runc.to_str().unwrap(), tegmen().to_str().unwrap());
    compare(include_str!("podman.sh"), runtimes, &env);
    // The storage's mounts.
    let _ = Command::new("podman")
        .args(options.split(' '))
        .args(["system", "reset", "-f"])
        .envs(env)
        .output();
}
