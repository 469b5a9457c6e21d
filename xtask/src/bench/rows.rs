//! The rows of the benchmark: a list; how each is measured is in `bench/micro.c` and `runner.rs`.

/// What is done to get a number.
#[derive(Clone, Copy)]
pub enum Work {
    /// `micro NAME ARGUMENT` inside: nanoseconds per operation.
    Micro {
        name: &'static str,
        argument: Argument,
        /// Batches of which the median is taken; 0 for the program's own choice.
        batches: u32,
    },
    /// `net NAME` inside: MB/s or nanoseconds.
    Sockets(&'static str),
    /// `service.sh both NAME` inside: a server and its client in one sandbox.
    Service(&'static str),
    /// The server in the sandbox, which has an interface of its own; its client outside.
    Served(&'static str),
    /// From the caller's start of the runner with `true` to its end.
    Start,
    /// What the walls add to the life of a process that does nothing else.
    Walls,
    /// Proportional memory of all processes of an idle sandbox.
    IdleMemory,
    /// Processor time that an idle sandbox takes in a second.
    IdleProcessor,
}

/// What a micro row is given, from the prepared data.
#[derive(Clone, Copy)]
pub enum Argument {
    None,
    /// A file of 1 MiB.
    File,
    /// A file six directories deep.
    Deep,
    /// A statically linked program that does nothing.
    StaticProgram,
    /// The same, dynamically linked.
    DynamicProgram,
    /// A shell command; `@` stands for the directory of the prepared data.
    Shell(&'static str),
}

/// How the numbers of a row are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Bytes,
    /// MB/s.
    Rate,
    /// Requests or transactions a second.
    Requests,
}

impl Unit {
    /// As the JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::Bytes => "bytes",
            Unit::Rate => "MB/s",
            Unit::Requests => "1/s",
        }
    }
}

/// What the row should reach.
#[derive(Clone, Copy)]
pub enum Target {
    None,
    /// At most this many times the native number.
    Native(f64),
    /// At most this number.
    Absolute(f64),
    /// At most the native number, or this one.
    NativeOr(f64),
    /// At least this many times the native number.
    AtLeast(f64),
}

pub struct Row {
    pub name: &'static str,
    pub work: Work,
    pub unit: Unit,
    pub target: Target,
}

const fn micro(row: &'static str, name: &'static str, argument: Argument, target: Target) -> Row {
    Row {
        name: row,
        work: Work::Micro {
            name,
            argument,
            batches: 0,
        },
        unit: Unit::Nanoseconds,
        target,
    }
}

const fn program(row: &'static str, command: &'static str, batches: u32, target: Target) -> Row {
    let argument = Argument::Shell(command);
    Row {
        name: row,
        work: Work::Micro {
            name: "run",
            argument,
            batches,
        },
        unit: Unit::Nanoseconds,
        target,
    }
}

const fn net(name: &'static str, work: Work, unit: Unit, target: Target) -> Row {
    Row {
        name,
        work,
        unit,
        target,
    }
}

/// Redis and nginx are to reach 0.6 of native; the others are held against the same.
const fn requests(name: &'static str, work: Work) -> Row {
    net(name, work, Unit::Requests, Target::AtLeast(0.6))
}

const MS: f64 = 1e6;
const MIB: f64 = 1048576.0;

pub const ROWS: &[Row] = &[
    micro("getpid", "getpid", Argument::None, Target::Native(1.0)),
    micro(
        "no-op that reaches the kernel (close of -1)",
        "noop",
        Argument::None,
        Target::Absolute(2_500.0),
    ),
    micro("clock_gettime", "clock", Argument::None, Target::Native(1.5)),
    micro("pread 64 B", "pread-64", Argument::File, Target::None),
    micro("pread 4 KiB", "pread-4k", Argument::File, Target::Native(3.0)),
    micro("pread 64 KiB", "pread-64k", Argument::File, Target::None),
    micro("pwrite 4 KiB to /tmp", "pwrite-4k", Argument::None, Target::None),
    micro(
        "open+close, warm",
        "open-close",
        Argument::Deep,
        Target::Native(4.0),
    ),
    micro("stat six deep, warm", "stat", Argument::Deep, Target::Native(4.0)),
    micro(
        "stat of a missing file",
        "stat-missing",
        Argument::Deep,
        Target::Native(4.0),
    ),
    micro("pipe ping-pong", "pipe", Argument::None, Target::None),
    micro("futex ping-pong", "futex", Argument::None, Target::None),
    micro(
        "nanosleep 50 us",
        "nanosleep",
        Argument::None,
        Target::Native(1.2),
    ),
    micro("fork+exit+wait", "fork", Argument::None, Target::Native(2.5)),
    micro(
        "fork+exit+wait, 256 MiB touched",
        "fork-256m",
        Argument::None,
        Target::Absolute(1.0 * MS),
    ),
    micro(
        "fork+exec+wait, static",
        "run",
        Argument::StaticProgram,
        Target::None,
    ),
    micro(
        "fork+exec+wait, dynamic",
        "run",
        Argument::DynamicProgram,
        Target::None,
    ),
    micro("thread create+join", "thread", Argument::None, Target::None),
    micro("page touch, 4 KiB", "touch", Argument::None, Target::Native(1.1)),
    micro("copy-on-write, 4 KiB", "cow", Argument::None, Target::None),
    micro(
        "mmap+munmap 64 KiB",
        "mmap",
        Argument::None,
        Target::Absolute(10_000.0),
    ),
    // The distribution's: a version chooser in front of it, a shell script, would be the better part of the time.
    program(
        "python3 start-up",
        "PATH=/usr/bin:$PATH python3 -c pass",
        10,
        Target::Native(1.5),
    ),
    program(
        "gcc build of 50 files",
        "rm -rf /tmp/build && cp -r @/c /tmp/build && make -s -j2 -C /tmp/build",
        1,
        Target::Native(1.4),
    ),
    program(
        "git status of 10,000 files",
        "git -C @/repo status --short >/dev/null",
        3,
        Target::None,
    ),
    program("find over /usr", "find /usr -xdev >/dev/null", 1, Target::None),
    net(
        "loopback TCP, one stream",
        Work::Sockets("tcp-stream"),
        Unit::Rate,
        Target::AtLeast(1.3),
    ),
    net(
        "loopback TCP ping-pong",
        Work::Sockets("tcp-ping"),
        Unit::Nanoseconds,
        Target::NativeOr(25_000.0),
    ),
    net(
        "loopback TCP connect+close",
        Work::Sockets("tcp-connect"),
        Unit::Nanoseconds,
        Target::NativeOr(60_000.0),
    ),
    net(
        "unix stream",
        Work::Sockets("unix-stream"),
        Unit::Rate,
        Target::AtLeast(1.0),
    ),
    net(
        "unix ping-pong",
        Work::Sockets("unix-ping"),
        Unit::Nanoseconds,
        Target::Native(1.0),
    ),
    net(
        "iperf3 into the sandbox (veth)",
        Work::Served("iperf3-in"),
        Unit::Rate,
        Target::AtLeast(1.0),
    ),
    net(
        "iperf3 out of it (veth)",
        Work::Served("iperf3-out"),
        Unit::Rate,
        Target::AtLeast(1.0),
    ),
    requests("redis set, 50 clients (veth)", Work::Served("redis-set")),
    requests("redis get, 50 clients (veth)", Work::Served("redis-get")),
    requests("redis set, pipelined (veth)", Work::Served("redis-pipelined")),
    requests(
        "nginx+wrk 1 KiB, keep-alive (veth)",
        Work::Served("nginx-keepalive"),
    ),
    requests(
        "nginx+wrk 1 KiB, connection each (veth)",
        Work::Served("nginx-connect"),
    ),
    requests("redis set, 50 clients (one sandbox)", Work::Service("redis-set")),
    requests(
        "redis set, pipelined (one sandbox)",
        Work::Service("redis-pipelined"),
    ),
    requests(
        "nginx+wrk 1 KiB, keep-alive (one sandbox)",
        Work::Service("nginx-keepalive"),
    ),
    requests(
        "nginx+wrk 1 KiB, connection each (one sandbox)",
        Work::Service("nginx-connect"),
    ),
    requests("pgbench, TCP (one sandbox)", Work::Service("pgbench-tcp")),
    requests(
        "pgbench, unix socket (one sandbox)",
        Work::Service("pgbench-unix"),
    ),
    Row {
        name: "start-up of true",
        work: Work::Start,
        unit: Unit::Nanoseconds,
        target: Target::Absolute(30.0 * MS),
    },
    Row {
        name: "start-up: the walls by themselves",
        work: Work::Walls,
        unit: Unit::Nanoseconds,
        target: Target::None,
    },
    Row {
        name: "memory of an idle sandbox (PSS)",
        work: Work::IdleMemory,
        unit: Unit::Bytes,
        target: Target::Absolute(8.0 * MIB),
    },
    Row {
        name: "processor time of an idle sandbox, a second",
        work: Work::IdleProcessor,
        unit: Unit::Nanoseconds,
        target: Target::Absolute(0.0),
    },
];

/// Why a row misses its target, as far as it is known; shown with the row when it does.
pub const REASONS: &[(&str, &str)] = &[
    (
        "getpid",
        "a call whose site is not patched is a signal and a hand-off",
    ),
    (
        "no-op that reaches the kernel (close of -1)",
        "the hand-off to the sentry's thread; on a busy machine it waits for a processor",
    ),
    (
        "pread 4 KiB",
        "the hand-off; the bytes go from the sentry's core to the guest's through the thread's window",
    ),
    ("open+close, warm", "two hand-offs, and a host open for each open"),
    (
        "stat six deep, warm",
        "the hand-off, as above; the walk itself makes no host call",
    ),
    ("stat of a missing file", "the hand-off, as above"),
    ("nanosleep 50 us", "the hand-off, before and after the sleep"),
    (
        "fork+exit+wait",
        "a fork of the host, a helper and a thread to set up, and hand-offs",
    ),
    (
        "fork+exit+wait, 256 MiB touched",
        "the same; the copy of the page tables is the host's",
    ),
    (
        "mmap+munmap 64 KiB",
        "two hand-offs and two orders to the memory helper, each a switch to its thread and back",
    ),
    ("python3 start-up", "some hundred files are looked for and opened"),
    (
        "gcc build of 50 files",
        "two thousand calls a file, each two switches when every core compiles; two hundred process starts, see fork+exec+wait",
    ),
    (
        "loopback TCP, one stream",
        "the bytes are copied through the sentry, and each side sleeps in its own thread; larger or smaller pieces under way were not faster",
    ),
    (
        "unix stream",
        "as loopback TCP; the send buffer of 208 KiB is filled and emptied in turns",
    ),
    (
        "loopback TCP ping-pong",
        "two sleeps, two wake-ups and four hand-offs a round, on as many threads",
    ),
    ("unix ping-pong", "as loopback TCP ping-pong"),
    (
        "iperf3 into the sandbox (veth)",
        "three copies where Linux makes one: device to frame, frame to queue, queue to guest",
    ),
    (
        "redis set, 50 clients (veth)",
        "the hand-offs of each request; for frames, the network thread wakes the task",
    ),
    (
        "nginx+wrk 1 KiB, keep-alive (veth)",
        "eight calls a request, each with its hand-off: some 3.5 context switches of the sentry",
    ),
    (
        "start-up of true",
        "see `tegmen do --timing`: namespaces 1 ms, walls 1 ms, engine 1 ms; the rest is the program's own calls",
    ),
];
