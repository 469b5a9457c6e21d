//! Docker.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::engine::{Daemon, Scratch, compare, list, must, ready, tegmen};
use crate::{image, transcript};

struct Docker {
    socket: String,
    // Ends before its directory goes.
    _daemon: Daemon,
}

impl Docker {
    fn start(scratch: &Scratch, default: &str) -> Docker {
        let path = |name: &str| scratch.path(name).display().to_string();
        let config = serde_json::json!({
            "data-root": path("data"),
            "exec-root": path("exec"),
            "pidfile": path("docker.pid"),
            "hosts": [format!("unix://{}", path("docker.sock"))],
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": "/tegmen-test",
            "bip": "172.31.255.1/24",
            "runtimes": { "tegmen": { "path": tegmen() } },
            "default-runtime": default,
        });
        let file = scratch.path("daemon.json");
        fs::write(&file, config.to_string()).unwrap();
        let socket = format!("unix://{}", path("docker.sock"));
        let up = || {
            let version = Command::new("docker")
                .args(["-H", &socket, "version"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            version.is_ok_and(|status| status.success())
        };
        let command = format!("ip link set lo up; exec dockerd --config-file {}", file.display());
        let daemon = Daemon::start(&command, scratch.path("dockerd.log"), up);
        Docker {
            socket,
            _daemon: daemon,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.socket]).args(args);
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Whatever a list that was broken off has left.
        if let Ok(ids) = self.command(&["ps", "-aq"]).output() {
            for id in String::from_utf8_lossy(&ids.stdout).split_whitespace() {
                let _ = self.command(&["rm", "-f", id]).output();
            }
        }
    }
}

/// An engine with this default runtime and the image loaded; `None` when the test cannot run here.
fn docker(scratch: &Scratch, default: &str) -> Option<(Docker, PathBuf)> {
    if !ready(&[
        "docker",
        "dockerd",
        "containerd",
        "runc",
        "iptables",
        "unshare",
        "busybox",
        "script",
    ]) {
        return None;
    }
    let archive = image::archive(&scratch.0)?;
    let docker = Docker::start(scratch, default);
    must(&mut docker.command(&["load", "-i", &archive.display().to_string()]));
    let shared = scratch.path("shared");
    fs::create_dir_all(&shared).unwrap();
    Some((docker, shared))
}

#[test]
fn docker_does_the_same_as_with_runc() {
    let scratch = Scratch::new("docker");
    let Some((docker, shared)) = docker(&scratch, "runc") else {
        return;
    };
    let env = [
        ("DOCKER_HOST", OsStr::new(&docker.socket)),
        ("IMAGE", OsStr::new(image::NAME)),
        ("SHARED", shared.as_os_str()),
    ];
    compare(include_str!("docker.sh"), ("runc", "tegmen"), &env);
}

#[test]
fn docker_builds_the_same_as_with_runc() {
    let built = |runtime: &str| {
        let scratch = Scratch::new(&format!("build-{runtime}"));
        let (docker, shared) = docker(&scratch, runtime)?;
        let env = [
            ("DOCKER_HOST", OsStr::new(&docker.socket)),
            ("IMAGE", OsStr::new(image::NAME)),
            ("SHARED", shared.as_os_str()),
        ];
        Some(list(include_str!("docker_build.sh"), runtime, &env))
    };
    if let (Some(oracle), Some(ours)) = (built("runc"), built("tegmen")) {
        transcript::compare(&oracle, &ours);
    }
}
