//! From a bundle's config.json to what the sandbox is told: processes, root, mounts, names.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxIdMapping, LinuxPersonalityDomain, PosixRlimitType, Process as SpecProcess, Spec,
};
use sandbox::Config;
use sandbox::container::{Container, Privileges, Process, Root, User};
use sandbox::network::NetworkConfig;
use serde_json::Value;

use super::mounts::Mounts;
use super::namespaces::Namespaces;
use super::state::{Saved, StateDir};
use super::{privileges, resources, setup};
use crate::cgroup::{Cgroup, Driver, Limits};
use crate::failure::{Failure, While};
use crate::jail::Tree;
use crate::launch;

/// A bundle that was read.
pub struct Bundle {
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// Its config.json.
    pub spec: Spec,
    /// The same as it is written.
    pub text: Vec<u8>,
    /// Capabilities in it that nobody knows.
    unknown: Vec<String>,
}

/// A configuration, and the capabilities in it that are left out because nobody knows them, as the runtime-spec has it.
fn parse(text: &[u8]) -> Result<(Spec, Vec<String>), serde_json::Error> {
    let first = match serde_json::from_slice(text) {
        Ok(spec) => return Ok((spec, Vec::new())),
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_slice(text)?;
    let mut unknown = BTreeSet::new();
    let sets = value
        .pointer_mut("/process/capabilities")
        .and_then(Value::as_object_mut);
    for names in sets
        .into_iter()
        .flat_map(|sets| sets.values_mut())
        .filter_map(Value::as_array_mut)
    {
        names.retain(|name| {
            let stranger = name
                .as_str()
                .filter(|name| privileges::capability_number(name).is_none());
            unknown.extend(stranger.map(str::to_string));
            stranger.is_none()
        });
    }
    // The first error has the line and the column.
    match serde_json::from_value(value) {
        Ok(spec) if !unknown.is_empty() => Ok((spec, unknown.into_iter().collect())),
        _ => Err(first),
    }
}

impl Bundle {
    /// Reads the bundle in `directory`.
    pub fn read(directory: &Path) -> Result<Bundle, Failure> {
        let directory = directory
            .canonicalize()
            .while_doing(&format!("bundle '{}'", directory.display()))?;
        let file = directory.join("config.json");
        Bundle::of_file(directory, &file)
    }

    /// That of a container that exists, with the configuration that it was made from.
    pub fn kept(state: &StateDir, saved: &Saved) -> Result<Bundle, Failure> {
        Bundle::of_file(saved.bundle.clone(), &state.config())
    }

    fn of_file(directory: PathBuf, file: &Path) -> Result<Bundle, Failure> {
        let text = fs::read(file).while_doing(&format!("reading '{}'", file.display()))?;
        Bundle::of_text(directory, text)
            .map_err(|error| Failure::own(format!("'{}': {error}", file.display())))
    }

    /// A bundle by the text of its config.json.
    pub fn of_text(directory: PathBuf, text: Vec<u8>) -> Result<Bundle, serde_json::Error> {
        let (spec, unknown) = parse(&text)?;
        Ok(Bundle {
            directory,
            spec,
            text,
            unknown,
        })
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

    /// Which namespaces of the host it asks for.
    pub fn namespaces(&self) -> Result<Namespaces, Failure> {
        Namespaces::of_spec(&self.spec)
    }

    fn cgroup_path(&self) -> Option<&Path> {
        let linux = self.spec.linux().as_ref();
        linux.and_then(|linux| linux.cgroups_path().as_deref())
    }

    /// The control group that [`Bundle::cgroup`] is about to make.
    pub fn planned_cgroup(&self, id: &str, driver: Driver) -> Option<Cgroup> {
        Cgroup::planned(self.cgroup_path(), id, driver)
    }

    /// Makes the control group that it asks for.
    pub fn cgroup(&self, id: &str, limits: Limits, driver: Driver) -> Result<Cgroup, Failure> {
        let path = self.cgroup_path();
        Cgroup::make(path, id, limits, super::state::rootless(), driver)
    }

    /// What the sandbox is made from, the limits of its control group, and what is told to the user about settings that
    /// are passed over.
    pub fn sandbox(&self, id: &str) -> Result<Made, Failure> {
        let root = self.spec.root().as_ref();
        let read_only = root.and_then(|root| root.readonly()).unwrap_or(false);
        let mut mounts = Mounts::default();
        for mount in self.spec.mounts().iter().flatten() {
            mounts.add(&self.directory, mount)?;
        }
        if !self.unknown.is_empty() {
            mounts
                .warnings
                .push(format!("ignoring unknown capabilities: {:?}", self.unknown));
        }
        let (setup, warnings) = setup::of_spec(&self.spec)?;
        mounts.warnings.extend(warnings);
        let namespaces = self.namespaces()?;
        mounts.warnings.extend(namespaces.warnings());
        let resources = self
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().as_ref());
        resources.map_or(Ok(()), resources::refused)?;
        let (limits, warnings) = resources.map(resources::limits).unwrap_or_default();
        mounts.warnings.extend(warnings);
        let mut trees = vec![Tree {
            host: self.rootfs()?,
            // Mount points may have to be made in it; the sandbox's kernel keeps it read-only.
            read_only: false,
            below: true,
        }];
        trees.extend(mounts.trees);
        // Without a word it is the one of the namespace that is shared, which the monitor finds.
        let name = |name: &Option<String>, own: &str| -> Vec<u8> {
            let own = if namespaces.shares_names() { "" } else { own };
            name.as_deref().unwrap_or(own).as_bytes().to_vec()
        };
        let config = Config {
            hostname: name(self.spec.hostname(), "tegmen"),
            user: None,
            domainname: name(self.spec.domainname(), "(none)"),
            strace: false,
            cpus: resources::processors(&limits),
            cpuinfo: launch::first_processor(),
            total_memory: host::machine::total_memory().while_doing("memory size")?,
            id_maps: self.id_maps(&namespaces)?,
            container: Container {
                id: id.to_string(),
                process: self.process_of(self.process()?)?,
                root: Root::Direct { read_only },
                mounts: mounts.mounts,
                setup,
                limits: resources::seen_inside(&limits),
            },
            // Comes with the start: until then hooks may still change it.
            network: NetworkConfig::default(),
            wait_for_start: true,
            host_network: false,
        };
        Ok(Made {
            trees,
            config,
            limits,
            warnings: mounts.warnings,
            namespaces,
        })
    }

    /// The id maps of the user namespace that it asks for; `None`: it asks for none, or for the caller's own.
    fn id_maps(&self, namespaces: &Namespaces) -> Result<Option<(String, String)>, Failure> {
        let Some(linux) = self.spec.linux() else {
            return Ok(None);
        };
        let lines = |maps: &Option<Vec<LinuxIdMapping>>| -> String {
            let maps = maps.iter().flatten();
            maps.map(|map| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size()))
                .collect()
        };
        let maps = (lines(linux.uid_mappings()), lines(linux.gid_mappings()));
        match (maps.0.is_empty(), maps.1.is_empty()) {
            (true, true) => namespaces.joined_maps(),
            (false, false) => Ok(Some(maps)),
            _ => Err(Failure::own(
                "config.json maps user ids or group ids only, not both",
            )),
        }
    }

    /// A process of the container, under the container's filter.
    pub fn process_of(&self, process: &SpecProcess) -> Result<Process, Failure> {
        let linux = self.spec.linux().as_ref();
        let mut made = self::process(process)?;
        let filter = linux.and_then(|linux| linux.seccomp().as_ref());
        made.privileges = privileges::of_process(process, filter)?;
        if let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) {
            made.privileges.personality = match personality.domain() {
                LinuxPersonalityDomain::PerLinux => 0,
                LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
            };
        }
        Ok(made)
    }
}

/// PER_LINUX32 of personality(2).
const PER_LINUX32: u32 = 8;

/// What a container is made from.
pub struct Made {
    /// Host trees, the root first.
    pub trees: Vec<Tree>,
    /// What the sandbox is told.
    pub config: Config,
    /// Limits of the control group.
    pub limits: Limits,
    /// Settings that are passed over.
    pub warnings: Vec<String>,
    /// Namespaces of the host.
    pub namespaces: Namespaces,
}

/// A process of config.json or of an exec's file.
fn process(spec: &SpecProcess) -> Result<Process, Failure> {
    let bytes = |strings: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        let strings = strings.iter().flatten();
        strings.map(|string| string.as_bytes().to_vec()).collect()
    };
    let argv = bytes(spec.args());
    if argv.is_empty() {
        return Err(Failure::own("process args must not be empty"));
    }
    if !spec.cwd().is_absolute() {
        return Err(Failure::own(format!(
            "process cwd '{}' must be an absolute path",
            spec.cwd().display()
        )));
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
        privileges: Privileges::default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_that_nobody_knows_are_left_out_and_told() {
        let text = r#"{"ociVersion":"1.0.2","process":{"cwd":"/","user":{"uid":0,"gid":0},
            "capabilities":{"bounding":["CAP_CHOWN","CAP_OF_TOMORROW"]}}}"#;
        let (spec, unknown) = parse(text.as_bytes()).unwrap();
        assert_eq!(unknown, ["CAP_OF_TOMORROW"]);
        let process = spec.process().as_ref().unwrap();
        let bounding = process.capabilities().as_ref().unwrap().bounding();
        assert_eq!(bounding.as_ref().map(|set| set.len()), Some(1));
    }

    #[test]
    fn errors_tell_line_and_column() {
        let error = parse(b"{\n \"process\": oops }").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 13));
        let error = parse(b"{\"ociVersion\": 5}").unwrap_err().to_string();
        assert!(error.contains("line 1 column"), "{error}");
    }
}
