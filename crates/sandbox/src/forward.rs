//! Forwarded connections: from a stream of `tegmen port-forward` to a port inside, and back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use host::poll;
use kernel::Kernel;
use kernel::socket::inet::Forwarded;

use crate::pieces::{Incoming, Item, MAX_PIECE, Outgoing};

/// Connects to a port of the loopback addresses, and passes bytes on until both sides have ended or one is gone.
pub fn serve(kernel: &Arc<Kernel>, stream: &OwnedFd, port: u16) {
    let to = |ip| Forwarded::connect(kernel, SocketAddr::new(ip, port));
    let made = to(Ipv4Addr::LOCALHOST.into()).or_else(|error| match error {
        Errno::ECONNREFUSED => to(Ipv6Addr::LOCALHOST.into()),
        error => Err(error),
    });
    let mut out = Outgoing::default();
    let inside = match made {
        Ok(inside) => inside,
        Err(error) => {
            let text = format!("port {port} of the container: {}", crate::boot::words(error));
            let _ = send(stream, &mut out, text.as_bytes());
            return;
        }
    };
    if send(stream, &mut out, &[]).is_err() {
        return;
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("forward".into());
        let back = builder.spawn_scoped(scope, || outwards(&inside, stream, out));
        if let Ok(back) = back {
            inwards(&inside, stream, || back.is_finished());
        }
        inside.give_up();
    });
}

fn send(stream: &OwnedFd, out: &mut Outgoing, bytes: &[u8]) -> Result<(), Errno> {
    if let Some(room) = out.room().get_mut(..bytes.len()) {
        room.copy_from_slice(bytes);
    }
    out.filled(bytes.len());
    flush(stream, out)
}

fn flush(stream: &OwnedFd, out: &mut Outgoing) -> Result<(), Errno> {
    while !out.rest().is_empty() {
        let sent = host::fd::send_some(stream.as_fd(), out.rest())?;
        out.sent(sent);
    }
    Ok(())
}

/// What the container sends.
fn outwards(inside: &Forwarded, stream: &OwnedFd, mut out: Outgoing) {
    loop {
        let sent = match inside.read(MAX_PIECE) {
            Ok(bytes) => send(stream, &mut out, &bytes).map(|()| bytes.is_empty()),
            Err(_) => {
                out.reset();
                flush(stream, &mut out).map(|()| true)
            }
        };
        if sent != Ok(false) {
            return;
        }
    }
}

/// What comes for the container, until the other side closes the stream. `alone`: the other direction has ended.
fn inwards(inside: &Forwarded, stream: &OwnedFd, alone: impl Fn() -> bool) {
    // Who does not read may do so for ever; what was sent for it is of no use once the sender is gone.
    let gone = || poll::ready(stream.as_fd(), 0).is_ok_and(|what| what & poll::HUP != 0);
    let (mut incoming, mut lost) = (Incoming::default(), false);
    loop {
        let done = match incoming.item() {
            Ok(Item::More) => match host::fd::receive(stream.as_fd(), incoming.room()) {
                Ok(0) | Err(_) => return,
                Ok(got) => {
                    incoming.filled(got);
                    continue;
                }
            },
            Ok(Item::Bytes(bytes)) => {
                // The other direction tells of it, unless it has ended in order; then there is nobody who could want the rest.
                lost = lost || inside.write(bytes, gone).is_err();
                if lost && alone() {
                    return;
                }
                bytes.len()
            }
            Ok(Item::End) => {
                inside.end();
                continue;
            }
            Ok(Item::Reset) | Err(_) => return,
        };
        incoming.take(done);
    }
}
