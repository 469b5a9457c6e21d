//! Sandboxes whose guests have sockets of the host's network (`--network=host`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use crate::containers::bundle::Bundle;
use crate::harness::{LIMIT, have, run, tegmen_do};

#[test]
fn guests_reach_what_listens_on_the_host_and_are_reached() {
    if !have("python3") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let program = format!(
        "
import socket
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
c = socket.create_connection(('127.0.0.1', {port}))
c.sendall(b'%d\\n' % s.getsockname()[1])
peer, _ = s.accept()
total = 0
while data := peer.recv(65536): total += len(data)
peer.sendall(b'%d' % total)
"
    );
    let mut child = tegmen_do(&["--network", "host"], &["python3", "-c", &program])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    let mut back = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let data = vec![7; 5_000_000];
    back.write_all(&data).unwrap();
    back.shutdown(std::net::Shutdown::Write).unwrap();
    let mut told = String::new();
    back.read_to_string(&mut told).unwrap();
    assert_eq!(told, data.len().to_string());
    assert!(child.wait().unwrap().success());
}

/// What the sockets do on Linux, they do inside.
#[test]
fn sockets_of_the_host_behave_as_they_do_on_the_host() {
    if !have("python3") {
        return;
    }
    let program = "
import errno, os, select, socket, threading
def tell(*what): print(*what, flush=True)
def error(f, *args):
    try: f(*args)
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('127.0.0.1', 0)); l.listen(1)
port = l.getsockname()[1]
tell(error(socket.socket().bind, ('127.0.0.1', port)), error(socket.socket().bind, ('192.0.2.77', 0)))
n = socket.socket(); n.setblocking(False)
tell(errno.errorcode[n.connect_ex(('127.0.0.1', 1))]); select.select([], [n], [], 2)
tell(n.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), error(n.send, b'x'))
l.settimeout(0.1); tell(error(l.accept)); l.settimeout(None)
c = socket.create_connection(('127.0.0.1', port)); s, _ = l.accept()
tell(error(c.connect, ('127.0.0.1', port)), c.getpeername() == l.getsockname())
c.sendall(b'abc'); tell(s.recv(2, socket.MSG_PEEK), s.recv(2, socket.MSG_WAITALL), s.recv(9))
tell(error(s.recv, 1, socket.MSG_DONTWAIT))
data = os.urandom(3 << 20); t = threading.Thread(target=c.sendall, args=(data,)); t.start()
got = bytearray()
while len(got) < len(data): got += s.recv(100_000)
t.join(); tell(got == data)
p = select.poll(); p.register(s, select.POLLIN | select.POLLRDHUP)
tell(p.poll(50)); c.shutdown(socket.SHUT_WR); tell(sorted(e for _, e in p.poll(2000)), s.recv(1))
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0])); c.close()
tell(error(s.recv, 1))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.sendto(b'hello there', u.getsockname())
tell(u.recvfrom(5)[0]); v.sendto(b'x' * 3000, u.getsockname()); tell(len(u.recv(10, socket.MSG_TRUNC)))
tell(error(v.sendto, b'x' * 70000, u.getsockname()), error(v.send, b'x'))
u.close(); v.connect(('127.0.0.1', 9)); v.send(b'x'); tell(error(v.recv, 1))
six = socket.socket(socket.AF_INET6); six.bind(('::1', 0)); six.listen()
a = socket.create_connection(six.getsockname()[:2]); b, peer = six.accept(); b.send(b'six'); tell(a.recv(9), peer[0])
tell(a.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
";
    let native = run(Command::new("python3").args(["-c", program]), LIMIT);
    let inside = run(
        &mut tegmen_do(&["--network", "host"], &["python3", "-c", program]),
        LIMIT,
    );
    assert_eq!(
        (native.status, inside.status),
        (Some(0), Some(0)),
        "{native:?}{inside:?}"
    );
    assert_eq!(inside.stdout, native.stdout);
}

#[test]
fn what_sockets_of_the_host_cannot_do_is_said() {
    if !have("python3") || !have("ip") {
        return;
    }
    let program = "
import errno, socket
def error(f, *args):
    try: f(*args); return 'done'
    except OSError as e: return errno.errorcode[e.errno]
print(error(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1), error(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(error(s.setsockopt, 1, socket.SO_BINDTODEVICE, b'lo'), error(s.setsockopt, 0, 8, 1), error(s.setsockopt, 1, 29, 1))
";
    let script = format!("python3 -c \"{program}\"; ip link set lo down 2>&1; unshare -n ip -br link");
    let outcome = run(
        &mut tegmen_do(&["--network", "host"], &["sh", "-c", &script]),
        LIMIT,
    );
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(
        lines[..2],
        ["EPERM EPERM", "EPERM ENOPROTOOPT ENOPROTOOPT"],
        "{outcome:?}"
    );
    assert!(lines[2].contains("not permitted"), "{outcome:?}");
    assert!(
        lines[3].starts_with("lo") && lines[3].contains("DOWN"),
        "{outcome:?}"
    );
}

#[test]
fn containers_share_their_namespaces_network() {
    if !have("socat") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bundle = Bundle::new(&format!("printf hi | socat - TCP:127.0.0.1:{port}; echo done"));
    bundle.globals = vec!["--network", "host"];
    // Without one of its own, it is in the namespace of whoever made it.
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|entry| entry["type"] != "network");
    bundle.write();
    bundle.started();
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    drop(stream);
    assert_eq!(text, "hi");
    bundle.until("stopped");
    assert_eq!(bundle.output(), "done\n", "{}", bundle.logged());
}
