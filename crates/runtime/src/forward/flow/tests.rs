//! A flow between two pairs of sockets: the test is client and sandbox at once.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use host::poll::{self, IN, OUT};

use super::*;

struct Ends {
    flow: Flow,
    client: UnixStream,
    sandbox: UnixStream,
}

fn ends() -> Ends {
    let (client, to_client) = UnixStream::pair().unwrap();
    let (sandbox, to_sandbox) = UnixStream::pair().unwrap();
    for end in [&client, &sandbox] {
        end.set_nonblocking(true).unwrap();
    }
    Ends {
        flow: Flow::new(to_client.into(), to_sandbox.into()),
        client,
        sandbox,
    }
}

impl Ends {
    /// Tells the flow what its sockets are ready for, as epoll(7) would, and lets it work.
    fn turn(&mut self) -> Next {
        for to_client in [true, false] {
            let [client, inside] = self.flow.sockets();
            let socket = if to_client { client } else { inside };
            let what = poll::ready(socket, IN | OUT).unwrap();
            self.flow.happened(to_client, what);
        }
        self.flow.pump()
    }

    /// The same until there is nothing to do now.
    fn turns(&mut self) -> Next {
        loop {
            match self.turn() {
                Next::Again => {}
                other => return other,
            }
        }
    }

    fn answered(mut self) -> Ends {
        self.sandbox.write_all(&[0; 4]).unwrap();
        assert_eq!(self.turns(), Next::Stay);
        self
    }

    fn piece(&mut self, bytes: &[u8]) {
        self.sandbox
            .write_all(&(bytes.len() as u32).to_le_bytes())
            .unwrap();
        self.sandbox.write_all(bytes).unwrap();
    }
}

/// What there is to read, with a '$' at the end of the stream.
fn read(from: &mut UnixStream) -> Vec<u8> {
    let mut got = Vec::new();
    match from.read_to_end(&mut got) {
        Ok(_) => got.push(b'$'),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
    got
}

/// Closes an end.
fn leave(end: &mut UnixStream) {
    *end = UnixStream::pair().unwrap().0;
}

#[test]
fn bytes_go_both_ways_and_each_direction_ends_alone() {
    let mut fresh = ends();
    fresh.client.write_all(b"early").unwrap();
    assert_eq!(fresh.turns(), Next::Stay);
    assert_eq!(read(&mut fresh.sandbox), b"", "the sandbox has not answered");
    let mut open = fresh.answered();
    assert_eq!(read(&mut open.sandbox), b"\x05\0\0\0early");
    open.piece(b"hello");
    open.piece(b"");
    assert_eq!(open.turns(), Next::Stay);
    assert_eq!(read(&mut open.client), b"hello$");
    open.client.write_all(b"late").unwrap();
    assert_eq!(open.turns(), Next::Stay);
    open.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(open.turns(), Next::Done);
    assert_eq!(read(&mut open.sandbox), b"\x04\0\0\0late\0\0\0\0");
}

#[test]
fn a_refusal_is_one_tame_line() {
    let mut short = ends();
    short.piece(b"port 1: \x1b[2JConnection\n refused");
    let words = "port 1: [2JConnection refused";
    assert_eq!(short.turns(), Next::Refused(words.into()));
    let mut long = ends();
    long.piece(&vec![b'x'; 60_000]);
    assert_eq!(long.turns(), Next::Refused("x".repeat(MAX_LINE)));
}

#[test]
fn a_sandbox_that_says_nonsense_loses_the_connection() {
    for head in [[0, 0, 1, 1], [0xfe, 0xff, 0xff, 0xff], [0xff; 4]] {
        let mut asking = ends();
        asking.sandbox.write_all(&head).unwrap();
        assert_eq!(asking.turns(), Next::Broken);
        let mut open = ends().answered();
        open.sandbox.write_all(&head).unwrap();
        assert_eq!(open.turns(), Next::Broken);
    }
    let mut asking = ends();
    leave(&mut asking.sandbox);
    assert_eq!(asking.turns(), Next::Broken, "no answer");
}

#[test]
fn peers_that_do_not_read_cost_two_buffers_and_lose_nothing() {
    let mut open = ends().answered();
    let (mut sent, mut got) = (0, 0);
    let data = vec![7; 32 << 10];
    // Until everything under way is full.
    while let Ok(len) = open.client.write(&data) {
        sent += len;
        assert_eq!(open.turns(), Next::Stay);
    }
    assert!(sent < 4 << 20, "{sent}");
    let mut pieces = sandbox::pieces::Incoming::default();
    let mut waits = 0;
    while waits < 2 {
        match pieces.item().unwrap() {
            Item::More => match open.sandbox.read(pieces.room()) {
                Ok(len) => {
                    waits = 0;
                    pieces.filled(len);
                }
                Err(_) => {
                    waits += 1;
                    assert_eq!(open.turns(), Next::Stay);
                }
            },
            Item::Bytes(bytes) => {
                assert!(bytes.iter().all(|byte| *byte == 7));
                let len = bytes.len();
                got += len;
                pieces.take(len);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent, got);
}

#[test]
fn who_is_gone_is_noticed() {
    let mut client = ends().answered();
    leave(&mut client.client);
    assert_eq!(client.turns(), Next::Broken);
    let mut ended = ends().answered();
    ended.piece(b"last");
    ended.piece(b"");
    leave(&mut ended.sandbox);
    assert_eq!(ended.turns(), Next::Done, "it had ended in order");
    assert_eq!(read(&mut ended.client), b"last$");
    let mut cut = ends().answered();
    cut.piece(b"cut");
    leave(&mut cut.sandbox);
    assert_eq!(cut.turns(), Next::Broken, "it had not");
}
