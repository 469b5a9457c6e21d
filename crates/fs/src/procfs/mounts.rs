//! /proc/PID/{mounts,mountinfo,mountstats}: the mounts that a process can reach.

use std::sync::Arc;

use abi::Errno;
use kernel::vfs::device::{major, minor};
use kernel::vfs::{Mount, MountFlags, Path};

use super::process::Process;

/// A mount as these files show it.
struct Shown {
    mount: Arc<Mount>,
    /// The mount point, from the process's root.
    point: Vec<u8>,
    dev: u64,
    kind: &'static str,
    options: String,
    /// The nearest peer group in sight that it receives from, when that is not its master.
    from: Option<u64>,
}

/// Bytes of a name with what would end a field as octal.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            other => out.push(*other),
        }
    }
    out
}

/// The per-mount options.
fn flag_text(flags: MountFlags) -> String {
    let mut text = String::from(if flags.contains(MountFlags::RDONLY) {
        "ro"
    } else {
        "rw"
    });
    for (flag, name) in [
        (MountFlags::NOSUID, ",nosuid"),
        (MountFlags::NODEV, ",nodev"),
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::NODIRATIME, ",nodiratime"),
        (MountFlags::RELATIME, ",relatime"),
        (MountFlags::NOSYMFOLLOW, ",nosymfollow"),
    ] {
        if flags.contains(flag) {
            text.push_str(name);
        }
    }
    text
}

/// The mounts of the process's namespace below its root, parents first.
fn reachable(at: &Process) -> Result<Vec<Shown>, Errno> {
    let task = at.task()?;
    let root = task.fs().root();
    let vfs = &task.kernel.vfs;
    let mut shown = Vec::new();
    for mount in vfs.mounts(vfs.namespace_of(&root.mount)) {
        let top = Path {
            dentry: mount.root.clone(),
            mount: mount.clone(),
        };
        let (point, reachable) = if Arc::ptr_eq(&root.mount, &mount) {
            (b"/".to_vec(), true)
        } else {
            top.plain_text(&root)
        };
        let Ok(sb) = mount.superblock() else { continue };
        if reachable {
            shown.push(Shown {
                point,
                dev: sb.dev,
                kind: sb.ops.name(),
                options: sb.ops.options(),
                from: vfs.dominating_group(&mount, vfs.namespace_of(&root.mount)),
                mount,
            });
        }
    }
    Ok(shown)
}

impl Shown {
    /// The optional fields of mountinfo: how it takes part in propagation.
    fn tags(&self) -> String {
        let own = self.mount.propagation();
        let mut text = String::new();
        if own.group != 0 {
            text.push_str(&format!(" shared:{}", own.group));
        }
        if own.master != 0 {
            text.push_str(&format!(" master:{}", own.master));
            if let Some(group) = self.from {
                text.push_str(&format!(" propagate_from:{group}"));
            }
        }
        if own.unbindable {
            text.push_str(" unbindable");
        }
        text
    }

    fn options(&self) -> String {
        let mut text = flag_text(self.mount.flags());
        let own = self.options.trim_matches(',');
        if !own.is_empty() {
            text.push(',');
            text.push_str(own);
        }
        text
    }

    /// The place in its file system that the mount shows at its top. A volume's starts where it is on the host: programs find by
    /// it which container they are in.
    fn inner_root(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self.mount.root.clone();
        while let Some(parent) = at.parent() {
            names.push(at.name());
            at = parent;
        }
        let mut text = match self.mount.source.as_slice() {
            volume @ [b'/', _, ..] if self.kind == "hostfs" => volume.to_vec(),
            _ => Vec::new(),
        };
        for name in names.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(name);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        text
    }

    fn source(&self) -> Vec<u8> {
        match self.mount.source.as_slice() {
            b"" => b"none".to_vec(),
            source => escaped(source),
        }
    }
}

fn push(out: &mut Vec<u8>, fields: &[&[u8]]) {
    out.extend_from_slice(&fields.join(&b' '));
    out.push(b'\n');
}

/// /proc/PID/mounts.
pub fn mounts(at: &Process) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    for shown in reachable(at)? {
        let options = shown.options();
        let point = escaped(&shown.point);
        push(
            &mut out,
            &[
                &shown.source(),
                &point,
                shown.kind.as_bytes(),
                options.as_bytes(),
                b"0",
                b"0",
            ],
        );
    }
    Ok(out)
}

/// /proc/PID/mountinfo.
pub fn mountinfo(at: &Process) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    for shown in reachable(at)? {
        let parent = shown.mount.parent().map_or(shown.mount.id, |(mount, _)| mount.id);
        let head = format!(
            "{} {parent} {}:{}",
            shown.mount.id,
            major(shown.dev),
            minor(shown.dev)
        );
        let mut flags = flag_text(shown.mount.flags());
        flags.push_str(&shown.tags());
        let own = shown.options.trim_matches(',');
        let super_options = if own.is_empty() {
            "rw".to_string()
        } else {
            format!("rw,{own}")
        };
        push(
            &mut out,
            &[
                head.as_bytes(),
                &escaped(&shown.inner_root()),
                &escaped(&shown.point),
                flags.as_bytes(),
                b"-",
                shown.kind.as_bytes(),
                &shown.source(),
                super_options.as_bytes(),
            ],
        );
    }
    Ok(out)
}

/// /proc/PID/mountstats.
pub fn mountstats(at: &Process) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    let mut out = Vec::new();
    for shown in reachable(at)? {
        push(
            &mut out,
            &[
                b"device",
                &shown.source(),
                b"mounted on",
                &escaped(&shown.point),
                b"with fstype",
                shown.kind.as_bytes(),
            ],
        );
    }
    Ok(out)
}
