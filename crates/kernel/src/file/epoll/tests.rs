//! Epoll over eventfds and pipes, without tasks.

use std::sync::Arc;

use abi::Errno;

use super::*;
use crate::file::HeapMemory;
use crate::file::eventfd::EventFd;
use crate::io::{SliceSource, VecSink};
use crate::{Kernel, KernelConfig};

fn kernel() -> Arc<Kernel> {
    Kernel::new(
        Arc::new(platform::scripted::Scripted),
        Arc::new(HeapMemory),
        Box::new(crate::NoLog),
        KernelConfig::default(),
    )
}

fn open(kernel: &Kernel, ops: impl FileOps) -> Arc<FileDescription> {
    crate::vfs::anon_file(kernel, "anon_inode:[test]", Box::new(ops), abi::fcntl::O_RDWR)
}

fn event(events: Events, flags: u32, data: u64) -> EpollEvent {
    EpollEvent {
        events: events.bits() | flags | Events::ALWAYS.bits(),
        data,
    }
}

fn add(file: &FileDescription, value: u64) {
    file.ops()
        .write(file, 0, &mut SliceSource(&value.to_le_bytes()))
        .unwrap();
}

fn take(file: &FileDescription) {
    file.ops().read(file, 0, &mut VecSink::new(8)).unwrap();
}

#[test]
fn level_triggered_items_stay_while_they_are_ready() {
    let kernel = kernel();
    let file = open(&kernel, EventFd::new(0, false));
    let epoll = EpollFile::new();
    epoll.epoll().add(3, &file, event(Events::IN, 0, 42)).unwrap();
    assert_eq!(epoll.epoll().collect(10), []);
    add(&file, 1);
    for _ in 0..3 {
        let got = epoll.epoll().collect(10);
        assert_eq!(
            (got.len(), got[0].data, got[0].events),
            (1, 42, Events::IN.bits())
        );
    }
    take(&file);
    assert_eq!(epoll.epoll().collect(10), []);
    assert_eq!(
        epoll.epoll().add(3, &file, event(Events::IN, 0, 1)),
        Err(Errno::EEXIST)
    );
    epoll.epoll().delete(3, &file).unwrap();
    assert_eq!(epoll.epoll().delete(3, &file), Err(Errno::ENOENT));
    add(&file, 1);
    assert_eq!(epoll.epoll().collect(10), []);
}

#[test]
fn edges_are_told_once_and_one_shots_until_armed_again() {
    let kernel = kernel();
    let (edge, once) = (
        open(&kernel, EventFd::new(1, false)),
        open(&kernel, EventFd::new(1, false)),
    );
    let epoll = EpollFile::new();
    let epoll = epoll.epoll();
    epoll.add(1, &edge, event(Events::IN, EPOLLET, 1)).unwrap();
    epoll.add(2, &once, event(Events::IN, EPOLLONESHOT, 2)).unwrap();
    assert_eq!(epoll.collect(10).len(), 2);
    assert_eq!(epoll.collect(10), []);
    add(&edge, 1);
    add(&once, 1);
    let got = epoll.collect(10);
    assert_eq!((got.len(), got[0].data), (1, 1));
    epoll
        .modify(2, &once, event(Events::IN | Events::OUT, EPOLLONESHOT, 3))
        .unwrap();
    let got = epoll.collect(10);
    assert_eq!((got.len(), got[0].data), (1, 3));
    assert_eq!(got[0].events, (Events::IN | Events::OUT).bits());
}

#[test]
fn closing_the_file_ends_the_watch() {
    let kernel = kernel();
    let (reader, writer) = crate::file::pipe::open_pair(&kernel, 0);
    let epoll = EpollFile::new();
    epoll.epoll().add(1, &reader, event(Events::IN, 0, 1)).unwrap();
    drop(writer);
    assert_eq!(epoll.epoll().collect(1)[0].events, Events::HUP.bits());
    drop(reader);
    assert_eq!(epoll.epoll().collect(1), []);
    epoll.epoll().purge_at.store(0, Ordering::Relaxed);
    epoll.epoll().purge();
    assert!(epoll.epoll().items.lock().is_empty());
}

#[test]
fn instances_nest_but_not_in_loops_or_deep_chains() {
    let kernel = kernel();
    let file = open(&kernel, EventFd::new(0, false));
    let chain: Vec<_> = (0..6).map(|_| open(&kernel, EpollFile::new())).collect();
    let of = |index: usize| chain[index].ops_as::<EpollFile>().unwrap().epoll();
    let watch = |outer: usize, inner: usize| of(outer).add(9, &chain[inner], event(Events::IN, 0, 7));
    // Built from both sides, the middle link makes it too long.
    watch(0, 1).unwrap();
    watch(1, 2).unwrap();
    watch(3, 4).unwrap();
    watch(4, 5).unwrap();
    assert_eq!(watch(2, 3), Err(Errno::ELOOP));
    assert_eq!(watch(2, 0), Err(Errno::ELOOP));
    assert_eq!(watch(2, 2), Err(Errno::ELOOP));
    of(2).add(1, &file, event(Events::IN, 0, 5)).unwrap();
    assert_eq!(of(0).collect(5), []);
    add(&file, 1);
    assert_eq!(of(0).collect(5)[0].data, 7);
    take(&file);
    assert_eq!(of(0).collect(5), []);
    of(1).delete(9, &chain[2]).unwrap();
    watch(2, 3).unwrap();
}

#[test]
fn edges_from_many_threads_all_arrive() {
    let kernel = kernel();
    let files: Vec<_> = (0..8).map(|_| open(&kernel, EventFd::new(0, false))).collect();
    let epoll = EpollFile::new();
    let epoll = epoll.epoll();
    for (index, file) in files.iter().enumerate() {
        epoll
            .add(1, file, event(Events::IN, EPOLLET, index as u64))
            .unwrap();
    }
    let total: u64 = std::thread::scope(|scope| {
        for file in &files {
            scope.spawn(move || (0..2000).for_each(|_| add(file, 1)));
        }
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let files = &files;
                scope.spawn(move || {
                    let mut sum = 0;
                    let mut idle = 0;
                    while idle < 300 {
                        let got = epoll.collect(3);
                        idle = if got.is_empty() { idle + 1 } else { 0 };
                        if got.is_empty() {
                            std::thread::sleep(std::time::Duration::from_millis(1));
                        }
                        for event in got {
                            let file = &files[event.data as usize];
                            let mut sink = VecSink::new(8);
                            if file.ops().read(file, 0, &mut sink).is_ok() {
                                sum += u64::from_le_bytes(sink.bytes.try_into().unwrap());
                            }
                        }
                    }
                    sum
                })
            })
            .collect();
        consumers
            .into_iter()
            .map(|consumer| consumer.join().unwrap())
            .sum()
    });
    assert_eq!(total, 16_000);
}
