//! Pipes by themselves, without tasks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sync::Waiter;

use super::*;
use crate::io::SliceSource;

fn read(pipe: &Pipe, max: usize) -> Result<Vec<u8>, Errno> {
    pipe.take(max)
}

fn write(pipe: &Pipe, data: &[u8]) -> Result<usize, Errno> {
    pipe.write(&mut SliceSource(data), false)
}

#[test]
fn ends_decide_between_waiting_and_the_end() {
    let pipe = Pipe::new();
    let reader = pipe.end(true, false);
    let writer = pipe.end(false, true);
    assert_eq!(read(&pipe, 10), Err(Errno::EAGAIN));
    assert_eq!(write(&pipe, b"abc"), Ok(3));
    drop(writer);
    assert_eq!(read(&pipe, 2).unwrap(), b"ab");
    assert_eq!(read(&pipe, 2).unwrap(), b"c");
    assert_eq!(read(&pipe, 2).unwrap(), b"");
    drop(reader);
    assert_eq!(write(&pipe, b"x"), Err(Errno::EPIPE));
}

#[test]
fn small_writes_are_whole_or_not_at_all() {
    let pipe = Pipe::new();
    let _ends = pipe.end(true, true);
    assert_eq!(write(&pipe, &vec![1; 100_000]), Ok(DEFAULT_CAPACITY));
    assert_eq!(read(&pipe, 100).unwrap().len(), 100);
    assert_eq!(write(&pipe, &[2; 101]), Err(Errno::EAGAIN));
    assert_eq!(write(&pipe, &[2; 100]), Ok(100));
    assert_eq!(write(&pipe, &[2; 1]), Err(Errno::EAGAIN));
}

#[test]
fn a_packet_is_read_whole_and_its_rest_is_lost() {
    let pipe = Pipe::new();
    let _ends = pipe.end(true, true);
    assert_eq!(write(&pipe, b"plain"), Ok(5));
    assert_eq!(pipe.write(&mut SliceSource(b"first"), true), Ok(5));
    assert_eq!(pipe.write(&mut SliceSource(b"second"), true), Ok(6));
    assert_eq!(read(&pipe, 5).unwrap(), b"plain");
    assert_eq!(read(&pipe, 3).unwrap(), b"fir");
    assert_eq!(read(&pipe, 100).unwrap(), b"second");
    assert_eq!(read(&pipe, 100), Err(Errno::EAGAIN));
}

#[test]
fn the_capacity_can_be_changed_but_not_below_the_content() {
    let pipe = Pipe::new();
    let _ends = pipe.end(true, true);
    assert_eq!(pipe.set_capacity(5000), Ok(8192));
    assert_eq!(write(&pipe, &vec![0; 9000]), Ok(8192));
    assert_eq!(pipe.set_capacity(4096), Err(Errno::EBUSY));
    assert_eq!(pipe.set_capacity(MAX_CAPACITY + 1), Err(Errno::EPERM));
    assert_eq!(pipe.set_capacity(1 << 16), Ok(1 << 16));
}

/// Waits like a blocked task.
fn wait_for<T>(queue: &WaitQueue, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let waiter = Arc::new(Waiter::default());
    let id = queue.add(waiter.clone(), 0, Events::all());
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
fn no_wake_up_is_lost_between_many_readers_and_writers() {
    const EACH: usize = 300_000;
    let pipe = Pipe::new();
    let total: usize = std::thread::scope(|scope| {
        let reader_ends: Vec<_> = (0..3).map(|_| pipe.end(true, false)).collect();
        let writer_ends: Vec<_> = (0..3).map(|_| pipe.end(false, true)).collect();
        for (index, end) in writer_ends.into_iter().enumerate() {
            let pipe = &pipe;
            scope.spawn(move || {
                let mut left = EACH;
                while left > 0 {
                    let want = (left % 7000 + 1).min(left).min(1 + index * 3000);
                    left -= wait_for(&pipe.writable, || write(pipe, &vec![7; want])).unwrap();
                }
                drop(end);
            });
        }
        let readers: Vec<_> = reader_ends
            .into_iter()
            .map(|end| {
                let pipe = &pipe;
                scope.spawn(move || {
                    let mut got = 0;
                    loop {
                        let bytes = wait_for(&pipe.readable, || read(pipe, 5000)).unwrap();
                        if bytes.is_empty() {
                            drop(end);
                            return got;
                        }
                        got += bytes.len();
                    }
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert_eq!(total, 3 * EACH);
}
