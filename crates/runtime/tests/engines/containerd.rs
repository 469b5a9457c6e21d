//! containerd, by its own client.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use crate::engine::{Daemon, Scratch, compare, find, must, ready, tegmen};
use crate::image;

#[test]
fn containerd_does_the_same_as_with_runc() {
    if !ready(&["containerd", "ctr", "runc", "unshare", "busybox"]) {
        return;
    }
    let scratch = Scratch::new("containerd");
    let Some(archive) = image::archive(&scratch.0) else {
        return;
    };
    let path = |name: &str| scratch.path(name).display().to_string();
    let socket = path("containerd.sock");
    let config = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{socket}\"\n[ttrpc]\naddress = \"{socket}.ttrpc\"\n",
        path("data"),
        path("state"),
    );
    let file = scratch.path("config.toml");
    fs::write(&file, config).unwrap();
    let ctr = |args: &[&str]| {
        let mut command = Command::new("ctr");
        command
            .args(["--address", &socket, "--namespace", "test"])
            .args(args);
        command
    };
    let up = || {
        let version = ctr(&["version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    };
    let command = format!("ip link set lo up; exec containerd -c {}", file.display());
    let _daemon = Daemon::start(&command, scratch.path("containerd.log"), up);
    must(&mut ctr(&["image", "import", &archive.display().to_string()]));
    let runc = find("runc").unwrap();
    let env = [
        ("SOCKET", OsStr::new(&socket)),
        ("IMAGE", OsStr::new(image::NAME)),
    ];
    let runtimes = (runc.to_str().unwrap(), tegmen().to_str().unwrap());
    compare(include_str!("containerd.sh"), runtimes, &env);
}
