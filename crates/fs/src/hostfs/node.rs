//! A file of the host tree: what is known of it, and how to reach it again.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use host::dir::{self, Open};
use host::file::{self, Stat};
use kernel::vfs::{Attr, FileKind, Inode};
use sync::{Mutex, rank};

use super::HostFs;
use super::transfer::with_buffer;
use crate::listing::{Entries, Listing};

/// Where a file is: its directory and its name there.
pub type Place = (Arc<Node>, Box<[u8]>);

/// In shared mode a lookup's attributes answer the stat that follows it, this much later at most.
const SHARED_FRESH: Duration = Duration::from_micros(100);
/// Names that are remembered of a file with several; enough that those in use are among them.
const MAX_PLACES: usize = 16;

/// A file in use. One per (device, inode number).
pub struct Node {
    fs: Weak<HostFs>,
    /// Key in the handle cache.
    pub id: u64,
    /// Device and inode number on the host.
    pub key: (u64, u64),
    pub kind: FileKind,
    /// Tells it from a later file with the same number; `None` where it can change.
    btime: Option<i64>,
    /// The epoch of marks in which this directory was marked; 0: not yet (shared mode).
    marked: AtomicU64,
    pub state: Mutex<NodeState>,
}

/// What changes about a node.
pub struct NodeState {
    /// Where it was found, the latest last; none: the root, or unlinked.
    places: Vec<Place>,
    pub inode: Weak<Inode>,
    attr: Attr,
    /// When `attr` was taken; `None`: it is out of date.
    taken: Option<Instant>,
    /// The generation from whose beginning on `attr` is right as long as it lasts (a marked directory); 0: none.
    attr_generation: u64,
    /// Counts what put `attr` or `list` out of date, so that what was asked of the host before is not kept after.
    pub changes: u64,
    /// Descriptors in use.
    open: Vec<(Weak<OwnedFd>, Open)>,
    /// Keeps an unlinked file reachable.
    pub pinned: Option<Arc<OwnedFd>>,
    /// A symbolic link's text, which never changes.
    pub text: Option<Arc<[u8]>>,
    /// A directory's entries, and the generation they are of (0 in exclusive mode).
    pub list: Option<(Arc<Listing>, u64)>,
    /// Known to have no extended attributes (exclusive mode).
    pub plain: bool,
}

impl Node {
    pub(super) fn new(
        fs: &Arc<HostFs>,
        id: u64,
        kind: FileKind,
        stat: &Stat,
        place: Option<Place>,
    ) -> Arc<Node> {
        Arc::new(Node {
            fs: Arc::downgrade(fs),
            id,
            key: (stat.dev, stat.ino),
            kind,
            btime: stat.btime.filter(|_| !fs.copies_up),
            marked: AtomicU64::new(0),
            state: Mutex::new(
                rank::FS_INNER,
                NodeState {
                    places: place.into_iter().collect(),
                    inode: Weak::new(),
                    attr: attr_of(fs, kind, stat),
                    taken: Some(Instant::now()),
                    attr_generation: 0,
                    changes: 0,
                    open: Vec::new(),
                    pinned: None,
                    text: None,
                    list: None,
                    plain: false,
                },
            ),
        })
    }

    /// Whether a stat is of this very file, not of a later one with the same number.
    pub fn is_still(&self, kind: FileKind, stat: &Stat) -> bool {
        self.key == (stat.dev, stat.ino)
            && self.kind == kind
            && (self.btime.is_none() || self.btime == stat.btime)
    }

    /// It was just found at `place` with these attributes.
    pub(super) fn found(&self, fs: &HostFs, stat: &Stat, place: Option<Place>) {
        let attr = attr_of(fs, self.kind, stat);
        let mut state = self.state.lock();
        state.attr = attr;
        state.taken = Some(Instant::now());
        state.attr_generation = 0;
        let Some(place) = place else { return };
        let old = state.take_place(&place);
        state.places.push(place);
        // A directory has one name.
        let most = if self.kind == FileKind::Directory {
            1
        } else {
            MAX_PLACES
        };
        let surplus = state.places.len().saturating_sub(most);
        let gone: Vec<Place> = state.places.drain(..surplus).collect();
        drop(state);
        drop((old, gone));
    }

    /// The place it would be looked for first.
    pub fn place(&self) -> Option<Place> {
        self.state.lock().places.last().cloned()
    }

    /// The attributes are out of date.
    pub fn changed(&self) {
        self.state.lock().outdate();
    }

    /// The entries have changed.
    pub fn entries_changed(&self) {
        let mut state = self.state.lock();
        state.outdate();
        let old = state.list.take();
        drop(state);
        drop(old);
    }

    /// stat(2).
    pub(super) fn attr(self: &Arc<Self>, fs: &HostFs) -> Result<Attr, Errno> {
        let generation = self.watched(fs).unwrap_or(0);
        let (open, changes) = {
            let mut state = self.state.lock();
            let written = state.open.iter().any(|(_, how)| *how != Open::Read);
            if let Some(taken) = state.taken
                && !written
                && (!fs.options.shared
                    || generation != 0 && state.attr_generation == generation
                    || taken.elapsed() < SHARED_FRESH)
            {
                return Ok(state.attr);
            }
            state.open.retain(|(fd, _)| fd.strong_count() > 0);
            (state.any(), state.changes)
        };
        let stat = match open {
            Some(fd) => file::stat(fd.as_fd())?,
            None => self.stat_again(fs)?,
        };
        let mut state = self.state.lock();
        let attr = attr_of(fs, self.kind, &stat);
        if state.changes == changes {
            state.attr = attr;
            state.taken = Some(Instant::now());
            state.attr_generation = generation;
        }
        Ok(attr)
    }

    /// Has the host tell of changes of this directory; returns the generation as of now. `None`: it cannot be had.
    pub(super) fn watch(self: &Arc<Self>, fs: &HostFs) -> Option<u64> {
        if let Some(generation) = self.watched(fs) {
            return Some(generation);
        }
        let watch = fs.watch?;
        // Directories of other devices are other file systems.
        if self.kind != FileKind::Directory || self.key.0 != fs.dev {
            return None;
        }
        let handle = self.directory(fs).ok()?;
        let epoch = watch.mark(handle.as_fd())?;
        self.marked.store(epoch, Ordering::SeqCst);
        watch.marked(epoch)
    }

    /// The generation as of now, if the host tells of changes of this directory.
    pub(super) fn watched(&self, fs: &HostFs) -> Option<u64> {
        let watch = fs.watch?;
        match self.marked.load(Ordering::SeqCst) {
            0 => None,
            epoch => watch.marked(epoch),
        }
    }

    fn stat_again(self: &Arc<Self>, fs: &HostFs) -> Result<Stat, Errno> {
        let stat = match self.place() {
            None => file::stat(fs.root.as_fd())?,
            Some((parent, name)) => dir::stat(parent.directory(fs)?.as_fd(), &name)?,
        };
        if self.is_still(self.kind, &stat) {
            Ok(stat)
        } else {
            Err(Errno::ESTALE)
        }
    }

    /// Remembers a descriptor as long as it is open.
    pub fn add_open(&self, fd: &Arc<OwnedFd>, how: Open) {
        let mut state = self.state.lock();
        if how != Open::Read {
            state.outdate();
        }
        state.open.retain(|(fd, _)| fd.strong_count() > 0);
        state.open.push((Arc::downgrade(fd), how));
    }

    /// A handle of this directory.
    pub(super) fn directory(self: &Arc<Self>, fs: &HostFs) -> Result<Arc<OwnedFd>, Errno> {
        let mut missing: Vec<(Arc<Node>, Box<[u8]>)> = Vec::new();
        let mut at = self.clone();
        let mut fd = loop {
            if let Some(fd) = fs.handles.get(at.id) {
                break fd;
            }
            let (place, pinned) = {
                let state = at.state.lock();
                (state.places.last().cloned(), state.pinned.clone())
            };
            match place {
                Some((parent, name)) => missing.push((std::mem::replace(&mut at, parent), name)),
                None => break pinned.unwrap_or_else(|| fs.root.clone()),
            }
        };
        while let Some((node, name)) = missing.pop() {
            fd = Arc::new(node.open_in(fs, &fd, &name, Open::PathDirectory)?);
            fs.handles.keep(node.id, fd.clone());
        }
        // A removed directory that nobody pinned ends at the root: refuse it.
        if Arc::ptr_eq(&fd, &fs.root) && !self.is_root(fs) {
            return Err(Errno::ESTALE);
        }
        Ok(fd)
    }

    /// The entries of this directory, as of now.
    pub(super) fn listing(self: &Arc<Self>, fs: &HostFs) -> Result<Arc<Listing>, Errno> {
        let generation = if fs.options.shared {
            self.watch(fs)
        } else {
            Some(0)
        };
        let (known, changes) = {
            let state = self.state.lock();
            (state.list.clone(), state.changes)
        };
        if let Some((list, of)) = known
            && Some(of) == generation
        {
            return Ok(list);
        }
        let dir = self.open_list(fs)?;
        let mut entries = Entries::default();
        with_buffer(dir::LIST_BYTES, |buffer| {
            dir::list(dir.as_fd(), buffer, |name, ino, kind| {
                let kind = FileKind::from_mode(u32::from(kind) << 12).unwrap_or(FileKind::Regular);
                entries.push(name, ino, kind)
            })
        })?;
        let fresh = fs.listed.keep(entries)?;
        let remembered = generation.filter(|_| fs.listed.remembers(&fresh));
        let mut state = self.state.lock();
        let remembered = remembered.filter(|_| state.changes == changes);
        let old = std::mem::replace(&mut state.list, remembered.map(|of| (fresh.clone(), of)));
        drop(state);
        drop(old);
        Ok(fresh)
    }

    /// This directory opened to list it, from its start. The descriptor serves as its handle from now on, if it has none.
    pub(super) fn open_list(self: &Arc<Self>, fs: &HostFs) -> Result<Arc<OwnedFd>, Errno> {
        let place = self.place().filter(|_| fs.handles.get(self.id).is_none());
        let Some((parent, name)) = place else {
            return dir::open_self(self.directory(fs)?.as_fd()).map(Arc::new);
        };
        let above = parent.directory(fs)?;
        let fd = Arc::new(self.open_in(fs, &above, &name, Open::List)?);
        fs.handles.keep(self.id, fd.clone());
        Ok(fd)
    }

    fn is_root(&self, fs: &HostFs) -> bool {
        self.key.0 == fs.dev && self.id == 1
    }

    /// Opens this file by its name and makes sure that it is still the same.
    pub(super) fn open_in(
        &self,
        fs: &HostFs,
        dir: &OwnedFd,
        name: &[u8],
        how: Open,
    ) -> Result<OwnedFd, Errno> {
        let fd = match dir::open(dir.as_fd(), name, how) {
            Err(Errno::EMFILE) => {
                fs.handles.clear();
                // The guest's own limit is its kernel's affair; this one is the sandbox's.
                dir::open(dir.as_fd(), name, how).map_err(|error| match error {
                    Errno::EMFILE => Errno::ENFILE,
                    other => other,
                })?
            }
            other => other?,
        };
        // Where nobody else changes the tree a directory's name still leads to it.
        let sure = self.kind == FileKind::Directory && fs.options.read_only && !fs.options.shared;
        if sure || self.is_still(self.kind, &file::stat(fd.as_fd())?) {
            Ok(fd)
        } else {
            Err(Errno::ESTALE)
        }
    }

    /// A descriptor of this file: an open one where that will do, else a new one.
    pub(super) fn reach(self: &Arc<Self>, fs: &HostFs, how: Open) -> Result<Arc<OwnedFd>, Errno> {
        let (place, held) = {
            let state = self.state.lock();
            (state.places.last().cloned(), state.open_as(how))
        };
        match (held, place) {
            (Some(fd), _) => Ok(fd),
            (None, Some((parent, name))) => {
                let dir = parent.directory(fs)?;
                self.open_in(fs, &dir, &name, how).map(Arc::new)
            }
            (None, None) if self.is_root(fs) && how == Open::List => {
                dir::open_self(fs.root.as_fd()).map(Arc::new)
            }
            (None, None) if self.is_root(fs) => Ok(fs.root.clone()),
            (None, None) => Err(Errno::ESTALE),
        }
    }

    /// The name `place` is about to go: keeps the file reachable for those who still use it.
    pub(super) fn leave_place(self: &Arc<Self>, fs: &HostFs, place: &Place) {
        if self.kind == FileKind::Regular {
            // Only what guests have open keeps it reachable.
            fs.handles.forget(self.id);
        }
        let needed = {
            let state = self.state.lock();
            state.places.len() <= 1 && state.any().is_none() && state.inode.strong_count() > 0
        };
        // Without a handle later uses answer ESTALE.
        let handle = needed.then(|| self.reach(fs, Open::Path).ok()).flatten();
        let mut state = self.state.lock();
        if handle.is_some() {
            state.pinned = handle;
        }
        state.outdate();
        let old = state.take_place(place);
        drop(state);
        drop(old);
    }

    /// It was renamed.
    pub fn moved(&self, from: &Place, to: Place) {
        let mut state = self.state.lock();
        let old = state.take_place(from);
        let same = state.take_place(&to);
        state.places.push(to);
        state.outdate();
        drop(state);
        drop((old, same));
    }

    /// It has this name: a new link, or one that was not removed after all.
    pub fn stay_at(&self, place: Place) {
        let mut state = self.state.lock();
        let gone = (state.places.len() >= MAX_PLACES).then(|| state.places.remove(0));
        state.places.push(place);
        let pin = state.pinned.take();
        drop(state);
        drop((gone, pin));
    }
}

impl NodeState {
    /// What is known of the host's state is not so any more.
    fn outdate(&mut self) {
        self.taken = None;
        self.changes += 1;
    }

    /// Any descriptor that attributes can be asked of.
    fn any(&self) -> Option<Arc<OwnedFd>> {
        let open = self.open.iter().find_map(|(fd, _)| fd.upgrade());
        open.or_else(|| self.pinned.clone())
    }

    /// A descriptor that will do where one opened as `how` is wanted: data is moved by position, so all users may share it.
    fn open_as(&self, how: Open) -> Option<Arc<OwnedFd>> {
        let fits = |have: Open| match how {
            Open::Read | Open::Write => have == how || have == Open::ReadWrite,
            _ => have == how,
        };
        match how {
            Open::Path | Open::PathDirectory => self.any(),
            _ => self
                .open
                .iter()
                .filter(|(_, have)| fits(*have))
                .find_map(|(fd, _)| fd.upgrade()),
        }
    }

    fn take_place(&mut self, place: &Place) -> Option<Place> {
        let same = |known: &Place| Arc::ptr_eq(&known.0, &place.0) && known.1 == place.1;
        let at = self.places.iter().position(same)?;
        Some(self.places.remove(at))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One after the other: a chain of directories may be deeper than the stack.
        let mut next = self.leave();
        while let Some((parent, _)) = next.pop() {
            if let Some(mut node) = Arc::into_inner(parent) {
                next.append(&mut node.leave());
            }
        }
    }
}

impl Node {
    /// Takes the node out of its tables; returns its places.
    fn leave(&mut self) -> Vec<Place> {
        let places = std::mem::take(&mut self.state.get_mut().places);
        if let Some(fs) = self.fs.upgrade() {
            fs.handles.forget(self.id);
            let mut nodes = fs.nodes.lock_nested();
            if nodes.get(&self.key).is_some_and(|node| node.strong_count() == 0) {
                nodes.remove(&self.key);
            }
        }
        places
    }
}

/// Attributes as guests see them.
fn attr_of(fs: &HostFs, kind: FileKind, stat: &Stat) -> Attr {
    // Files of another device inside the tree get numbers of their own.
    let ino = if stat.dev == fs.dev {
        stat.ino
    } else {
        stat.ino ^ (stat.dev << 40)
    };
    Attr {
        ino,
        kind,
        perm: stat.mode & 0o7777,
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        rdev: stat.rdev,
        size: stat.size,
        blocks: stat.blocks,
        blksize: stat.blksize,
        atime: stat.atime,
        mtime: stat.mtime,
        ctime: stat.ctime,
        btime: stat.btime,
    }
}
