//! From a bundle's config.json to what the sandbox is told: processes, root, mounts, names.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, PosixRlimitType, Process as SpecProcess, Spec};
use sandbox::Config;
use sandbox::container::{self, Container, Mount, Process, Root, Source, User, flags};

use crate::cgroup::{Cgroup, Limits};
use crate::failure::{Failure, While};
use crate::jail::Tree;
use crate::launch;

/// A bundle that was read.
pub struct Bundle {
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// Its config.json.
    pub spec: Spec,
}

/// The network namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The runtime's own: no network namespace is named.
    Host,
    /// A new one.
    New,
    /// The one at this path.
    Joined(PathBuf),
}

impl Bundle {
    /// Reads the bundle in `directory`.
    pub fn read(directory: &Path) -> Result<Bundle, Failure> {
        let directory = directory
            .canonicalize()
            .while_doing(&format!("bundle '{}'", directory.display()))?;
        let file = directory.join("config.json");
        let text = fs::read(&file).while_doing(&format!("reading '{}'", file.display()))?;
        let spec = serde_json::from_slice(&text)
            .map_err(|error| Failure::own(format!("'{}': {error}", file.display())))?;
        Ok(Bundle { directory, spec })
    }

    /// The root directory on the host.
    pub fn rootfs(&self) -> Result<PathBuf, Failure> {
        let root = self.spec.root().as_ref();
        let root = root.ok_or_else(|| Failure::own("config.json names no root"))?;
        let path = self.directory.join(root.path());
        let path = path
            .canonicalize()
            .while_doing(&format!("root '{}'", path.display()))?;
        if !path.is_dir() {
            return Err(Failure::own(format!(
                "root '{}': not a directory",
                path.display()
            )));
        }
        Ok(path)
    }

    /// The first process of config.json.
    pub fn process(&self) -> Result<&SpecProcess, Failure> {
        let process = self.spec.process().as_ref();
        process.ok_or_else(|| Failure::own("config.json has no process"))
    }

    /// Which network namespace it asks for.
    pub fn network(&self) -> Network {
        let namespaces = self
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_ref());
        let network = namespaces
            .into_iter()
            .flatten()
            .find(|namespace| namespace.typ() == LinuxNamespaceType::Network);
        match network.map(|network| network.path()) {
            None => Network::Host,
            Some(None) => Network::New,
            Some(Some(path)) if path.as_os_str().is_empty() => Network::New,
            Some(Some(path)) => Network::Joined(path.clone()),
        }
    }

    /// The control group that it asks for.
    pub fn cgroup(&self, id: &str) -> Result<Cgroup, Failure> {
        let linux = self.spec.linux().as_ref();
        let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
        let rootless = host::prctl::ids().is_ok_and(|(uid, _, _)| uid != 0);
        Cgroup::make(path, id, Limits::default(), rootless)
    }

    /// What the sandbox is made from: the host trees (the root first) and its configuration.
    pub fn sandbox(&self, id: &str) -> Result<(Vec<Tree>, Config), Failure> {
        let root = self.spec.root().as_ref();
        let read_only = root.and_then(|root| root.readonly()).unwrap_or(false);
        let mut trees = vec![Tree {
            host: self.rootfs()?,
            // Mount points may have to be made in it; the sandbox's kernel keeps it read-only.
            read_only: false,
        }];
        let mut mounts = Vec::new();
        for mount in self.spec.mounts().iter().flatten() {
            mounts.extend(self.mount(mount, &mut trees)?);
        }
        let name = |name: &Option<String>, else_: &str| name.as_deref().unwrap_or(else_).as_bytes().to_vec();
        let config = Config {
            hostname: name(self.spec.hostname(), "tegmen"),
            domainname: name(self.spec.domainname(), "(none)"),
            strace: false,
            cpus: host::machine::processors(),
            cpuinfo: launch::first_processor(),
            total_memory: host::machine::total_memory().while_doing("memory size")?,
            container: Container {
                id: id.to_string(),
                process: process(self.process()?)?,
                root: Root::Direct { read_only },
                mounts,
                setup: container::Setup::default(),
            },
            wait_for_start: true,
        };
        Ok((trees, config))
    }

    /// A mount of config.json; a bind mount adds its tree.
    fn mount(
        &self,
        mount: &oci_spec::runtime::Mount,
        trees: &mut Vec<Tree>,
    ) -> Result<Option<Mount>, Failure> {
        let options = mount.options().as_deref().unwrap_or_default();
        let (flags, data) = mount_options(options);
        let at = mount.destination().as_os_str().as_bytes().to_vec();
        let kind = mount.typ().as_deref().unwrap_or("none");
        let bind = kind == "bind" || options.iter().any(|option| option == "bind" || option == "rbind");
        if bind {
            let source = mount.source().as_deref().unwrap_or(Path::new(""));
            let host = self.directory.join(source);
            let host = host
                .canonicalize()
                .while_doing(&format!("mounting '{}'", host.display()))?;
            let read_only = flags & flags::RDONLY != 0;
            let index = trees.len() - 1;
            trees.push(Tree { host, read_only });
            return Ok(Some(Mount {
                at,
                source: Source::Tree { index, read_only },
                name: source.as_os_str().as_bytes().to_vec(),
                flags,
                options: Vec::new(),
                copy_up: false,
            }));
        }
        let kind = match kind {
            "tmpfs" if at == b"/dev" => "devtmpfs",
            "cgroup" => "cgroup2",
            other => other,
        };
        let options = match kind {
            "tmpfs" | "devpts" | "devtmpfs" => data.into_bytes(),
            _ => Vec::new(),
        };
        let source = mount.source().as_deref().map(|path| path.as_os_str().as_bytes());
        Ok(Some(Mount {
            at,
            source: Source::Kernel(kind.to_string()),
            name: source.unwrap_or(kind.as_bytes()).to_vec(),
            flags,
            options,
            copy_up: false,
        }))
    }
}

/// Flags and the rest of the options of a mount.
fn mount_options(options: &[String]) -> (u64, String) {
    let (mut set, mut data) = (0, Vec::new());
    for option in options {
        match option.as_str() {
            "ro" => set |= flags::RDONLY,
            "rw" => set &= !flags::RDONLY,
            "nosuid" => set |= flags::NOSUID,
            "nodev" => set |= flags::NODEV,
            "noexec" => set |= flags::NOEXEC,
            "noatime" => set |= flags::NOATIME,
            "nodiratime" => set |= flags::NODIRATIME,
            "relatime" => set |= flags::RELATIME,
            option if option.starts_with("mode=") || option.starts_with("size=") => data.push(option),
            option if option.starts_with("gid=") || option.starts_with("uid=") => data.push(option),
            option if option.starts_with("ptmxmode=") => data.push(option),
            _ => {}
        }
    }
    (set, data.join(","))
}

/// A process of config.json or of an exec's file.
pub fn process(spec: &SpecProcess) -> Result<Process, Failure> {
    let bytes = |strings: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        let strings = strings.iter().flatten();
        strings.map(|string| string.as_bytes().to_vec()).collect()
    };
    let argv = bytes(spec.args());
    if argv.is_empty() {
        return Err(Failure::own("process args must not be empty"));
    }
    let user = spec.user();
    let mut rlimits = launch::rlimits()?;
    for limit in spec.rlimits().iter().flatten() {
        if let Some(slot) = rlimits.get_mut(rlimit_number(limit.typ())) {
            *slot = (limit.soft(), limit.hard());
        }
    }
    Ok(Process {
        argv,
        env: bytes(spec.env()),
        cwd: Some(spec.cwd().as_os_str().as_bytes().to_vec()),
        user: User {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(0o022),
        },
        rlimits,
        privileges: container::Privileges::default(),
    })
}

fn rlimit_number(kind: PosixRlimitType) -> usize {
    use PosixRlimitType as T;
    match kind {
        T::RlimitCpu => 0,
        T::RlimitFsize => 1,
        T::RlimitData => 2,
        T::RlimitStack => 3,
        T::RlimitCore => 4,
        T::RlimitRss => 5,
        T::RlimitNproc => 6,
        T::RlimitNofile => 7,
        T::RlimitMemlock => 8,
        T::RlimitAs => 9,
        T::RlimitLocks => 10,
        T::RlimitSigpending => 11,
        T::RlimitMsgqueue => 12,
        T::RlimitNice => 13,
        T::RlimitRtprio => 14,
        T::RlimitRttime => 15,
    }
}
