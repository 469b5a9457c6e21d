//! `tegmen port-forward` at work: takes connections of the host's network, and passes each on to the sandbox.
//!
//! Peers of the network and the sandbox are both hostile. One thread, which never waits for one of them; no capability, no
//! descriptor but the listeners and the sandbox's socket, and a filter that leaves nothing to connect to or to open
//! (`host::surface::FORWARD`). The sandbox is asked over the only connection that it has; each stream is one of a pair
//! made here, whose other end is sent there.

pub mod flow;

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use abi::Errno;
use host::poll::Epoll;
use host::{fd, inet, ns, socket};
use sandbox::request::{Connection, Request};

use crate::failure::{Failure, OWN_ERROR, While};
use crate::supervise;
use flow::{Flow, Next};

/// Connections at a time: each takes two threads in the sandbox.
const MOST: usize = 200;
/// When all places are taken, one that was quiet for so long makes room for a new one.
const QUIET: Duration = Duration::from_secs(60);
/// How long the sandbox may take to connect: a listener inside may have a full queue.
const ANSWER: Duration = Duration::from_secs(30);
/// Before connections are taken again when there was no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// How often connections that got no answer are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// Connections of one listener before others have their turn.
const BATCH: usize = 64;
/// Between two lines on standard error, which peers could fill otherwise.
const SILENCE: Duration = Duration::from_secs(1);

/// Token of the sandbox's socket. Others: a listener's number or a flow's, and what it is in the low bits.
const CONTROL: u64 = 0;
const LISTENER: u64 = 1;
const CLIENT: u64 = 2;
const INSIDE: u64 = 3;

/// A port of the host.
pub struct Port {
    /// Where connections come.
    pub listener: TcpListener,
    /// The port inside.
    pub inside: u16,
}

struct Listener {
    socket: OwnedFd,
    inside: u16,
    /// There may be connections.
    ready: bool,
    /// Not before.
    not_before: Option<Instant>,
}

struct Forwarder {
    control: Connection,
    container: String,
    listeners: Vec<Listener>,
    epoll: Epoll,
    flows: BTreeMap<u64, Flow>,
    last: u64,
    /// Flows with something to do.
    queue: VecDeque<u64>,
    said: Option<Instant>,
}

/// Serves until the container has ended. The process's last work.
pub fn run(control: Connection, container: String, ports: Vec<Port>) -> Result<u8, Failure> {
    let doing = "port forwarding";
    let epoll = Epoll::new().while_doing(doing)?;
    epoll
        .add_edges(control.as_fd(), CONTROL)
        .while_doing("control socket")?;
    let mut listeners = Vec::new();
    for (number, port) in (0..).zip(ports) {
        port.listener.set_nonblocking(true).while_doing(doing)?;
        let socket = OwnedFd::from(port.listener);
        // Connections have what their listener has.
        inet::notice_lost_peers(socket.as_fd()).while_doing(doing)?;
        epoll
            .add_edges(socket.as_fd(), number << 2 | LISTENER)
            .while_doing(doing)?;
        listeners.push(Listener {
            socket,
            inside: port.inside,
            ready: true,
            not_before: None,
        });
    }
    let mut keep = vec![control.as_fd(), epoll.as_fd()];
    keep.extend(listeners.iter().map(|listener| listener.socket.as_fd()));
    fd::close_all_but(&keep).while_doing("closing descriptors")?;
    supervise::give_up_capabilities()?;
    host::surface::close_forwarder(sandbox::call_name).while_doing("filter of host calls")?;
    let mut forwarder = Forwarder {
        control,
        container,
        listeners,
        epoll,
        flows: BTreeMap::new(),
        last: 0,
        queue: VecDeque::new(),
        said: None,
    };
    // The way back through `main` would make calls that the filter does not have.
    match forwarder.serve() {
        Ok(()) => {
            eprintln!("tegmen: the container has ended");
            ns::exit_now(0)
        }
        Err(failure) => {
            eprintln!("tegmen: {}", failure.shown());
            ns::exit_now(i32::from(OWN_ERROR))
        }
    }
}

impl Forwarder {
    fn serve(&mut self) -> Result<(), Failure> {
        let mut events = Vec::new();
        let mut swept = Instant::now();
        loop {
            let patience = self.patience();
            self.epoll
                .wait_until(Some(patience), |token, what| events.push((token, what)))
                .while_doing("waiting for connections")?;
            for (token, what) in events.drain(..) {
                match token & 3 {
                    CONTROL if self.has_ended()? => return Ok(()),
                    LISTENER => self.arrived(token >> 2),
                    kind @ (CLIENT | INSIDE) => self.happened(token >> 2, kind == CLIENT, what),
                    _ => {}
                }
            }
            for number in 0..self.listeners.len() {
                self.accept(number);
            }
            for _ in 0..self.queue.len() {
                if let Some(id) = self.queue.pop_front() {
                    self.pump(id);
                }
            }
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                self.sweep();
            }
        }
    }

    /// How long nothing will be to do unless something comes.
    fn patience(&self) -> Duration {
        let ready = || self.listeners.iter().filter(|listener| listener.ready);
        if !self.queue.is_empty() || ready().any(|listener| listener.not_before.is_none()) {
            Duration::ZERO
        } else if ready().next().is_some() {
            PAUSE
        } else {
            SWEEP
        }
    }

    /// Nothing comes on the sandbox's socket until the end of it.
    fn has_ended(&self) -> Result<bool, Failure> {
        match inet::receive(self.control.as_fd(), &mut [0; 64]) {
            Ok(0) => Ok(true),
            Ok(_) => Err(Failure::own("the sandbox sends what nobody asked it for")),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            // It ended with a request that it had not read.
            Err(_) => Ok(true),
        }
    }

    fn arrived(&mut self, number: u64) {
        let listener = usize::try_from(number).ok();
        if let Some(listener) = listener.and_then(|number| self.listeners.get_mut(number)) {
            listener.ready = true;
        }
    }

    /// Takes connections, if there are some.
    fn accept(&mut self, number: usize) {
        for _ in 0..BATCH {
            let Some(listener) = self.listeners.get_mut(number).filter(|listener| listener.ready) else {
                return;
            };
            if listener.not_before.is_some_and(|at| at > Instant::now()) {
                return;
            }
            listener.not_before = None;
            match socket::accept(listener.socket.as_fd()) {
                Ok(client) => {
                    let port = listener.inside;
                    if let Err(error) = self.open(client, port) {
                        self.say(&format!(
                            "a connection could not be passed on: {}",
                            crate::failure::describe(error)
                        ));
                    }
                }
                Err(Errno::EAGAIN) => listener.ready = false,
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                // No descriptor is left.
                Err(_) => listener.not_before = Some(Instant::now() + PAUSE),
            }
        }
    }

    /// Asks the sandbox for a connection. On an error the client's is closed.
    fn open(&mut self, client: OwnedFd, port: u16) -> Result<(), Errno> {
        if self.flows.len() >= MOST && !self.make_room() {
            self.say(&format!("more than {MOST} connections; one was closed"));
            return Ok(());
        }
        let (ours, theirs) = fd::stream_pair()?;
        let request = Request::Forward {
            container: self.container.clone(),
            port,
        };
        self.control.try_send(&request, &[theirs.as_fd()])?;
        self.last += 1;
        let flow = Flow::new(client, ours);
        let [client, inside] = flow.sockets();
        self.epoll.add_edges(client, self.last << 2 | CLIENT)?;
        self.epoll.add_edges(inside, self.last << 2 | INSIDE)?;
        self.flows.insert(self.last, flow);
        Ok(())
    }

    /// Closes the connection that was quiet longest, if it was so for long.
    fn make_room(&mut self) -> bool {
        let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.last);
        let Some((id, _)) = oldest.filter(|(_, flow)| flow.last.elapsed() > QUIET) else {
            return false;
        };
        let id = *id;
        self.end(id, Next::Broken);
        true
    }

    fn happened(&mut self, id: u64, to_client: bool, what: u32) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.happened(to_client, what);
            if !std::mem::replace(&mut flow.queued, true) {
                self.queue.push_back(id);
            }
        }
    }

    fn pump(&mut self, id: u64) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        flow.queued = false;
        match flow.pump() {
            Next::Stay => {}
            Next::Again => {
                flow.queued = true;
                self.queue.push_back(id);
            }
            over => self.end(id, over),
        }
    }

    fn end(&mut self, id: u64, how: Next) {
        let Some(flow) = self.flows.remove(&id) else {
            return;
        };
        match how {
            Next::Done => {}
            Next::Refused(why) => {
                flow.reset();
                self.say(&why);
            }
            _ => {
                let unanswered = flow.is_asking();
                flow.reset();
                if unanswered {
                    self.say("the sandbox made no connection");
                }
            }
        }
    }

    /// Gives up on connections that got no answer.
    fn sweep(&mut self) {
        let late = |flow: &Flow| flow.is_asking() && flow.last.elapsed() > ANSWER;
        let late = self.flows.iter().filter(|(_, flow)| late(flow));
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id, Next::Broken);
        }
    }

    fn say(&mut self, what: &str) {
        if self.said.is_none_or(|at| at.elapsed() > SILENCE) {
            self.said = Some(Instant::now());
            eprintln!("tegmen: {what}");
        }
    }
}
