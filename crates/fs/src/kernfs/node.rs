//! What a synthetic file is, and tables of fixed names.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use kernel::cred::Credentials;
use kernel::file::FileOps;
use kernel::vfs::{AttrChange, FileKind, Follow, Path};

/// Attributes of a node that are not the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits.
    pub perm: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes (0 for most generated files).
    pub size: u64,
    /// Device number of device nodes.
    pub rdev: u64,
}

impl Meta {
    /// Root's, empty.
    pub const fn root(perm: u32) -> Meta {
        Meta {
            perm,
            uid: 0,
            gid: 0,
            size: 0,
            rdev: 0,
        }
    }
}

/// A name in a directory listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Name.
    pub name: Vec<u8>,
    /// Type.
    pub kind: FileKind,
}

impl Listed {
    /// A listed name.
    pub fn new(name: impl Into<Vec<u8>>, kind: FileKind) -> Listed {
        Listed {
            name: name.into(),
            kind,
        }
    }
}

/// A synthetic file. Which methods matter depends on `kind`.
pub trait Node: Any + Send + Sync {
    /// Type.
    fn kind(&self) -> FileKind;
    /// Permissions and owner. `ESRCH` or `ENOENT` when what it shows is gone.
    fn meta(&self) -> Result<Meta, Errno>;
    /// Whether `other`, found under the same name, shows the same object (not so when a process id was used again).
    fn same(&self, other: &dyn Node) -> bool {
        let _ = other;
        true
    }
    /// Directories: the child of this name.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        let _ = name;
        Err(Errno::ENOENT)
    }
    /// Directories: all names, in an order that stays while the directory is read.
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        Err(Errno::ENOTDIR)
    }
    /// Directories: unlink(2) of a name.
    fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        let _ = name;
        Err(Errno::EPERM)
    }
    /// Regular files: the content.
    fn text(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }
    /// Regular files: takes what one write(2) brought (at most [`super::KNOB_MAX`] bytes).
    fn store(&self, data: &[u8]) -> Result<(), Errno> {
        let _ = data;
        Err(Errno::EINVAL)
    }
    /// The same with the credentials of who opened the file, for what a program with more rights must not be made to write.
    fn store_as(&self, data: &[u8], opener: &Credentials) -> Result<(), Errno> {
        let _ = opener;
        self.store(data)
    }
    /// Symbolic links: the text.
    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }
    /// Symbolic links: where a walk continues.
    fn follow(&self) -> Result<Follow, Errno> {
        self.readlink().map(Follow::Text)
    }
    /// Operations of its own instead of generated text; `None`: text.
    fn open(&self, path: &Path, flags: u32) -> Option<Result<Box<dyn FileOps>, Errno>> {
        let _ = (path, flags);
        None
    }
    /// The process whose /proc directory this is.
    fn process(&self) -> Option<u32> {
        None
    }
    /// A permission check of its own; see [`kernel::vfs::InodeOps::permission`].
    fn permission(&self, cred: &Credentials, mask: u32) -> Option<Result<(), Errno>> {
        let _ = (cred, mask);
        None
    }
    /// chmod, chown, utimensat; truncation of writable text is accepted by the caller.
    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        let _ = change;
        Err(Errno::EPERM)
    }
}

/// What the rows of a table are about: a kernel, a process, a device.
pub trait Context: Clone + Send + Sync + 'static {
    /// Owner and group of the files. An error: what they show is gone.
    fn owner(&self) -> Result<(u32, u32), Errno> {
        Ok((0, 0))
    }
    /// The process whose /proc directory has these entries.
    fn process(&self, entries: &'static [Entry<Self>]) -> Option<u32> {
        let _ = entries;
        None
    }
    /// See [`Node::same`].
    fn same(&self, other: &Self) -> bool {
        let _ = other;
        true
    }
    /// Whether the running task may open [`What::Guarded`] files.
    fn may_open(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// A generator of content.
pub type Show<C> = fn(&C) -> Result<Vec<u8>, Errno>;
/// Takes a written value.
pub type Store<C> = fn(&C, &[u8]) -> Result<(), Errno>;

/// What a row of a table is.
pub enum What<C: 'static> {
    /// A generated file.
    Text(Show<C>),
    /// A generated file that only those open who may see it: a descriptor that is passed on to a program with more rights shows
    /// no more.
    Guarded(Show<C>),
    /// A generated file that takes values.
    Knob(Show<C>, Store<C>),
    /// A directory of fixed names.
    Dir(&'static [Entry<C>]),
    /// A symbolic link with this text.
    Link(Show<C>),
    /// A magic link: its place, and its text when it has no place in the tree.
    Magic(fn(&C) -> Result<Follow, Errno>, Show<C>),
    /// Something with a type of its own.
    Node(FileKind, fn(&C) -> Arc<dyn Node>),
}

/// A row of a table: a fixed name in a synthetic directory.
pub struct Entry<C: 'static> {
    /// Name.
    pub name: &'static str,
    /// Permission bits.
    pub perm: u32,
    /// What it is.
    pub what: What<C>,
}

impl<C> Entry<C> {
    fn kind(&self) -> FileKind {
        match &self.what {
            What::Text(_) | What::Guarded(_) | What::Knob(..) => FileKind::Regular,
            What::Dir(_) => FileKind::Directory,
            What::Link(_) | What::Magic(..) => FileKind::Symlink,
            What::Node(kind, _) => *kind,
        }
    }
}

/// Rows of a table: `table::text("stat", 0o444, stat::show)`.
pub mod table {
    use super::*;

    /// A generated file.
    pub const fn text<C>(name: &'static str, perm: u32, show: Show<C>) -> Entry<C> {
        Entry {
            name,
            perm,
            what: What::Text(show),
        }
    }
    /// A generated file that only those open who may see it.
    pub const fn guarded<C>(name: &'static str, perm: u32, show: Show<C>) -> Entry<C> {
        Entry {
            name,
            perm,
            what: What::Guarded(show),
        }
    }
    /// A generated file that takes values.
    pub const fn knob<C>(name: &'static str, perm: u32, show: Show<C>, store: Store<C>) -> Entry<C> {
        Entry {
            name,
            perm,
            what: What::Knob(show, store),
        }
    }
    /// A directory of fixed names.
    pub const fn dir<C>(name: &'static str, entries: &'static [Entry<C>]) -> Entry<C> {
        Entry {
            name,
            perm: 0o555,
            what: What::Dir(entries),
        }
    }
    /// A symbolic link.
    pub const fn link<C>(name: &'static str, show: Show<C>) -> Entry<C> {
        Entry {
            name,
            perm: 0o777,
            what: What::Link(show),
        }
    }
    /// A magic link.
    pub const fn magic<C>(
        name: &'static str,
        follow: fn(&C) -> Result<Follow, Errno>,
        show: Show<C>,
    ) -> Entry<C> {
        Entry {
            name,
            perm: 0o777,
            what: What::Magic(follow, show),
        }
    }
    /// A node with a type of its own.
    pub const fn node<C>(name: &'static str, kind: FileKind, make: fn(&C) -> Arc<dyn Node>) -> Entry<C> {
        Entry {
            name,
            perm: 0,
            what: What::Node(kind, make),
        }
    }
}

/// A directory whose names are a table's.
pub struct StaticDir<C: 'static> {
    /// What the rows are about.
    pub context: C,
    /// Rows.
    pub entries: &'static [Entry<C>],
    /// Permission bits.
    pub perm: u32,
}

impl<C: Context> StaticDir<C> {
    /// A directory, readable by all.
    pub fn new(context: C, entries: &'static [Entry<C>]) -> StaticDir<C> {
        StaticDir {
            context,
            entries,
            perm: 0o555,
        }
    }
}

impl<C: Context> Node for StaticDir<C> {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn meta(&self) -> Result<Meta, Errno> {
        let (uid, gid) = self.context.owner()?;
        Ok(Meta {
            uid,
            gid,
            ..Meta::root(self.perm)
        })
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.context.same(&other.context))
    }
    fn process(&self) -> Option<u32> {
        self.context.process(self.entries)
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name.as_bytes() == name)
            .ok_or(Errno::ENOENT)?;
        Ok(match &entry.what {
            What::Dir(entries) => Arc::new(StaticDir {
                context: self.context.clone(),
                entries,
                perm: entry.perm,
            }),
            What::Node(_, make) => make(&self.context),
            _ => Arc::new(StaticFile {
                context: self.context.clone(),
                entry,
            }),
        })
    }
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        self.context.owner()?;
        Ok(self
            .entries
            .iter()
            .map(|entry| Listed::new(entry.name, entry.kind()))
            .collect())
    }
}

/// A file or link of a table.
struct StaticFile<C: 'static> {
    context: C,
    entry: &'static Entry<C>,
}

impl<C: Context> Node for StaticFile<C> {
    fn kind(&self) -> FileKind {
        self.entry.kind()
    }
    fn meta(&self) -> Result<Meta, Errno> {
        let (uid, gid) = self.context.owner()?;
        Ok(Meta {
            uid,
            gid,
            ..Meta::root(self.entry.perm)
        })
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.context.same(&other.context))
    }
    fn open(&self, _: &Path, _: u32) -> Option<Result<Box<dyn FileOps>, Errno>> {
        match &self.entry.what {
            What::Guarded(_) => self.context.may_open().err().map(Err),
            _ => None,
        }
    }
    fn text(&self) -> Result<Vec<u8>, Errno> {
        match &self.entry.what {
            What::Text(show) | What::Guarded(show) | What::Knob(show, _) => show(&self.context),
            _ => Err(Errno::EINVAL),
        }
    }
    fn store(&self, data: &[u8]) -> Result<(), Errno> {
        match &self.entry.what {
            What::Knob(_, store) => store(&self.context, data),
            _ => Err(Errno::EINVAL),
        }
    }
    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        match &self.entry.what {
            What::Link(show) | What::Magic(_, show) => show(&self.context),
            _ => Err(Errno::EINVAL),
        }
    }
    fn follow(&self) -> Result<Follow, Errno> {
        match &self.entry.what {
            What::Magic(follow, _) => follow(&self.context),
            _ => self.readlink().map(Follow::Text),
        }
    }
}
