//! The trees that a jail holds: copies of host mounts, restricted, and attached to the jail's own root.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use abi::Errno;
use host::caps::{self, Cap};
use host::mount::{self, Access};

use crate::failure::{Failure, While};

/// Directories of the root that hold views of the host's kernel and devices, and never belong to a container.
const COVERED: &[&str] = &["proc", "sys", "dev"];

/// File systems that are views of the host's kernel or devices, wherever they are mounted.
const VIEWS: &[&str] = &[
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "hugetlbfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "fusectl",
    "pstore",
    "efivarfs",
    "bpf",
    "binfmt_misc",
    "autofs",
    "rpc_pipefs",
    "nsfs",
    "selinuxfs",
];

/// A host tree to be shown inside; the first one is the root.
pub struct Tree {
    /// Absolute host path.
    pub host: PathBuf,
    /// Read-only at the host, too.
    pub read_only: bool,
    /// With what is mounted below it.
    pub below: bool,
}

impl Tree {
    fn access(&self) -> Access {
        if self.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        }
    }
}

/// A tree as detached mounts that are restricted already.
pub struct Copy {
    top: OwnedFd,
    /// Mounts to be attached below it, by their path from there.
    below: Vec<(CString, OwnedFd)>,
    /// Views of the host's kernel that came with it, to be covered: by their path from there.
    views: Vec<CString>,
    is_dir: bool,
}

impl Copy {
    /// The descriptors that the copy consists of.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let below = self.below.iter().map(|(_, mount)| mount.as_fd());
        std::iter::once(self.top.as_fd()).chain(below)
    }

    /// With everything that is mounted below, whatever it is; `mountinfo` tells what that is.
    pub fn whole(tree: &Tree, mountinfo: &str) -> Result<Copy, Failure> {
        let doing = format!("mounting '{}'", tree.host.display());
        let top = match tree.below {
            true => mount::clone_tree(&tree.host),
            // Not where what is mounted below hides what this caller may not see.
            false => mount::clone_mount(&tree.host).or_else(|_| mount::clone_tree(&tree.host)),
        };
        let top = top.while_doing(&doing)?;
        mount::restrict(top.as_fd(), tree.access()).while_doing(&doing)?;
        let views = mounts_below(&tree.host, mountinfo, Belongs::ToTheHost);
        Ok(Copy {
            top,
            below: Vec::new(),
            views: views.into_iter().map(|(_, name)| name).collect(),
            is_dir: tree.host.is_dir(),
        })
    }

    /// Mount by mount, without the views of the host's kernel.
    fn chosen(tree: &Tree, mountinfo: &str) -> Result<Copy, Failure> {
        let doing = format!("mounting '{}'", tree.host.display());
        let copy = |path: &Path| {
            let copy = mount::clone_mount(path)?;
            mount::restrict(copy.as_fd(), tree.access()).map(|()| copy)
        };
        let mut below = Vec::new();
        let mounts = if tree.below {
            mounts_below(&tree.host, mountinfo, Belongs::ToTheTree)
        } else {
            Vec::new()
        };
        for (path, name) in mounts {
            // One that is covered by another cannot be copied by its path, and is not seen by anybody either.
            if let Ok(mount) = copy(&path) {
                below.push((name, mount));
            }
        }
        Ok(Copy {
            top: copy(&tree.host).while_doing(&doing)?,
            below,
            views: Vec::new(),
            is_dir: tree.host.is_dir(),
        })
    }
}

/// Copies of the trees made by a caller that may take a mount namespace apart (root). Others can only copy whole trees,
/// inside their own user namespace, and cover what does not belong there: `None`.
pub fn copies(trees: &[Tree]) -> Result<Option<Vec<Copy>>, Failure> {
    if !caps::has(Cap::SYS_ADMIN) {
        return Ok(None);
    }
    let mountinfo = mountinfo()?;
    trees
        .iter()
        .map(|tree| Copy::chosen(tree, &mountinfo))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// What is mounted, as the caller sees it.
pub fn mountinfo() -> Result<String, Failure> {
    fs::read_to_string("/proc/self/mountinfo").while_doing("reading /proc/self/mountinfo")
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
struct Mounted<'a> {
    id: &'a str,
    parent: &'a str,
    path: PathBuf,
    kind: &'a str,
}

impl Mounted<'_> {
    fn parse(line: &str) -> Option<Mounted<'_>> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ');
        Some(Mounted {
            id: fields.next()?,
            parent: fields.next()?,
            path: unescape(fields.nth(2)?),
            kind: after.split(' ').next()?,
        })
    }
}

/// What is mounted below `top`, by whether it belongs to the tree or is a view of the host's kernel: host path, and path from
/// `top`; parents first. What is mounted in a view goes with it: there is no place for it elsewhere.
fn mounts_below(top: &Path, mountinfo: &str, wanted: Belongs) -> Vec<(PathBuf, CString)> {
    let below = |mounted: &Mounted| mounted.path != top && mounted.path.starts_with(top);
    let mounts: Vec<Mounted> = mountinfo
        .lines()
        .filter_map(Mounted::parse)
        .filter(below)
        .collect();
    let view = |mounted: &&Mounted| {
        let covered = |name: &&str| mounted.path.starts_with(Path::new("/").join(name));
        top == Path::new("/") && COVERED.iter().any(covered) || VIEWS.contains(&mounted.kind)
    };
    let mut views: HashSet<&str> = mounts.iter().filter(view).map(|mounted| mounted.id).collect();
    // A mount that was moved is listed before the one that it is on.
    loop {
        let count = views.len();
        let inside = mounts.iter().filter(|mounted| views.contains(mounted.parent));
        let inside: Vec<&str> = inside.map(|mounted| mounted.id).collect();
        views.extend(inside);
        if views.len() == count {
            break;
        }
    }
    let chosen = mounts.iter().filter(|mounted| match wanted {
        Belongs::ToTheTree => !views.contains(mounted.id),
        Belongs::ToTheHost => views.contains(mounted.id) && !views.contains(mounted.parent),
    });
    let mut found: Vec<(PathBuf, CString)> = chosen
        .filter_map(|mounted| {
            let name = mounted.path.strip_prefix(top).ok()?;
            let name = CString::new(name.as_os_str().as_bytes()).ok()?;
            Some((mounted.path.clone(), name))
        })
        .collect();
    found.sort_by_key(|(path, _)| path.components().count());
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Belongs {
    ToTheTree,
    /// A view of its kernel or devices.
    ToTheHost,
}

/// A path of mountinfo: spaces and the like are written as three octal digits after a backslash.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Attaches a copy under a name of the new root, and opens it.
pub fn attach(base: &OwnedFd, name: &CStr, tree: &Tree, copy: &Copy) -> Result<OwnedFd, Errno> {
    if copy.is_dir {
        mount::make_dir(base.as_fd(), name)?;
    } else {
        mount::make_file(base.as_fd(), name)?;
    }
    mount::attach(copy.top.as_fd(), base.as_fd(), name)?;
    if !copy.is_dir {
        // A file can only be opened by its name, which is gone once the walls are closed.
        return match mount::open_file(base.as_fd(), name, tree.access()) {
            // Somebody else's, who is not mapped into the container: it can be read at most.
            Err(Errno::EACCES) => mount::open_file(base.as_fd(), name, Access::ReadOnly),
            opened => opened,
        };
    }
    let handle = mount::open_handle(base.as_fd(), name)?;
    for (path, mount) in &copy.below {
        match mount::attach(mount.as_fd(), handle.as_fd(), path) {
            // What it was on has been unmounted meanwhile.
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            done => done?,
        }
    }
    for name in &copy.views {
        cover(&handle, name)?;
    }
    Ok(handle)
}

/// Covers the views of the host's kernel in the root's own places for them.
pub fn cover_views(root: &OwnedFd) -> Result<(), Errno> {
    for name in COVERED {
        let name = CString::new(*name).map_err(|_| Errno::EINVAL)?;
        cover(root, &name)?;
    }
    Ok(())
}

/// Hides what is mounted at `name` of a tree under something empty. It cannot be unmounted: mounts that come from
/// a more privileged mount namespace are locked (mount_namespaces(7)).
fn cover(tree: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    match mount::is_mount_point(tree.as_fd(), name) {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        // What cannot be reached is hidden with the directory that cannot be searched.
        Err(Errno::EACCES) => match name.to_bytes().iter().rposition(|byte| *byte == b'/') {
            Some(end) => {
                let above = name.to_bytes().get(..end).unwrap_or_default();
                let above = CString::new(above).map_err(|_| Errno::EINVAL)?;
                return match hide(tree, &above) {
                    Err(Errno::EACCES) => cover(tree, &above),
                    done => done,
                };
            }
            None => return Err(Errno::EACCES),
        },
        Err(error) => return Err(error),
    }
    hide(tree, name)
}

fn hide(tree: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let empty = mount::new_filesystem(c"tmpfs", &[(c"size", c"4k"), (c"mode", c"0555")])?;
    mount::restrict(empty.as_fd(), Access::ReadOnly)?;
    match mount::attach(empty.as_fd(), tree.as_fd(), name) {
        // A file of such a view, bound here.
        Err(Errno::EINVAL | Errno::ENOTDIR) => mount::attach(empty_file()?.as_fd(), tree.as_fd(), name),
        done => done,
    }
}

/// An empty file that cannot be written, detached: a copy of one in the new root.
fn empty_file() -> Result<OwnedFd, Errno> {
    let root = mount::open_path("/".as_ref())?;
    match mount::make_file(root.as_fd(), c"empty") {
        Err(Errno::EEXIST) => {}
        done => done?,
    }
    let file = mount::clone_mount("/empty".as_ref())?;
    mount::restrict(file.as_fd(), Access::ReadOnly)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_the_host_are_left_out() {
        let info = "22 27 0:21 / /proc rw - proc proc rw\n24 27 0:6 / /dev rw - devtmpfs dev rw\n\
                    25 24 0:7 / /dev/shm rw - tmpfs shm rw\n27 1 8:1 / / rw - ext4 /dev/sda rw\n\
                    30 27 8:2 / /home/a\\040b rw,nodev shared:1 - xfs /dev/sdb rw\n31 27 0:9 / /run/cg rw - cgroup2 c rw\n";
        let found = mounts_below(Path::new("/"), info, Belongs::ToTheTree);
        assert_eq!(
            found,
            [(PathBuf::from("/home/a b"), CString::new("home/a b").unwrap())]
        );
        assert!(mounts_below(Path::new("/home/a b"), info, Belongs::ToTheTree).is_empty());
        assert_eq!(
            mounts_below(Path::new("/home"), info, Belongs::ToTheTree).len(),
            1
        );
    }

    #[test]
    fn what_is_mounted_in_a_view_goes_with_it_and_parents_come_first() {
        let info = "40 27 0:9 / /srv/r/sys rw - sysfs sysfs rw\n41 40 0:10 / /srv/r/sys/fs rw - tmpfs t rw\n\
                    42 41 0:11 / /srv/r/sys/fs/a rw - ext4 e rw\n43 44 0:12 / /srv/r/b/c rw - ext4 e rw\n\
                    44 27 0:13 / /srv/r/b rw - ext4 e rw\n";
        let names = |wanted| -> Vec<String> {
            let found = mounts_below(Path::new("/srv/r"), info, wanted);
            found
                .into_iter()
                .map(|(_, name)| name.into_string().unwrap())
                .collect()
        };
        assert_eq!(names(Belongs::ToTheTree), ["b", "b/c"]);
        assert_eq!(names(Belongs::ToTheHost), ["sys"]);
    }
}
