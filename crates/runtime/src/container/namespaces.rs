//! linux.namespaces of config.json: those of the host that the process that stands for the container lives in.
//!
//! The guest's own namespaces are its kernel's, whatever is asked for. These here are for the host's programs: what enters a
//! container by its process id comes to the container's namespaces, and never to the host's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use host::ns;
use oci_spec::runtime::{LinuxNamespaceType as Kind, Spec};

use crate::failure::{Failure, While};

/// Kinds of namespaces, with the flag of clone(2).
const KINDS: &[(Kind, u64)] = &[
    (Kind::Network, ns::NETWORK),
    (Kind::Ipc, ns::IPC),
    (Kind::Uts, ns::UTS),
    (Kind::Cgroup, ns::CGROUP),
    (Kind::Pid, ns::PID),
    (Kind::Mount, ns::MOUNT),
    (Kind::User, ns::USER),
];

/// One that config.json lists.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// A new one.
    New,
    /// The one at this path.
    Joined(PathBuf),
}

/// What config.json asks for; what it does not list is the caller's own.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(BTreeMap<u64, Asked>);

/// The network namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The runtime's own: no network namespace is named.
    Host,
    /// One that is the container's: new, or at a path.
    Own,
}

impl Namespaces {
    /// Those of a configuration.
    pub fn of_spec(spec: &Spec) -> Result<Namespaces, Failure> {
        let listed = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_ref());
        let mut asked = BTreeMap::new();
        for namespace in listed.into_iter().flatten() {
            // The others (time) are nothing that a process of the host would be entered for.
            let Some((_, flag)) = KINDS.iter().find(|(kind, _)| *kind == namespace.typ()) else {
                continue;
            };
            let path = namespace.path().as_deref().unwrap_or(Path::new(""));
            let one = match path.as_os_str().is_empty() {
                true => Asked::New,
                false if !path.is_absolute() => {
                    return Err(Failure::own(format!(
                        "the path of the {} namespace is not absolute: '{}'",
                        namespace.typ(),
                        path.display()
                    )));
                }
                false => Asked::Joined(path.to_path_buf()),
            };
            if asked.insert(*flag, one).is_some() {
                return Err(Failure::own(format!(
                    "malformed spec file: duplicated ns {:?}",
                    namespace.typ().to_string()
                )));
            }
        }
        Ok(Namespaces(asked))
    }

    /// Where the network comes from.
    pub fn network(&self) -> Network {
        match self.0.contains_key(&ns::NETWORK) {
            true => Network::Own,
            false => Network::Host,
        }
    }

    fn is_new(&self, flag: u64) -> bool {
        self.0.get(&flag) == Some(&Asked::New)
    }

    fn joined(&self, flag: u64) -> Option<&Path> {
        match self.0.get(&flag) {
            Some(Asked::Joined(path)) => Some(path),
            _ => None,
        }
    }

    /// Whether the process that stands for the container has a user namespace of its own.
    pub fn has_users(&self) -> bool {
        self.0.contains_key(&ns::USER)
    }

    /// Whether it has a host name of its own.
    pub fn has_names(&self) -> bool {
        self.is_new(ns::UTS) && may_make()
    }

    /// Whether the names of the host, or of whose namespace it is, are the container's.
    pub fn shares_names(&self) -> bool {
        !self.is_new(ns::UTS)
    }

    /// Whether its mount namespace is of this runtime's making.
    pub fn makes_mounts(&self) -> bool {
        self.joined(ns::MOUNT).is_none() && may_make()
    }

    /// Flags of clone(2) for the process that stands for the container. One that may not make them all, an ordinary user, makes a
    /// network namespace only, or fails.
    pub fn clone_flags(&self) -> u64 {
        let mut flags = 0;
        for flag in [ns::NETWORK, ns::IPC, ns::UTS, ns::PID] {
            if self.is_new(flag) && (flag == ns::NETWORK || may_make()) {
                flags |= flag;
            }
        }
        if self.makes_mounts() {
            flags |= ns::MOUNT;
        }
        flags
    }

    /// Runs `body`, whose children are in the process namespace that is named.
    pub fn with_children_inside<T>(&self, body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let Some(path) = self.joined(ns::PID) else {
            return body();
        };
        let own = File::open("/proc/self/ns/pid").while_doing("own process namespace")?;
        enter(path, ns::PID)?;
        let done = body();
        ns::enter(own.as_fd(), ns::PID).while_doing("own process namespace")?;
        done
    }

    /// Enters those that are named, and makes the one that can only be made once the caller is in its control group.
    pub fn enter(&self) -> Result<(), Failure> {
        for flag in [ns::IPC, ns::UTS, ns::CGROUP, ns::NETWORK, ns::MOUNT] {
            if let Some(path) = self.joined(flag) {
                enter(path, flag)?;
            }
        }
        if self.is_new(ns::CGROUP) && may_make() {
            ns::leave(ns::CGROUP).while_doing("cgroup namespace")?;
        }
        Ok(())
    }

    /// The id maps, for users and groups, of the user namespace that is named.
    pub fn joined_maps(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(path) = self.joined(ns::USER) else {
            return Ok(None);
        };
        // Only a process tells its namespace's maps. Without them the container's root would be the caller's.
        let process = path
            .ends_with("ns/user")
            .then(|| path.ancestors().nth(2))
            .flatten()
            .filter(|process| process.starts_with("/proc") && process.join("uid_map").exists())
            .ok_or_else(|| {
                Failure::own(format!(
                    "user namespace '{}': only /proc/PID/ns/user can be joined",
                    path.display()
                ))
            })?;
        let map = |file: &str| {
            let file = process.join(file);
            fs::read_to_string(&file).while_doing(&file.display().to_string())
        };
        Ok(Some((map("uid_map")?, map("gid_map")?)))
    }

    /// What is not as it was asked for, because the guest's namespaces are its own kernel's.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.network() == Network::Host {
            warnings.push("the host's network cannot be shared: the sandbox has no network".into());
        }
        for (what, flag) in &[
            ("processes", ns::PID),
            ("System V IPC and message queues", ns::IPC),
            ("changes of names", ns::UTS),
        ] {
            match self.0.get(flag) {
                Some(Asked::New) => {}
                Some(Asked::Joined(path)) => warnings.push(format!(
                    "the {what} of '{}' cannot be shared: a sandbox has its own",
                    path.display()
                )),
                None if *flag == ns::UTS => {}
                None => warnings.push(format!(
                    "the host's {what} cannot be shared: a sandbox has its own"
                )),
            }
        }
        warnings
    }
}

/// Whether the caller may make namespaces of every kind.
fn may_make() -> bool {
    host::caps::has(host::caps::Cap::SYS_ADMIN)
}

fn enter(path: &Path, flag: u64) -> Result<(), Failure> {
    let kind = KINDS.iter().find(|(_, own)| *own == flag).map(|(kind, _)| kind);
    let kind = kind.map_or_else(String::new, Kind::to_string);
    let doing = format!("joining the {kind} namespace '{}'", path.display());
    let file = File::open(path).while_doing(&doing)?;
    ns::enter(file.as_fd(), flag).while_doing(&doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(list: &str) -> Result<Namespaces, Failure> {
        let text = format!(r#"{{"ociVersion":"1.0.2","linux":{{"namespaces":{list}}}}}"#);
        Namespaces::of_spec(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let found =
            asked(r#"[{"type":"network","path":"/run/netns/a"},{"type":"pid"},{"type":"ipc","path":""}]"#);
        let found = found.unwrap();
        assert_eq!(found.network(), Network::Own);
        assert!(found.is_new(ns::PID) && found.is_new(ns::IPC) && !found.is_new(ns::NETWORK));
        assert_eq!(found.joined(ns::NETWORK), Some(Path::new("/run/netns/a")));
        assert_eq!(asked("[]").unwrap().network(), Network::Host);
    }

    #[test]
    fn one_kind_cannot_be_asked_for_twice() {
        let failure = asked(r#"[{"type":"pid"},{"type":"pid"}]"#).unwrap_err();
        assert!(
            failure.message.contains("duplicated ns \"pid\""),
            "{}",
            failure.message
        );
        assert!(asked(r#"[{"type":"pid","path":"ns/pid"}]"#).is_err());
    }

    #[test]
    fn the_maps_of_a_named_user_namespace_are_its_processes() {
        let maps = asked(r#"[{"type":"user","path":"/proc/self/ns/user"}]"#)
            .unwrap()
            .joined_maps();
        assert_eq!(
            maps.unwrap().unwrap().0,
            fs::read_to_string("/proc/self/uid_map").unwrap()
        );
        assert!(
            asked(r#"[{"type":"user","path":"/run/userns/a"}]"#)
                .unwrap()
                .joined_maps()
                .is_err()
        );
    }

    #[test]
    fn what_cannot_be_shared_is_told() {
        let all = r#"[{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"network"}]"#;
        assert!(asked(all).unwrap().warnings().is_empty());
        let some = asked(r#"[{"type":"pid","path":"/proc/1/ns/pid"},{"type":"ipc"}]"#)
            .unwrap()
            .warnings();
        assert_eq!(some.len(), 2, "{some:?}");
    }
}
