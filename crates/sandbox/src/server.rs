//! The control socket's side in the sandbox: one thread takes connections, one serves each.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use abi::signal::SIGKILL;
use host::tty::WindowSize;
use kernel::signal::{SigInfo, send_to_group};
use platform::Title;

use crate::config::Terminal;
use crate::container::Process;
use crate::control::FromSentry;
use crate::network;
use crate::process::{self, Files, Role};
use crate::request::{Connection, ProcessInfo, Reply, Request};
use crate::serve::{Sandbox, outcome};

/// Most connections at a time: each takes a thread or two.
const MAX_CONNECTIONS: usize = 512;
/// Most forwarded connections at a time: each takes two threads. Apart from the others, so that peers of the network and guests that
/// keep theirs open for ever do not keep requests out.
const MAX_FORWARDED: usize = 256;

/// One of a bounded number of places; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Place> {
        let place = Place(taken.clone());
        (taken.fetch_add(1, Ordering::SeqCst) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts to serve requests.
pub fn start(sandbox: &Arc<Sandbox>, listener: OwnedFd) -> Result<(), Errno> {
    let sandbox = sandbox.clone();
    thread("requests", move || accept(&sandbox, &listener))
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(body).map(drop).map_err(|_| Errno::EAGAIN)
}

fn accept(sandbox: &Arc<Sandbox>, listener: &OwnedFd) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let socket = match host::socket::accept(listener.as_fd()) {
            Ok(socket) => socket,
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
            // No descriptor is left for it: it waits in the queue.
            Err(_) => {
                std::thread::sleep(std::time::Duration::from_millis(100));
                continue;
            }
        };
        let Some(place) = Place::take(&open, MAX_CONNECTIONS) else {
            continue;
        };
        let sandbox = sandbox.clone();
        let connection = Connection::over(socket);
        // Without a thread the connection is closed, which says enough.
        let _ = thread("request", move || {
            let _place = place;
            serve(&sandbox, &connection);
        });
    }
}

/// Serves one connection: requests, one after the other.
fn serve(sandbox: &Arc<Sandbox>, connection: &Connection) {
    let mut fds = Vec::new();
    while let Ok(Some(request)) = connection.receive_request(&mut fds) {
        let fds = std::mem::take(&mut fds);
        let answer = match request {
            Request::Start { container, network } if container == sandbox.id => {
                if let Err(error) = network::start(&sandbox.kernel, &network, fds) {
                    let text = format!("network: {}", std::io::Error::from_raw_os_error(error.raw()));
                    if connection.send(&Reply::Failed(125, text), &[]).is_err() {
                        return;
                    }
                    continue;
                }
                let waited = sandbox.gate.open(|started| {
                    let reply = match started {
                        Ok(()) => Reply::Done,
                        Err(why) => failed(why),
                    };
                    let _ = connection.send(&reply, &[]);
                });
                if waited {
                    continue;
                }
                Reply::Failed(125, "the container was started before".into())
            }
            Request::Signal {
                container,
                signal,
                all,
            } if container == sandbox.id => signal_container(sandbox, signal, all),
            Request::Update { container, limits } if container == sandbox.id => {
                limits.hold_for(&sandbox.kernel);
                Reply::Done
            }
            Request::List { container } if container == sandbox.id => Reply::Processes(list(sandbox)),
            Request::Forward { container, port } if container == sandbox.id => {
                forward(sandbox, fds, port);
                continue;
            }
            Request::Exec {
                container,
                process,
                terminal,
            } if container == sandbox.id => match Entered::start(sandbox, *process, terminal.as_ref(), fds) {
                Ok(entered) => {
                    entered.serve(sandbox, connection);
                    return;
                }
                Err(why) => failed(why),
            },
            Request::SignalProcess(_) | Request::Resize(_) => {
                Reply::Failed(125, "no process was started on this connection".into())
            }
            _ => Reply::NotRunning,
        };
        if connection.send(&answer, &[]).is_err() {
            return;
        }
    }
}

/// Has a thread serve the stream that came with the request. Where none can, the stream is closed, which says enough.
fn forward(sandbox: &Arc<Sandbox>, fds: Vec<OwnedFd>, port: u16) {
    let place = Place::take(&sandbox.forwarded, MAX_FORWARDED);
    let (Some(stream), Some(place)) = (fds.into_iter().next(), place) else {
        return;
    };
    let kernel = sandbox.kernel.clone();
    let _ = thread("forward", move || {
        let _place = place;
        crate::forward::serve(&kernel, &stream, port);
    });
}

fn failed(why: FromSentry) -> Reply {
    match why {
        FromSentry::Exited(status) => Reply::Exited(status),
        FromSentry::Killed(signal) => Reply::Killed(signal),
        FromSentry::Failed(status, message) => Reply::Failed(status, message),
        FromSentry::Ready => Reply::Done,
    }
}

fn signal_container(sandbox: &Sandbox, signal: u32, all: bool) -> Reply {
    if !(1..=64).contains(&signal) {
        return Reply::Failed(125, format!("no such signal: {signal}"));
    }
    if sandbox.kernel.init_status().is_some() {
        return Reply::NotRunning;
    }
    if all && !sandbox.gate.signal(signal) {
        sandbox.kernel.signal_all(signal);
    } else if !all {
        sandbox.signal(signal);
    }
    Reply::Done
}

fn list(sandbox: &Sandbox) -> Vec<ProcessInfo> {
    let table = sandbox.kernel.pids.read();
    let info = |(pid, entry): (&u32, &kernel::task::GroupEntry)| ProcessInfo {
        pid: *pid,
        parent: entry.parent,
        uid: entry.leader.cred().euid,
        name: String::from_utf8_lossy(&entry.leader.comm.lock()).into_owned(),
        threads: entry.tasks.len(),
        state: match entry.zombie {
            Some(_) => 'Z',
            None => char::from_u32(entry.leader.run_state.load(Ordering::Relaxed)).unwrap_or('?'),
        },
        host_pid: None,
    };
    let mut processes: Vec<ProcessInfo> = table.groups.iter().map(info).collect();
    let leaders: Vec<_> = table.groups.values().map(|entry| entry.leader.clone()).collect();
    drop(table);
    for (process, leader) in processes.iter_mut().zip(leaders) {
        process.host_pid = show_outside(&leader);
    }
    processes
}

/// Has the host's tools show a process as the guest's would; its process on the host.
fn show_outside(leader: &kernel::task::Task) -> Option<i32> {
    let mm = leader.mm()?;
    let layout = mm.layout();
    let title = Title {
        name: leader.comm.lock().to_vec(),
        arguments: (layout.arg_start, layout.arg_end),
        environment: (layout.env_start, layout.env_end),
    };
    mm.space.show_as(&title)
}

/// A process that was brought in.
struct Entered {
    task: Arc<kernel::task::Task>,
    files: Files,
}

impl Entered {
    fn start(
        sandbox: &Arc<Sandbox>,
        process: Process,
        terminal: Option<&Terminal>,
        fds: Vec<OwnedFd>,
    ) -> Result<Entered, FromSentry> {
        let Sandbox {
            kernel, poller, root, ..
        } = &**sandbox;
        let uid = process.user.uid;
        let files = Files::open(kernel, poller, root, fds, terminal, uid).map_err(|errno| {
            crate::boot::failed(125, &format!("descriptors: {}", crate::boot::words(errno)))
        })?;
        let task = process::start(kernel, root.clone(), process, &files, Role::Entered, || Ok(()))?;
        Ok(Entered { task, files })
    }

    /// Serves the rest of its connection, and tells its end. When the connection is closed before, the process is killed.
    fn serve(self, sandbox: &Arc<Sandbox>, connection: &Connection) {
        let pid = self.task.tid;
        let _ = connection.send(&Reply::Started(pid), &[]);
        let group = self.task.group.clone();
        std::thread::scope(|scope| {
            sandbox.replies.fetch_add(1, Ordering::SeqCst);
            let waiter = std::thread::Builder::new().name("entered".into());
            let waiting = waiter.spawn_scoped(scope, || {
                let status = sandbox.kernel.wait_entered(pid).unwrap_or(SIGKILL as i32);
                if let Some(terminal) = &self.files.terminal {
                    terminal.drain();
                }
                let _ = connection.send(&failed(outcome(status)), &[]);
                sandbox.replies.fetch_sub(1, Ordering::SeqCst);
            });
            if waiting.is_err() {
                sandbox.replies.fetch_sub(1, Ordering::SeqCst);
                sandbox.kernel.forget_entered(pid);
            }
            let mut fds = Vec::new();
            while let (Ok(_), Ok(Some(request))) = (&waiting, connection.receive_request(&mut fds)) {
                fds.clear();
                match request {
                    Request::SignalProcess(signal) if (1..=64).contains(&signal) => {
                        send_to_group(&group, SigInfo::kernel(signal));
                    }
                    Request::Resize([rows, columns, x_pixels, y_pixels]) => {
                        if let Some(terminal) = &self.files.terminal {
                            terminal.resize(WindowSize {
                                rows,
                                columns,
                                x_pixels,
                                y_pixels,
                            });
                        }
                    }
                    _ => {}
                }
            }
            send_to_group(&group, SigInfo::kernel(SIGKILL));
        });
    }
}
