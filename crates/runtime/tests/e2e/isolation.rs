//! What a command inside can see and change of the host.

use std::fs;
use std::process::Command;

use crate::harness::{LIMIT, Scratch, run, sh, spawn_ready, tegmen_do};

#[test]
fn writes_stay_inside() {
    let scratch = Scratch::new("writes");
    fs::write(scratch.path().join("kept"), "host").unwrap();
    let script = format!(
        "cd {} && echo inside > kept && echo new > new && rm -f kept && ls && touch /etc/made-inside",
        scratch.text()
    );
    let outcome = sh(&script);
    assert_eq!(
        (outcome.status, outcome.stdout.as_str()),
        (Some(0), "new\n"),
        "{outcome:?}"
    );
    assert_eq!(fs::read_to_string(scratch.path().join("kept")).unwrap(), "host");
    assert!(!scratch.path().join("new").exists());
    assert!(!fs::exists("/etc/made-inside").unwrap());
}

#[test]
fn volumes_are_written_unless_read_only() {
    let scratch = Scratch::new("volume");
    fs::write(scratch.path().join("file"), "host\n").unwrap();
    let volume = format!("{}:/mnt", scratch.text());
    let outcome = run(
        &mut tegmen_do(
            &["--volume", &volume],
            &["sh", "-c", "cat /mnt/file; echo guest > /mnt/made"],
        ),
        LIMIT,
    );
    assert_eq!(
        (outcome.status, outcome.stdout.as_str()),
        (Some(0), "host\n"),
        "{outcome:?}"
    );
    assert_eq!(
        fs::read_to_string(scratch.path().join("made")).unwrap(),
        "guest\n"
    );

    let volume = format!("{volume}:ro");
    let outcome = run(
        &mut tegmen_do(
            &["--volume", &volume],
            &["sh", "-c", "cat /mnt/file; echo guest > /mnt/refused"],
        ),
        LIMIT,
    );
    assert_ne!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome:?}");
    assert!(!scratch.path().join("refused").exists());
}

#[test]
fn a_volume_can_be_one_file() {
    let scratch = Scratch::new("file-volume");
    fs::write(scratch.path().join("motd"), "from the host\n").unwrap();
    let volume = format!("{}/motd:/etc/hostname:ro", scratch.text());
    let outcome = run(
        &mut tegmen_do(&["--volume", &volume], &["cat", "/etc/hostname"]),
        LIMIT,
    );
    assert_eq!(outcome.stdout, "from the host\n", "{outcome:?}");
}

#[test]
fn the_hosts_processes_and_devices_are_not_there() {
    let outcome = sh("ls /proc | grep -c '^[0-9]'; ls /dev; cat /proc/1/cmdline | tr '\\0' ' '");
    let count: u32 = outcome
        .stdout
        .lines()
        .next()
        .and_then(|line| line.parse().ok())
        .unwrap_or(999);
    assert!(count < 10, "{outcome:?}");
    for device in ["kmsg", "mem", "sda", "vda", "kvm"] {
        assert!(
            !outcome.stdout.lines().any(|line| line == device),
            "{device}: {outcome:?}"
        );
    }
}

/// The walls, as the host's /proc shows them.
#[test]
fn the_sentry_is_jailed() {
    let mut child = spawn_ready(&mut tegmen_do(&[], &["sh", "-c", "echo ready; sleep 1000"]));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let sentry = children.trim().to_string();
    let link = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    for name in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        assert_ne!(link(&sentry, name), link("self", name), "{name}");
    }
    let status = fs::read_to_string(format!("/proc/{sentry}/status")).unwrap();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or("")
            .trim()
            .to_string()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("NSpid:").split_whitespace().last(), Some("1"));
    let effective = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
    // The five lowest, and CAP_SETFCAP.
    assert_eq!(effective & !0x8000_001f, 0, "capabilities {effective:#x}");
    assert_eq!(field("CapBnd:"), field("CapEff:"));
    let mounts = fs::read_to_string(format!("/proc/{sentry}/mountinfo")).unwrap_or_default();
    for mount in mounts.lines().filter(|line| !line.contains(" - tmpfs ")) {
        let options = mount.split_whitespace().nth(5).unwrap_or_default();
        assert!(options.split(',').any(|option| option == "ro"), "{mount}");
    }
    // An ordinary user's jail has them too, covered, because the host does not let them be taken apart.
    if field("Uid:").starts_with('0') {
        for kind in [" proc ", " sysfs ", " devtmpfs ", " cgroup", " devpts "] {
            assert!(!mounts.contains(&format!(" -{kind}")), "{kind}: {mounts}");
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_root_of_its_own() {
    if !crate::harness::have("busybox") {
        return;
    }
    let scratch = Scratch::new("root");
    fs::create_dir_all(scratch.path().join("bin")).unwrap();
    let which = Command::new("sh")
        .args(["-c", "readlink -f $(command -v busybox)"])
        .output()
        .unwrap();
    let busybox = String::from_utf8(which.stdout).unwrap();
    fs::copy(busybox.trim(), scratch.path().join("bin/busybox")).unwrap();
    let options = ["--rootfs", scratch.text(), "--clear-env"];
    let outcome = run(
        &mut tegmen_do(
            &options,
            &["/bin/busybox", "sh", "-c", "pwd; echo /*; /bin/busybox id -u"],
        ),
        LIMIT,
    );
    if outcome.stderr.contains("No such file") && !outcome.stderr.contains("busybox") {
        return; // A busybox that is not static needs libraries.
    }
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stdout.starts_with("/\n"), "{outcome:?}");
    assert!(!outcome.stdout.contains("/usr"), "{outcome:?}");
}

/// A chroot with the host's /proc and /sys in it: started as root, they are left out; as a user, who can only copy the whole
/// root, they are covered.
#[test]
fn views_of_the_host_are_nowhere() {
    let scratch = Scratch::new("views");
    let text = scratch.text();
    let prepared = format!(
        "cd {text} && mkdir -p r/proc r/sys && touch r/file && chmod 755 . r && cp \"$0\" tegmen && mount --rbind /proc r/proc && mount --rbind /sys r/sys && \
         mount --bind /proc/version r/file && "
    );
    let look = "ls -A $1/r/proc $1/r/sys; cat $1/r/file";
    for who in ["", "setpriv --reuid 65534 --regid 65534 --clear-groups"] {
        let script = format!(
            "{prepared} {who} test -x {text}/tegmen || exit 77; exec {who} ./tegmen do -- sh -c '{look}' sh {text}"
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_tegmen")]);
        let outcome = run(&mut command, LIMIT);
        if outcome.status == Some(77)
            || outcome.stderr.contains("unshare:")
            || outcome.stderr.contains("mount:")
        {
            eprintln!(
                "skipped: mounts cannot be made here, or users cannot reach it: {}",
                outcome.stderr
            );
            return;
        }
        assert_eq!(outcome.status, Some(0), "{who}: {outcome:?}");
        assert_eq!(
            outcome.stdout,
            format!("{text}/r/proc:\n\n{text}/r/sys:\n"),
            "{who}"
        );
    }
}
