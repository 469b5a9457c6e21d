//! The relay of a sandbox's network between a sandbox that spoils its frames and a server that does as it likes. Nothing but a server
//! of this process is reached.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use net::{SendOptions, Shutdown, TcpId, TcpOptions};
use relay::testing::Pair;

use super::bytes::Bytes;

/// Steps of one run.
const MAX_STEPS: usize = 48;
/// Connections of one run.
const MAX_CONNECTIONS: usize = 16;

struct World {
    pair: Pair,
    listener: TcpListener,
    datagrams: UdpSocket,
    sandbox: Vec<TcpId>,
    server: Vec<TcpStream>,
    port: u16,
}

pub fn run(data: &[u8]) {
    // The same port for both: the relay knows one address of the server.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("its address");
    let Ok(datagrams) = UdpSocket::bind(at) else {
        return;
    };
    listener.set_nonblocking(true).expect("no waiting");
    datagrams.set_nonblocking(true).expect("no waiting");
    let mut world = World {
        pair: Pair::new(at),
        listener,
        datagrams,
        sandbox: Vec::new(),
        server: Vec::new(),
        port: 1024,
    };
    let mut input = Bytes(data);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.turn(&mut input);
    }
    for _ in 0..4 {
        world.turn(&mut Bytes(&[]));
    }
}

impl World {
    /// The name server's address inside, or another.
    fn there(&self, choice: u8) -> SocketAddr {
        let ip = match choice % 8 {
            0 => Ipv4Addr::new(192, 0, 2, 1),
            1 => Ipv4Addr::new(10, 0, 0, choice),
            2 => Ipv4Addr::LOCALHOST,
            _ => Ipv4Addr::new(192, 0, 2, 53),
        };
        SocketAddr::new(IpAddr::V4(ip), if choice & 64 == 0 { 53 } else { 80 })
    }

    fn step(&mut self, input: &mut Bytes<'_>) {
        let now = self.pair.now();
        let choice = input.byte();
        let to = self.there(input.byte());
        match choice % 10 {
            0 | 1 if self.sandbox.len() < MAX_CONNECTIONS => {
                self.port += 1;
                let from = SocketAddr::new(relay::GUEST.into(), self.port);
                let made = self
                    .pair
                    .stack
                    .tcp_connect(now, from, to, TcpOptions::default(), 1);
                self.sandbox.extend(made.ok());
            }
            2 => {
                let len = usize::from(input.byte());
                let bytes = input.take(len);
                if let Some(id) = self.one(choice) {
                    let mut fill = |room: &mut [u8]| {
                        let len = bytes.len().min(room.len());
                        room[..len].copy_from_slice(&bytes[..len]);
                        len
                    };
                    let _ = self
                        .pair
                        .stack
                        .tcp_send(now, id, bytes.len().max(1), false, &mut fill);
                }
            }
            3 => {
                if let Some(id) = self.one(choice) {
                    let _ = self.pair.stack.tcp_shutdown(now, id, Shutdown::Write);
                }
            }
            4 if !self.sandbox.is_empty() => {
                let id = self.sandbox.remove(usize::from(choice) % self.sandbox.len());
                if choice & 16 == 0 {
                    self.pair.stack.tcp_close(now, id);
                } else {
                    self.pair.stack.tcp_abort(now, id);
                }
            }
            5 => {
                let len = usize::from(input.byte()) * 8;
                let bytes = vec![choice; len];
                let from = SocketAddr::new(relay::GUEST.into(), 2000 + u16::from(choice));
                let options = SendOptions::default();
                let _ = self.pair.stack.udp_send(now, from, to, &bytes, &options);
            }
            6 => {
                let echo = [8, 0, 0, 0, choice, 1, 0, 1, 9];
                let options = SendOptions {
                    checksum_at: Some(2),
                    ..SendOptions::default()
                };
                let _ = self.pair.stack.raw_send(now, None, to.ip(), 1, &echo, &options);
            }
            7 => {
                let mut header = [0; 10];
                for byte in &mut header {
                    *byte = input.byte();
                }
                let len = input.word(2) as usize % 2100;
                self.pair.raw(&header, input.take(len));
            }
            _ => self.serve(input),
        }
    }

    fn one(&self, choice: u8) -> Option<TcpId> {
        let at = usize::from(choice >> 4) % self.sandbox.len().max(1);
        self.sandbox.get(at).copied()
    }

    /// The server's side.
    fn serve(&mut self, input: &mut Bytes<'_>) {
        if let Ok((stream, _)) = self.listener.accept() {
            let _ = stream.set_nonblocking(true);
            self.server.push(stream);
        }
        let mut buf = [0; 4096];
        if let Ok((len, from)) = self.datagrams.recv_from(&mut buf) {
            let len = len.min(usize::from(input.byte()));
            let _ = self.datagrams.send_to(&buf[..len], from);
        }
        if self.server.is_empty() {
            return;
        }
        let choice = input.byte();
        let at = usize::from(choice >> 3) % self.server.len();
        match choice % 5 {
            0 => drop(self.server[at].read(&mut buf)),
            1 | 2 => drop(self.server[at].write(&buf[..usize::from(input.byte())])),
            3 => drop(self.server[at].shutdown(std::net::Shutdown::Write)),
            _ => drop(self.server.remove(at)),
        }
    }

    /// A turn of both, in which some frames of the sandbox are spoilt.
    fn turn(&mut self, input: &mut Bytes<'_>) {
        let spoils = input.byte();
        let (at, value, cut) = (input.word(2) as usize, input.byte(), input.byte());
        self.pair.turn(&mut |frame| match spoils % 8 {
            1 => {
                if let Some(byte) = frame.get_mut(at % 90) {
                    *byte = value;
                }
            }
            2 => frame.truncate(usize::from(cut)),
            3 => frame.resize(at % 70_000, value),
            4 => frame.clear(),
            _ => {}
        });
        let now = self.pair.now();
        for id in &self.sandbox {
            if let Ok(len @ 1..) = self.pair.stack.tcp_readable(*id) {
                self.pair.stack.tcp_consume(now, *id, len);
            }
        }
    }
}
