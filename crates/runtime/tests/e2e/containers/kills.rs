//! Random processes of a container, and the commands that handle it, killed at random moments: nothing may be left.
//!
//! `TEGMEN_KILLS=N` kills N times instead of a few, with another seed each time.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use super::bundle::{Bundle, signal, wait_for};
use super::crash::titled;

const FOREVER: &str = "echo up; sleep 1000 & sleep 1000";
/// Kills in an ordinary run of the tests.
const ROUNDS: u64 = 24;
/// The longest of the verbs takes about so long.
const MOMENTS: u64 = 90;

/// What is going on when something is killed.
const VERBS: [&str; 5] = ["create", "start", "exec", "run", "delete"];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % bound
    }
}

fn start(bundle: &Bundle, verb: &str) -> Child {
    match verb {
        "start" => bundle.created(),
        "exec" | "delete" => bundle.started(),
        _ => {}
    }
    let id = bundle.id.as_str();
    let args: &[&str] = match verb {
        "exec" => &["exec", id, "/bin/sh", "-c", "sleep 500 & sleep 500"],
        "delete" => &["delete", "--force", id],
        other => &[other, id],
    };
    let null = Stdio::null;
    let mut command = bundle.command(args);
    command.stdin(null()).stdout(null()).stderr(null());
    command.spawn().unwrap()
}

fn kill_one(bundle: &Bundle, child: &mut Child, random: &mut Random) -> &'static str {
    let pids = bundle.processes();
    match random.below(3) {
        _ if pids.is_empty() => {}
        0 => {}
        // Monitor, sentry, helpers and guests, and those of the container's group that are still being made.
        1 => {
            let at = random.below(pids.len() as u64) as usize;
            signal(pids[at], "KILL");
            return "one of the container's";
        }
        _ => {
            for pid in pids.iter().filter(|_| random.below(2) == 0) {
                signal(*pid, "KILL");
            }
            let _ = child.kill();
            return "several, and the command";
        }
    }
    let _ = child.kill();
    "the command"
}

#[test]
fn nothing_is_left_of_what_is_killed_at_random() {
    let asked_for = std::env::var("TEGMEN_KILLS").ok();
    let rounds = asked_for.as_ref().map_or(ROUNDS, |text| text.parse().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = asked_for.map_or(0x9e37_79b9_7f4a_7c15, |_| now.as_nanos() as u64 | 1);
    let mut random = Random(seed);
    for round in 0..rounds {
        let bundle = Bundle::new(FOREVER);
        let verb = VERBS[(round % VERBS.len() as u64) as usize];
        let mut child = start(&bundle, verb);
        sleep(Duration::from_millis(random.below(MOMENTS)));
        let victim = kill_one(&bundle, &mut child, &mut random);
        let what = format!("{verb}, {victim} killed (round {round}, seed {seed})");
        // These end by themselves whoever else was killed; the others last as long as the container.
        if !matches!(verb, "exec" | "run") {
            wait_for(&format!("the end of {what}"), || {
                child.try_wait().unwrap().is_some()
            });
        }
        bundle.removed_without_trace();
        wait_for(&format!("the end of {what}"), || {
            child.try_wait().unwrap().is_some()
        });
        wait_for(&format!("no process after {what}"), || {
            titled(&bundle.id).is_empty()
        });
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&bundle.id), "{what}: {mounts}");
        let left = fs::read_dir(bundle.state_dir()).map_or(0, |entries| entries.count());
        assert_eq!(left, 0, "{what}");
    }
}
