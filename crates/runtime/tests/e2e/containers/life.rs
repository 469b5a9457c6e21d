//! From create to delete.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::{Value, json};

use super::bundle::{Bundle, is_alive, wait_for};

#[test]
fn a_container_is_created_started_ends_and_is_removed() {
    let bundle = Bundle::new("echo runs; read line; exit 3");
    bundle.created();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], bundle.id.as_str());
    assert_eq!(state["ociVersion"], "1.0.2");
    assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
    let pid = state["pid"].as_i64().unwrap() as i32;
    assert!(is_alive(pid));
    assert_eq!(
        fs::read_to_string(bundle.dir.join("pid")).unwrap(),
        pid.to_string()
    );
    assert_eq!(bundle.output(), "");
    bundle.quiet(&["start"]);
    bundle.until("stopped");
    assert_eq!(bundle.output(), "runs\n");
    assert_eq!(bundle.state()["pid"], 0);
    bundle.quiet(&["delete"]);
    assert_eq!(bundle.verb(&["state"]).status, Some(1));
    assert_eq!(bundle.logged(), "container does not exist");
}

#[test]
fn run_passes_output_and_status_on_and_writes_to_the_root() {
    let bundle =
        Bundle::new("echo to-host > /etc/made; cat /proc/1/comm; hostname; echo $HOME; pwd; exit 42");
    let outcome = bundle.verb(&["run"]);
    assert_eq!(
        (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (Some(42), "sh\ntested\n/root\n/\n", "")
    );
    assert_eq!(fs::read_to_string(bundle.root("etc/made")).unwrap(), "to-host\n");
    assert!(!bundle.state_dir().join(&bundle.id).exists());
}

#[test]
fn a_read_only_root_stays_as_it_is() {
    let mut bundle = Bundle::new("echo x > /etc/made || exit 7");
    bundle.config["root"]["readonly"] = json!(true);
    bundle.write();
    assert_eq!(bundle.verb(&["run"]).status, Some(7));
    assert!(!bundle.root("etc/made").exists());
}

#[test]
fn the_host_sees_and_changes_the_root_of_a_running_container() {
    let bundle =
        Bundle::new("echo up; while ! test -e /tmp/from-host; do sleep 0.05; done; cat /tmp/from-host");
    bundle.started();
    bundle.until_written("up");
    fs::write(bundle.root("tmp/from-host"), "seen\n").unwrap();
    bundle.until("stopped");
    assert_eq!(bundle.output(), "up\nseen\n");
}

#[test]
fn files_of_an_overlay_are_copied_up_unseen() {
    let script = "ls /etc > /dev/null; read line < /etc/low; echo new > /etc/new && ls /etc && echo more >> /etc/low \
                  && cat /etc/low && mv /etc/dir/file /etc/dir/moved && ls /etc/dir && ln /etc/low /etc/link && rm /etc/low && cat /etc/link";
    let bundle = Bundle::new(script);
    let (lower, merged) = (bundle.dir.join("lower"), bundle.root(""));
    fs::rename(&merged, &lower).unwrap();
    fs::create_dir_all(lower.join("etc/dir")).unwrap();
    fs::write(lower.join("etc/dir/file"), "").unwrap();
    fs::write(lower.join("etc/low"), "low\n").unwrap();
    for name in ["rootfs", "upper", "work"] {
        fs::create_dir(bundle.dir.join(name)).unwrap();
    }
    let dir = bundle.dir.display();
    let options = format!("lowerdir={dir}/lower,upperdir={dir}/upper,workdir={dir}/work");
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(&merged)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no overlay can be mounted here");
        return;
    }
    let outcome = bundle.verb(&["run"]);
    let unmounted = Command::new("umount").arg(&merged).status();
    assert!(unmounted.unwrap().success());
    assert_eq!(
        (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (
            Some(0),
            "dir\nlow\nnew\npasswd\nlow\nmore\nmoved\nlow\nmore\n",
            ""
        )
    );
    assert_eq!(
        fs::read_to_string(bundle.dir.join("upper/etc/new")).unwrap(),
        "new\n"
    );
}

#[test]
fn signals_reach_the_first_process() {
    let bundle = Bundle::new("trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.05; done");
    bundle.started();
    bundle.until_written("up");
    // One without a handler is nothing to a first process.
    bundle.quiet_kill("HUP");
    bundle.quiet_kill("TERM");
    bundle.until("stopped");
    assert_eq!(bundle.output(), "up\ngot\n");
    assert_eq!(bundle.verb(&["kill"]).status, Some(1));
    assert_eq!(bundle.logged(), "container not running");
    bundle.quiet(&["kill", "--all"]);
}

#[test]
fn killed_means_137_for_whoever_waits() {
    let bundle = Bundle::new("kill -9 $$");
    // The first process of a pid namespace is not killed by its own signals, as in Linux.
    assert_eq!(bundle.verb(&["run"]).status, Some(0));
    let bundle = Bundle::new("echo up; exec sleep 1000");
    let mut run = bundle.command(&["run", &bundle.id]).spawn().unwrap();
    bundle_runs(&bundle);
    bundle.quiet_kill("KILL");
    assert_eq!(run.wait().unwrap().code(), Some(137));
}

fn bundle_runs(bundle: &Bundle) {
    wait_for("a start", || {
        let outcome = bundle.verb(&["state"]);
        outcome.stdout.contains("\"running\"")
    });
}

#[test]
fn a_created_container_can_be_killed_and_removed() {
    let bundle = Bundle::new("echo never");
    bundle.created();
    bundle.quiet_kill("KILL");
    bundle.until("stopped");
    bundle.quiet(&["delete"]);
    let bundle = Bundle::new("echo never");
    bundle.created();
    bundle.quiet(&["delete"]);
    assert_eq!(bundle.output(), "");
}

#[test]
fn wrong_steps_are_refused() {
    let bundle = Bundle::new("echo up; exec sleep 1000");
    assert_eq!(bundle.verb(&["start"]).status, Some(1));
    assert_eq!(bundle.logged(), "container does not exist");
    bundle.quiet(&["delete", "--force"]);
    bundle.started();
    assert_eq!(bundle.create().status, Some(1));
    assert_eq!(bundle.logged(), "container with given ID already exists");
    assert_eq!(bundle.verb(&["start"]).status, Some(1));
    assert_eq!(bundle.logged(), "cannot start an already running container");
    // The runtime's own descriptors are nobody's to be passed on.
    let args = ["exec", "--preserve-fds", "9", &bundle.id, "true"];
    let outcome = crate::harness::run(&mut bundle.command(&args), crate::harness::LIMIT);
    assert_eq!(outcome.status, Some(255));
    assert!(
        bundle.logged().contains("descriptor 3: Bad file descriptor"),
        "{}",
        bundle.logged()
    );
    assert_eq!(bundle.verb(&["delete"]).status, Some(1));
    assert!(bundle.logged().contains("that is not stopped: running"));
    bundle.removed_without_trace();
}

#[test]
fn programs_that_cannot_be_run_are_told_at_create() {
    for (args, message) in [
        (
            json!(["no-such"]),
            "exec: \"no-such\": executable file not found in $PATH",
        ),
        (
            json!(["/no/such"]),
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        (json!(["/etc/passwd"]), "exec: \"/etc/passwd\": permission denied"),
    ] {
        let mut bundle = Bundle::new("");
        bundle.config["process"]["args"] = args;
        bundle.write();
        let outcome = bundle.create();
        assert_ne!(outcome.status, Some(0));
        assert_eq!(
            bundle.logged(),
            format!("unable to start container process: {message}")
        );
        assert!(outcome.stdout.contains(message), "{}", outcome.stdout);
        assert_eq!(bundle.processes(), Vec::<i32>::new());
    }
}

#[test]
fn list_and_ps_tell_what_runs() {
    let bundle = Bundle::new("echo up; exec sleep 1000");
    bundle.started();
    bundle.until_written("up");
    let list = crate::harness::run(
        &mut bundle.command(&["list", "--format", "json"]),
        crate::harness::LIMIT,
    );
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list[0]["id"], bundle.id.as_str());
    assert_eq!(list[0]["status"], "running");
    let pids = bundle.verb(&["ps", "--format", "json"]).stdout;
    let pids: Vec<i32> = serde_json::from_str(&pids).unwrap();
    assert_eq!(pids.len(), 1);
    // The host's own tools show what runs inside.
    let of_host = |file: &str| fs::read(format!("/proc/{}/{file}", pids[0])).unwrap();
    assert_eq!(of_host("cmdline"), b"sleep\x001000\0");
    assert_eq!(of_host("comm"), b"sleep\n");
    assert!(bundle.verb(&["ps"]).stdout.contains("sleep"));
}

#[test]
fn pause_stops_everything_and_resume_lets_it_go_on() {
    let bundle = Bundle::new("while :; do echo tick; sleep 0.02; done");
    bundle.started();
    bundle.until_written("tick");
    let outcome = bundle.verb(&["pause"]);
    if outcome.stderr.contains("freezer") {
        eprintln!("skipped: no freezer here");
        return;
    }
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert_eq!(bundle.state()["status"], "paused");
    let before = bundle.output();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(bundle.output(), before);
    bundle.quiet(&["resume"]);
    wait_for("more ticks", || bundle.output().len() > before.len());
    bundle.quiet(&["pause"]);
    bundle.removed_without_trace();
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    let mut bundle = Bundle::new("tty; stty size; test -t 0 && echo terminal");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({ "height": 11, "width": 33 });
    bundle.write();
    assert_ne!(bundle.create().status, Some(0));
    assert!(bundle.logged().contains("console socket"));
    let path = bundle.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let master = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let (mut buf, mut fds) = ([0; 64], Vec::new());
        use std::os::fd::AsFd;
        host::socket::receive_with(socket.as_fd(), &mut buf, &mut fds).unwrap();
        fs::File::from(fds.remove(0))
    });
    bundle.quiet(&["create", "--console-socket", path.to_str().unwrap()]);
    let mut master = master.join().unwrap();
    bundle.quiet(&["start"]);
    let mut text = Vec::new();
    // The end of a terminal is EIO.
    let _ = std::io::Read::read_to_end(&mut master, &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(text, "/dev/pts/0\r\n11 33\r\nterminal\r\n");
}

impl Bundle {
    /// Sends a signal to the container.
    pub fn quiet_kill(&self, signal: &str) {
        let outcome = crate::harness::run(
            &mut self.command(&["kill", &self.id, signal]),
            crate::harness::LIMIT,
        );
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
    }
}
