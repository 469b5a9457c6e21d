//! The path walk (path_resolution(7)): from text to a place, with the caller's root, credentials and limits.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use abi::Errno;
use bitflags::bitflags;

use super::lookup::{lookup, lookup_locked};
use super::permission::{MAY_EXEC, permission};
use super::{Dentry, FileKind, Follow, FsState, MountFlags, Path};
use crate::Kernel;
use crate::cred::Credentials;
use crate::task::CurrentTask;

/// Symbolic links that one walk follows (MAXSYMLINKS).
const MAX_LINKS: u32 = 40;
/// Bytes of text that symbolic links may add to a walk: every link at its longest.
const MAX_TEXT: usize = MAX_LINKS as usize * 4096;

bitflags! {
    /// How a path is resolved.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct LookupFlags: u32 {
        /// A symbolic link at the end is followed.
        const FOLLOW = 1;
        /// The result must be a directory (`ENOTDIR`).
        const DIRECTORY = 2;
        /// An empty path means the directory (or file) it starts from (AT_EMPTY_PATH).
        const EMPTY = 4;
        /// RESOLVE_NO_XDEV.
        const NO_XDEV = 0x10;
        /// RESOLVE_NO_MAGICLINKS.
        const NO_MAGICLINKS = 0x20;
        /// RESOLVE_NO_SYMLINKS.
        const NO_SYMLINKS = 0x40;
        /// RESOLVE_BENEATH.
        const BENEATH = 0x80;
        /// RESOLVE_IN_ROOT.
        const IN_ROOT = 0x100;
    }
}

/// Who walks: root, working directory, umask and credentials of a caller. Made once per system call.
pub struct Walker<'a> {
    /// The kernel.
    pub kernel: &'a Arc<Kernel>,
    /// The caller's root.
    pub root: Path,
    /// The caller's working directory.
    pub cwd: Path,
    /// The caller's umask.
    pub umask: u32,
    /// The caller's credentials.
    pub cred: Arc<Credentials>,
    /// The calling task, when there is one: opening a fifo waits in it.
    pub task: Option<&'a CurrentTask>,
}

/// The end of a walk that stops at the parent of the last component.
pub(super) struct LastComponent {
    /// The directory.
    pub dir: Path,
    /// What is called there.
    pub name: LastName,
    /// Slashes followed the name.
    pub slashes: bool,
}

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LastName {
    /// A name.
    Name(Box<[u8]>),
    /// `/`, `.` or `..`: the place reached.
    Here,
}

impl<'a> Walker<'a> {
    /// For a running task.
    pub fn of(task: &'a CurrentTask) -> Walker<'a> {
        let FsState { root, cwd, umask } = task.fs.lock().get();
        Walker {
            kernel: &task.kernel,
            root,
            cwd,
            umask,
            cred: task.cred(),
            task: Some(task),
        }
    }

    /// For the kernel itself (setting up a sandbox): as root, with this root directory.
    pub fn as_root(kernel: &'a Arc<Kernel>, root: Path) -> Walker<'a> {
        Walker {
            kernel,
            cwd: root.clone(),
            root,
            umask: 0,
            cred: Arc::new(Credentials::for_user(0, 0, Vec::new())),
            task: None,
        }
    }

    /// The place of `path`, from `dir` (`None`: the working directory).
    pub fn resolve(&self, dir: Option<&Path>, path: &[u8], flags: LookupFlags) -> Result<Path, Errno> {
        let mut walk = Walk::new(self, dir, path, flags)?;
        if path.is_empty() {
            return walk.finish();
        }
        loop {
            let Some((name, slashes)) = walk.walk_to_last()? else {
                return walk.finish();
            };
            let follow = flags.contains(LookupFlags::FOLLOW) || slashes;
            walk.must_be_dir |= slashes;
            if !walk.step(name, follow, true)? {
                return walk.finish();
            }
        }
    }

    /// The directory and the name of the last component, which need not exist. A symbolic link there is not followed.
    pub(super) fn resolve_parent(&self, dir: Option<&Path>, path: &[u8]) -> Result<LastComponent, Errno> {
        let mut walk = Walk::new(self, dir, path, LookupFlags::empty())?;
        let last = walk.walk_to_last()?;
        let slashes = last.as_ref().is_none_or(|(_, slashes)| *slashes);
        let name = last.map_or(LastName::Here, |(name, _)| LastName::Name(walk.text(name).into()));
        Ok(LastComponent {
            dir: walk.at,
            name,
            slashes,
        })
    }

    /// The dentry of a name, perhaps negative; search permission is checked.
    pub(super) fn child(&self, dir: &Path, name: &[u8]) -> Result<Arc<Dentry>, Errno> {
        permission(&self.cred, dir.dentry.inode_ref()?, MAY_EXEC)?;
        lookup(&self.kernel.vfs, &dir.dentry, name)
    }

    /// The same while the directory's lock is held.
    pub(super) fn child_locked(&self, dir: &Path, name: &[u8]) -> Result<Arc<Dentry>, Errno> {
        permission(&self.cred, dir.dentry.inode_ref()?, MAY_EXEC)?;
        lookup_locked(&self.kernel.vfs, &dir.dentry, name)
    }

    /// The topmost mount's root when something is mounted on the place.
    pub(super) fn cross_mounts(&self, mut at: Path) -> Path {
        while let Some(mount) = self.kernel.vfs.mounted_on(&at.mount, &at.dentry) {
            let dentry = mount.root.clone();
            at = Path { mount, dentry };
        }
        at
    }
}

/// A walk under way.
pub(super) struct Walk<'w, 'a, 'p> {
    walker: &'w Walker<'a>,
    /// The place reached.
    pub at: Path,
    /// Bounds `..` and absolute links.
    root: &'w Path,
    text: Cow<'p, [u8]>,
    position: usize,
    links: u32,
    flags: LookupFlags,
    pub must_be_dir: bool,
}

impl<'w, 'a, 'p> Walk<'w, 'a, 'p> {
    pub fn new(
        walker: &'w Walker<'a>,
        dir: Option<&'w Path>,
        path: &'p [u8],
        flags: LookupFlags,
    ) -> Result<Self, Errno> {
        if path.is_empty() && !flags.contains(LookupFlags::EMPTY) {
            return Err(Errno::ENOENT);
        }
        let start = dir.unwrap_or(&walker.cwd);
        let bounded = flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT);
        let root = if bounded { start } else { &walker.root };
        let absolute = path.first() == Some(&b'/');
        if absolute && flags.contains(LookupFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        Ok(Walk {
            walker,
            at: if absolute { root.clone() } else { start.clone() },
            root,
            text: Cow::Borrowed(path),
            position: 0,
            links: 0,
            flags,
            must_be_dir: flags.contains(LookupFlags::DIRECTORY),
        })
    }

    /// The next component's range in the text; moves behind it and the slashes that follow.
    fn next_component(&mut self) -> Option<(Range<usize>, bool)> {
        let text = &*self.text;
        let slash = |at: usize| text.get(at) == Some(&b'/');
        let mut start = self.position;
        while slash(start) {
            start += 1;
        }
        if start >= text.len() {
            self.position = start;
            return None;
        }
        let end = text[start..]
            .iter()
            .position(|byte| *byte == b'/')
            .map_or(text.len(), |len| start + len);
        let mut next = end;
        while slash(next) {
            next += 1;
        }
        self.position = next;
        Some((start..end, next > end))
    }

    /// The text of a component.
    pub fn text(&self, name: Range<usize>) -> &[u8] {
        self.text.get(name).unwrap_or_default()
    }

    /// Walks all components but the last: its place in the text, and whether slashes follow it.
    /// `None` when the path ends in `/`, `.` or `..`: then the place reached is the result.
    pub fn walk_to_last(&mut self) -> Result<Option<(Range<usize>, bool)>, Errno> {
        while let Some((name, slashes)) = self.next_component() {
            let last = self.position >= self.text.len();
            match self.text(name.clone()) {
                b"." => self.check_search()?,
                b".." => {
                    self.check_search()?;
                    self.up()?;
                }
                _ if last => return Ok(Some((name, slashes))),
                _ => {
                    self.step(name, true, false)?;
                }
            }
        }
        Ok(None)
    }

    /// `.` and `..` need a directory that may be searched, too.
    fn check_search(&self) -> Result<(), Errno> {
        let inode = self.at.dentry.inode_ref()?;
        if inode.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        permission(&self.walker.cred, inode, MAY_EXEC)
    }

    fn up(&mut self) -> Result<(), Errno> {
        if self.at.same(self.root) {
            // Above the start there is nothing to see.
            return if self.flags.contains(LookupFlags::BENEATH) {
                Err(Errno::EXDEV)
            } else {
                Ok(())
            };
        }
        let above = self.at.above(self.root);
        let above = self.walker.cross_mounts(above);
        self.check_crossing(&above)?;
        self.at = above;
        Ok(())
    }

    fn check_crossing(&self, next: &Path) -> Result<(), Errno> {
        if self.flags.contains(LookupFlags::NO_XDEV) && !Arc::ptr_eq(&next.mount, &self.at.mount) {
            return Err(Errno::EXDEV);
        }
        Ok(())
    }

    /// Steps to a child; a symbolic link is followed when `follow`: its text comes first then, and true is returned.
    /// A link inside the path (`!last`) is always to be followed.
    pub fn step(&mut self, name: Range<usize>, follow: bool, last: bool) -> Result<bool, Errno> {
        let dentry = self.walker.child(&self.at, self.text(name))?;
        self.enter(dentry, follow, last)
    }

    /// The same with the child's dentry.
    pub fn enter(&mut self, dentry: Arc<Dentry>, follow: bool, last: bool) -> Result<bool, Errno> {
        let inode = dentry.inode_ref()?;
        if inode.kind == FileKind::Symlink && follow {
            self.follow(&dentry)?;
            return Ok(true);
        }
        if !last && inode.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if !dentry.is_mountpoint() {
            self.at.dentry = dentry;
            return Ok(false);
        }
        let mount = self.at.mount.clone();
        let next = self.walker.cross_mounts(Path { mount, dentry });
        self.check_crossing(&next)?;
        self.at = next;
        Ok(false)
    }

    fn follow(&mut self, dentry: &Arc<Dentry>) -> Result<(), Errno> {
        let refused = self.flags.contains(LookupFlags::NO_SYMLINKS)
            || self.at.mount.flags().contains(MountFlags::NOSYMFOLLOW);
        if refused || self.links >= MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        self.links += 1;
        match dentry.inode_ref()?.ops.follow()? {
            Follow::Path(path) => {
                if self.flags.contains(LookupFlags::NO_MAGICLINKS) {
                    return Err(Errno::ELOOP);
                }
                if self.flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT) {
                    return Err(Errno::EXDEV);
                }
                self.check_crossing(&path)?;
                self.at = path;
                if self.position >= self.text.len() {
                    return Ok(());
                }
                let kind = self.at.dentry.inode_ref()?.kind;
                if kind == FileKind::Directory {
                    Ok(())
                } else {
                    Err(Errno::ENOTDIR)
                }
            }
            Follow::Text(target) => self.push_text(target),
        }
    }

    fn push_text(&mut self, target: Vec<u8>) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.first() == Some(&b'/') {
            if self.flags.contains(LookupFlags::BENEATH) {
                return Err(Errno::EXDEV);
            }
            let root = self.root.clone();
            self.check_crossing(&root)?;
            self.at = root;
        }
        let rest = self.text.get(self.position..).unwrap_or_default();
        if target.len() + rest.len() + 1 > MAX_TEXT {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut text = target;
        if !rest.is_empty() {
            text.push(b'/');
            text.extend_from_slice(rest);
        }
        self.text = Cow::Owned(text);
        self.position = 0;
        Ok(())
    }

    /// The result, once nothing is left to walk.
    pub fn finish(self) -> Result<Path, Errno> {
        let inode = self.at.dentry.inode_ref()?;
        if self.must_be_dir && inode.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.at)
    }
}

/// Whether device nodes work on the mount.
pub(super) fn devices_allowed(path: &Path) -> bool {
    !path.mount.flags().contains(MountFlags::NODEV)
}
