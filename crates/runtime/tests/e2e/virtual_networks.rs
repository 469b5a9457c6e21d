//! Networks that programs build inside the sandbox: namespaces, pairs of interfaces, bridges, with iproute2.

use crate::harness::{LIMIT, have, run, sh, tegmen_do};

/// Runs a script as the sandbox's root; what it printed. `None` without the programs that it needs.
fn built(needs: &[&str], script: &str) -> Option<String> {
    if !needs.iter().all(|program| have(program)) {
        return None;
    }
    let outcome = sh(&format!("set -e; {script}"));
    assert_eq!(outcome.status, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    Some(outcome.stdout)
}

#[test]
fn named_namespaces_are_made_entered_and_removed() {
    let script = "ip netns add one; ip netns add two; ip netns exec one ip -br link; ip netns del two
        test ! -e /run/netns/two; ip netns exec one readlink /proc/self/ns/net >/tmp/in; readlink /proc/self/ns/net >/tmp/out
        ! cmp -s /tmp/in /tmp/out; ip netns exec one sh -c 'ip netns identify; ip netns pids one | wc -l'";
    let Some(shown) = built(&["ip", "cmp"], script) else {
        return;
    };
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert!(lines[0].starts_with("lo") && lines[0].contains("DOWN"), "{shown}");
    assert_eq!(lines[1], "one", "{shown}");
    assert!(lines[2].trim().parse::<u32>().unwrap() >= 1, "{shown}");
}

/// A bridge with three namespaces around it.
const AROUND_A_BRIDGE: &str =
    "ip link add br0 type bridge; ip link set br0 up; ip addr add 10.8.0.254/24 dev br0
    for i in 1 2 3; do
        ip netns add n$i; ip link add p$i type veth peer name eth0 netns n$i; ip link set p$i master br0 up
        ip -n n$i addr add 10.8.0.$i/24 dev eth0; ip -n n$i link set eth0 up; ip -n n$i link set lo up
        ip -n n$i route add default via 10.8.0.254
    done
    ";

#[test]
fn a_bridge_joins_namespaces() {
    let script = format!(
        "{AROUND_A_BRIDGE}
        ip netns exec n2 python3 -m http.server 8000 --bind 10.8.0.2 >/dev/null 2>&1 & server=$!
        fetch() {{ \"$@\" python3 -c '
import time, urllib.request
for i in range(100):
    try: text = urllib.request.urlopen(\"http://10.8.0.2:8000/\", timeout=5).read(); break
    except OSError: time.sleep(0.1)
print(len(text) > 0)'; }}
        fetch ip netns exec n1; fetch ip netns exec n3; fetch env
        kill $server
        bridge fdb show | grep -c 'master br0'; bridge link | grep -c 'master br0'
        ip netns exec n1 ip neigh | grep -c '10.8.0.2 dev eth0 lladdr'
        ip link del p3; ip -n n3 -br link | grep -c eth0 || true; ip -n n1 -br addr show dev eth0 | grep -c fe80"
    );
    let Some(shown) = built(&["ip", "bridge", "python3"], &script) else {
        return;
    };
    assert_eq!(shown, "True\nTrue\nTrue\n3\n3\n1\n0\n1\n");
}

#[test]
fn streams_and_datagrams_flow_between_namespaces() {
    let script = "ip netns add a; ip netns add b; ip link add va netns a type veth peer name vb netns b
        ip -n a addr add 10.9.0.1/24 dev va; ip -n b addr add 10.9.0.2/24 dev vb
        ip -n a link set va up; ip -n b link set vb up
        for options in '' '-R -P 3' '-u -b 20M'; do
            ip netns exec b iperf3 -s -1 -D; sleep 1
            ip netns exec a iperf3 -c 10.9.0.2 -n 10M $options | tail -1
        done";
    let Some(shown) = built(&["ip", "iperf3"], script) else {
        return;
    };
    assert_eq!(shown, "iperf Done.\n".repeat(3));
}

#[test]
fn who_has_no_capability_over_a_namespace_changes_nothing_there() {
    if !have("ip") || !have("setpriv") {
        return;
    }
    let script = "setpriv --reuid 1000 --clear-groups sh -c '
        ip link add x type dummy 2>&1 | grep -c -i permitted
        unshare -rn sh -c \"ip link add x type dummy && ip link set x up && ip -br link show x\"'";
    let outcome = run(&mut tegmen_do(&[], &["sh", "-c", script]), LIMIT);
    assert!(
        outcome.stdout.starts_with("1\nx ") && outcome.stdout.contains("NOARP,UP"),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
}
