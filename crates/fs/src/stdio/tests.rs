//! Host descriptors as standard input and output.

use std::io::{Read, Seek, Write};
use std::time::{Duration, Instant};

use kernel::KernelConfig;
use kernel::file::HeapMemory;
use kernel::io::{SliceSource, VecSink};
use platform::scripted::Scripted;
use sync::{Events, PollTable, Waiter};

use super::*;
use crate::hostfs::tests::Scratch;

struct Quiet;

impl kernel::Log for Quiet {
    fn line(&self, _: &str) {}
}

fn kernel() -> Arc<Kernel> {
    Kernel::new(
        Arc::new(Scripted),
        Arc::new(HeapMemory),
        Box::new(Quiet),
        KernelConfig::default(),
    )
}

fn one(fd: OwnedFd) -> Arc<FileDescription> {
    open(&kernel(), &Poller::start().unwrap(), [fd])
        .unwrap()
        .remove(0)
}

fn read(file: &FileDescription) -> Result<Vec<u8>, Errno> {
    let mut sink = VecSink::new(100);
    file.ops().read(file, 0, &mut sink)?;
    Ok(sink.bytes)
}

#[test]
fn a_pipe_is_read_without_waiting_and_wakes_its_reader() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let file = one(reader.into());
    assert_eq!(read(&file), Err(Errno::EAGAIN));
    for text in [b"one", b"two"] {
        let waiter = Arc::new(Waiter::default());
        let mut table = PollTable::new(waiter.clone(), 0, Events::READABLE);
        assert!(
            !file
                .ops()
                .poll(&file, Some(&mut table))
                .intersects(Events::READABLE)
        );
        let copy = writer.try_clone().unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            (&copy).write_all(text).unwrap();
        });
        assert!(waiter.wait(Some(Instant::now() + Duration::from_secs(10))));
        late.join().unwrap();
        assert_eq!(read(&file).unwrap(), text);
    }
    writer.write_all(b"last").unwrap();
    drop(writer);
    assert_eq!(read(&file).unwrap(), b"last");
    assert_eq!(read(&file).unwrap(), b"");
}

#[test]
fn a_full_pipe_takes_no_more_and_loses_nothing() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let file = one(writer.into());
    let data: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let mut source = SliceSource(&data);
    let mut got = Vec::new();
    while !source.0.is_empty() {
        match file.ops().write(&file, 0, &mut source) {
            Ok(put) => assert!(put > 0),
            Err(Errno::EAGAIN) => {
                let mut buffer = [0; 10_000];
                let read = reader.read(&mut buffer).unwrap();
                got.extend_from_slice(&buffer[..read]);
            }
            Err(error) => panic!("{error}"),
        }
    }
    drop(file);
    reader.read_to_end(&mut got).unwrap();
    assert!(got == data);
}

#[test]
fn a_pipe_without_readers_is_broken() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let file = one(writer.into());
    let put = file.ops().write(&file, 0, &mut SliceSource(b"x"));
    assert_eq!(put, Err(Errno::EPIPE));
}

#[test]
fn the_callers_position_moves_along() {
    let scratch = Scratch::new();
    let mut host = std::fs::File::create_new(scratch.path("log")).unwrap();
    host.write_all(b"before ").unwrap();
    let kernel = kernel();
    let fds = [host.try_clone().unwrap().into(), host.try_clone().unwrap().into()];
    let files = open(&kernel, &Poller::start().unwrap(), fds).unwrap();
    assert!(Arc::ptr_eq(&files[0], &files[1]));
    let file = &files[0];
    let at = *file.position.lock();
    assert_eq!(at, 7);
    file.ops().write(file, at, &mut SliceSource(b"inside ")).unwrap();
    assert_eq!(host.stream_position().unwrap(), 14);
    host.write_all(b"after").unwrap();
    assert_eq!(
        std::fs::read(scratch.path("log")).unwrap(),
        b"before inside after"
    );
}

#[test]
fn null_is_always_ready() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let file = one(null.into());
    assert_eq!(read(&file).unwrap(), b"");
    assert_eq!(
        file.path().inode().unwrap().attr().unwrap().kind,
        FileKind::CharDevice
    );
}
