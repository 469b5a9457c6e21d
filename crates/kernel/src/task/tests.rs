//! Processes and signals in one kernel without a machine.

use std::sync::Arc;

use abi::{AbiField, Errno};
use platform::Event;
use platform::scripted::ScriptedContext;

use super::*;
use crate::testing::Guest;

/// A child of `parent` whose guest code makes the queued system calls.
fn child(guest: &Guest, flags: u64) -> u32 {
    guest
        .task
        .clone_task(&CloneArgs {
            flags,
            exit_signal: 17,
            ..CloneArgs::default()
        })
        .unwrap()
}

#[test]
fn a_child_whose_guest_thread_dies_is_waited_for_as_killed() {
    let guest = Guest::new();
    // A scripted context without events reports its death: the process ends like by SIGKILL.
    let pid = child(&guest, 0);
    let status = guest.room(4);
    assert_eq!(
        guest.call("wait4", &[u64::MAX, status.0, 0, 0]),
        Ok(u64::from(pid))
    );
    assert_eq!(guest.read_u32(status), 9);
    assert_eq!(guest.call("wait4", &[u64::MAX, 0, 0, 0]), Err(Errno::ECHILD));
}

#[test]
fn vfork_returns_once_the_child_has_ended() {
    let guest = Guest::new();
    let pid = child(&guest, clone_flags::VM | clone_flags::VFORK);
    assert_eq!(
        guest.call("wait4", &[u64::from(pid), 0, 0, 0]),
        Ok(u64::from(pid))
    );
}

#[test]
fn waiting_for_a_process_that_is_no_child_fails() {
    let guest = Guest::new();
    assert_eq!(guest.call("wait4", &[77, 0, 0, 0]), Err(Errno::ECHILD));
    assert_eq!(guest.call("wait4", &[77, 0, 0x10, 0]), Err(Errno::EINVAL));
    assert_eq!(guest.call("waitid", &[0, 0, 0, 0, 0]), Err(Errno::EINVAL));
}

#[test]
fn flags_that_need_each_other_are_checked() {
    let guest = Guest::new();
    for flags in [
        clone_flags::THREAD,
        clone_flags::SIGHAND,
        clone_flags::NEWUSER | clone_flags::FS,
        clone_flags::NEWPID | clone_flags::THREAD | clone_flags::SIGHAND | clone_flags::VM,
    ] {
        let args = CloneArgs {
            flags,
            ..CloneArgs::default()
        };
        assert_eq!(guest.task.clone_task(&args), Err(Errno::EINVAL));
    }
    guest.become_user(1000, 1000);
    let args = CloneArgs {
        flags: clone_flags::NEWNET,
        ..CloneArgs::default()
    };
    assert_eq!(guest.task.clone_task(&args), Err(Errno::EPERM));
}

#[test]
fn sessions_and_process_groups_follow_their_rules() {
    let guest = Guest::new();
    assert_eq!(guest.call("getsid", &[0]), Ok(1));
    assert_eq!(guest.call("setsid", &[]), Err(Errno::EPERM));
    assert_eq!(guest.call("setpgid", &[0, 0]), Err(Errno::EPERM));
    assert_eq!(guest.call("getpgid", &[99]), Err(Errno::ESRCH));
}

/// Runs the task of a guest in its loop with these events; returns the first process's wait status.
fn run(guest: Guest, events: Vec<(Event, [u64; 4])>) -> i32 {
    let kernel = guest.kernel.clone();
    let mut context = ScriptedContext::default();
    for (event, args) in events {
        context.queue(event, args);
    }
    *guest.task.context.borrow_mut() = Box::new(context);
    let Guest { task, .. } = guest;
    task.run();
    kernel.wait_init()
}

#[test]
fn the_first_process_ends_the_sandbox_with_its_status() {
    assert_eq!(run(Guest::new(), vec![(Event::Syscall, [231, 3, 0, 0])]), 3 << 8);
}

#[test]
fn a_fatal_signal_ends_the_process() {
    let guest = Guest::new();
    let status = run(
        guest,
        vec![(Event::Syscall, [62, 1, 15, 0]), (Event::Syscall, [39, 0, 0, 0])],
    );
    assert_eq!(status, 15);
}

#[test]
fn a_handler_gets_a_frame_and_sigreturn_undoes_it() {
    let guest = Guest::new();
    let action = guest.room(32);
    let stack = guest.room(16384).0 + 16000;
    let mut bytes = vec![0; 32];
    0x40_0000_u64.put(&mut bytes[0..]);
    0x0400_0004_u64.put(&mut bytes[8..]);
    0x40_1000_u64.put(&mut bytes[16..]);
    guest.task.copy_out(action, &bytes).unwrap();
    guest.call("rt_sigaction", &[10, action.0, 0, 8]).unwrap();
    {
        let mut context = guest.task.context.borrow_mut();
        let regs = context.regs_mut();
        (regs.rip, regs.rsp, regs.rbx, regs.rax) = (0x5555, stack, 77, 5);
    }
    guest.call("kill", &[1, 10]).unwrap();
    assert_eq!(
        crate::signal::attend(&guest.task, None),
        crate::signal::Flow::Handler
    );
    let regs = *guest.task.context.borrow().regs();
    assert_eq!((regs.rip, regs.rdi), (0x40_0000, 10));
    assert_eq!(regs.rsp % 16, 8);
    assert_eq!(guest.read_u64(abi::UserAddr(regs.rsp)), 0x40_1000);
    // si_signo, si_pid.
    assert_eq!(guest.read_u32(abi::UserAddr(regs.rsi)), 10);
    assert_eq!(guest.read_u32(abi::UserAddr(regs.rsi + 16)), 1);
    assert!(guest.task.signal_mask().has(10));
    guest.task.context.borrow_mut().regs_mut().rsp += 8;
    guest.task.context.borrow_mut().regs_mut().rbx = 0;
    assert_eq!(guest.call("rt_sigreturn", &[]), Err(Errno::EJUSTRETURN));
    let regs = *guest.task.context.borrow().regs();
    assert_eq!((regs.rip, regs.rsp, regs.rbx, regs.rax), (0x5555, stack, 77, 5));
    assert!(!guest.task.signal_mask().has(10));
}

#[test]
fn a_bad_frame_is_a_segmentation_fault() {
    let guest = Guest::new();
    guest.task.context.borrow_mut().regs_mut().rsp = guest.bad().0;
    assert_eq!(guest.call("rt_sigreturn", &[]), Err(Errno::EJUSTRETURN));
    assert_eq!(
        crate::signal::attend(&guest.task, None),
        crate::signal::Flow::Exit(11)
    );
}

#[test]
fn sigtimedwait_takes_a_blocked_signal_and_times_out_without_one() {
    let guest = Guest::new();
    let set = guest.bytes(&(1_u64 << 9).to_le_bytes());
    guest.call("rt_sigprocmask", &[0, set.0, 0, 8]).unwrap();
    guest.call("kill", &[1, 10]).unwrap();
    let info = guest.room(128);
    assert_eq!(guest.call("rt_sigtimedwait", &[set.0, info.0, 0, 8]), Ok(10));
    assert_eq!(guest.read_u32(info), 10);
    let zero = guest.bytes(&[0; 16]);
    assert_eq!(
        guest.call("rt_sigtimedwait", &[set.0, 0, zero.0, 8]),
        Err(Errno::EAGAIN)
    );
}

#[test]
fn tasks_share_nothing_that_keeps_them_alive() {
    let guest = Guest::new();
    let pid = child(&guest, 0);
    let group = guest
        .kernel
        .pids
        .read()
        .group(pid)
        .map(|entry| entry.group.clone());
    guest.call("wait4", &[u64::from(pid), 0, 0, 0]).unwrap();
    if let Some(group) = group {
        // The thread list is empty, so no cycle keeps tasks.
        assert!(group.signals.lock().threads.is_empty());
        assert!(Arc::strong_count(&group) >= 1);
    }
}

#[test]
fn a_protected_first_process_ends_by_no_default_action_but_that_of_sigkill_from_outside() {
    let guest = Guest::new();
    guest.task.group.signals.lock().protected = true;
    guest.call("kill", &[1, 15]).unwrap();
    guest.call("kill", &[1, 9]).unwrap();
    assert_eq!(
        crate::signal::attend(&guest.task, None),
        crate::signal::Flow::Continue
    );
    // Blocked ones are kept, and thrown away later.
    let set = guest.bytes(&u64::MAX.to_le_bytes());
    guest.call("rt_sigprocmask", &[0, set.0, 0, 8]).unwrap();
    guest.kernel.signal_init(1);
    guest.call("rt_sigprocmask", &[1, set.0, 0, 8]).unwrap();
    guest.kernel.signal_init(15);
    assert_eq!(
        crate::signal::attend(&guest.task, None),
        crate::signal::Flow::Continue
    );
    guest.kernel.signal_init(9);
    assert_eq!(
        crate::signal::attend(&guest.task, None),
        crate::signal::Flow::Exit(9)
    );
}

#[test]
fn a_fault_ends_a_protected_first_process() {
    let guest = Guest::new();
    guest.task.group.signals.lock().protected = true;
    crate::signal::force_signal(&guest.task, crate::signal::SigInfo::kernel(11));
    assert_eq!(
        crate::signal::attend(&guest.task, None),
        crate::signal::Flow::Exit(11)
    );
}

#[test]
fn a_temporary_mask_lets_a_signal_through_and_comes_back() {
    let guest = Guest::new();
    let set = guest.bytes(&(1_u64 << 16).to_le_bytes());
    guest.call("rt_sigprocmask", &[0, set.0, 0, 8]).unwrap();
    let before = guest.task.signal_mask();
    guest.task.set_temporary_mask(crate::signal::SigSet::default());
    assert!(!guest.task.signal_mask().has(17));
    assert_eq!(
        crate::signal::attend(&guest.task, None),
        crate::signal::Flow::Continue
    );
    assert_eq!(guest.task.signal_mask(), before);
}

#[test]
fn a_standard_signal_is_queued_once_and_real_time_signals_each_time() {
    let guest = Guest::new();
    let set = guest.bytes(&u64::MAX.to_le_bytes());
    guest.call("rt_sigprocmask", &[0, set.0, 0, 8]).unwrap();
    for _ in 0..3 {
        guest.call("kill", &[1, 10]).unwrap();
        guest.call("kill", &[1, 40]).unwrap();
    }
    let numbers: Vec<u32> = guest
        .task
        .group
        .signals
        .lock()
        .pending
        .iter()
        .map(|info| info.signal)
        .collect();
    assert_eq!(numbers, [10, 40, 40, 40]);
}

#[test]
fn process_ids_come_round_and_skip_those_in_use() {
    let guest = Guest::new();
    let mut table = guest.kernel.pids.write();
    table.last_pid = PID_MAX - 1;
    assert_eq!(table.allocate(), Ok(300));
    assert_eq!(table.reserve(1), Err(Errno::EEXIST));
    assert_eq!(table.reserve(PID_MAX), Err(Errno::EINVAL));
}

#[test]
fn a_call_with_a_relative_timeout_keeps_its_deadline() {
    let guest = Guest::new();
    guest.task.set_serving(35);
    let first = guest.task.deadline_after(std::time::Duration::from_secs(5));
    assert_eq!(guest.task.interrupted_until(first), Errno::ERESTART_RESTARTBLOCK);
    guest.task.resumed.set(guest.task.restart.take());
    assert_eq!(
        guest.task.deadline_after(std::time::Duration::from_secs(5)),
        first
    );
    assert_ne!(
        guest.task.deadline_after(std::time::Duration::from_secs(5)),
        first
    );
}
