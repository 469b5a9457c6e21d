//! Ports of a container, reached from the host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::Duration;

use super::bundle::{Bundle, wait_for};
use crate::harness::{LIMIT, have, run, wait};

/// `tegmen port-forward` at work.
struct Forwarder {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Forwarder {
    fn new(bundle: &Bundle, ports: &[&str]) -> Forwarder {
        let mut args = vec!["port-forward", &bundle.id];
        args.extend(ports);
        let mut child = bundle
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Forwarder { child, out }
    }

    /// Where it listens for the next port.
    fn next(&mut self) -> SocketAddr {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.split_once(" -> ").expect(&line).0.parse().unwrap()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends `data`, ends, and reads to the end.
fn exchange(to: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = writer.write_all(data);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        got
    })
}

#[test]
fn connections_reach_ports_inside_and_end_as_they_should() {
    if !have("socat") {
        return;
    }
    let bundle = Bundle::new(
        "socat -t30 TCP-LISTEN:7007,fork,reuseaddr EXEC:cat & socat TCP6-LISTEN:7008,ipv6only,fork,reuseaddr 'SYSTEM:echo six' & \
         until grep -q :1B5F /proc/net/tcp && grep -q :1B60 /proc/net/tcp6; do sleep 0.1; done; echo up; exec sleep 1000",
    );
    bundle.started();
    bundle.until_written("up");
    let mut forwarder = Forwarder::new(&bundle, &["0:7007", "0:7008", "0:9"]);
    let (echo, six, nobody) = (forwarder.next(), forwarder.next(), forwarder.next());
    assert!(echo.ip().is_loopback());
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
    assert!(exchange(echo, &big) == big);
    thread::scope(|scope| {
        for n in 0..20u8 {
            scope.spawn(move || assert!(exchange(echo, &[n; 1000]) == [n; 1000], "connection {n}"));
        }
    });
    assert_eq!(exchange(six, b""), b"six\n");
    assert_eq!(exchange(nobody, b"hello"), b"", "nobody listens: closed");
    // One that is still open when the container ends.
    let mut open = TcpStream::connect(echo).unwrap();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    run(&mut bundle.command(&["kill", &bundle.id, "KILL"]), LIMIT);
    assert_eq!(open.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(
        wait(&mut forwarder.child, LIMIT).and_then(|status| status.code()),
        Some(0)
    );
    let mut said = String::new();
    forwarder
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(
        said,
        "tegmen: port 9 of the container: Connection refused\ntegmen: the container has ended\n"
    );
}

#[test]
fn a_killed_forwarder_leaves_no_connection_inside() {
    if !have("socat") {
        return;
    }
    let bundle = Bundle::new(
        "socat -t30 TCP-LISTEN:7007,fork,reuseaddr EXEC:cat & \
         until grep -q :1B5F /proc/net/tcp; do sleep 0.1; done; echo up; \
         while :; do sleep 0.1; grep -c ':1B5F .* 01 ' /proc/net/tcp >/tmp/count; done",
    );
    bundle.started();
    bundle.until_written("up");
    let mut forwarder = Forwarder::new(&bundle, &["0:7007"]);
    let mut open = TcpStream::connect(forwarder.next()).unwrap();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    let count = || {
        let seen = run(
            &mut bundle.command(&["exec", &bundle.id, "/bin/cat", "/tmp/count"]),
            LIMIT,
        );
        seen.stdout.trim().to_string()
    };
    wait_for("the connection", || count() == "1");
    forwarder.child.kill().unwrap();
    wait_for("the end of the connection", || count() == "0");
}

/// How many of the sentry's threads serve forwarded connections.
fn serving(bundle: &Bundle) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", bundle.sentry())).unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name == "forward\n").count()
}

fn exec_works(bundle: &Bundle) {
    let outcome = run(
        &mut bundle.command(&["exec", &bundle.id, "/bin/echo", "here"]),
        LIMIT,
    );
    assert_eq!(outcome.stdout, "here\n", "{}", outcome.stderr);
}

#[test]
fn the_forwarder_has_nothing_but_its_sockets() {
    let bundle = Bundle::new("sleep 1000");
    bundle.started();
    let mut forwarder = Forwarder::new(&bundle, &["0:7", "0:8"]);
    forwarder.next();
    let path = format!("/proc/{}", forwarder.child.id());
    let status = || std::fs::read_to_string(format!("{path}/status")).unwrap();
    let field = |name: &str| {
        let status = status();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches(':').trim().to_string()
    };
    wait_for("the filter", || field("Seccomp") == "2");
    for (name, want) in [
        ("NoNewPrivs", "1"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("Threads", "1"),
    ] {
        assert_eq!(field(name), want, "{name}");
    }
    let mut fds = Vec::new();
    for entry in std::fs::read_dir(format!("{path}/fd")).unwrap() {
        let entry = entry.unwrap().path();
        let number: u32 = entry.file_name().unwrap().to_str().unwrap().parse().unwrap();
        if number > 2 {
            let target = std::fs::read_link(entry).unwrap().to_string_lossy().into_owned();
            fds.push(target.split([':', '[']).next().unwrap().to_string());
        }
    }
    fds.sort();
    // The sandbox's and two listeners; what it waits with.
    assert_eq!(fds, ["anon_inode", "socket", "socket", "socket"]);
}

#[test]
fn a_peer_that_goes_on_after_the_end_is_told() {
    if !have("socat") {
        return;
    }
    let bundle = Bundle::new(
        "socat TCP-LISTEN:7007,fork,reuseaddr 'SYSTEM:echo bye' & \
         until grep -q :1B5F /proc/net/tcp; do sleep 0.1; done; echo up; exec sleep 1000",
    );
    bundle.started();
    bundle.until_written("up");
    let mut forwarder = Forwarder::new(&bundle, &["0:7007"]);
    let mut open = TcpStream::connect(forwarder.next()).unwrap();
    let mut got = [0; 4];
    open.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"bye\n");
    // Nobody reads it inside: neither side may take it for ever.
    wait_for("an error", || {
        thread::sleep(Duration::from_millis(50));
        open.write_all(&[0; 4096]).is_err()
    });
    wait_for("the end inside", || serving(&bundle) == 0);
}

#[test]
fn guests_that_do_not_read_and_peers_that_leave_hold_no_place() {
    if !have("socat") {
        return;
    }
    // What comes is never read: a pipe takes some of it.
    let bundle = Bundle::new(
        "socat -u TCP-LISTEN:7007,fork,reuseaddr,backlog=100 'EXEC:sleep 1000' & \
         until grep -q :1B5F /proc/net/tcp; do sleep 0.1; done; echo up; exec sleep 1000",
    );
    bundle.started();
    bundle.until_written("up");
    let mut forwarder = Forwarder::new(&bundle, &["0:7007"]);
    let to = forwarder.next();
    for _ in 0..3 {
        let mut open = Vec::new();
        for _ in 0..30 {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            // Until everything under way is full.
            while stream.write_all(&[0; 65536]).is_ok() {}
            open.push(stream);
        }
        wait_for("connections inside", || serving(&bundle) > 0);
        exec_works(&bundle);
        for stream in open {
            host::inet::reset(stream.into());
        }
        wait_for("the end of them", || serving(&bundle) == 0);
    }
}

#[test]
fn connections_are_bounded_and_requests_are_served_meanwhile() {
    if !have("socat") {
        return;
    }
    let bundle = Bundle::new(
        "socat -t30 TCP-LISTEN:7007,fork,reuseaddr,backlog=300 EXEC:cat & \
         until grep -q :1B5F /proc/net/tcp; do sleep 0.1; done; echo up; exec sleep 1000",
    );
    bundle.started();
    bundle.until_written("up");
    // Each has its own bound, and the sandbox one for all.
    let mut forwarders = [
        Forwarder::new(&bundle, &["0:7007"]),
        Forwarder::new(&bundle, &["0:7007"]),
    ];
    let ports = [forwarders[0].next(), forwarders[1].next()];
    let mut open = Vec::new();
    for (number, to) in (0..440).zip(ports.into_iter().cycle()) {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        open.push(stream);
        assert!(number < 20 || serving(&bundle) <= 2 * 256);
    }
    exec_works(&bundle);
    let mut served = 0;
    for stream in &mut open {
        let mut byte = [0];
        let echoed = stream.write_all(b"x").and_then(|()| stream.read_exact(&mut byte));
        served += usize::from(echoed.is_ok());
    }
    assert!((200..=256).contains(&served), "{served}");
    drop(open);
    wait_for("the end of all", || serving(&bundle) == 0);
    let mut again = TcpStream::connect(ports[0]).unwrap();
    again.write_all(b"y").unwrap();
    again.read_exact(&mut [0]).unwrap();
}

#[test]
fn wrong_use_is_told() {
    let bundle = Bundle::new("sleep 1000");
    let said = |args: &[&str]| run(&mut bundle.command(args), LIMIT).stderr;
    assert!(said(&["port-forward", "nobody", "80"]).contains("does not exist"));
    bundle.started();
    assert!(said(&["port-forward", &bundle.id]).contains("a port is needed"));
    assert!(said(&["port-forward", &bundle.id, "x:80"]).contains("port 'x:80'"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("{}:80", taken.local_addr().unwrap().port());
    assert!(said(&["port-forward", &bundle.id, &port]).contains("Address already in use"));
    run(&mut bundle.command(&["kill", &bundle.id, "KILL"]), LIMIT);
    bundle.until("stopped");
    assert!(said(&["port-forward", &bundle.id, "80"]).contains("not running"));
}
