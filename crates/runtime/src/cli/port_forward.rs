//! `tegmen port-forward`: reach TCP ports of a running container from the host.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lexopt::{Arg, Parser};
use sandbox::request::{Connection, MAX_PIECE, Reply, Request};

use super::{Globals, show, text, usage};
use crate::container::lifecycle::Known;
use crate::failure::{Failure, While};

const HELP: &str = "\
Listens on ports of the host and passes each connection on to a port of a running container, as if its client were inside: the port is
that of a loopback address there. Runs until it is interrupted or the container ends.

usage: tegmen port-forward [OPTION...] ID [HOST:]PORT...

  HOST is the port on the host (default: the same; 0: any free one), PORT the one inside.

      --address ADDRESS       listen on this address of the host (default: 127.0.0.1)
  -h, --help                  print this
";

/// Connections at a time: each takes two threads on both sides.
const MOST_CONNECTIONS: usize = 200;
/// Before accept(2) is tried again when there was no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let mut address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (mut id, mut ports) = (None, Vec::new());
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("address") => {
                let given = text(parser.value().map_err(usage)?)?;
                let wrong = |_| Failure::own(format!("address '{given}': not an IP address"));
                address = given.parse().map_err(wrong)?;
            }
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            Arg::Value(value) if id.is_none() => id = Some(text(value)?),
            Arg::Value(value) => ports.push(pair(&text(value)?)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    let id = id.ok_or_else(|| Failure::own("a container ID is needed"))?;
    if ports.is_empty() {
        return Err(Failure::own(
            "a port is needed: tegmen port-forward ID [HOST:]PORT...",
        ));
    }
    forward(Known::find(globals, &id)?, id, address, &ports)
}

/// `[HOST:]PORT`.
fn pair(spec: &str) -> Result<(u16, u16), Failure> {
    let wrong = || {
        Failure::own(format!(
            "port '{spec}': not of the form [HOST:]PORT with numbers up to 65535"
        ))
    };
    let number = |part: &str| part.parse::<u16>().map_err(|_| wrong());
    let (host, inside) = match spec.split_once(':') {
        Some((host, inside)) => (number(host)?, number(inside)?),
        None => (number(spec)?, number(spec)?),
    };
    if inside == 0 {
        Err(wrong())
    } else {
        Ok((host, inside))
    }
}

fn forward(known: Known, id: String, address: IpAddr, ports: &[(u16, u16)]) -> Result<u8, Failure> {
    // Open for as long as the sandbox lives.
    let alive = known.connect()?;
    known.ask(&Request::List {
        container: id.clone(),
    })?;
    let mut listeners = Vec::new();
    for (host, inside) in ports {
        let listener = TcpListener::bind(SocketAddr::new(address, *host))
            .while_doing(&format!("listening on port {host} of {address}"))?;
        let own = listener.local_addr().while_doing("own address")?;
        listeners.push((listener, own, *inside));
    }
    let shared = Arc::new((known, id, AtomicUsize::new(0)));
    for (listener, own, inside) in listeners {
        show(&format!("{own} -> port {inside} of {}\n", shared.1));
        let shared = shared.clone();
        thread(move || accept(&shared, &listener, inside))?;
    }
    // Nothing comes on it until the end.
    while let Ok(Some(_)) = alive.receive_reply() {}
    eprintln!("tegmen: the container has ended");
    Ok(0)
}

type Shared = (Known, String, AtomicUsize);

fn thread(body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let made = std::thread::Builder::new().spawn(body);
    made.map(drop).while_doing("starting a thread")
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, port: u16) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(_) => {
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        if shared.2.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
            shared.2.fetch_sub(1, Ordering::SeqCst);
            eprintln!("tegmen: more than {MOST_CONNECTIONS} connections; one was closed");
            continue;
        }
        let own = shared.clone();
        // Without a thread the connection is closed.
        let started = thread(move || {
            if let Err(failure) = pass_on(&own, &stream, port) {
                eprintln!("tegmen: {}", failure.message);
            }
            own.2.fetch_sub(1, Ordering::SeqCst);
        });
        if started.is_err() {
            shared.2.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// One connection, until both sides have ended or one is gone.
fn pass_on(shared: &Shared, stream: &TcpStream, port: u16) -> Result<(), Failure> {
    let (known, id, _) = shared;
    let inside = known.connect()?;
    let request = Request::Forward {
        container: id.clone(),
        port,
    };
    inside.send(&request, &[]).while_doing("control socket")?;
    match inside.receive_reply().while_doing("control socket")? {
        Some(Reply::Done) => {}
        Some(Reply::Failed(_, message)) => return Err(Failure::own(message)),
        _ => return Err(Failure::own("container not running")),
    }
    let _ = stream.set_nodelay(true);
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new();
        let there = builder.spawn_scoped(scope, || inwards(stream, &inside));
        if there.is_ok() && outwards(stream, &inside) {
            // The container has ended its direction; the client may go on with its own.
            return;
        }
        let _ = stream.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// What the client sends. Its end is passed on; when it is gone, so is the connection inside.
fn inwards(mut stream: &TcpStream, inside: &Connection) {
    let mut buf = vec![0; MAX_PIECE];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => {
                let _ = inside.send_piece(&[]);
                return;
            }
            Ok(len) if inside.send_piece(buf.get(..len).unwrap_or_default()).is_ok() => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => {
                let _ = inside.close();
                return;
            }
        }
    }
}

/// What the container sends. True when it ended its direction in order.
fn outwards(mut stream: &TcpStream, inside: &Connection) -> bool {
    while let Ok(bytes) = inside.receive_piece() {
        if bytes.is_empty() {
            let _ = stream.shutdown(Shutdown::Write);
            return true;
        }
        if stream.write_all(&bytes).is_err() {
            let _ = inside.close();
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_pairs_or_the_same_twice() {
        assert_eq!(pair("8080:80").unwrap(), (8080, 80));
        assert_eq!(pair("80").unwrap(), (80, 80));
        assert_eq!(pair("0:80").unwrap(), (0, 80));
        for wrong in ["", ":", "80:", ":80", "1:2:3", "65536", "8080:0", "0", "http"] {
            assert!(pair(wrong).is_err(), "{wrong}");
        }
    }
}
