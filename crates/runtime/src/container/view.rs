//! What the host's programs find that enter the mount namespace of a container's process (Podman's `cp` and `top`, nsenter(1)): the
//! container's root directory as their own, its volumes, and the sandbox's processes in /proc.
//!
//! What is mounted inside and is not the host's is covered by an empty directory that cannot be written: what were put there
//! would reach nobody.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use abi::Errno;
use host::mount::{self, Access};
use sandbox::container::{Container, Root, Source};

use crate::failure::{Failure, While};
use crate::jail::Tree;

/// What will be where.
pub struct Plan {
    root: PathBuf,
    read_only: bool,
    places: Vec<Place>,
}

/// Something mounted in the container.
struct Place {
    at: CString,
    /// The host's tree; `None`: the sandbox's own.
    tree: Option<(PathBuf, Access)>,
}

/// A view whose root is there; what is mounted in it can come when the sandbox has made the places.
pub struct View {
    root: OwnedFd,
    mounts: Vec<(CString, Option<OwnedFd>)>,
}

impl Plan {
    /// From what the sandbox is made from.
    pub fn of(trees: &[Tree], container: &Container) -> Result<Plan, Failure> {
        let (root, volumes) = trees.split_first().ok_or_else(|| Failure::own("no root"))?;
        let place = |mount: &sandbox::container::Mount| {
            let tree = match mount.source {
                Source::Tree { index, read_only } => volumes.get(index).map(|tree| {
                    let access = if read_only {
                        Access::ReadOnly
                    } else {
                        Access::ReadWrite
                    };
                    (tree.host.clone(), access)
                }),
                Source::Kernel(_) | Source::Device(_) => None,
            };
            let at = CString::new(mount.at.clone()).ok()?;
            Some(Place { at, tree })
        };
        Ok(Plan {
            root: root.host.clone(),
            read_only: container.root == Root::Direct { read_only: true },
            places: container.mounts.iter().filter_map(place).collect(),
        })
    }

    /// Makes the container's root directory that of the caller, whose mount namespace is its own, and lets go of the host's mounts.
    pub fn enter(self) -> Result<View, Failure> {
        let doing = format!("mounting '{}'", self.root.display());
        let root = mount::clone_tree(&self.root).while_doing(&doing)?;
        let access = if self.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        mount::restrict(root.as_fd(), access).while_doing(&doing)?;
        // A tree that cannot be shown is covered: the sandbox tells what is wrong with it.
        let copy = |(tree, access): (PathBuf, Access)| {
            let copy = mount::clone_tree(&tree).ok()?;
            mount::restrict(copy.as_fd(), access).ok().map(|()| copy)
        };
        let mounts = self.places.into_iter();
        let mounts = mounts
            .map(|place| (place.at, place.tree.and_then(copy)))
            .collect();
        let scratch = mount::open_path("/proc".as_ref()).while_doing("/proc")?;
        mount::pivot_into(root.as_fd(), scratch.as_fd()).while_doing("changing the root")?;
        Ok(View { root, mounts })
    }
}

impl View {
    /// Mounts what the container has mounted. What has no place stays away: nothing of the host's is seen for it.
    pub fn complete(self) {
        for (at, tree) in &self.mounts {
            // Below what is covered there is no place either.
            let Ok(place) = mount::open_inside(self.root.as_fd(), at) else {
                continue;
            };
            let own = || match at.as_bytes() {
                b"/proc" => processes().or_else(|_| empty()),
                _ => empty(),
            };
            let _ = match tree {
                Some(tree) => mount::attach_over(tree.as_fd(), place.as_fd()),
                None => own().and_then(|own| mount::attach_over(own.as_fd(), place.as_fd())),
            };
        }
    }
}

/// The processes of the caller's process namespace: the sandbox's on the host. A host that shows only parts of its own /proc
/// lets nobody make another.
fn processes() -> Result<OwnedFd, Errno> {
    read_only(mount::new_filesystem(c"proc", &[])?)
}

fn empty() -> Result<OwnedFd, Errno> {
    read_only(mount::new_filesystem(
        c"tmpfs",
        &[(c"size", c"4k"), (c"mode", c"0555")],
    )?)
}

fn read_only(made: OwnedFd) -> Result<OwnedFd, Errno> {
    mount::restrict(made.as_fd(), Access::ReadOnly)?;
    Ok(made)
}
