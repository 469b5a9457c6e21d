//! config.json, from its text to what the sandbox is told: a text of the fuzzer's, or a whole configuration in which it replaces values.

use std::path::Path;

use serde_json::{Value, json};

use super::bytes::Bytes;

/// Edits of one run.
const MAX_EDITS: usize = 24;
/// How deep an edit may reach.
const MAX_DEPTH: usize = 12;

pub fn run(data: &[u8]) {
    let root = Path::new("/");
    if data.starts_with(b"{") {
        runtime::translate(data, root);
        return;
    }
    let mut input = Bytes(data);
    let mut config = whole();
    for _ in 0..MAX_EDITS {
        if input.is_empty() {
            break;
        }
        edit(&mut config, 0, &mut input);
    }
    let text = serde_json::to_vec(&config).expect("a value is text");
    runtime::translate(&text, root);
}

/// Replaces, removes or doubles a value somewhere below `at`.
fn edit(at: &mut Value, depth: usize, input: &mut Bytes<'_>) {
    let choice = usize::from(input.byte());
    if choice < 240 && depth < MAX_DEPTH {
        let below = match at {
            Value::Object(fields) => fields.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        let next = match at {
            Value::Object(fields) if below > 0 => fields.values_mut().nth(choice % below),
            Value::Array(items) if below > 0 => items.get_mut(choice % below),
            _ => None,
        };
        if let Some(next) = next {
            return edit(next, depth + 1, input);
        }
    }
    match (input.byte() % 4, at) {
        (0, Value::Array(items)) if items.len() < 64 => {
            let last = items.last().cloned();
            items.extend(last);
        }
        (1, Value::Array(items)) => drop(items.pop()),
        (_, at) => *at = value(input),
    }
}

fn value(input: &mut Bytes<'_>) -> Value {
    let words = [
        "",
        "/",
        "..",
        "../..",
        "/proc/self/fd/0",
        "a:b:c",
        "a.slice:b:c",
        "0-3,7",
        "0-18446744073709551615",
        "bind",
        "tmpfs",
        "rbind",
        "SCMP_ACT_ERRNO",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_ACT_NOTIFY",
        "CAP_SYS_ADMIN",
        "network",
        "user",
        "size=10%",
        "size=-1",
        "idmap",
        "RLIMIT_NOFILE",
        "no-such-call",
        "\u{0}",
        "kernel.shm_rmid_forced",
    ];
    match input.byte() % 9 {
        0 => Value::Null,
        1 => json!(input.byte() & 1 == 1),
        2 => json!(input.byte()),
        3 => json!(input.word(8)),
        4 => json!(input.word(8) as i64),
        5 => json!([i64::MAX, i64::MIN, -1, 0, 1 << 32][usize::from(input.byte()) % 5]),
        6 => json!(words[usize::from(input.byte()) % words.len()]),
        7 => {
            let len = usize::from(input.byte());
            json!(String::from_utf8_lossy(input.take(len)))
        }
        _ => json!([input.word(4), words[usize::from(input.byte()) % words.len()]]),
    }
}

/// A configuration that has about everything.
fn whole() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": true, "consoleSize": {"height": 25, "width": 80},
            "user": {"uid": 1, "gid": 1, "umask": 18, "additionalGids": [5, 6]},
            "args": ["sh", "-c", "true"], "env": ["PATH=/bin", "TERM=x"], "cwd": "/",
            "capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]
            },
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 1024, "soft": 1024}, {"type": "RLIMIT_NOFILE", "hard": 10, "soft": 5}],
            "apparmorProfile": "p", "selinuxLabel": "l", "noNewPrivileges": true, "oomScoreAdj": 100
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "h", "domainname": "d",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=65536k", "mode=755", "uid=1"]},
            {"destination": "/data", "type": "bind", "source": "/tmp", "options": ["rbind", "ro", "rprivate"]},
            {"destination": "/dev/null", "type": "bind", "source": "/dev/null", "options": ["bind"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["relatime"]}
        ],
        "hooks": {
            "prestart": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 3}],
            "poststop": [{"path": "/bin/true"}]
        },
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 32000}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 32000}],
            "sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "9"},
            "cgroupsPath": "/a/b",
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"}],
                "memory": {"limit": 536870912, "reservation": 536870912, "swap": 536870912, "swappiness": 0, "disableOOMKiller": false},
                "cpu": {"shares": 1024, "quota": 1000000, "period": 500000, "cpus": "0-1", "mems": "0"},
                "pids": {"limit": 32771},
                "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
                "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 5}]},
                "unified": {"memory.high": "10"}
            },
            "rootfsPropagation": "slave",
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [
                    {"names": ["getcwd", "chmod"], "action": "SCMP_ACT_ALLOW"},
                    {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                        {"index": 0, "value": 2080505856, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"},
                        {"index": 1, "value": 1, "op": "SCMP_CMP_GE"}
                    ]},
                    {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
                ]
            },
            "namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/self/ns/net"}, {"type": "mount"}],
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/bus"],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}],
            "personality": {"domain": "LINUX"}
        },
        "annotations": {"a": "b"}
    })
}
