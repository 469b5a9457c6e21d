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
        "socat TCP-LISTEN:7007,fork,reuseaddr EXEC:cat & socat TCP6-LISTEN:7008,ipv6only,fork,reuseaddr 'SYSTEM:echo six' & \
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
            scope.spawn(move || assert_eq!(exchange(echo, &[n; 1000]), [n; 1000]));
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
        "socat TCP-LISTEN:7007,fork,reuseaddr EXEC:cat & \
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
