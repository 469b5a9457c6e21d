//! A sentry that was taken over: its place at the control socket is taken by one that answers anything at all. No command of the host
//! believes numbers that no kernel has, obeys its words, takes more than is due, or waits for it for ever.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use super::bundle::{Bundle, is_alive, wait_for};
use crate::harness::{Outcome, run};

/// No command takes longer, on a busy machine; five seconds are its patience with the sandbox.
const PATIENCE: Duration = Duration::from_secs(30);

/// After it who listens has made up its mind.
const LISTENING: Duration = Duration::from_secs(7);

/// How an answer comes.
#[derive(Clone)]
enum Lie {
    /// A message.
    Says(Vec<u8>),
    /// Bytes without a length before them.
    Raw(Vec<u8>),
    /// Nothing, or one byte after the other of a message that never ends.
    Drips(&'static [u8]),
}

fn json(text: &str) -> Lie {
    Lie::Says(text.into())
}

fn process(changed: &str) -> Lie {
    let mut process = serde_json::json!({
        "pid": 1, "parent": 0, "uid": 0, "name": "sh", "threads": 1, "state": "S", "host_pid": 1,
    });
    let change: serde_json::Value = serde_json::from_str(changed).unwrap();
    for (key, value) in change.as_object().unwrap() {
        process[key] = value.clone();
    }
    json(&serde_json::json!({ "Processes": [process] }).to_string())
}

fn lies() -> Vec<Lie> {
    vec![
        Lie::Raw(vec![0xff; 8]),
        Lie::Raw(vec![0, 0, 0, 2]),
        Lie::Raw(Vec::new()),
        json("[[[[[[[["),
        Lie::Says(vec![b'['; 1 << 20]),
        json("\"Done\""),
        json("\"NotRunning\""),
        json("{\"Started\":0}"),
        json("{\"Started\":4294967295}"),
        json("{\"Exited\":256}"),
        json("{\"Killed\":-9}"),
        json("{\"Killed\":2147483647}"),
        json("{\"Failed\":[0,\"\\u001b[2J\\u001b]0;owned\\u0007\\n\\r\\u202etsil\"]}"),
        process("{\"name\":\"\\u001b[31m\\nfaked line of the table\"}"),
        process("{\"state\":\"\\u001b\"}"),
        process("{\"pid\":4294967295,\"threads\":18446744073709551615}"),
        process("{\"host_pid\":-1}"),
        process("{\"host_pid\":2147483647}"),
        Lie::Drips(b""),
        Lie::Drips(&[0, 0, 1, 0]),
    ]
}

fn answer(mut stream: UnixStream, lie: &Lie) {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked);
    let _ = match lie {
        Lie::Says(bytes) => {
            let head = (bytes.len() as u32).to_le_bytes();
            stream.write_all(&head).and_then(|()| stream.write_all(bytes))
        }
        Lie::Raw(bytes) => stream.write_all(bytes),
        Lie::Drips(head) => {
            let _ = stream.write_all(head);
            // Until the other side has enough of it.
            while stream.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
    };
}

/// A running container whose control socket is served by a liar from now on.
fn lying(bundle: &Bundle, lie: Lie) {
    let socket = bundle.state_dir().join(&bundle.id).join("control.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, lie) = (stream.unwrap(), lie.clone());
            thread::spawn(move || answer(stream, &lie));
        }
    });
}

fn obeyed(outcome: &Outcome) -> Option<char> {
    let text = outcome.stdout.chars().chain(outcome.stderr.chars());
    text.filter(|c| *c != '\n')
        .find(|c| c.is_control() || *c == '\u{202e}')
}

#[test]
fn no_command_believes_a_sandbox_that_was_taken_over() {
    let bundle = Bundle::new("sleep 1000");
    bundle.started();
    for (number, lie) in lies().into_iter().enumerate() {
        let endless = matches!(lie, Lie::Drips(_));
        lying(&bundle, lie);
        let id = bundle.id.as_str();
        let verbs: [&[&str]; 8] = [
            &["ps", id],
            &["ps", "--format", "json", id],
            &["kill", id, "TERM"],
            &["update", "--pids-limit", "100", id],
            &["port-forward", id, "0:7"],
            &["state", id],
            &["events", "--stats", id],
            &["exec", id, "/bin/true"],
        ];
        thread::scope(|scope| {
            for verb in verbs {
                // Who asks for a process waits for it as long as the sandbox likes.
                if endless && verb[0] == "exec" {
                    continue;
                }
                let bundle = &bundle;
                scope.spawn(move || {
                    let start = Instant::now();
                    // With a list that could be true it listens, as it should.
                    let listens = verb[0] == "port-forward";
                    let limit = if listens { LISTENING } else { PATIENCE };
                    let outcome = run(&mut bundle.command(verb), limit);
                    let what = format!("lie {number}, {verb:?}, {:?}: {outcome:?}", start.elapsed());
                    assert!(outcome.status.is_some() || listens, "{what}");
                    assert_eq!(obeyed(&outcome), None, "{what}");
                    assert!(!outcome.stderr.contains("panicked"), "{what}");
                    assert!(!outcome.stderr.contains("outside of its profile"), "{what}");
                    assert!(outcome.stdout.lines().count() <= 400, "{what}");
                    if verb[0] == "ps" && verb.len() == 2 && outcome.status == Some(0) {
                        assert!(outcome.stdout.lines().count() == 2, "{what}");
                    }
                    if verb[0] == "ps" && verb.len() == 4 {
                        let pids: Vec<i32> = serde_json::from_str(&outcome.stdout).unwrap();
                        let own = bundle.processes();
                        assert!(pids.iter().all(|pid| own.contains(pid)), "{what}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_sandbox_that_only_says_that_it_ends_is_ended() {
    for lie in [json("\"Done\""), Lie::Drips(&[0, 0, 1, 0]), Lie::Raw(Vec::new())] {
        let bundle = Bundle::new("sleep 1000");
        bundle.started();
        let pids = bundle.processes();
        lying(&bundle, lie);
        let outcome = run(&mut bundle.command(&["kill", &bundle.id, "KILL"]), PATIENCE);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        wait_for("the end of all processes", || {
            !pids.iter().any(|pid| is_alive(*pid))
        });
        bundle.until("stopped");
    }
}
