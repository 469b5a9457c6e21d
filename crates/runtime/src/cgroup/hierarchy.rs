//! Where the host's control groups are mounted, and where this process is in them (cgroups(7)).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, While};

/// The host's control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One tree for all controllers.
    V2 {
        /// Where it is mounted.
        mount: PathBuf,
        /// This process's group.
        own: PathBuf,
    },
    /// A tree for each controller or few of them.
    V1(BTreeMap<String, Tree>),
}

/// A tree of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The group of the tree that the mount shows as its root.
    pub root: PathBuf,
    /// This process's group.
    pub own: PathBuf,
}

impl Hierarchy {
    /// That of the host this process runs on.
    pub fn of_host() -> Result<Hierarchy, Failure> {
        let read = |file: &str| fs::read_to_string(file).while_doing(&format!("reading {file}"));
        parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
            .ok_or_else(|| Failure::own("the host has no control groups mounted (/sys/fs/cgroup)"))
    }
}

/// Controllers that are used, or joined so that a tool which looks for the container's processes finds them.
const CONTROLLERS: &[&str] = &[
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "name=systemd",
];

fn parse(mountinfo: &str, own: &str) -> Option<Hierarchy> {
    let own = own_groups(own);
    let mut trees = BTreeMap::new();
    let mut unified = None;
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let fields: Vec<&str> = before.split(' ').collect();
        let (Some(root), Some(mount)) = (fields.get(3), fields.get(4)) else {
            continue;
        };
        let mut after = after.split(' ');
        match after.next() {
            Some("cgroup2") => unified = unified.or(Some(PathBuf::from(mount))),
            Some("cgroup") => {
                let options = after.nth(1).unwrap_or_default();
                for name in options.split(',').filter(|name| CONTROLLERS.contains(name)) {
                    let own = own.get(name).cloned().unwrap_or_else(|| "/".into());
                    trees.entry(name.to_string()).or_insert_with(|| Tree {
                        mount: mount.into(),
                        root: root.into(),
                        own,
                    });
                }
            }
            _ => {}
        }
    }
    // Where controllers of version 1 are mounted, a tree of version 2 beside them has few or none.
    if trees.keys().any(|name| name != "name=systemd") {
        return Some(Hierarchy::V1(trees));
    }
    unified.map(|mount| Hierarchy::V2 {
        mount,
        own: own.get("").cloned().unwrap_or_else(|| "/".into()),
    })
}

/// /proc/self/cgroup: group by controller; that of version 2 has the empty name.
fn own_groups(text: &str) -> BTreeMap<String, PathBuf> {
    let mut groups = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        if let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) {
            for name in names.split(',') {
                groups.insert(name.to_string(), PathBuf::from(path));
            }
        }
    }
    groups
}

/// A group's directory under a mount. A relative path is below `own`, which `root` is taken off from.
pub fn place(mount: &Path, root: &Path, own: &Path, path: &Path) -> PathBuf {
    let below = |path: &Path| -> PathBuf {
        // No "..": a group is never outside of the mount.
        let names = path.components().filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name),
            _ => None,
        });
        names.collect()
    };
    if path.is_absolute() {
        return mount.join(below(path));
    }
    mount
        .join(below(own.strip_prefix(root).unwrap_or(own)))
        .join(below(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_version_1_win_over_an_empty_tree_of_version_2() {
        let mountinfo = "1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            2 1 0:2 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            3 1 0:3 /outer /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            4 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "3:memory:/outer/mine\n2:cpu,cpuacct:/a\n0::/\n";
        let Some(Hierarchy::V1(trees)) = parse(mountinfo, own) else {
            panic!("not version 1");
        };
        assert_eq!(trees.keys().collect::<Vec<_>>(), ["cpu", "cpuacct", "memory"]);
        let memory = &trees["memory"];
        let at = |path: &str| place(&memory.mount, &memory.root, &memory.own, Path::new(path));
        assert_eq!(at("/docker/x"), Path::new("/sys/fs/cgroup/memory/docker/x"));
        assert_eq!(at("x"), Path::new("/sys/fs/cgroup/memory/mine/x"));
        assert_eq!(at("/../../x"), Path::new("/sys/fs/cgroup/memory/x"));
    }

    #[test]
    fn version_2_alone_is_version_2() {
        let mountinfo = "2 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            parse(mountinfo, "0::/user.slice/a\n"),
            Some(Hierarchy::V2 {
                mount: "/sys/fs/cgroup".into(),
                own: "/user.slice/a".into()
            })
        );
        assert_eq!(parse("", "0::/\n"), None);
    }
}
