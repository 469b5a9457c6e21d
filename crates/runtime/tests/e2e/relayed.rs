//! `tegmen do --network=sandbox`: the host's network through a relay, on a host that is a network namespace.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{LIMIT, Outcome, Scratch, have, run, spawn_ready};
use crate::network::World;

/// A name server that answers everything with 10.9.8.7, over UDP and TCP, with an answer that is cut in UDP for names
/// that begin with "long".
const NAME_SERVER: &str = r#"
import socket, struct, sys, threading
def answer(q, cut):
    end = q.index(b'\0', 12) + 5
    kind = struct.unpack('!H', q[end-4:end-2])[0]
    rest = b'\xc0\x0c' + struct.pack('!HHIH', 1, 1, 60, 4) + bytes([10, 9, 8, 7])
    count = 0 if cut or kind != 1 else 1
    return q[:2] + struct.pack('!HHHHH', 0x8180 | (0x200 if cut else 0), 1, count, 0, 0) + q[12:end] + rest * count
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.53', 53))
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(('127.0.0.53', 53)); t.listen()
def tcp():
    while True:
        c, _ = t.accept()
        n = struct.unpack('!H', c.recv(2))[0]
        a = answer(c.recv(n), False)
        c.sendall(struct.pack('!H', len(a)) + a); c.close()
threading.Thread(target=tcp, daemon=True).start()
print('ready', flush=True)
while True:
    q, a = u.recvfrom(4096)
    u.sendto(answer(q, q[13:17] == b'long'), a)
"#;

/// A command on the "host": the namespace that the world is next to.
fn on_host(world: &World, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", world.inside(), program])
        .args(args);
    command
}

/// A world next to a "host" with a loopback interface.
fn world() -> Option<World> {
    let world = World::new()?;
    let up = run(&mut on_host(&world, "ip", &["link", "set", "lo", "up"]), LIMIT);
    assert_eq!(up.status, Some(0), "{}", up.stderr);
    Some(world)
}

fn relayed(world: &World, script: &str) -> Command {
    on_host(
        world,
        env!("CARGO_BIN_EXE_tegmen"),
        &["do", "--network=sandbox", "--", "sh", "-c", script],
    )
}

fn outcome(world: &World, script: &str) -> Outcome {
    run(&mut relayed(world, script), LIMIT)
}

#[test]
fn connections_and_datagrams_reach_the_world_and_come_back() {
    let Some(mut world) = world() else { return };
    world.peer(&["TCP-LISTEN:7001,fork,reuseaddr", "EXEC:cat"]);
    world.peer(&["TCP6-LISTEN:7002,fork,reuseaddr", "EXEC:cat"]);
    world.peer(&["-T60", "UDP-LISTEN:7003,fork,reuseaddr", "EXEC:cat"]);
    let script = "head -c 3000000 /dev/urandom >/tmp/a; \
        socat -t30 - TCP:10.77.0.1:7001 </tmp/a | cmp - /tmp/a && echo four; \
        socat -t30 - 'TCP6:[fd77::1]:7002' </tmp/a | cmp - /tmp/a && echo six; \
        echo datagram | socat -t2 - UDP:10.77.0.1:7003; \
        for i in 1 2 3 4 5 6 7 8; do (echo $i | socat -t9 - TCP:10.77.0.1:7001) & done | sort | tr -d '\\n'; wait";
    let got = outcome(&world, script);
    assert_eq!(got.stdout, "four\nsix\ndatagram\n12345678", "{}", got.stderr);
}

#[test]
fn what_fails_on_the_host_fails_inside_and_its_loopback_is_nowhere() {
    let Some(world) = world() else { return };
    let mut own = on_host(
        &world,
        "socat",
        &["TCP-LISTEN:7004,bind=127.0.0.1,fork,reuseaddr", "EXEC:cat"],
    )
    .stdin(Stdio::null())
    .spawn()
    .unwrap();
    sleep(Duration::from_millis(300));
    let connect = |to: &str| format!("socat -u /dev/null TCP:{to},connect-timeout=9 2>&1 | sed 's/.*: //'; ");
    let script = [
        "10.77.0.1:1",
        "127.0.0.1:7004",
        "0.0.0.0:7004",
        "192.0.2.1:7004",
        "192.0.2.53:7004",
        "10.77.0.99:1",
    ]
    .map(connect)
    .concat();
    let got = outcome(&world, &script);
    let _ = own.kill();
    let _ = own.wait();
    let refused = "Connection refused\n";
    assert_eq!(
        got.stdout,
        format!("{}No route to host\n", refused.repeat(5)),
        "{}",
        got.stderr
    );
}

#[test]
fn names_are_resolved_by_a_stub_on_the_hosts_loopback() {
    if !have("python3") {
        return;
    }
    let Some(world) = world() else { return };
    let mut server = spawn_ready(&mut on_host(&world, "python3", &["-c", NAME_SERVER]));
    let scratch = Scratch::new("relayed");
    let conf = scratch.path().join("resolv.conf");
    fs::File::create(&conf)
        .unwrap()
        .write_all(b"nameserver 127.0.0.53\noptions timeout:2\n")
        .unwrap();
    let script = "mount --bind \"$1\" /etc/resolv.conf && exec \"$0\" do --network=sandbox -- sh -c \
        'cat /etc/resolv.conf; getent ahostsv4 short.example; getent ahostsv4 long.example' ";
    let mut command = on_host(&world, "unshare", &["-m", "sh", "-c", script]);
    command.arg(env!("CARGO_BIN_EXE_tegmen")).arg(&conf);
    let got = run(&mut command, LIMIT);
    let _ = server.kill();
    let _ = server.wait();
    assert!(
        got.stdout
            .starts_with("nameserver 192.0.2.53\noptions timeout:2\n"),
        "{got:?}"
    );
    for name in ["short.example", "long.example"] {
        let line = got.stdout.lines().find(|line| line.ends_with(name));
        assert!(line.is_some_and(|line| line.starts_with("10.9.8.7 ")), "{got:?}");
    }
}

/// The relays below this process, by their names.
fn relays() -> BTreeSet<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_relay = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "tegmen-relay\n")
    };
    pids.filter(is_relay).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn nothing_of_a_relay_survives_a_kill() {
    let Some(world) = world() else { return };
    for whole in [true, false] {
        let mut child = spawn_ready(&mut relayed(&world, "echo ready; sleep 1000"));
        let mine: Vec<u32> = relays()
            .into_iter()
            .filter(|pid| parent(*pid) == Some(child.id()))
            .collect();
        assert_eq!(mine.len(), 1, "ip netns exec becomes the command");
        let victim = if whole { child.id() } else { mine[0] };
        Command::new("kill")
            .args(["-9", &victim.to_string()])
            .status()
            .unwrap();
        if !whole {
            // The sandbox goes on without a network, and ends as ever.
            sleep(Duration::from_millis(300));
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
        }
        child.wait().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while fs::metadata(format!("/proc/{}", mine[0])).is_ok() {
            assert!(Instant::now() < end, "the relay lives on");
            sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn files_of_a_volume_are_not_adapted() {
    let scratch = Scratch::new("etc");
    let etc = scratch.path();
    fs::write(etc.join("resolv.conf"), "mine\n").unwrap();
    std::os::unix::fs::symlink("/etc/elsewhere", etc.join("hosts")).unwrap();
    let volume = format!("{}:/etc", etc.display());
    let outcome = run(
        &mut crate::harness::tegmen_do(
            &["--network", "sandbox", "--volume", &volume],
            &["cat", "/etc/resolv.conf"],
        ),
        LIMIT,
    );
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("mine\n", Some(0)));
    let mut names: Vec<_> = fs::read_dir(etc)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["hosts", "resolv.conf"]);
}
