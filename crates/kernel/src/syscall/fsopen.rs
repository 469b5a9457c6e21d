//! The mount calls by descriptor: fsopen(2), fsconfig(2), fspick(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2).

use std::sync::{Arc, Weak};

use abi::fcntl::{O_CLOEXEC, O_PATH, O_RDWR};
use abi::{AbiField, Errno, PAGE_SIZE, UserAddr};
use sync::{Mutex, rank};

use super::arg::{CStr, Fd, Flags};
use super::dirfd::{AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, At};
use super::mount::{is_ours, may_make, may_mount, move_mount as move_attached, propagation_type};
use crate::Kernel;
use crate::file::{FileDescription, FileOps};
use crate::io::Sink;
use crate::task::CurrentTask;
use crate::vfs::{Dentry, FileKind, FilesystemType, Inode, Mount, MountFlags, Path, Walker, anon_path};

/// FSOPEN_CLOEXEC, FSPICK_CLOEXEC, FSMOUNT_CLOEXEC, OPEN_TREE_CLONE.
const FIRST_BIT: u32 = 1;
/// FSPICK_SYMLINK_NOFOLLOW, FSPICK_NO_AUTOMOUNT, FSPICK_EMPTY_PATH.
const PICK_NOFOLLOW: u32 = 2;
const PICK_EMPTY_PATH: u32 = 8;
/// AT_RECURSIVE.
const AT_RECURSIVE: u32 = 0x8000;
/// Bytes of all options of one context.
const OPTIONS_MAX: usize = PAGE_SIZE as usize;
/// Longest key or value (fsconfig(2)).
const TEXT_MAX: usize = 256;

/// MOUNT_ATTR_*: the flags that have a MS_* number, and those about access times.
const ATTRIBUTES: [(u64, MountFlags); 6] = [
    (1, MountFlags::RDONLY),
    (2, MountFlags::NOSUID),
    (4, MountFlags::NODEV),
    (8, MountFlags::NOEXEC),
    (0x80, MountFlags::NODIRATIME),
    (0x20_0000, MountFlags::NOSYMFOLLOW),
];
const ATTR_ATIME: u64 = 0x70;
const ATTR_NOATIME: u64 = 0x10;
const ATTR_STRICTATIME: u64 = 0x20;
/// All of these, and MOUNT_ATTR_NOSYMFOLLOW.
const ATTR_KNOWN: u64 = 0x20_00ff;

/// A file system that is being configured.
struct Context {
    kind: Option<Arc<dyn FilesystemType>>,
    state: Mutex<ContextState>,
}

#[derive(Default)]
struct ContextState {
    source: Vec<u8>,
    options: Vec<u8>,
    flags: MountFlags,
    made: bool,
    root: Option<Arc<Inode>>,
    /// fspick(2): the mounted one.
    picked: Option<Path>,
}

impl FileOps for Context {
    fn pollable(&self) -> bool {
        false
    }

    fn read(&self, _: &FileDescription, _: u64, _: &mut dyn Sink) -> Result<usize, Errno> {
        // No messages: errors say it all.
        Err(Errno::ENODATA)
    }
}

fn install(task: &CurrentTask, context: Context, cloexec: bool) -> Result<Fd, Errno> {
    let kernel = &task.kernel;
    let path = anon_path(
        kernel,
        "anon_inode:[fscontext]",
        kernel.next_ino(),
        FileKind::Anonymous,
        0o600,
    );
    let file = FileDescription::new(path, Box::new(context), O_RDWR);
    task.files()
        .install(file, cloexec, 0, task.group.fd_limit())
        .map(Fd)
}

/// fsopen(2).
pub fn fsopen(task: &CurrentTask, name: CStr, flags: Flags) -> Result<Fd, Errno> {
    may_mount(task)?;
    if flags.0 & !FIRST_BIT != 0 {
        return Err(Errno::EINVAL);
    }
    let name = task.read_path(name.0)?;
    let kind = task.kernel.vfs.filesystem_type(&name)?;
    may_make(task, &*kind)?;
    let context = Context {
        kind: Some(kind),
        state: Mutex::new(rank::LEAF, ContextState::default()),
    };
    install(task, context, flags.0 & FIRST_BIT != 0)
}

/// fspick(2).
pub fn fspick(task: &CurrentTask, dir: Fd, path: CStr, flags: Flags) -> Result<Fd, Errno> {
    may_mount(task)?;
    if flags.0 & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let mut at = 0;
    if flags.0 & PICK_NOFOLLOW != 0 {
        at |= AT_SYMLINK_NOFOLLOW;
    }
    if flags.0 & PICK_EMPTY_PATH != 0 {
        at |= AT_EMPTY_PATH;
    }
    let place = At::read(task, dir, path)?.resolve(&Walker::of(task), at)?;
    if !place.is_mount_root() || !is_ours(task, &place.mount) {
        return Err(Errno::EINVAL);
    }
    let state = ContextState {
        flags: place.mount.flags(),
        picked: Some(place),
        ..ContextState::default()
    };
    let context = Context {
        kind: None,
        state: Mutex::new(rank::LEAF, state),
    };
    install(task, context, flags.0 & FIRST_BIT != 0)
}

/// fsconfig(2).
pub fn fsconfig(
    task: &CurrentTask,
    fd: Fd,
    command: u32,
    key: UserAddr,
    value: UserAddr,
    aux: i32,
) -> Result<(), Errno> {
    const SET_FLAG: u32 = 0;
    const SET_STRING: u32 = 1;
    const CREATE: u32 = 6;
    const RECONFIGURE: u32 = 7;
    const CREATE_EXCL: u32 = 8;
    if fd.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let shape = match command {
        SET_FLAG => !key.is_null() && value.is_null() && aux == 0,
        SET_STRING => !key.is_null() && !value.is_null() && aux == 0,
        CREATE | RECONFIGURE | CREATE_EXCL => key.is_null() && value.is_null() && aux == 0,
        2 => !key.is_null() && !value.is_null() && (1..=1 << 20).contains(&aux),
        3 | 4 => !key.is_null() && !value.is_null() && (aux == -100 || aux >= 0),
        5 => !key.is_null() && value.is_null() && aux >= 0,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if !shape {
        return Err(Errno::EINVAL);
    }
    let file = task.fd(fd.0)?;
    let context = file.ops_as::<Context>().ok_or(Errno::EINVAL)?;
    match command {
        SET_FLAG => context.set(&text(task, key)?, None),
        SET_STRING => context.set(&text(task, key)?, Some(&text(task, value)?)),
        CREATE | CREATE_EXCL => context.create(&task.kernel),
        RECONFIGURE => context.reconfigure(),
        // No file system here takes blobs, paths or descriptors.
        _ => Err(Errno::EINVAL),
    }
}

fn text(task: &CurrentTask, at: UserAddr) -> Result<Vec<u8>, Errno> {
    let text = task.read_path(at)?;
    if text.len() >= TEXT_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(text)
}

impl Context {
    fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.made {
            return Err(Errno::EBUSY);
        }
        match (key, value) {
            (b"source", Some(value)) if state.source.is_empty() => state.source = value.to_vec(),
            (b"source", _) => return Err(Errno::EINVAL),
            (b"ro", None) => state.flags |= MountFlags::RDONLY,
            (b"rw", None) => state.flags &= !MountFlags::RDONLY,
            _ => {
                let more = key.len() + value.map_or(0, |value| value.len() + 1) + 1;
                if state.options.len() + more > OPTIONS_MAX
                    || value.is_some_and(|value| value.contains(&b','))
                {
                    return Err(Errno::EINVAL);
                }
                if !state.options.is_empty() {
                    state.options.push(b',');
                }
                state.options.extend_from_slice(key);
                if let Some(value) = value {
                    state.options.push(b'=');
                    state.options.extend_from_slice(value);
                }
            }
        }
        Ok(())
    }

    fn create(&self, kernel: &Arc<Kernel>) -> Result<(), Errno> {
        let kind = self.kind.as_ref().ok_or(Errno::EBUSY)?;
        let (source, flags, options) = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.made, true) {
                return Err(Errno::EBUSY);
            }
            (state.source.clone(), state.flags, state.options.clone())
        };
        let root = kind.mount(kernel, &source, flags, &options)?;
        self.state.lock().root = Some(root);
        Ok(())
    }

    fn reconfigure(&self) -> Result<(), Errno> {
        let (picked, flags) = {
            let state = self.state.lock();
            (state.picked.clone(), state.flags)
        };
        // As with mount(2)'s remount, of the mount only.
        picked.ok_or(Errno::EINVAL)?.mount.change_flags(flags)
    }
}

/// The flags of MOUNT_ATTR_* on top of others.
fn with_attributes(old: MountFlags, set: u64, clear: u64) -> Result<MountFlags, Errno> {
    let mut flags = old;
    for (bit, flag) in ATTRIBUTES {
        if clear & bit != 0 {
            flags.remove(flag);
        }
        if set & bit != 0 {
            flags.insert(flag);
        }
    }
    if clear & ATTR_ATIME != 0 || set & ATTR_ATIME != 0 {
        flags.remove(MountFlags::NOATIME | MountFlags::RELATIME);
        match set & ATTR_ATIME {
            0 => flags.insert(MountFlags::RELATIME),
            ATTR_NOATIME => flags.insert(MountFlags::NOATIME),
            ATTR_STRICTATIME => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(flags)
}

/// A mount that may not be attached yet: then it ends with its last descriptor.
struct TreeFile {
    kernel: Weak<Kernel>,
    mount: Option<Arc<Mount>>,
}

impl FileOps for TreeFile {
    fn pollable(&self) -> bool {
        false
    }

    fn release(&self, _: &FileDescription) {
        if let (Some(mount), Some(kernel)) = (&self.mount, self.kernel.upgrade())
            && mount.parent().is_none()
            && kernel.vfs.namespace_of(mount) == 0
        {
            // Lazy: it does not fail.
            let _ = kernel.vfs.detach(mount, true);
        }
    }
}

fn install_tree(task: &CurrentTask, place: Path, own: bool, cloexec: bool) -> Result<Fd, Errno> {
    let tree = TreeFile {
        kernel: Arc::downgrade(&task.kernel),
        mount: own.then(|| place.mount.clone()),
    };
    let file = FileDescription::new(place, Box::new(tree), O_PATH);
    task.files()
        .install(file, cloexec, 0, task.group.fd_limit())
        .map(Fd)
}

/// fsmount(2).
pub fn fsmount(task: &CurrentTask, fd: Fd, flags: Flags, attributes: u32) -> Result<Fd, Errno> {
    may_mount(task)?;
    let attributes = u64::from(attributes);
    if flags.0 & !FIRST_BIT != 0 || attributes & !ATTR_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let base = MountFlags::RELATIME;
    let own = with_attributes(base, attributes, 0)?;
    let file = task.fd(fd.0)?;
    let context = file.ops_as::<Context>().ok_or(Errno::EINVAL)?;
    let (root, source, read_only) = {
        let mut state = context.state.lock();
        let root = match state.root.take() {
            Some(root) => root,
            None => return Err(if state.made { Errno::EBUSY } else { Errno::EINVAL }),
        };
        (root, state.source.clone(), state.flags & MountFlags::RDONLY)
    };
    let source = if source.is_empty() {
        b"none".to_vec()
    } else {
        source
    };
    let mount = Mount::new(Dentry::root(b"/", root), &source, own | read_only);
    let dentry = mount.root.clone();
    install_tree(task, Path { mount, dentry }, true, flags.0 & FIRST_BIT != 0)
}

/// open_tree(2).
pub fn open_tree(task: &CurrentTask, dir: Fd, path: CStr, flags: Flags) -> Result<Fd, Errno> {
    const KNOWN: u32 =
        FIRST_BIT | O_CLOEXEC | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW;
    let clone = flags.0 & FIRST_BIT != 0;
    let recursive = flags.0 & AT_RECURSIVE != 0;
    if flags.0 & !KNOWN != 0 || (recursive && !clone) {
        return Err(Errno::EINVAL);
    }
    if clone {
        may_mount(task)?;
    }
    let place = At::read(task, dir, path)?.resolve(&Walker::of(task), flags.0)?;
    let cloexec = flags.0 & O_CLOEXEC != 0;
    if !clone {
        return install_tree(task, place, false, cloexec);
    }
    let vfs = &task.kernel.vfs;
    let known = is_ours(task, &place.mount) || vfs.namespace_of(&place.mount) == 0;
    if !known || (!recursive && vfs.hides_by_lock(&place)) {
        return Err(Errno::EINVAL);
    }
    let mount = task.kernel.vfs.clone_tree(&place, recursive)?;
    let dentry = mount.root.clone();
    install_tree(task, Path { mount, dentry }, true, cloexec)
}

/// move_mount(2).
pub fn move_mount(
    task: &CurrentTask,
    from_dir: Fd,
    from: CStr,
    to_dir: Fd,
    to: CStr,
    flags: Flags,
) -> Result<(), Errno> {
    /// MOVE_MOUNT_F_SYMLINKS and _F_EMPTY_PATH; the same for the target 4 bits higher.
    const SYMLINKS: u32 = 1;
    const EMPTY_PATH: u32 = 4;
    may_mount(task)?;
    if flags.0 & !0x77 != 0 {
        return Err(Errno::EINVAL);
    }
    let at = |bits: u32| {
        let mut at = 0;
        if bits & SYMLINKS == 0 {
            at |= AT_SYMLINK_NOFOLLOW;
        }
        if bits & EMPTY_PATH != 0 {
            at |= AT_EMPTY_PATH;
        }
        at
    };
    let walker = Walker::of(task);
    let to = At::read(task, to_dir, to)?.resolve(&walker, at(flags.0 >> 4))?;
    let from = At::read(task, from_dir, from)?.resolve(&walker, at(flags.0))?;
    let vfs = &task.kernel.vfs;
    if !is_ours(task, &to.mount) {
        return Err(Errno::EINVAL);
    }
    if from.mount.parent().is_none() && vfs.namespace_of(&from.mount) == 0 {
        if !from.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        return vfs.attach_tree(&to, &from.mount);
    }
    move_attached(task, &from, &to)
}

/// mount_setattr(2).
pub fn mount_setattr(
    task: &CurrentTask,
    dir: Fd,
    path: CStr,
    flags: Flags,
    attributes: UserAddr,
    size: u64,
) -> Result<(), Errno> {
    /// struct mount_attr, first version.
    const SIZE: u64 = 32;
    const KNOWN: u32 = AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    if flags.0 & !KNOWN != 0 || size < SIZE {
        return Err(Errno::EINVAL);
    }
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    may_mount(task)?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    task.copy_in(attributes, &mut bytes)?;
    if bytes.iter().skip(SIZE as usize).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let field = |at: usize| bytes.get(8 * at..).map_or(0, u64::get);
    let (set, clear, propagation) = (field(0), field(1), field(2));
    if set == 0 && clear == 0 && propagation == 0 {
        return Ok(());
    }
    let to = propagation_type(propagation);
    let one_kind = propagation == 0 || to.is_some();
    let whole_atime = clear & ATTR_ATIME == 0 || clear & ATTR_ATIME == ATTR_ATIME;
    let changed_atime = set & ATTR_ATIME == 0 || clear & ATTR_ATIME != 0;
    if (set | clear) & !ATTR_KNOWN != 0 || !one_kind || !whole_atime || !changed_atime {
        return Err(Errno::EINVAL);
    }
    let place = At::read(task, dir, path)?.resolve(&Walker::of(task), flags.0)?;
    let vfs = &task.kernel.vfs;
    let detached = vfs.namespace_of(&place.mount) == 0;
    if !place.is_mount_root() || !(detached || is_ours(task, &place.mount)) {
        return Err(Errno::EINVAL);
    }
    let below = if flags.0 & AT_RECURSIVE != 0 {
        vfs.below(&place.mount, None)
    } else {
        Vec::new()
    };
    for mount in std::iter::once(&place.mount).chain(&below) {
        mount.change_flags(with_attributes(mount.flags(), set, clear)?)?;
    }
    if let Some(to) = to {
        vfs.change_propagation_type(&place.mount, to, flags.0 & AT_RECURSIVE != 0);
    }
    Ok(())
}
