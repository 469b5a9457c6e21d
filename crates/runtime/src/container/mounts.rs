//! Mounts of config.json: which host trees come into the jail, and what is mounted where inside.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use sandbox::container::{Device, DeviceKind, Mount, Source, flags};

use crate::failure::{Failure, While};
use crate::jail::Tree;

/// Mounts, and the host trees that they show.
#[derive(Default)]
pub struct Mounts {
    /// In the order of config.json.
    pub mounts: Vec<Mount>,
    /// Trees of bind mounts, in the order of their indices.
    pub trees: Vec<Tree>,
    /// What cannot be honoured and does not matter for isolation.
    pub warnings: Vec<String>,
}

/// Options of a mount, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// MS_* flags.
    flags: u64,
    /// For the file system.
    data: Vec<String>,
    bind: bool,
    recursive: bool,
    copy_up: bool,
    unknown: Vec<String>,
}

/// Options that mean nothing where no mount is shared with anybody and no id is mapped, or that are the rule here anyway.
const WITHOUT_MEANING: &[&str] = &[
    "async",
    "atime",
    "defaults",
    "diratime",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "private",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "dev",
    "exec",
    "sync",
    "unbindable",
    "symfollow",
    "rdiratime",
    "ratime",
    "rrelatime",
    "rnorelatime",
    "rstrictatime",
    "rnostrictatime",
    "rsuid",
    "rdev",
    "rexec",
    "rsymfollow",
];

/// Options that file systems of ours take.
const OF_FILE_SYSTEMS: &[&str] = &[
    "mode",
    "size",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "ptmxmode",
    "newinstance",
    "huge",
    "mpol",
    "noswap",
    "inode32",
    "inode64",
    "max",
];

/// Options that act.
const ACTING: &[&str] = &[
    "bind",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nosuid",
    "rbind",
    "relatime",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnosuid",
    "ro",
    "rro",
    "rrw",
    "rw",
    "tmpcopyup",
];

/// Every option that is understood, of whatever file system.
pub fn known_options() -> Vec<&'static str> {
    let mut options = [ACTING, WITHOUT_MEANING].concat();
    options.sort_unstable();
    options
}

impl Options {
    fn parse(options: &[String]) -> Options {
        let mut parsed = Options::default();
        for option in options {
            let name = option.split('=').next().unwrap_or_default();
            match option.as_str() {
                "ro" | "rro" => parsed.flags |= flags::RDONLY,
                "rw" | "rrw" => parsed.flags &= !flags::RDONLY,
                "nosuid" | "rnosuid" => parsed.flags |= flags::NOSUID,
                "nodev" | "rnodev" => parsed.flags |= flags::NODEV,
                "noexec" | "rnoexec" => parsed.flags |= flags::NOEXEC,
                "noatime" | "rnoatime" => parsed.flags |= flags::NOATIME,
                "nodiratime" | "rnodiratime" => parsed.flags |= flags::NODIRATIME,
                "relatime" => parsed.flags |= flags::RELATIME,
                "bind" => parsed.bind = true,
                "rbind" => (parsed.bind, parsed.recursive) = (true, true),
                "tmpcopyup" => parsed.copy_up = true,
                other if WITHOUT_MEANING.contains(&other) => {}
                _ if OF_FILE_SYSTEMS.contains(&name) => parsed.data.push(option.clone()),
                _ => parsed.unknown.push(option.clone()),
            }
        }
        parsed
    }
}

impl Mounts {
    /// Adds a mount of config.json; relative sources are relative to the bundle's directory.
    pub fn add(&mut self, bundle: &Path, mount: &oci_spec::runtime::Mount) -> Result<(), Failure> {
        let at = mount.destination();
        if !at.is_absolute() {
            self.warnings
                .push(format!("mount destination '{}' is not absolute", at.display()));
        }
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or("none");
        let maps = mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
        if maps || options.unknown.iter().any(|option| option.contains("idmap")) {
            return Err(Failure::own(format!(
                "mount '{}': id-mapped mounts are not supported",
                at.display()
            )));
        }
        // One that would keep something out is an error, others change nothing that matters.
        if let Some(option) = options.unknown.iter().find(|option| *option == "nosymfollow") {
            return Err(Failure::own(format!(
                "mount '{}': option '{option}' is not supported",
                at.display()
            )));
        }
        for option in &options.unknown {
            self.warnings
                .push(format!("mount '{}': option '{option}' is ignored", at.display()));
        }
        let source = mount.source().as_deref().unwrap_or(Path::new(""));
        let mut new = Mount {
            // From the root, as runc takes it.
            at: Path::new("/").join(at).as_os_str().as_bytes().to_vec(),
            source: Source::Kernel(String::new()),
            name: source.as_os_str().as_bytes().to_vec(),
            flags: options.flags,
            options: Vec::new(),
            copy_up: false,
        };
        if kind == "bind" || options.bind {
            new.source = self.bind(&bundle.join(source), &options)?;
        } else {
            let Some(kind) = own_kind(kind) else {
                return Err(Failure::own(format!(
                    "mount '{}': file system type '{kind}' is not supported",
                    at.display()
                )));
            };
            new.source = Source::Kernel(kind.to_string());
            if new.name.is_empty() {
                new.name = kind.as_bytes().to_vec();
            }
            if matches!(kind, "tmpfs" | "devpts" | "devtmpfs") {
                new.options = options.data.join(",").into_bytes();
            }
            new.copy_up = options.copy_up;
        }
        self.mounts.push(new);
        Ok(())
    }

    fn bind(&mut self, source: &Path, options: &Options) -> Result<Source, Failure> {
        let doing = format!("mounting '{}'", source.display());
        let host = source.canonicalize().while_doing(&doing)?;
        let meta = host.metadata().while_doing(&doing)?;
        let kind = meta.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            let rdev = meta.rdev();
            let number = (
                ((rdev >> 8) & 0xfff) as u32,
                ((rdev & 0xff) | ((rdev >> 12) & 0xf_ff00)) as u32,
            );
            let device = Device {
                path: Vec::new(),
                kind: match kind.is_block_device() {
                    true => DeviceKind::Block,
                    false => DeviceKind::Character,
                },
                number,
                perm: meta.permissions().mode() & 0o777,
                owner: (meta.uid(), meta.gid()),
            };
            if !device.has_driver() {
                return Err(Failure::own(format!(
                    "{doing}: a device of the host, which sandboxes do not reach"
                )));
            }
            return Ok(Source::Device(device));
        }
        let read_only = options.flags & flags::RDONLY != 0;
        let index = self.trees.len();
        self.trees.push(Tree {
            host,
            read_only,
            below: options.recursive,
        });
        Ok(Source::Tree { index, read_only })
    }
}

/// The type of the sandbox's kernel that serves one of config.json.
fn own_kind(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "proc" => "proc",
        "sysfs" => "sysfs",
        "tmpfs" | "ramfs" => "tmpfs",
        "devtmpfs" => "devtmpfs",
        "devpts" => "devpts",
        "mqueue" => "mqueue",
        // Version 2 whatever the host has: one tree shows all.
        "cgroup" | "cgroup2" => "cgroup2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        Options::parse(&options)
    }

    #[test]
    fn what_is_called_known_is_understood() {
        for option in known_options() {
            assert!(parse(&[option]).unknown.is_empty(), "{option}");
        }
    }

    #[test]
    fn options_are_sorted() {
        let parsed = parse(&[
            "rbind",
            "rprivate",
            "ro",
            "nosuid",
            "size=64m",
            "mode=755",
            "tmpcopyup",
            "zoom",
        ]);
        assert_eq!(parsed.flags, flags::RDONLY | flags::NOSUID);
        assert_eq!(parsed.data, ["size=64m", "mode=755"]);
        assert!(parsed.bind && parsed.recursive && parsed.copy_up);
        assert_eq!(parsed.unknown, ["zoom"]);
        // The last one counts.
        assert_eq!(parse(&["ro", "rw"]).flags, 0);
    }
}
