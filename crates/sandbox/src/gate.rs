//! Where the first process of a container waits for its start.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sync::{Mutex, rank};

use crate::control::FromSentry;

/// Longest wait until an answer has been sent.
const SENDING: Duration = Duration::from_secs(1);

/// What the waiting process is told.
pub enum Go {
    /// Start; the answer is waited for.
    Start(Answer),
    /// A signal came that would have killed it.
    Die(i32),
}

/// The way back from the process that was started to who asked for it.
pub struct Answer {
    result: Sender<Result<(), FromSentry>>,
    sent: Receiver<()>,
}

impl Answer {
    /// Gives the result, and waits until it has been sent: the end of a short process must not overtake it.
    pub fn give(self, result: Result<(), FromSentry>) {
        if self.result.send(result).is_ok() {
            let _ = self.sent.recv_timeout(SENDING);
        }
    }
}

/// Whether the first process waits, and the way to it. Open unless [`Gate::close`] was called.
pub struct Gate(Mutex<Option<Sender<Go>>>);

impl Default for Gate {
    fn default() -> Gate {
        Gate(Mutex::new(rank::LEAF, None))
    }
}

impl Gate {
    /// From now on the first process waits at the returned end.
    pub fn close(&self) -> Receiver<Go> {
        let (sender, receiver) = channel();
        *self.0.lock() = Some(sender);
        receiver
    }

    /// Lets the process go and hands the result to `answer`. False when it was not waiting.
    pub fn open(&self, answer: impl FnOnce(Result<(), FromSentry>)) -> bool {
        let Some(gate) = self.0.lock().take() else {
            return false;
        };
        let (result, outcome) = channel();
        let (done, sent) = channel();
        if gate.send(Go::Start(Answer { result, sent })).is_err() {
            return false;
        }
        let gone = FromSentry::Failed(125, "the sandbox has ended".into());
        answer(outcome.recv().unwrap_or(Err(gone)));
        let _ = done.send(());
        true
    }

    /// A signal for the process: one that waits dies of it, if it is of those that kill. False when it does not wait.
    pub fn signal(&self, signal: u32) -> bool {
        use abi::signal::{SIGCHLD, SIGCONT, SIGURG, SIGWINCH};
        let mut gate = self.0.lock();
        if gate.is_none() {
            return false;
        }
        if ![SIGCHLD, SIGCONT, SIGURG, SIGWINCH].contains(&signal)
            && let Some(gate) = gate.take()
        {
            let _ = gate.send(Go::Die(signal as i32));
        }
        true
    }
}
