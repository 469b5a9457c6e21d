//! `tegmen check`: what this host can give to a sandbox.

use std::fs;
use std::path::Path;

use host::ns;
use lexopt::Parser;

use super::{Globals, only_flags, show};
use crate::failure::{Failure, OWN_ERROR, describe};

const HELP: &str = "\
Tests what this host can give to a sandbox, and prints a table: what is there, and what is weaker without it.
The exit status is 125 when something is missing that no sandbox can do without.

usage: tegmen check
";

/// The oldest kernel with every call that the jail makes: mount_setattr(2) came with 5.12, and its use
/// on idmapped and overlay mounts settled by 5.14.
const OLDEST_KERNEL: (u32, u32) = (5, 14);

/// What a missing thing means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// No sandbox can be made.
    Needed,
    /// Sandboxes work, but are weaker or slower in the way the text says.
    Wanted(&'static str),
}

struct Finding {
    what: &'static str,
    weight: Weight,
    /// What was found, or what is wrong.
    found: Result<String, String>,
}

pub fn run(_: &Globals, parser: Parser) -> Result<u8, Failure> {
    if only_flags(parser, HELP, &[])?.is_none() {
        return Ok(0);
    }
    let findings = findings();
    let (mut usable, mut table) = (true, String::new());
    for Finding { what, weight, found } in &findings {
        let (mark, text) = match (found, weight) {
            (Ok(text), _) => ("ok", text.clone()),
            (Err(text), Weight::Needed) => {
                usable = false;
                ("MISSING", text.clone())
            }
            (Err(text), Weight::Wanted(weaker)) => ("weaker", format!("{text}; {weaker}")),
        };
        table.push_str(&format!("{what:<20}{mark:<9}{text}\n"));
    }
    show(&table);
    Ok(if usable { 0 } else { OWN_ERROR })
}

fn findings() -> Vec<Finding> {
    let needed = |what, found| Finding {
        what,
        weight: Weight::Needed,
        found,
    };
    let wanted = |what, weaker, found| Finding {
        what,
        weight: Weight::Wanted(weaker),
        found,
    };
    vec![
        needed("processor", processor()),
        needed("kernel", kernel()),
        needed("namespaces", namespaces()),
        needed("seccomp", seccomp()),
        wanted(
            "privilege",
            "files of other users appear as nobody's",
            privilege(),
        ),
        wanted(
            "user namespaces",
            "only root can start sandboxes",
            user_namespaces(),
        ),
        wanted(
            "huge pages",
            "page faults and forks of large guests are slower",
            huge_pages(),
        ),
        wanted(
            "cgroups",
            "limits on memory and processors cannot be set",
            cgroups(),
        ),
        wanted(
            "processors",
            "calls into the sentry always share the guest's processor",
            processors(),
        ),
    ]
}

fn processor() -> Result<String, String> {
    if cfg!(target_arch = "x86_64") {
        Ok("x86-64".into())
    } else {
        Err("not x86-64".into())
    }
}

fn kernel() -> Result<String, String> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| format!("/proc: {error}"))?;
    let release = release.trim().to_string();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST_KERNEL {
        Ok(release)
    } else {
        Err(format!(
            "{release} is older than {}.{}",
            OLDEST_KERNEL.0, OLDEST_KERNEL.1
        ))
    }
}

/// Makes them all, as a sandbox would.
fn namespaces() -> Result<String, String> {
    let child =
        ns::spawn(ns::JAIL, || 0).map_err(|errno| format!("cannot create them: {}", describe(errno)))?;
    match child.wait() {
        Ok(ns::Ended::Exited(0)) => Ok("user, pid, mount, network, ipc, uts, cgroup".into()),
        other => Err(format!("the first process failed: {other:?}")),
    }
}

fn seccomp() -> Result<String, String> {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    for action in ["kill_process", "trap"] {
        if !actions.split_whitespace().any(|have| have == action) {
            return Err(format!("the host's filters have no '{action}'"));
        }
    }
    Ok("filters with kill_process and trap".into())
}

fn privilege() -> Result<String, String> {
    let (uid, ..) = host::prctl::ids().map_err(describe)?;
    if uid == 0 {
        Ok("root: every id is mapped".into())
    } else {
        Err(format!("user {uid}: one id is mapped"))
    }
}

fn user_namespaces() -> Result<String, String> {
    for switch in [
        "kernel/unprivileged_userns_clone",
        "kernel/apparmor_restrict_unprivileged_userns",
        "user/max_user_namespaces",
    ] {
        let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(switch)) else {
            continue;
        };
        let forbids = if switch.contains("restrict") {
            value.trim() != "0"
        } else {
            value.trim() == "0"
        };
        if forbids {
            return Err(format!("{switch} is {}", value.trim()));
        }
    }
    Ok("also for ordinary users".into())
}

fn huge_pages() -> Result<String, String> {
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    match setting.split(['[', ']']).nth(1) {
        Some(mode @ ("always" | "madvise")) => Ok(format!("transparent, {mode}")),
        _ => Err("no transparent huge pages".into()),
    }
}

fn cgroups() -> Result<String, String> {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if ["cpu", "memory", "pids"]
        .iter()
        .all(|name| controllers.split_whitespace().any(|have| have == *name))
    {
        return Ok("version 2".into());
    }
    if Path::new("/sys/fs/cgroup/memory").is_dir() {
        return Ok("version 1".into());
    }
    Err("no memory controller".into())
}

fn processors() -> Result<String, String> {
    match std::thread::available_parallelism() {
        Ok(count) if count.get() > 1 => Ok(count.to_string()),
        _ => Err("one".into()),
    }
}
