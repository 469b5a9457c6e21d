//! Forwarded connections: from the control socket to a port inside, and back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::socket::inet::Forwarded;

use crate::request::{Connection, MAX_PIECE, Reply};

/// Connects to a port of the loopback addresses, and passes bytes on until both sides have ended or one is gone.
pub fn serve(kernel: &Arc<Kernel>, connection: &Connection, port: u16) {
    let to = |ip| Forwarded::connect(kernel, SocketAddr::new(ip, port));
    let made = to(Ipv4Addr::LOCALHOST.into()).or_else(|error| match error {
        Errno::ECONNREFUSED => to(Ipv6Addr::LOCALHOST.into()),
        error => Err(error),
    });
    let inside = match made {
        Ok(inside) => inside,
        Err(error) => {
            let text = format!("port {port} of the container: {}", crate::boot::words(error));
            let _ = connection.send(&Reply::Failed(125, text), &[]);
            return;
        }
    };
    if connection.send(&Reply::Done, &[]).is_err() {
        return;
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("forward".into());
        let back = builder.spawn_scoped(scope, || outwards(&inside, connection));
        if back.is_ok() {
            inwards(&inside, connection);
        }
        inside.give_up();
    });
}

/// What the container sends.
fn outwards(inside: &Forwarded, connection: &Connection) {
    loop {
        let sent = match inside.read(MAX_PIECE) {
            Ok(bytes) => {
                let ended = bytes.is_empty();
                connection.send_piece(&bytes).map(|()| ended)
            }
            Err(_) => connection.send_reset().map(|()| true),
        };
        if sent != Ok(false) {
            return;
        }
    }
}

/// What comes for the container, until the other side closes the connection.
fn inwards(inside: &Forwarded, connection: &Connection) {
    let mut lost = false;
    while let Ok(bytes) = connection.receive_piece() {
        if bytes.is_empty() {
            inside.end();
        } else if !lost {
            // The other direction tells of it; what still comes is of no use to anybody.
            lost = inside.write(&bytes).is_err();
        }
    }
}
