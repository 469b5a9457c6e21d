//! Sentry threads: one serves one task at a time, and waits a while for the next when that has ended. Making a
//! thread takes the host several times as long as waking one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::Errno;
use platform::Context;
use sync::{Mutex, Waiter, rank};

use super::{CurrentTask, Task};
use crate::mm::Mm;

/// Stack of a sentry thread, in bytes: the deepest path walk and the largest local buffers fit several times.
/// Unoptimised code takes more.
const STACK_BYTES: usize = if cfg!(debug_assertions) {
    2 << 20
} else {
    512 << 10
};
/// Most threads that wait for work: each keeps a few pages of stack.
const MAX_IDLE: usize = 8;
/// How long they wait.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// A task for a thread.
struct Job {
    task: Arc<Task>,
    context: Box<dyn Context>,
    mm: Arc<Mm>,
}

/// A thread that waits.
struct Worker {
    job: Mutex<Option<Job>>,
    waiter: Waiter,
}

/// The waiting ones; the last to come is the first to go, while the host's caches still know it.
static IDLE: Mutex<Vec<Arc<Worker>>> = Mutex::new(rank::LEAF, Vec::new());

/// Has a sentry thread serve `task`. `EAGAIN` when the host gives no thread.
pub fn spawn(task: Arc<Task>, context: Box<dyn Context>, mm: Arc<Mm>) -> Result<(), Errno> {
    let job = Job { task, context, mm };
    let idle = IDLE.lock().pop();
    if let Some(worker) = idle {
        *worker.job.lock() = Some(job);
        worker.waiter.notify();
        return Ok(());
    }
    let worker = Arc::new(Worker {
        job: Mutex::new(rank::LEAF, None),
        waiter: Waiter::default(),
    });
    let builder = std::thread::Builder::new()
        .name(format!("task-{}", job.task.tid))
        .stack_size(STACK_BYTES);
    builder
        .spawn(move || serve(&worker, job))
        .map(|_| ())
        .map_err(|_| Errno::EAGAIN)
}

fn serve(worker: &Arc<Worker>, first: Job) {
    let mut next = Some(first);
    while let Some(job) = next {
        CurrentTask::new(job.task, job.context, job.mm).run();
        next = wait(worker);
    }
}

/// The next job; `None`: there are enough that wait, or it took too long.
fn wait(worker: &Arc<Worker>) -> Option<Job> {
    {
        let mut idle = IDLE.lock();
        if idle.len() >= MAX_IDLE {
            return None;
        }
        idle.push(worker.clone());
    }
    let deadline = Instant::now() + IDLE_TIME;
    loop {
        let late = !worker.waiter.wait(Some(deadline));
        if let Some(job) = worker.job.lock().take() {
            return Some(job);
        }
        if late {
            let mut idle = IDLE.lock();
            let place = idle.iter().position(|other| Arc::ptr_eq(other, worker));
            if let Some(place) = place {
                idle.remove(place);
                return None;
            }
            // Taken off a moment ago: the job is on its way.
            drop(idle);
            worker.waiter.wait(None);
            return worker.job.lock().take();
        }
    }
}
