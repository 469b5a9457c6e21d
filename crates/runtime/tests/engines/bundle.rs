//! Bundles without an engine: parts of config.json that engines do not reach. runc is the oracle here, too.

use std::fs;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::engine::{Scratch, find, ready, tegmen};
use crate::image;

/// A change of config.json, and the script that the container runs.
type Case = (&'static str, fn(&mut Value, &Path), &'static str);

const CASES: &[Case] = &[
    (
        "masked and read-only paths",
        |config, _| {
            config["root"]["readonly"] = json!(false);
            config["linux"]["maskedPaths"] = json!(["/etc", "/bin/yes", "/nothing"]);
            config["linux"]["readonlyPaths"] = json!(["/tmp", "/root", "/nothing"]);
        },
        "ls -A /etc | wc -l; wc -c < /bin/yes; (echo x > /tmp/x) 2>&1; (echo x > /etc/x) 2>&1; touch /x && echo made",
    ),
    (
        "devices",
        |config, _| {
            config["linux"]["devices"] = json!([
                { "path": "/dev/own", "type": "c", "major": 1, "minor": 5, "fileMode": 0o644, "uid": 3, "gid": 4 },
                { "path": "/dev/disk", "type": "b", "major": 99, "minor": 5, "fileMode": 0o600, "uid": 0, "gid": 0 },
                { "path": "/dev/pipe", "type": "p", "fileMode": 0o640, "uid": 5, "gid": 6 },
            ]);
        },
        "stat -c '%F %a %u %g %t %T' /dev/own /dev/disk /dev/pipe; echo through > /dev/pipe & cat /dev/pipe; wait; head -c 3 /dev/own | wc -c; for l in ptmx stdin fd; do readlink /dev/$l; done",
    ),
    (
        "a directory in memory that starts with what it covers",
        |config, _| {
            let mount = json!({ "destination": "/etc", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "tmpcopyup", "size=1m", "mode=711"] });
            config["mounts"].as_array_mut().unwrap().push(mount);
        },
        "cat /etc/group; stat -c %a /etc; echo more > /etc/more && ls /etc",
    ),
    (
        "bind mounts of directories and files, in order",
        |config, scratch| {
            let outer = scratch.join("outer");
            let _ = fs::create_dir_all(outer.join("inner"));
            fs::write(outer.join("inner/f"), "of the host\n").unwrap();
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.push(json!({ "destination": "/mnt/a", "type": "bind", "source": outer, "options": ["rbind", "ro"] }));
            mounts.push(json!({ "destination": "/mnt/a/inner", "type": "tmpfs", "source": "t", "options": ["size=64k"] }));
            mounts.push(json!({ "destination": "/mnt/f", "source": outer.join("inner/f"), "options": ["bind", "noexec"] }));
        },
        "ls /mnt/a; ls /mnt/a/inner; cat /mnt/f; (echo x > /mnt/a/x) 2>&1; echo x > /mnt/a/inner/x && ls /mnt/a/inner",
    ),
    (
        "a user namespace with ids of its own",
        |config, _| {
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
            config["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "type": "user" }));
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            config["root"]["readonly"] = json!(false);
        },
        "id -u; stat -c '%u %g' /bin; (touch /new) 2>&1; echo x > /dev/shm/x; stat -c %u /dev/shm/x",
    ),
    (
        "user, groups, mask, limits",
        |config, _| {
            config["process"]["user"] =
                json!({ "uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o077 });
            config["process"]["rlimits"] = json!([
                { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
                { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            ]);
            config["process"]["oomScoreAdj"] = json!(123);
            config["process"]["cwd"] = json!("/tmp");
        },
        "id; umask; ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; pwd; grep -E 'Groups|Umask' /proc/self/status",
    ),
    (
        "capability sets",
        |config, _| {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            config["process"]["noNewPrivileges"] = json!(false);
            config["process"]["capabilities"] = json!({
                "bounding": ["CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL"],
                "effective": ["CAP_CHOWN"],
                "permitted": ["CAP_CHOWN", "CAP_NET_RAW"],
                "inheritable": ["CAP_CHOWN", "CAP_NET_RAW"],
                "ambient": ["CAP_NET_RAW"],
            });
        },
        "grep -E 'Cap|NoNew' /proc/self/status",
    ),
    (
        "system call filter with conditions",
        |config, _| {
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [
                    { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
                    { "names": ["kill"], "action": "SCMP_ACT_ERRNO",
                      "args": [{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }] },
                    { "names": ["chown", "lchown", "fchownat"], "action": "SCMP_ACT_KILL_PROCESS" },
                ],
            });
        },
        "mkdir /tmp/a 2>&1; kill -0 $$ && echo may; kill -USR1 $$ 2>&1; (chown 1 /tmp; echo no) 2>/dev/null; echo $?; grep Seccomp: /proc/self/status",
    ),
    (
        "kernel settings and names",
        |config, _| {
            config["hostname"] = json!("inside");
            config["linux"]["sysctl"] =
                json!({ "net.ipv4.ip_unprivileged_port_start": "0", "kernel.shm_rmid_forced": "1" });
        },
        "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced",
    ),
    (
        "limits and what is seen of them",
        |config, _| {
            config["linux"]["resources"] = json!({
                "memory": { "limit": 100 << 20 }, "pids": { "limit": 20 },
                "cpu": { "quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0" },
            });
        },
        "nproc; echo done",
    ),
    (
        "a setting that does not exist is an error",
        |config, _| config["linux"]["sysctl"] = json!({ "kernel.shmmax.nosuch": "1" }),
        "echo must not run",
    ),
    (
        "a root that may not be written",
        |config, _| {
            config["root"]["readonly"] = json!(true);
            let mount = json!({ "destination": "/made/for/mount", "type": "tmpfs", "source": "t" });
            config["mounts"].as_array_mut().unwrap().push(mount);
        },
        "(echo x > /x) 2>&1; echo x > /made/for/mount/x && echo written",
    ),
];

/// Standard output and exit status of a bundle under a runtime; of one that did not start only that it did not.
fn outcome(runtime: &Path, bundle: &Path) -> (String, bool) {
    let output = Command::new("timeout")
        .args(["-k", "2", "40"])
        .arg(runtime)
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg(format!("tegmen-test-{}", std::process::id()))
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    if !output.status.success() {
        eprintln!(
            "{}: {}",
            runtime.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        output.status.success(),
    )
}

#[test]
fn bundles_do_the_same_as_with_runc() {
    if !ready(&["runc", "busybox"]) {
        return;
    }
    let scratch = Scratch::new("bundle");
    if image::archive(&scratch.0).is_none() {
        return;
    }
    let bundle = scratch.path("bundle");
    fs::create_dir_all(&bundle).unwrap();
    crate::engine::must(Command::new("runc").args(["spec", "--bundle"]).arg(&bundle));
    let text = fs::read_to_string(bundle.join("config.json")).unwrap();
    let plain: Value = serde_json::from_str(&text).unwrap();
    let runc = find("runc").unwrap();
    let mut differences = Vec::new();
    for (name, change, script) in CASES {
        let mut config = plain.clone();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        config["process"]["env"] = json!(["PATH=/bin"]);
        change(&mut config, &scratch.0);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let run = |runtime: &Path| {
            // Each with a root of its own: some cases write to it.
            let _ = fs::remove_dir_all(bundle.join("rootfs"));
            crate::engine::must(
                Command::new("cp")
                    .arg("-a")
                    .arg(scratch.path("root"))
                    .arg(bundle.join("rootfs")),
            );
            outcome(runtime, &bundle)
        };
        let (expected, found) = (run(&runc), run(tegmen()));
        eprintln!("{name}: {expected:?}");
        if expected != found {
            differences.push(format!("{name}:\n runc: {expected:?}\n tegmen: {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
