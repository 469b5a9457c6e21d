//! Docker.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::engine::{Daemon, Scratch, compare, must, ready, tegmen};
use crate::image;

struct Docker {
    socket: String,
    // Ends before its directory goes.
    _daemon: Daemon,
}

impl Docker {
    fn start(scratch: &Scratch) -> Docker {
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

/// An engine with the image loaded; `None` when the test cannot run here.
fn docker(scratch: &Scratch) -> Option<(Docker, PathBuf)> {
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
    let docker = Docker::start(scratch);
    must(&mut docker.command(&["load", "-i", &archive.display().to_string()]));
    let shared = scratch.path("shared");
    fs::create_dir_all(&shared).unwrap();
    Some((docker, shared))
}

#[test]
fn docker_does_the_same_as_with_runc() {
    let scratch = Scratch::new("docker");
    let Some((docker, shared)) = docker(&scratch) else {
        return;
    };
    let env = [
        ("DOCKER_HOST", OsStr::new(&docker.socket)),
        ("IMAGE", OsStr::new(image::NAME)),
        ("SHARED", shared.as_os_str()),
    ];
    compare(include_str!("docker.sh"), ("runc", "tegmen"), &env);
}
