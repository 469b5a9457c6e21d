//! Names: looking up through the layers, and taking away, hiding, renaming.

use std::sync::Arc;

use abi::Errno;
use kernel::vfs::{AttrChange, FileKind, Inode, RENAME_EXCHANGE, RENAME_WHITEOUT, TimeChange};

use super::Overlay;
use super::node::Node;

impl Overlay {
    /// The node called `name` in `dir`.
    pub(super) fn lookup(self: &Arc<Self>, dir: &Arc<Node>, name: &[u8]) -> Result<Arc<Node>, Errno> {
        if dir.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let (upper, lowers, hidden) = {
            let state = dir.state.lock();
            let hidden = state.hidden.contains(name);
            (state.upper.clone(), state.lowers.clone(), hidden)
        };
        let place = || Some((dir.clone(), name.into()));
        if let Some(upper) = upper {
            match upper.ops.lookup(name) {
                Ok(found) => return self.upper_node(found, place()),
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        if hidden {
            return Err(Errno::ENOENT);
        }
        let mut found: Vec<(u32, Arc<Inode>)> = Vec::new();
        for (layer, lower) in lowers.iter() {
            let inode = match lower.ops.lookup(name) {
                Ok(inode) => inode,
                Err(Errno::ENOENT) => continue,
                Err(error) => return Err(error),
            };
            let directory = inode.kind == FileKind::Directory;
            if directory || found.is_empty() {
                found.push((*layer, inode));
            }
            if !directory {
                break;
            }
        }
        self.lower_node(found, place())
    }

    /// A file that was just made in the upper layer.
    pub(super) fn adopt(
        self: &Arc<Self>,
        dir: &Arc<Node>,
        name: &[u8],
        upper: Arc<Inode>,
    ) -> Result<Arc<Inode>, Errno> {
        dir.entries_changed();
        let node = self.upper_node(upper, Some((dir.clone(), name.into())))?;
        let inode = self.inode(&node)?;
        if matches!(node.kind, FileKind::Fifo | FileKind::Socket) {
            node.state.lock().bound = Some(inode.clone());
        }
        Ok(inode)
    }

    /// Hides `name` of the lower layers; returns whether that is new.
    fn hide(&self, dir: &Node, name: &[u8]) -> bool {
        let mut state = dir.state.lock();
        !state.lowers.is_empty() && state.hidden.insert(name.into())
    }

    fn show(&self, dir: &Node, name: &[u8]) {
        dir.state.lock().hidden.remove(name);
    }

    /// Takes `name` out of the upper directory, if it is there. True: it was.
    fn remove_upper(dir: &Inode, name: &[u8], directory: bool) -> Result<bool, Errno> {
        let victim = match dir.ops.lookup(name) {
            Ok(victim) => victim,
            Err(Errno::ENOENT) => return Ok(false),
            Err(error) => return Err(error),
        };
        if directory {
            dir.ops.rmdir(name, &victim)?;
        } else {
            dir.ops.unlink(name, &victim)?;
        }
        Ok(true)
    }

    /// The file is about to lose a name: if that is its last in the upper layer, but lower ones have more, it gets a spare one,
    /// for a file without any cannot be linked again.
    fn keep_linked(&self, node: &Node) -> Result<(), Errno> {
        let (upper, links) = {
            let state = node.state.lock();
            (state.upper.clone(), state.links.unwrap_or(1))
        };
        match upper {
            Some(upper) if node.kind != FileKind::Directory && links > 1 && upper.attr()?.nlink == 1 => {
                let _alone = self.copying.lock();
                self.spare.ops.link(node.ino.to_string().as_bytes(), &upper)
            }
            _ => Ok(()),
        }
    }

    /// The last of all names is gone, so the spare one goes too.
    pub(super) fn drop_spare(&self, node: &Node) {
        let _alone = self.copying.lock();
        // Mostly there is none.
        let _ = Self::remove_upper(&self.spare, node.ino.to_string().as_bytes(), false);
    }

    /// The name goes; the caller knows that it may.
    fn remove(self: &Arc<Self>, dir: &Arc<Node>, name: &[u8], victim: &Arc<Node>) -> Result<(), Errno> {
        let upper = self.copy_up(dir, false)?;
        self.keep_linked(victim)?;
        // First hidden, then removed: nobody sees the lower file in between.
        let newly = self.hide(dir, name);
        let removed = Self::remove_upper(&upper, name, victim.kind == FileKind::Directory);
        match removed {
            Ok(true) => {}
            Ok(false) => {
                // Nothing changed in the upper directory, so its times are set here.
                let change = AttrChange {
                    mtime: Some(TimeChange::Now),
                    ..AttrChange::default()
                };
                upper.ops.set_attr(&change)?;
            }
            Err(error) => {
                if newly {
                    self.show(dir, name);
                }
                return Err(error);
            }
        }
        dir.entries_changed();
        victim.left(&(dir.clone(), name.into()));
        Ok(())
    }

    pub(super) fn unlink(
        self: &Arc<Self>,
        dir: &Arc<Node>,
        name: &[u8],
        victim: &Arc<Node>,
    ) -> Result<(), Errno> {
        self.remove(dir, name, victim)?;
        victim.count_links(self, -1);
        Ok(())
    }

    pub(super) fn rmdir(
        self: &Arc<Self>,
        dir: &Arc<Node>,
        name: &[u8],
        victim: &Arc<Node>,
    ) -> Result<(), Errno> {
        if !self.list(victim)?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.remove(dir, name, victim)?;
        victim.forget(self);
        Ok(())
    }

    pub(super) fn rename(
        self: &Arc<Self>,
        (from, name): (&Arc<Node>, &[u8]),
        (to, new_name): (&Arc<Node>, &[u8]),
        flags: u32,
    ) -> Result<(), Errno> {
        if flags & RENAME_WHITEOUT != 0 {
            return Err(Errno::EINVAL);
        }
        let exchange = flags & RENAME_EXCHANGE != 0;
        let moving = self.lookup(from, name)?;
        let replaced = match self.lookup(to, new_name) {
            Ok(node) => Some(node),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        if let Some(replaced) = &replaced
            && replaced.kind == FileKind::Directory
            && !exchange
            && !self.list(replaced)?.is_empty()
        {
            return Err(Errno::ENOTEMPTY);
        }
        self.name_in_upper(from, name, &moving)?;
        let (from_upper, to_upper) = (self.copy_up(from, false)?, self.copy_up(to, false)?);
        if let (true, Some(replaced)) = (exchange, &replaced) {
            self.name_in_upper(to, new_name, replaced)?;
        }
        if let (false, Some(replaced)) = (exchange, &replaced) {
            self.keep_linked(replaced)?;
        }
        let newly = (self.hide(from, name), self.hide(to, new_name));
        // A directory is replaced only by one: what the upper layer has there is empty.
        let done = from_upper
            .ops
            .rename(name, &to_upper, new_name, flags & RENAME_EXCHANGE);
        if let Err(error) = done {
            if newly.0 {
                self.show(from, name);
            }
            if newly.1 {
                self.show(to, new_name);
            }
            return Err(error);
        }
        from.entries_changed();
        to.entries_changed();
        moving.found(Some((to.clone(), new_name.into())));
        match replaced {
            Some(replaced) if exchange => replaced.found(Some((from.clone(), name.into()))),
            Some(replaced) => {
                replaced.left(&(to.clone(), new_name.into()));
                if replaced.kind == FileKind::Directory {
                    replaced.forget(self);
                } else {
                    replaced.count_links(self, -1);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Copies the file up and makes sure that the upper directory has it under this name, not only under another of its links.
    fn name_in_upper(self: &Arc<Self>, dir: &Arc<Node>, name: &[u8], node: &Arc<Node>) -> Result<(), Errno> {
        let upper = self.copy_up(node, false)?;
        let dir = self.copy_up(dir, false)?;
        match dir.ops.lookup(name) {
            Ok(_) => Ok(()),
            Err(Errno::ENOENT) => dir.ops.link(name, &upper),
            Err(error) => Err(error),
        }
    }
}
