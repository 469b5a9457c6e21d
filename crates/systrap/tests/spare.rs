//! Processes that are made ahead: handed out in order, replaced when one is gone, and none left at the end.
//! One test, since it counts the children of its own process.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use support::{CODE, load, read_u64, syscall, thread};
use systrap::{Space, Systrap};

snippet!(
    storing,
    "80: mov qword ptr [rdi], 77",
    "mov eax, 1000",
    "syscall",
    "jmp 80b"
);

fn children() -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    for task in std::fs::read_dir("/proc/self/task").expect("own tasks") {
        let list = task.expect("a task").path().join("children");
        let list = std::fs::read_to_string(list).unwrap_or_default();
        all.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    all
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether all of it has ended, though nobody has asked how.
fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    stat.contains(") Z ") && threads == 1
}

fn runs(space: &Space) {
    load(space, storing());
    let mut context = thread(space);
    for _ in 0..3 {
        assert_eq!(syscall(&mut *context), 1000);
        assert_eq!(read_u64(space, support::DATA), 77);
    }
    assert!(context.regs().rip >= CODE);
}

#[test]
fn processes_are_made_ahead_and_none_is_left() {
    let engine = Systrap::new().expect("engine");
    let zygote = children();
    assert_eq!(zygote.len(), 1);
    let first = engine.space().expect("first");
    assert_eq!(children().len(), 2, "one process needs no spare one");
    let second = engine.space().expect("second");
    eventually("a spare process", || children().len() == 4);
    let known = [first.pid(), second.pid()];
    let spare = |known: &[i32]| -> i32 {
        let mut rest = children().difference(&zygote).copied().collect::<BTreeSet<_>>();
        rest.retain(|pid| !known.contains(pid));
        assert_eq!(rest.len(), 1);
        rest.into_iter().next().expect("a spare process")
    };
    // The spare one is the next, and works.
    let expected = spare(&known);
    let third = engine.space().expect("third");
    assert_eq!(third.pid(), expected);
    eventually("another spare process", || children().len() == 5);
    // One that somebody ends meanwhile is not handed out.
    let known = [first.pid(), second.pid(), third.pid()];
    let victim = spare(&known);
    // SAFETY: a signal to a child of ours that has not been reaped.
    assert_eq!(unsafe { libc::kill(victim, libc::SIGKILL) }, 0);
    eventually("the end of a spare process", || is_zombie(victim));
    let fourth = engine.space().expect("fourth");
    assert_ne!(fourth.pid(), victim);
    for space in [&first, &second, &third, &fourth] {
        runs(space);
    }
    drop((first, second, third, fourth, engine));
    eventually("no process is left", || children().is_empty());
}
