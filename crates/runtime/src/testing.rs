//! What fuzz targets and the benchmark drive: a forwarded connection between two peers that keep to no rule, the host's answers about a
//! network, and the walls by themselves.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use host::poll::{self, IN, OUT};
use sandbox::pieces::MAX_PIECE;

use crate::forward::flow::{Flow, Next};

/// Steps of one run.
const MAX_STEPS: usize = 64;

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(len.min(self.0.len()));
        self.0 = tail;
        head
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }
}

/// A connection of `tegmen port-forward`, whose client and sandbox do what `data` says. What the sandbox sends in order arrives as it is.
///
/// # Panics
/// When something is delivered that was not sent.
#[expect(clippy::expect_used, reason = "for tests")]
pub fn forward(data: &[u8]) {
    let mut script = Script(data);
    let (client, to_client) = UnixStream::pair().expect("sockets");
    let (sandbox, to_sandbox) = UnixStream::pair().expect("sockets");
    for end in [&client, &sandbox] {
        end.set_nonblocking(true).expect("no waiting");
    }
    let (mut client, mut sandbox) = (Some(client), Some(sandbox));
    let mut flow = Flow::new(to_client.into(), to_sandbox.into());
    let orderly = script.byte() & 1 == 1;
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    if orderly && let Some(end) = &mut sandbox {
        end.write_all(&[0; 4]).expect("an answer");
    }
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        let choice = script.byte();
        let len = usize::from(script.byte()) << (choice >> 5);
        match (choice % 8, &mut client, &mut sandbox) {
            (0 | 1, _, Some(end)) if orderly => {
                let bytes = vec![choice; len.clamp(1, MAX_PIECE)];
                let head = u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
                // Whole or not at all: there is room for it, or the order is at an end.
                if sent.len() + bytes.len() < 100_000 {
                    end.write_all(&[&head[..], &bytes].concat()).expect("room");
                    sent.extend(bytes);
                }
            }
            (0..=2, _, Some(end)) if !orderly => {
                let _ = end.write(script.take(len % 64));
            }
            (3, Some(end), _) => {
                let _ = end.write(&vec![7; len]);
            }
            (4, _, Some(end)) => {
                let _ = end.read(&mut vec![0; len.max(1)]);
            }
            (5, Some(end), _) => got.extend(read(end, len)),
            (6, Some(end), _) if choice & 8 == 0 => {
                let _ = end.shutdown(Shutdown::Write);
            }
            (6, end, _) if !orderly => *end = None,
            (7, _, end) if choice & 64 != 0 => *end = None,
            _ => {}
        }
        if turn(&mut flow).is_some() {
            break;
        }
    }
    if let Some(end) = &mut client {
        for _ in 0..64 {
            let over = turn(&mut flow).is_some();
            got.extend(read(end, MAX_PIECE));
            if over {
                break;
            }
        }
    }
    if orderly {
        assert!(
            sent.starts_with(&got),
            "{} bytes sent, {} other ones came",
            sent.len(),
            got.len()
        );
    }
}

fn read(from: &mut UnixStream, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let got = from.read(&mut bytes).unwrap_or(0);
    bytes.truncate(got);
    bytes
}

/// Lets it work; how it ended.
fn turn(flow: &mut Flow) -> Option<Next> {
    for to_client in [true, false] {
        let [client, inside] = flow.sockets();
        let socket = if to_client { client } else { inside };
        if let Ok(what) = poll::ready(socket, IN | OUT) {
            flow.happened(to_client, what);
        }
    }
    match flow.pump() {
        Next::Stay | Next::Again => None,
        over => Some(over),
    }
}

/// Nanoseconds that a process takes from its clone to its end: with all walls closed, or without any. The caller has one thread.
///
/// # Errors
/// What the host does not give, in words.
#[cfg(feature = "testing")]
pub fn walls(with: bool) -> Result<u128, String> {
    let took = crate::jail::time_of_walls(with);
    took.map(|time| time.as_nanos())
        .map_err(|failure| failure.message)
}

/// Four replies of the host's rtnetlink(7), about links, addresses, routes and neighbours.
pub fn rtnetlink(data: &[u8]) {
    let mut script = Script(data);
    let mut next = || {
        let len = usize::from(script.byte()) << 3;
        script.take(len)
    };
    let replies = [next(), next(), next(), next()];
    if let Ok(config) = crate::network::described(replies) {
        assert!(config.interfaces.len() <= data.len());
    }
}
