//! The relay of `--network=sandbox`, attacked on a host that is a network namespace with nothing but a loopback interface, whose services
//! nobody inside may reach.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::attacks::compile;
use crate::harness::{Scratch, have, tegmen};
use crate::witness::Witness;

const ATTACK_LIMIT: Duration = Duration::from_secs(300);
const PORT: &str = "7007";
/// A host with services on its loopback addresses, and a name server there that takes few connections.
const HOST: &str = "mount --bind \"$1\" /etc/resolv.conf || exit 77
ip link set lo up
socat TCP-LISTEN:$2,fork,max-children=20 'SYSTEM:echo here' 2>/dev/null &
socat TCP6-LISTEN:$2,ipv6only,fork,max-children=20 'SYSTEM:echo here' 2>/dev/null &
socat UDP-LISTEN:$2,fork,max-children=20 'SYSTEM:echo here' 2>/dev/null &
socat TCP-LISTEN:53,bind=127.0.0.1,fork,max-children=20 EXEC:cat 2>/dev/null &
sleep 0.5
shift 2
exec \"$@\"";

#[test]
fn the_relay_leads_nowhere_that_it_should_not() {
    if !have("cc") || !have("socat") || !have("unshare") {
        return;
    }
    let scratch = Scratch::new("network_relay");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/escape/network_relay.c");
    let program = compile(&source, &scratch, &[]).unwrap();
    let resolv_conf = scratch.path().join("resolv.conf");
    fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
    let witness = Witness::new(&scratch);
    let mut host = Command::new("unshare");
    // With the first process, which becomes tegmen, everything of that host ends.
    host.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", HOST, "sh"])
        .arg(&resolv_conf)
        .arg(PORT)
        .arg(tegmen().get_program())
        .args(["do", "--network=sandbox", "--"])
        .arg(&program)
        .args([witness.canary(), PORT]);
    let (outcome, faults) = witness.watch(&mut host, ATTACK_LIMIT);
    if outcome.status == Some(77) || outcome.stderr.contains("unshare failed") {
        eprintln!("skipped: {}", outcome.stderr);
        return;
    }
    assert!(
        faults.is_empty() && outcome.status == Some(0),
        "{faults:?}\n{outcome:#?}"
    );
    eprintln!("{}", outcome.stdout);
}
