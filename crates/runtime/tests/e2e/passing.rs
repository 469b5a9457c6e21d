//! What passes between the caller and the command: arguments, environment, directory, user, streams, signals, status.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::harness::{LIMIT, run, sh, shell_status, spawn_ready, tegmen_do, wait};

#[test]
fn exit_statuses_pass() {
    for status in [0, 1, 2, 42, 255] {
        assert_eq!(sh(&format!("exit {status}")).status, Some(status));
    }
}

#[test]
fn a_death_by_signal_passes() {
    for signal in ["TERM", "KILL", "SEGV", "ABRT", "HUP"] {
        let script = format!("kill -{signal} $$");
        let native = run(Command::new("sh").args(["-c", &script]), LIMIT);
        let inside = sh(&script);
        assert_eq!(inside.status, native.status, "{signal}: {inside:?}");
    }
}

#[test]
fn standard_streams_pass() {
    let outcome = sh("echo out; echo err >&2");
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );

    let mut command = tegmen_do(&[], &["cat"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sent = "many lines\n".repeat(50_000);
    let mut stdin = child.stdin.take().unwrap();
    let feed = {
        let sent = sent.clone();
        std::thread::spawn(move || stdin.write_all(sent.as_bytes()))
    };
    let mut got = String::new();
    child.stdout.take().unwrap().read_to_string(&mut got).unwrap();
    feed.join().unwrap().unwrap();
    assert_eq!(wait(&mut child, LIMIT).map(shell_status), Some(0));
    assert!(got == sent, "{} bytes came back of {}", got.len(), sent.len());
}

/// Both pipes are full and empty in turn: a wake-up that is lost shows as a stop.
#[test]
fn much_passes_both_ways() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 32;
    let mut child = tegmen_do(&[], &["dd", "bs=64k", "status=none"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = std::thread::spawn(move || {
        let block = vec![7; BLOCK];
        (0..BLOCKS).all(|_| stdin.write_all(&block).is_ok())
    });
    let mut stdout = child.stdout.take().unwrap();
    let (mut got, mut buffer) = (0, vec![0; 3000]);
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            len => got += len,
        }
    }
    assert!(feed.join().unwrap());
    assert_eq!(got, BLOCK * BLOCKS);
    assert_eq!(wait(&mut child, LIMIT).map(shell_status), Some(0));
}

/// What sendfile(2) has read from a pipe and cannot write would be lost: Linux refuses it, and programs read and write.
#[test]
fn a_pipe_is_not_sent_as_a_file() {
    let script = "print syscall(40, 1, 0, 0, 4096), ' ', $! + 0";
    let mut native = Command::new("perl");
    native.args(["-e", script]);
    for mut command in [native, tegmen_do(&[], &["perl", "-e", script])] {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"bytes").unwrap();
        let mut got = String::new();
        child.stdout.take().unwrap().read_to_string(&mut got).unwrap();
        assert_eq!(wait(&mut child, LIMIT).map(shell_status), Some(0));
        assert_eq!(got, "-1 22");
    }
}

#[test]
fn arguments_pass_as_they_are() {
    let odd = ["", " ", "a b", "--", "*", "\\", "\u{fc}"];
    let mut command = vec!["printf", "[%s]"];
    command.extend(odd);
    let outcome = run(&mut tegmen_do(&[], &command), LIMIT);
    assert_eq!(outcome.stdout, odd.map(|arg| format!("[{arg}]")).concat());
}

#[test]
fn the_environment_passes_and_can_be_set() {
    let outcome = run(
        tegmen_do(&["--env", "B=2"], &["sh", "-c", "echo $A$B"]).env("A", "1"),
        LIMIT,
    );
    assert_eq!(outcome.stdout, "12\n");
    let outcome = run(
        tegmen_do(&["--clear-env", "--env", "A"], &["/usr/bin/env"]).env("A", "1"),
        LIMIT,
    );
    assert_eq!(outcome.stdout, "A=1\n");
}

#[test]
fn directory_user_and_host_name_can_be_set() {
    let outcome = run(&mut tegmen_do(&["--cwd", "/usr/lib"], &["pwd"]), LIMIT);
    assert_eq!(outcome.stdout, "/usr/lib\n");
    let outcome = run(tegmen_do(&[], &["pwd"]).current_dir("/usr"), LIMIT);
    assert_eq!(outcome.stdout, "/usr\n");
    let outcome = run(
        &mut tegmen_do(&["--user", "123:456"], &["sh", "-c", "id -u; id -g; id -G"]),
        LIMIT,
    );
    assert_eq!(outcome.stdout, "123\n456\n456\n");
    let outcome = run(
        &mut tegmen_do(&["--hostname", "elsewhere"], &["uname", "-n"]),
        LIMIT,
    );
    assert_eq!(outcome.stdout, "elsewhere\n");
}

#[test]
fn users_can_be_named_as_the_root_names_them() {
    let who = |user: &str| {
        run(
            &mut tegmen_do(&["--user", user], &["sh", "-c", "id -un; id -gn"]),
            LIMIT,
        )
    };
    assert_eq!(who("daemon").stdout, "daemon\ndaemon\n");
    assert_eq!(who("daemon:0").stdout, "daemon\nroot\n");
    assert_eq!(who("1").stdout, "daemon\ndaemon\n");
    let outcome = who("surely-nobody");
    assert_eq!(outcome.status, Some(125));
    assert!(outcome.stderr.contains("'surely-nobody'"), "{}", outcome.stderr);
}

#[test]
fn the_host_name_has_an_address() {
    let name = ["--hostname", "some-box"];
    let outcome = run(&mut tegmen_do(&name, &["getent", "hosts", "some-box"]), LIMIT);
    assert!(outcome.stdout.starts_with("127.0.1.1 "), "{}", outcome.stdout);
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    assert!(!hosts.contains("some-box"));
}

#[test]
fn signals_are_forwarded() {
    for (signal, status) in [("TERM", 41), ("INT", 42), ("HUP", 43), ("USR1", 44)] {
        let script = format!("trap 'exit {status}' {signal}; echo ready; while :; do sleep 0.05; done");
        let mut child = spawn_ready(&mut tegmen_do(&[], &["sh", "-c", &script]));
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(
            wait(&mut child, LIMIT).map(shell_status),
            Some(status),
            "{signal}"
        );
    }
}

#[test]
fn an_unhandled_signal_ends_the_command_and_shows() {
    let mut child = spawn_ready(&mut tegmen_do(&[], &["sh", "-c", "echo ready; exec sleep 100"]));
    assert!(
        Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(wait(&mut child, LIMIT).map(shell_status), Some(128 + 15));
}

#[test]
fn closed_standard_descriptors_are_survived() {
    let tegmen = env!("CARGO_BIN_EXE_tegmen");
    let outcome = run(
        Command::new("sh").args(["-c", &format!("{tegmen} do -- sh -c 'exit 5' <&- >&- 2>&-")]),
        LIMIT,
    );
    assert_eq!(outcome.status, Some(5), "{outcome:?}");
}
