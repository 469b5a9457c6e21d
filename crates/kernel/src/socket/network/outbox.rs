//! Frames between the stack and its wire. To send one costs the host a trip to whoever receives it, so that is done after
//! the stack's lock was given back; one thread sends at a time, also what others queued meanwhile: no frame overtakes another.

use std::ops::Range;

use net::vnet::OFFLOAD_HEADER;
use sync::{Mutex, rank};

use super::Wire;

/// Bytes of the largest frame that is copied. Larger ones go straight from the stack's queues, if nothing is before them.
const SMALL: usize = 4096;
/// Frames and bytes that wait at most: beyond, the stack keeps its own.
const MOST_FRAMES: usize = 256;
const MOST_BYTES: usize = 1 << 20;

/// A frame: its interface, its offload header, and where its bytes are.
type Frame = (u32, [u8; OFFLOAD_HEADER], Range<usize>);

#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    bytes: Vec<u8>,
}

impl Batch {
    fn clear(&mut self) {
        self.frames.clear();
        self.bytes.clear();
    }

    fn push(&mut self, interface: u32, header: &[u8; OFFLOAD_HEADER], parts: &[&[u8]]) {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.frames.push((interface, *header, start..self.bytes.len()));
    }
}

#[derive(Default)]
struct State {
    waiting: Batch,
    /// Memory for the next batch.
    spare: Batch,
    /// Somebody sends.
    sending: bool,
    /// The stack had to keep a frame meanwhile.
    refused: bool,
}

/// How sending went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// All that waited is sent, or somebody else is at it.
    Done,
    /// Likewise, and the stack has more.
    More,
    /// The device has no room.
    Full,
}

/// See the module.
pub(super) struct Outbox(Mutex<State>);

impl Outbox {
    pub(super) fn new() -> Outbox {
        Outbox(Mutex::new(rank::LEAF, State::default()))
    }

    /// Takes a frame, with the stack locked. False: it is to be kept.
    pub(super) fn push(
        &self,
        wire: &dyn Wire,
        interface: u32,
        header: &[u8; OFFLOAD_HEADER],
        parts: &[&[u8]],
    ) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut state = self.0.lock();
        let waiting = &state.waiting;
        if len > SMALL && waiting.frames.is_empty() && !state.sending {
            // Nobody else can begin to send: that takes a frame, and so the stack's lock.
            drop(state);
            return wire.send(interface, header, parts);
        }
        let room = waiting.frames.len() < MOST_FRAMES && waiting.bytes.len() + len <= MOST_BYTES;
        if room {
            state.waiting.push(interface, header, parts);
        } else {
            state.refused = true;
        }
        room
    }

    /// Sends what waits.
    pub(super) fn flush(&self, wire: &dyn Wire) -> Flushed {
        loop {
            let mut batch = {
                let mut state = self.0.lock();
                if state.sending {
                    return Flushed::Done;
                }
                if state.waiting.frames.is_empty() {
                    let refused = std::mem::take(&mut state.refused);
                    return if refused { Flushed::More } else { Flushed::Done };
                }
                state.sending = true;
                let spare = std::mem::take(&mut state.spare);
                std::mem::replace(&mut state.waiting, spare)
            };
            let sent = batch.frames.iter().take_while(|(interface, header, range)| {
                let bytes = batch.bytes.get(range.clone()).unwrap_or_default();
                wire.send(*interface, header, &[bytes])
            });
            let sent = sent.count();
            let full = sent < batch.frames.len();
            let mut state = self.0.lock();
            if full {
                // Before what came meanwhile.
                batch.frames.drain(..sent);
                for (interface, header, range) in &state.waiting.frames {
                    batch.push(*interface, header, &[&state.waiting.bytes[range.clone()]]);
                }
                std::mem::swap(&mut state.waiting, &mut batch);
            }
            batch.clear();
            if batch.bytes.capacity() <= MOST_BYTES / 16 {
                state.spare = batch;
            }
            state.sending = false;
            if full {
                return Flushed::Full;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Plain;

    use super::*;

    #[derive(Default)]
    struct Slow {
        sent: Plain<Vec<u32>>,
        room: Plain<usize>,
    }

    impl Wire for Slow {
        fn send(&self, interface: u32, _: &[u8; OFFLOAD_HEADER], parts: &[&[u8]]) -> bool {
            let mut room = self.room.lock().unwrap();
            if *room == 0 {
                return false;
            }
            *room -= 1;
            assert!(
                parts
                    .concat()
                    .iter()
                    .all(|byte| u32::from(*byte) == interface % 251)
            );
            self.sent.lock().unwrap().push(interface);
            true
        }
    }

    fn frame(number: u32, len: usize) -> Vec<u8> {
        vec![(number % 251) as u8; len]
    }

    #[test]
    fn frames_keep_their_order_when_the_device_has_no_room() {
        let (outbox, wire) = (Outbox::new(), Slow::default());
        let mut pushed = 0;
        for round in 0..200u32 {
            for _ in 0..round % 7 {
                let bytes = frame(pushed, if pushed % 5 == 0 { SMALL + 1 } else { 100 });
                // Refused, when it is large and nothing waits before it, or when too much waits.
                if outbox.push(&wire, pushed, &[0; OFFLOAD_HEADER], &[&bytes[..40], &bytes[40..]]) {
                    pushed += 1;
                }
            }
            *wire.room.lock().unwrap() = (round % 3) as usize * 4;
            outbox.flush(&wire);
        }
        *wire.room.lock().unwrap() = usize::MAX;
        assert_ne!(outbox.flush(&wire), Flushed::Full);
        assert_eq!(*wire.sent.lock().unwrap(), (0..pushed).collect::<Vec<_>>());
    }

    #[test]
    fn what_waits_is_bounded_and_who_was_refused_is_told() {
        let (outbox, wire) = (Outbox::new(), Slow::default());
        let mut taken = 0;
        while outbox.push(&wire, taken, &[0; OFFLOAD_HEADER], &[&frame(taken, SMALL)]) {
            taken += 1;
        }
        assert_eq!(taken as usize, MOST_FRAMES);
        assert_eq!(outbox.flush(&wire), Flushed::Full);
        *wire.room.lock().unwrap() = usize::MAX;
        assert_eq!(outbox.flush(&wire), Flushed::More);
        assert_eq!(outbox.flush(&wire), Flushed::Done);
    }

    #[test]
    fn many_threads_send_each_frame_once() {
        let (outbox, wire) = (Outbox::new(), Slow::default());
        *wire.room.lock().unwrap() = usize::MAX;
        let stack = Plain::new(0u32);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        {
                            let mut next = stack.lock().unwrap();
                            if outbox.push(&wire, *next, &[0; OFFLOAD_HEADER], &[&frame(*next, 60)]) {
                                *next += 1;
                            }
                        }
                        outbox.flush(&wire);
                    }
                });
            }
        });
        outbox.flush(&wire);
        let sent = wire.sent.lock().unwrap();
        assert_eq!(*sent, (0..*stack.lock().unwrap()).collect::<Vec<_>>());
    }
}
