//! Hooks run in their order, with the state on their input; their failures count as the specification says.

use std::fs;

use serde_json::{Value, json};

use super::bundle::Bundle;

/// A hook that notes its name and its input.
fn note(bundle: &Bundle, name: &str) -> Value {
    let file = bundle.dir.join("hooks");
    let script = format!("{{ echo {name}; cat; echo; }} >> {}", file.display());
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }])
}

const ORDER: [&str; 5] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "poststart",
    "poststop",
];

#[test]
fn hooks_run_in_order_with_the_state() {
    let mut bundle = Bundle::new("exit 0");
    let hooks: Vec<Value> = ORDER.iter().map(|name| note(&bundle, name)).collect();
    bundle.config["hooks"] = json!({});
    for (name, hook) in ORDER.iter().zip(hooks) {
        bundle.config["hooks"][name] = hook;
    }
    bundle.write();
    bundle.started();
    bundle.until("stopped");
    bundle.quiet(&["delete"]);
    let text = fs::read_to_string(bundle.dir.join("hooks")).unwrap();
    let mut rest = text.as_str();
    for name in ORDER {
        rest = rest
            .strip_prefix(&format!("{name}\n"))
            .unwrap_or_else(|| panic!("{name}: {text}"));
        let end = rest.find("\n}\n").unwrap() + 3;
        let state: Value = serde_json::from_str(&rest[..end]).unwrap();
        rest = &rest[end..];
        let status = match name {
            "poststart" => "running",
            "poststop" => "stopped",
            _ => "creating",
        };
        assert_eq!(state["status"], status, "{name}");
        assert_eq!(state["id"], bundle.id.as_str());
        assert_eq!(state["pid"].as_i64().unwrap() > 0, name != "poststop", "{name}");
    }
    assert_eq!(rest, "");
}

#[test]
fn start_hooks_run_inside_before_the_first_process() {
    let mut bundle = Bundle::new("cat /tmp/hooked");
    let script = "cat > /tmp/state; echo hooked > /tmp/hooked";
    bundle.config["hooks"] = json!({
        "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin"] }]
    });
    bundle.write();
    assert_eq!(bundle.verb(&["run"]).stdout, "hooked\n");
    let state: Value = serde_json::from_slice(&fs::read(bundle.root("tmp/state")).unwrap()).unwrap();
    assert_eq!(state["status"], "created");
    let mut bundle = Bundle::new("echo never");
    bundle.config["hooks"] = json!({ "startContainer": [{ "path": "/bin/false" }] });
    bundle.write();
    bundle.created();
    assert_eq!(bundle.verb(&["start"]).status, Some(1));
    assert!(bundle.logged().contains("startContainer hook #0"));
    bundle.until("stopped");
    assert_eq!(bundle.output(), "");
}

#[test]
fn a_failing_early_hook_fails_the_creation() {
    let mut bundle = Bundle::new("exit 0");
    bundle.config["hooks"] =
        json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo broken >&2; exit 4"] }] });
    bundle.write();
    assert_eq!(bundle.create().status, Some(1));
    let logged = bundle.logged();
    assert!(
        logged.contains("createRuntime hook #0") && logged.contains("broken"),
        "{logged}"
    );
    assert!(!bundle.state_dir().join(&bundle.id).exists());
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let mut bundle = Bundle::new("exit 0");
    bundle.config["hooks"] =
        json!({ "prestart": [{ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }] });
    bundle.write();
    assert_eq!(bundle.create().status, Some(1));
    assert!(bundle.logged().contains("time limit"));
}

#[test]
fn late_hooks_that_fail_are_only_told() {
    let mut bundle = Bundle::new("exec sleep 1000");
    let fails = json!([{ "path": "/bin/false" }]);
    bundle.config["hooks"] = json!({ "poststart": fails, "poststop": fails });
    bundle.write();
    bundle.started();
    assert_eq!(bundle.state()["status"], "running");
    bundle.quiet(&["delete", "--force"]);
    let log = fs::read_to_string(bundle.dir.join("log.json")).unwrap();
    assert_eq!(log.matches("\"warning\"").count(), 2, "{log}");
}

#[test]
fn hooks_of_the_container_are_in_its_network() {
    let mut bundle = Bundle::new("exec sleep 1000");
    let link = |name: &str| {
        let file = bundle.dir.join(name);
        let script = format!("readlink /proc/self/ns/net > {}", file.display());
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }])
    };
    let hooks = json!({ "createRuntime": link("outside"), "createContainer": link("inside") });
    bundle.config["hooks"] = hooks;
    bundle.write();
    bundle.created();
    let noted = |name: &str| fs::read_to_string(bundle.dir.join(name)).unwrap();
    let of = |pid: String| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let own = of("self".to_string());
    let of_container = of(bundle.state()["pid"].to_string());
    assert_eq!(noted("outside").trim(), own.to_str().unwrap());
    assert_eq!(noted("inside").trim(), of_container.to_str().unwrap());
    assert_ne!(own, of_container);
}
