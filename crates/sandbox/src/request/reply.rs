//! What a sandbox answers, and what of it may be believed: any sentry may have been taken over.

use abi::Errno;
use kernel::task::PID_MAX;
use serde::{Deserialize, Serialize};

use crate::words::{MAX_LINE, one_line};

/// Longest name of a process (TASK_COMM_LEN without its end).
const MAX_NAME: usize = 15;
/// States as /proc/PID/stat has them, and one for what is none of these.
const STATES: &str = "RSDTtZXI?";
const MAX_SIGNAL: i32 = 64;

/// What a sandbox answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// The process runs, with this id inside.
    Started(u32),
    /// The process exited.
    Exited(u8),
    /// The process was killed by this signal.
    Killed(i32),
    /// The processes.
    Processes(Vec<ProcessInfo>),
    /// There is no such container, or it does not run any more.
    NotRunning,
    /// It could not be done: exit status (126, 127 for programs that cannot be run; else 125) and one line.
    Failed(u8, String),
}

/// A process as `ps` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its id inside.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its user.
    pub uid: u32,
    /// Its name.
    pub name: String,
    /// Threads.
    pub threads: usize,
    /// State as /proc/PID/stat has it.
    pub state: char,
    /// The host's process that holds its memory, by its id in the sandbox's process namespace there; `None`: it has ended.
    pub host_pid: Option<i32>,
}

impl Reply {
    /// The same, if its numbers are such as a kernel has, and with words that can be shown. `EBADMSG`: no sentry says so.
    pub(super) fn checked(self) -> Result<Reply, Errno> {
        let good = match &self {
            Reply::Started(pid) => is_pid(*pid),
            Reply::Killed(signal) => (1..=MAX_SIGNAL).contains(signal),
            Reply::Processes(processes) => {
                processes.len() <= PID_MAX as usize && processes.iter().all(ProcessInfo::is_good)
            }
            Reply::Done | Reply::Exited(_) | Reply::NotRunning | Reply::Failed(..) => true,
        };
        match self {
            _ if !good => Err(Errno::EBADMSG),
            Reply::Failed(status, text) => Ok(Reply::Failed(status, one_line(&text, MAX_LINE))),
            Reply::Processes(mut processes) => {
                for process in &mut processes {
                    process.name = one_line(&process.name, MAX_NAME);
                }
                Ok(Reply::Processes(processes))
            }
            other => Ok(other),
        }
    }
}

fn is_pid(pid: u32) -> bool {
    (1..=PID_MAX).contains(&pid)
}

impl ProcessInfo {
    fn is_good(&self) -> bool {
        is_pid(self.pid)
            // The first process has none.
            && self.parent <= PID_MAX
            && self.threads <= PID_MAX as usize
            && STATES.contains(self.state)
            && self.host_pid.is_none_or(|pid| pid > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> ProcessInfo {
        ProcessInfo {
            pid: 1,
            parent: 0,
            uid: u32::MAX,
            name: "sh".into(),
            threads: 1,
            state: 'S',
            host_pid: Some(2),
        }
    }

    #[test]
    fn what_a_sentry_says_passes() {
        for reply in [
            Reply::Done,
            Reply::Started(77),
            Reply::Exited(255),
            Reply::Killed(64),
            Reply::Processes(vec![process()]),
            Reply::NotRunning,
            Reply::Failed(127, "no such program".into()),
        ] {
            assert_eq!(reply.clone().checked(), Ok(reply));
        }
    }

    #[test]
    fn numbers_that_no_kernel_has_are_refused() {
        let with = |change: fn(&mut ProcessInfo)| {
            let mut process = process();
            change(&mut process);
            Reply::Processes(vec![process])
        };
        for reply in [
            Reply::Started(0),
            Reply::Started(u32::MAX),
            Reply::Killed(0),
            Reply::Killed(-9),
            Reply::Killed(65),
            with(|process| process.pid = 0),
            with(|process| process.parent = u32::MAX),
            with(|process| process.threads = usize::MAX),
            with(|process| process.state = '\u{1b}'),
            with(|process| process.host_pid = Some(0)),
            with(|process| process.host_pid = Some(-1)),
            Reply::Processes(vec![process(); PID_MAX as usize + 1]),
        ] {
            assert_eq!(reply.checked(), Err(Errno::EBADMSG));
        }
    }

    #[test]
    fn words_are_made_one_short_line() {
        let long = format!("\u{1b}]0;owned\u{7}{}", "x".repeat(9999));
        match Reply::Failed(1, long).checked() {
            Ok(Reply::Failed(1, text)) => {
                assert!(text.starts_with("]0;ownedx") && text.len() == MAX_LINE);
            }
            other => panic!("{other:?}"),
        }
        let mut named = process();
        named.name = "\u{202e}\nname that is much too long".into();
        match Reply::Processes(vec![named]).checked() {
            Ok(Reply::Processes(list)) => assert_eq!(list[0].name, "name that is mu"),
            other => panic!("{other:?}"),
        }
    }
}
