//! A sandbox with the interface of a network namespace, and peers in another one.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::containers::bundle::Bundle;
use crate::harness::{LIMIT, Outcome, have, run, spawn_ready, tegmen_do};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Two network namespaces joined by a veth pair: the world with 10.77.0.1 and fd77::1, the container's with 10.77.0.2 and
/// fd77::2. Both go when this is dropped, with the peers in them.
pub struct World {
    outside: String,
    inside: String,
    peers: Vec<Child>,
}

fn ip(args: &str) -> bool {
    let outcome = run(Command::new("ip").args(args.split_whitespace()), LIMIT);
    outcome.status == Some(0)
}

impl World {
    /// `None` where the machine cannot make one.
    pub fn new() -> Option<World> {
        if !have("ip") || !have("socat") {
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |side: &str| format!("nd-{side}-{}-{number}", std::process::id());
        let (outside, inside) = (name("w"), name("c"));
        if !ip(&format!("netns add {outside}")) {
            eprintln!("skipped: network namespaces cannot be made here");
            return None;
        }
        let world = World {
            outside,
            inside,
            peers: Vec::new(),
        };
        let (w, c) = (&world.outside, &world.inside);
        for command in [
            format!("netns add {c}"),
            format!("-n {w} link add veth0 type veth peer name eth0 netns {c}"),
            format!("-n {w} addr add 10.77.0.1/24 dev veth0"),
            format!("-n {w} addr add fd77::1/64 dev veth0 nodad"),
            format!("-n {w} link set veth0 up"),
            format!("-n {w} link set lo up"),
            format!("-n {c} addr add 10.77.0.2/24 brd + dev eth0"),
            format!("-n {c} addr add fd77::2/64 dev eth0 nodad"),
            format!("-n {c} link set eth0 up"),
            format!("-n {c} route add default via 10.77.0.1"),
            format!("-n {c} -6 route add default via fd77::1"),
        ] {
            assert!(ip(&command), "ip {command}");
        }
        Some(world)
    }

    /// The name of the container's namespace.
    pub fn inside(&self) -> &str {
        &self.inside
    }

    /// A command in the world.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.outside, program]).args(args);
        command
    }

    /// A peer in the world that runs until the end, and is ready when something listens on its TCP port.
    pub fn peer(&mut self, args: &[&str]) {
        let child = self
            .command("socat", args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.peers.push(child);
        sleep(Duration::from_millis(300));
    }

    /// `tegmen do` with the interface.
    fn taking_over(&self, script: &str) -> Command {
        let namespace = format!("/run/netns/{}", self.inside);
        tegmen_do(&["--netns", &namespace], &["sh", "-c", script])
    }

    fn run(&self, script: &str) -> Outcome {
        run(&mut self.taking_over(script), LIMIT)
    }

    /// Runs a script in the world until it succeeds.
    fn retry(&self, script: &str) -> Outcome {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let outcome = run(&mut self.command("sh", &["-c", script]), LIMIT);
            if outcome.status == Some(0) || Instant::now() > end {
                return outcome;
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for peer in &mut self.peers {
            let _ = peer.kill();
            let _ = peer.wait();
        }
        // What the peers forked, and may wait for ever for an end that vanished.
        for namespace in [&self.outside, &self.inside] {
            let left = run(Command::new("ip").args(["netns", "pids", namespace]), LIMIT);
            for pid in left.stdout.split_whitespace() {
                let _ = Command::new("kill").args(["-9", pid]).status();
            }
        }
        ip(&format!("netns del {}", self.inside));
        ip(&format!("netns del {}", self.outside));
    }
}

#[test]
fn connections_and_datagrams_reach_the_world() {
    let Some(mut world) = World::new() else { return };
    world.peer(&["TCP4-LISTEN:8000,fork,reuseaddr", "EXEC:cat"]);
    world.peer(&["TCP6-LISTEN:8001,fork,reuseaddr", "EXEC:cat"]);
    world.peer(&["UDP4-RECVFROM:8002,fork", "EXEC:cat"]);
    let outcome = world.run(
        "printf four | socat -t5 - TCP:10.77.0.1:8000; echo
         printf six | socat -t5 - TCP6:[fd77::1]:8001; echo
         printf datagram | socat -t2 - UDP:10.77.0.1:8002; echo
         head -c 3000000 /dev/zero | socat -t9 - TCP:10.77.0.1:8000 | wc -c
         socat - TCP:10.77.0.1:9 </dev/null 2>&1 | grep -o 'Connection refused'
         socat - TCP:10.99.99.99:9,bind=10.77.0.3 </dev/null 2>&1 | grep -o 'Cannot assign requested address'",
    );
    let wanted = "four\nsix\ndatagram\n3000000\nConnection refused\nCannot assign requested address\n";
    assert_eq!(outcome.stdout, wanted, "{outcome:?}");
}

#[test]
fn a_listener_serves_both_the_world_and_the_sandbox() {
    let Some(world) = World::new() else { return };
    let mut server = world
        .taking_over(
            "socat TCP-LISTEN:7000,fork,reuseaddr EXEC:cat &
             sleep 1; printf local | socat -t5 - TCP:127.0.0.1:7000; printf own | socat -t5 - TCP:10.77.0.2:7000; echo
             read line; true",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let outcome = world.retry("printf hello | socat -t5 - TCP:10.77.0.2:7000,connect-timeout=5");
    assert_eq!(outcome.stdout, "hello", "{outcome:?}");
    let outcome = world.retry("head -c 2000000 /dev/zero | socat -t9 - TCP:10.77.0.2:7000 | wc -c");
    assert_eq!(outcome.stdout, "2000000\n", "{outcome:?}");
    drop(server.stdin.take());
    let output = server.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "localown\n");
}

#[test]
fn interfaces_and_routes_are_shown_as_they_were() {
    let Some(world) = World::new() else { return };
    let outcome = world.run(
        "ip -o -4 addr show dev eth0 | grep -o 'inet [0-9./]* brd [0-9.]*'
         ip -o -6 addr show dev eth0 scope global | grep -o 'inet6 [0-9a-f:/]*'
         ip route | tr -s ' ' | sed 's/ *$//'; ip route get 10.9.9.9 | head -1 | sed 's/ uid.*//; s/ *$//'
         cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '; ip neigh get 10.77.0.1 dev eth0 >/dev/null 2>&1
         ip addr add 10.78.0.1/24 dev eth0 && ip -o -4 addr show dev eth0 | wc -l
         ip route add 10.80.0.0/16 via 10.77.0.9 && ip route | grep -c 10.80; ip link set eth0 mtu 1400 && cat /proc/net/dev >/dev/null
         ip link show eth0 | grep -o 'mtu 1400'",
    );
    let wanted = "inet 10.77.0.2/24 brd 10.77.0.255
inet6 fd77::2/64
default via 10.77.0.1 dev eth0
10.77.0.0/24 dev eth0 proto kernel scope link src 10.77.0.2
10.9.9.9 via 10.77.0.1 dev eth0 src 10.77.0.2
lo
eth0
2
1
mtu 1400
";
    assert_eq!(outcome.stdout, wanted, "{outcome:?}");
}

#[test]
fn the_host_no_longer_answers_for_what_was_taken_over() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.run("true").status, Some(0));
    let left = run(
        Command::new("ip").args(["-n", &world.inside, "-o", "addr", "show", "dev", "eth0"]),
        LIMIT,
    );
    assert_eq!(left.stdout, "");
}

#[test]
fn echo_requests_are_answered_in_both_directions() {
    let Some(world) = World::new() else { return };
    if !have("busybox") {
        return;
    }
    let mut server = world
        .taking_over("read line; true")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    for to in ["10.77.0.2", "fd77::2"] {
        let outcome = world.retry(&format!("busybox ping -c1 -W2 {to}"));
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
    }
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

#[test]
fn pings_and_captures_work_inside() {
    let Some(world) = World::new() else { return };
    if !have("busybox") {
        return;
    }
    let outcome = world.run(
        "for to in 10.77.0.1 127.0.0.1 10.77.0.2; do busybox ping -c1 -W5 $to | grep -c '1 packets received'; done
         busybox ping6 -c1 -W5 fd77::1 | grep -c '1 packets received'
         busybox ping -c1 -W1 10.77.0.99 | grep -c '0 packets received'
         busybox traceroute -n -q1 -w2 10.77.0.1 2>/dev/null | grep -c '^ 1  10.77.0.1'",
    );
    assert_eq!(outcome.stdout, "1\n1\n1\n1\n1\n1\n", "{outcome:?}");
    // The first sandbox has taken the addresses with it.
    let Some(world) = World::new() else { return };
    if have("tcpdump") {
        let outcome =
            world.run("busybox ping 10.77.0.1 >/dev/null & tcpdump -lni eth0 -c 2 icmp 2>/dev/null; kill $!");
        let text = outcome.stdout;
        assert!(
            text.contains("ICMP echo request") && text.contains("ICMP echo reply"),
            "{text}"
        );
    }
}

#[test]
fn the_name_server_of_the_engine_is_reached() {
    let Some(mut world) = World::new() else { return };
    assert!(ip(&format!("-n {} link set lo up", world.inside)));
    let server = "UDP4-RECVFROM:4053,bind=127.0.0.11,fork";
    let child = Command::new("ip")
        .args(["netns", "exec", &world.inside, "socat", server, "EXEC:cat"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    world.peers.push(child);
    sleep(Duration::from_millis(500));
    let outcome = world.run("printf 'a query of some length' | socat -t3 - UDP:127.0.0.11:53");
    assert_eq!(outcome.stdout, "a query of some length", "{outcome:?}");
}

/// It answers queries with 3000 bytes of text, or says that its answer was cut when the asker takes less.
const NAME_SERVER: &str = "
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.11', 4053))
print('ready', flush=True)
while True:
    q, peer = s.recvfrom(65535)
    more, = struct.unpack('>H', q[10:12])
    at = 12
    while q[at]: at += 1 + q[at]
    at += 5
    room = struct.unpack('>H', q[at + 3:at + 5])[0] if more else 512
    full = room >= 3100
    a = q[:2] + bytes([0x81 | (0 if full else 2), 0x80]) + struct.pack('>HHHH', 1, 1 if full else 0, 0, more) + q[12:at]
    if full: a += b'\\xc0\\x0c' + struct.pack('>HHIH', 16, 1, 60, 3000) + b'x' * 3000
    s.sendto(a + q[at:], peer)
";

/// Asks over a connection twice at once, then in a datagram.
const ASKER: &str = "
import socket, struct
def query(number): return struct.pack('>HHHHHH', number, 0x100, 1, 0, 0, 0) + b'\\x03big\\x04test\\0' + struct.pack('>HH', 16, 1)
def told(q): return struct.pack('>H', len(q)) + q
def read(c, n):
    data = b''
    while len(data) < n: data += c.recv(n - len(data))
    return data
c = socket.create_connection(('127.0.0.11', 53), timeout=10)
c.sendall(told(query(7))[:5]); c.sendall(told(query(7))[5:] + told(query(9)))
c.shutdown(socket.SHUT_WR)
answers = []
for _ in range(2):
    answer = read(c, struct.unpack('>H', read(c, 2))[0])
    answers.append((struct.unpack('>H', answer[:2])[0], len(answer), answer[2] & 2, answer[11]))
print(sorted(answers), c.recv(1))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(10); u.sendto(query(3), ('127.0.0.11', 53))
answer = u.recv(9999)
print(struct.unpack('>H', answer[:2])[0], len(answer), answer[2] & 2)
l = socket.socket(); l.bind(('0.0.0.0', 53)); print('own port 53')
";

#[test]
fn the_engines_name_server_is_asked_over_connections_too() {
    let Some(world) = World::new() else { return };
    if !have("python3") {
        return;
    }
    assert!(ip(&format!("-n {} link set lo up", world.inside)));
    let mut server = Command::new("ip");
    server.args(["netns", "exec", &world.inside, "python3", "-c", NAME_SERVER]);
    let mut server = spawn_ready(server.stdin(Stdio::null()));
    let namespace = format!("/run/netns/{}", world.inside);
    let outcome = run(
        &mut tegmen_do(&["--netns", &namespace], &["python3", "-c", ASKER]),
        LIMIT,
    );
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(
        outcome.stdout, "[(7, 3038, 0, 0), (9, 3038, 0, 0)] b''\n3 26 2\nown port 53\n",
        "{outcome:?}"
    );
}

#[test]
fn a_container_gets_the_interface_at_its_start() {
    let Some(mut world) = World::new() else { return };
    world.peer(&["TCP4-LISTEN:8000,fork,reuseaddr", "EXEC:cat"]);
    let script =
        "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '; printf hi | socat -t5 - TCP:10.77.0.1:8000";
    let mut bundle = Bundle::new(script);
    let namespace = serde_json::json!({ "type": "network", "path": format!("/run/netns/{}", world.inside) });
    for entry in bundle.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if entry["type"] == "network" {
            *entry = namespace.clone();
        }
    }
    bundle.write();
    bundle.started();
    bundle.until("stopped");
    assert_eq!(bundle.output(), "lo\neth0\nhi", "{}", bundle.logged());
}

#[test]
fn socket_lists_show_what_is_open() {
    let Some(mut world) = World::new() else { return };
    if !have("ss") {
        return;
    }
    world.peer(&["TCP4-LISTEN:8000,fork,reuseaddr", "EXEC:cat"]);
    let outcome = world.run(
        "exec 3<>/dev/null; socat TCP-LISTEN:7000 - & socat PIPE TCP:10.77.0.1:8000 & sleep 1
         ss -Htln | tr -s ' ' | cut -d' ' -f1,4; ss -Htn state established | tr -s ' ' | cut -d' ' -f4; kill %1 %2",
    );
    assert_eq!(
        outcome.stdout, "LISTEN 0.0.0.0:7000\n10.77.0.1:8000\n",
        "{outcome:?}"
    );
}

#[test]
fn a_peer_that_vanishes_is_given_up() {
    let Some(mut world) = World::new() else { return };
    if !have("python3") {
        return;
    }
    world.peer(&["TCP4-LISTEN:8000,fork,reuseaddr", "EXEC:cat"]);
    let program = "
import socket, sys, time
s = socket.create_connection(('10.77.0.1', 8000))
s.setsockopt(socket.IPPROTO_TCP, 18, 1500)
s.send(b'x'); s.recv(1); print('up', flush=True); sys.stdin.readline()
try:
    for _ in range(100):
        s.send(b'y'); time.sleep(0.2)
except OSError as error:
    print(error.strerror)";
    let namespace = format!("/run/netns/{}", world.inside);
    let mut child = tegmen_do(&["--netns", &namespace], &["python3", "-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert!(ip(&format!("-n {} link set veth0 down", world.outside)));
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Connection timed out\n");
}
