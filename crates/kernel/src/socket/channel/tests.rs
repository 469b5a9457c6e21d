//! Readers and writers at the same time.

use std::time::{Duration, Instant};

use sync::Waiter;

use super::*;
use crate::io::{SliceSource, VecSink};

fn wait_for<T>(queue: &WaitQueue, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let waiter = Arc::new(Waiter::default());
    let id = queue.add(waiter.clone(), 0, Events::READABLE | Events::WRITABLE);
    let end = Instant::now() + Duration::from_secs(20);
    let result = loop {
        match attempt() {
            Err(Errno::EAGAIN) => assert!(waiter.wait(Some(end)), "a wake-up was lost"),
            done => break done,
        }
    };
    queue.remove(id);
    result
}

#[test]
fn no_wake_up_is_lost_between_a_reader_and_writers() {
    const EACH: usize = 1 << 20;
    let (reader, writer) = (WaitQueue::new(), WaitQueue::new());
    let channel = Channel::new(10_000, &reader, &writer);
    let total: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|index| {
                let (channel, writer) = (&channel, &writer);
                scope.spawn(move || {
                    let block = vec![1; 700 + index * 5000];
                    let mut left = EACH;
                    while left > 0 {
                        let bytes = &block[..block.len().min(left)];
                        left -= wait_for(writer, || {
                            channel.send(&mut SliceSource(bytes), &mut Control::default(), None)
                        })
                        .unwrap();
                    }
                })
            })
            .collect();
        let consumer = scope.spawn(|| {
            let mut got = 0;
            loop {
                let mut sink = VecSink::new(3000);
                let incoming = wait_for(&reader, || channel.receive(&mut sink, 0, Wants::default())).unwrap();
                if incoming.stored == 0 {
                    return got;
                }
                got += incoming.stored;
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        channel.finish();
        consumer.join().unwrap()
    });
    assert_eq!(total, 2 * EACH);
}

fn channel(limit: usize) -> Arc<Channel> {
    Channel::new(limit, &WaitQueue::new(), &WaitQueue::new())
}

fn send(channel: &Channel, data: &[u8]) -> Result<usize, Errno> {
    channel.send(&mut SliceSource(data), &mut Control::default(), None)
}

fn receive(channel: &Channel, len: usize, flags: u32) -> Result<Vec<u8>, Errno> {
    let mut sink = VecSink::new(len);
    let incoming = channel.receive(&mut sink, flags, Wants::default())?;
    assert_eq!(incoming.stored, sink.bytes.len());
    Ok(sink.bytes)
}

#[test]
fn large_and_small_pieces_come_out_as_they_went_in_peeked_at_or_not() {
    let channel = channel(300_000);
    let data: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 / 3) as u8).collect();
    let (mut sent, mut got, mut step) = (0, 0, 1);
    while got < data.len() {
        step = step * 5 % 99_991;
        let end = data.len().min(sent + step);
        match send(&channel, &data[sent..end]) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!((error, channel.len()), (Errno::EAGAIN, 300_000)),
        }
        assert_eq!(channel.len(), sent - got);
        let want = step * 3 % 77_773;
        if sent > got && want > 0 {
            let peeked = receive(&channel, want, crate::socket::msg::PEEK).unwrap();
            let taken = receive(&channel, want, 0).unwrap();
            assert_eq!(peeked, taken);
            assert_eq!(taken, data[got..got + taken.len()]);
            got += taken.len();
        }
    }
    assert_eq!(receive(&channel, 1, 0), Err(Errno::EAGAIN));
}

/// A source during whose copy something else happens.
struct Meanwhile<F: FnMut()>(usize, F);

impl<F: FnMut()> crate::io::Source for Meanwhile<F> {
    fn remaining(&self) -> usize {
        self.0
    }
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        (self.1)();
        let take = buf.len().min(self.0);
        self.0 -= take;
        Ok(take)
    }
}

#[test]
fn nothing_follows_an_end_that_came_during_the_copy() {
    for len in [100, 100_000] {
        let channel = channel(200_000);
        let mut source = Meanwhile(len, || channel.finish());
        let sent = channel.send(&mut source, &mut Control::default(), None);
        assert_eq!((sent, channel.len()), (Err(Errno::EPIPE), 0));
        assert_eq!(receive(&channel, 1, 0), Ok(Vec::new()));
    }
}

#[test]
fn a_reader_gets_the_first_piece_while_the_second_is_copied() {
    let channel = channel(200_000);
    let mut got = 0;
    let mut source = Meanwhile(150_000, || {
        let all = || {
            let pieces = std::iter::from_fn(|| receive(&channel, 1000, 0).ok());
            pieces.map(|bytes| bytes.len()).sum::<usize>()
        };
        got += std::thread::scope(|scope| scope.spawn(all).join()).unwrap();
    });
    assert_eq!(
        channel.send(&mut source, &mut Control::default(), None),
        Ok(150_000)
    );
    assert_eq!(got + channel.len(), 150_000);
    assert!(got > 0);
}
