//! What the host's programs find that enter a container by its process: the container's namespaces, never the host's.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use super::bundle::{Bundle, wait_for};

const FOREVER: &str = "echo up; sleep 1000";

fn namespace(pid: &str, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    link.to_string_lossy().into_owned()
}

fn monitor(bundle: &Bundle) -> String {
    bundle.state()["pid"].as_i64().unwrap().to_string()
}

/// What a shell prints that entered namespaces of the container's process.
fn entered(bundle: &Bundle, kinds: &[&str], script: &str) -> String {
    let output = Command::new("nsenter")
        .args(["-t", &monitor(bundle)])
        .args(kinds)
        .args(["/bin/sh", "-c", script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_enters_its_mounts_comes_to_its_root() {
    let mut bundle = Bundle::new(FOREVER);
    let volume = bundle.dir.join("volume");
    fs::create_dir_all(&volume).unwrap();
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.push(
        json!({ "destination": "/made/volume", "type": "bind", "source": volume, "options": ["bind"] }),
    );
    mounts.push(
        json!({ "destination": "/made/kept", "type": "bind", "source": volume, "options": ["bind", "ro"] }),
    );
    bundle.write();
    // A link that a volume's place goes through, and that means another place on the host.
    std::os::unix::fs::symlink("/tmp", bundle.root("made")).unwrap();
    bundle.started();
    bundle.until_written("up");
    let script = "echo root > /etc/put; echo volume > /made/volume/put; \
        (echo no > /made/kept/other) 2>/dev/null || echo kept; (echo no > /dev/put) 2>/dev/null || echo covered; \
        for p in /proc/[0-9]*; do read name < $p/comm; echo $name; done | sort -u";
    let said = entered(&bundle, &["-m"], script);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, ["kept", "covered", "tegmen-monitor", "tegmen-sentry"]);
    assert_eq!(fs::read_to_string(bundle.root("etc/put")).unwrap(), "root\n");
    assert_eq!(fs::read_to_string(volume.join("put")).unwrap(), "volume\n");
    bundle.removed_without_trace();
}

#[test]
fn the_container_s_process_has_the_namespaces_that_are_asked_for() {
    let mut bundle = Bundle::new(FOREVER);
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "cgroup" }));
    bundle.write();
    bundle.started();
    let monitor = monitor(&bundle);
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        assert_ne!(namespace(&monitor, kind), namespace("self", kind), "{kind}");
    }
    assert_eq!(entered(&bundle, &["-u"], "uname -n"), "tested\n");
    bundle.removed_without_trace();
}

#[test]
fn namespaces_that_are_named_are_joined() {
    let mut holder = Command::new("unshare")
        .args([
            "--ipc",
            "--uts",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "sleep",
            "1000",
        ])
        .spawn()
        .unwrap();
    let mut inner = String::new();
    wait_for("the holder of the namespaces", || {
        let file = format!("/proc/{0}/task/{0}/children", holder.id());
        inner = fs::read_to_string(file).unwrap_or_default().trim().to_string();
        !inner.is_empty() && namespace(&inner, "pid") != namespace("self", "pid")
    });
    let path = |kind: &str| format!("/proc/{inner}/ns/{kind}");
    let mut bundle = Bundle::new("echo up; hostname; sleep 1000");
    bundle.config["linux"]["namespaces"] = json!([
        { "type": "mount" }, { "type": "ipc", "path": path("ipc") }, { "type": "uts", "path": path("uts") },
        { "type": "network", "path": path("net") }, { "type": "pid", "path": path("pid") },
    ]);
    bundle.write();
    bundle.started();
    bundle.until_written("tested");
    let monitor = monitor(&bundle);
    for kind in ["ipc", "uts", "net", "pid"] {
        assert_eq!(namespace(&monitor, kind), namespace(&inner, kind), "{kind}");
    }
    let log = fs::read_to_string(bundle.dir.join("log.json")).unwrap();
    assert!(log.contains("cannot be shared: a sandbox has its own"), "{log}");
    bundle.removed_without_trace();
    bundle.config["linux"]["namespaces"] = json!([{ "type": "ipc", "path": path("uts") }]);
    bundle.write();
    let outcome = bundle.create();
    assert_ne!(outcome.status, Some(0));
    assert!(
        outcome.stdout.contains("joining the ipc namespace"),
        "{}",
        outcome.stdout
    );
    bundle.removed_without_trace();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_named_user_namespace_gives_its_ids() {
    let mut holder = Command::new("unshare")
        .args(["--user", "sleep", "1000"])
        .spawn()
        .unwrap();
    let pid = holder.id().to_string();
    wait_for("the user namespace", || {
        namespace(&pid, "user") != namespace("self", "user")
    });
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{file}"), "0 100000 65536\n").unwrap();
    }
    let mut bundle = Bundle::new("echo x > /tmp/made; cat /proc/self/uid_map; echo up; sleep 1000");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({ "type": "user", "path": format!("/proc/{pid}/ns/user") }));
    bundle.write();
    let mut owned = Command::new("chown");
    assert!(
        owned
            .args(["-R", "100000:100000"])
            .arg(&bundle.dir)
            .status()
            .unwrap()
            .success()
    );
    bundle.started();
    bundle.until_written("up");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(bundle.root("tmp/made")).unwrap());
    assert_eq!(owner, 100_000);
    assert_eq!(bundle.output(), "         0     100000      65536\nup\n");
    let map = fs::read_to_string(format!("/proc/{}/uid_map", monitor(&bundle))).unwrap();
    let map: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(map, ["0", "100000", "65536"]);
    bundle.removed_without_trace();
    holder.kill().unwrap();
    holder.wait().unwrap();
}
