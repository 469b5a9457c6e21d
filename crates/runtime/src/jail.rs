//! The second wall: the sentry process in namespaces of its own that hold nothing but the container's trees.
//!
//! `start` clones the command's process into the jail; the child closes the walls one by one and then becomes the
//! sentry. Every step can fail, none is skipped: a wall that a host cannot give is a clear error.

mod trees;

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use abi::Errno;
use host::caps::{self, Cap};
use host::fd;
use host::mount::{self, Access};
use host::ns::{self, Child};
use host::prctl;
use host::rlimit::{self, Resource};
use host::signal::SignalSet;
use sandbox::control::FromSentry;
use sandbox::{Config, Handles, Io, Timing};

use crate::failure::{Failure, OWN_ERROR, While, describe};

use trees::Copy;
pub use trees::Tree;

/// What serving files as their owners needs, inside the jail's own user namespace.
pub const KEPT_CAPABILITIES: &[(Cap, &str)] = &[
    (Cap::CHOWN, "give files on volumes to the users the guest names"),
    (
        Cap::DAC_OVERRIDE,
        "open files whose permissions the sentry has checked itself",
    ),
    (Cap::DAC_READ_SEARCH, "the same, for reading"),
    (
        Cap::FOWNER,
        "change modes and times of files on volumes for their owners",
    ),
    (Cap::FSETID, "keep set-user-ID bits that the guest set"),
    (Cap::SETFCAP, "give files the capabilities that the guest names"),
];

/// A running jail, as the command sees it.
pub struct Jail {
    /// The sentry process, first of its pid namespace: with it everything inside ends.
    pub sentry: Child,
    /// Its process id as /proc has it.
    pub sentry_pid: i32,
    /// Packets to and from the sentry. Its closing ends the sentry.
    pub control: OwnedFd,
}

/// Starts a sentry in a new jail, with the first of `trees` as root and `listener` as control socket. From here on all
/// signals of the caller are blocked.
pub fn start(
    trees: Vec<Tree>,
    listener: Option<OwnedFd>,
    config: Config,
    io: Io,
    timing: &mut Timing,
) -> Result<Jail, Failure> {
    let before = SignalSet::all_but_faults()
        .block_exactly()
        .while_doing("blocking signals")?;
    let (ours, theirs) = fd::packet_pair().while_doing("control socket")?;
    let ids = match &config.id_maps {
        Some((uids, gids)) => IdMaps {
            uids: uids.clone(),
            gids: gids.clone(),
            deny_setgroups: false,
        },
        None => IdMaps::of_caller()?,
    };
    let namespaces = match config.host_network {
        true => ns::JAIL & !ns::NETWORK,
        false => ns::JAIL,
    };
    let mapped_away = config.id_maps.is_some();
    let copies = trees::copies(&trees)?;
    timing.done("trees copied");
    let mut child_timing = timing.clone();
    let oom_score = config.container.process.privileges.oom_score_adj;
    let child = {
        ns::spawn(namespaces, || {
            let entry = Entry {
                trees,
                copies,
                theirs: &theirs,
                listener: listener.as_ref(),
                before,
                mapped_away,
            };
            match entry.close_walls(&io, oom_score, &mut child_timing) {
                Ok((root, volumes, oom_score)) => {
                    let handles = Handles {
                        root,
                        volumes,
                        listener,
                        oom_score,
                    };
                    sandbox::run(config, handles, io, theirs, child_timing)
                }
                Err(failure) => {
                    let report = FromSentry::Failed(failure.status, failure.message);
                    let _ = fd::send(theirs.as_fd(), &report.encode());
                    i32::from(OWN_ERROR)
                }
            }
        })
    };
    let sentry = child.map_err(cannot_clone)?;
    timing.done("cloned into namespaces");
    let sentry_pid = sentry.pid_on_host();
    let mapped = ids.write(sentry_pid);
    timing.done("ids mapped");
    if let Err(failure) = mapped {
        sentry.kill();
        let _ = sentry.wait();
        return Err(failure);
    }
    // An error means that the child has ended already, and its report says why.
    let _ = fd::send(ours.as_fd(), b"mapped");
    Ok(Jail {
        sentry,
        sentry_pid,
        control: ours,
    })
}

pub fn cannot_clone(errno: Errno) -> Failure {
    let why = match errno {
        Errno::EPERM => "this user may not create them (see 'tegmen check')".to_string(),
        Errno::ENOSPC => {
            "the host's limit on namespaces is reached (/proc/sys/user/max_*_namespaces)".to_string()
        }
        Errno::ENOSYS | Errno::EINVAL => "the host's kernel is too old (see 'tegmen check')".to_string(),
        other => describe(other),
    };
    Failure::own(format!("cannot create namespaces: {why}"))
}

/// Which ids the jail's user namespace has.
pub struct IdMaps {
    uids: String,
    gids: String,
    deny_setgroups: bool,
}

impl IdMaps {
    /// Root maps every id to itself; anyone else has only their own.
    pub fn of_caller() -> Result<IdMaps, Failure> {
        let (uid, gid, _) = prctl::ids().while_doing("cannot tell who is calling")?;
        if caps::has(Cap::SETUID) && caps::has(Cap::SETGID) {
            let all = |file: &str| fs::read_to_string(file).map(|map| identity_of(&map));
            return Ok(IdMaps {
                uids: all("/proc/self/uid_map").while_doing("reading /proc/self/uid_map")?,
                gids: all("/proc/self/gid_map").while_doing("reading /proc/self/gid_map")?,
                deny_setgroups: false,
            });
        }
        Ok(IdMaps {
            uids: format!("{uid} {uid} 1"),
            gids: format!("{gid} {gid} 1"),
            deny_setgroups: true,
        })
    }

    /// Gives them to a process that was cloned into a user namespace.
    pub fn write(&self, pid: i32) -> Result<(), Failure> {
        let put = |file: &str, text: &str| {
            fs::write(format!("/proc/{pid}/{file}"), text).while_doing(&format!("writing {file}"))
        };
        if self.deny_setgroups {
            put("setgroups", "deny")?;
        }
        put("gid_map", &self.gids)?;
        put("uid_map", &self.uids)
    }
}

/// Every id that the caller's own user namespace (whose map this is) has, mapped to itself.
fn identity_of(map: &str) -> String {
    let mut identity = String::new();
    for line in map.lines() {
        let mut fields = line.split_whitespace();
        if let (Some(inside), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) {
            identity.push_str(&format!("{inside} {inside} {count}\n"));
        }
    }
    identity
}

/// How much likelier than the sentry a guest process is to be killed when memory is out: half of all memory.
const GUEST_OOM: i32 = 500;
/// OOM_SCORE_ADJ_MAX.
const MOST_OOM: i32 = 1000;

/// Until guest processes have inherited it, the sentry has their score. Returns the file and the sentry's own value.
/// Never below the caller's value without privilege; then, and without /proc, victims are picked by size alone.
fn raise_oom_score(wanted: Option<i32>) -> Option<(OwnedFd, i32)> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(FILE).ok()?.trim().parse().ok()?;
    let own = wanted.unwrap_or(now);
    let file: OwnedFd = fs::File::options().write(true).open(FILE).ok()?.into();
    let raised = (own + GUEST_OOM).min(MOST_OOM).max(own);
    fd::write_all(file.as_fd(), raised.to_string().as_bytes()).ok()?;
    Some((file, own))
}

/// What the child holds once the walls are closed: root, other trees, its oom_score_adj.
type Opened = (OwnedFd, Vec<OwnedFd>, Option<(OwnedFd, i32)>);

/// The child's way from clone to sentry.
struct Entry<'a> {
    trees: Vec<Tree>,
    copies: Option<Vec<Copy>>,
    theirs: &'a OwnedFd,
    listener: Option<&'a OwnedFd>,
    before: SignalSet,
    /// The caller is nobody in the new user namespace.
    mapped_away: bool,
}

impl Entry<'_> {
    fn close_walls(&self, io: &Io, oom_score: Option<i32>, timing: &mut Timing) -> Result<Opened, Failure> {
        prctl::set_name(c"tegmen-sentry");
        // First of all, because a copy of the command's end of the pair would hide the command's death.
        self.close_descriptors(io)?;
        self.wait_for_ids()?;
        if self.mapped_away {
            prctl::become_root().while_doing("user ids: becoming root of the container's")?;
        }
        timing.done("child running with its ids");
        ns::new_session().while_doing("new session")?;
        prctl::umask(0);
        self.limits()?;
        let oom_score = raise_oom_score(oom_score);
        let (root, volumes) = self.mounts()?;
        timing.done("mounts made");
        let keep: Vec<Cap> = KEPT_CAPABILITIES.iter().map(|(cap, _)| *cap).collect();
        caps::keep_only(&keep).while_doing("dropping capabilities")?;
        prctl::no_new_privs().while_doing("no_new_privs")?;
        timing.done("capabilities dropped");
        self.tie_to_command()?;
        host::signal::reset_actions();
        self.before.block_exactly().while_doing("signal mask")?;
        Ok((root, volumes, oom_score))
    }

    /// Until the command has written the id maps, this process is nobody.
    fn wait_for_ids(&self) -> Result<(), Failure> {
        let mut buf = [0; 16];
        match fd::receive(self.theirs.as_fd(), &mut buf) {
            Ok(0) | Err(_) => Err(Failure::own("the command ended")),
            Ok(_) => Ok(()),
        }
    }

    fn limits(&self) -> Result<(), Failure> {
        let set = |resource, soft, hard| rlimit::set(resource, soft, hard).while_doing("resource limits");
        // Guests' open files are the sentry's descriptors; their own limits are kept by the sentry's kernel.
        let (_, hard) = rlimit::get(Resource::NoFile).while_doing("resource limits")?;
        set(Resource::NoFile, hard, hard)?;
        // One byte, not none: with none, a host that pipes core dumps into a program would still start it, as its root,
        // for a guest process that has destroyed its own stub.
        let (_, core) = rlimit::get(Resource::Core).while_doing("resource limits")?;
        set(Resource::Core, core.min(1), core.min(1))?;
        set(Resource::MsgQueue, 0, 0)
    }

    /// A mount namespace with a read-only tmpfs as root and the trees in it.
    fn mounts(&self) -> Result<(OwnedFd, Vec<OwnedFd>), Failure> {
        mount::make_private().while_doing("making mounts private")?;
        let mut own = Vec::new();
        let copies = match &self.copies {
            Some(copies) => copies,
            None => {
                let mountinfo = trees::mountinfo()?;
                for tree in &self.trees {
                    own.push(Copy::whole(tree, &mountinfo)?);
                }
                &own
            }
        };
        let base =
            mount::new_filesystem(c"tmpfs", &[(c"size", c"64k"), (c"mode", c"0755")]).while_doing("tmpfs")?;
        let scratch = mount::open_path("/proc".as_ref()).while_doing("/proc")?;
        mount::pivot_into(base.as_fd(), scratch.as_fd()).while_doing("changing the root")?;
        let mut handles = Vec::new();
        for (index, (tree, copy)) in self.trees.iter().zip(copies).enumerate() {
            let name = CString::new(index.to_string()).map_err(|_| Failure::own("tree name"))?;
            handles.push(
                trees::attach(&base, &name, tree, copy)
                    .while_doing(&format!("mounting '{}'", tree.host.display()))?,
            );
        }
        let volumes = handles.split_off(1);
        let root = handles.pop().ok_or_else(|| Failure::own("no root"))?;
        trees::cover_views(&root).while_doing("covering the views of the host")?;
        mount::restrict_one(base.as_fd(), Access::ReadOnly).while_doing("restricting the root")?;
        Ok((root, volumes))
    }

    /// The sentry dies when the command does, however that comes about.
    fn tie_to_command(&self) -> Result<(), Failure> {
        prctl::die_with_parent().while_doing("parent death signal")?;
        // The command may have died before the line above; its end of the pair tells.
        let mut buf = [0; 16];
        match fd::try_receive(self.theirs.as_fd(), &mut buf) {
            Ok(0) => Err(Failure::own("the command ended")),
            _ => Ok(()),
        }
    }

    /// Only for the clone, which never returns to the code that owns the descriptors that are closed here.
    fn close_descriptors(&self, io: &Io) -> Result<(), Failure> {
        let mut keep = vec![self.theirs.as_fd()];
        for copy in self.copies.iter().flatten() {
            keep.extend(copy.descriptors());
        }
        keep.extend(io.stdio.iter().map(AsFd::as_fd));
        keep.extend(io.more.iter().map(AsFd::as_fd));
        keep.extend(io.log.iter().map(AsFd::as_fd));
        keep.extend(self.listener.map(AsFd::as_fd));
        keep.extend(io.network.iter().map(AsFd::as_fd));
        keep.extend(io.figures.iter().map(|(_, file)| file.as_fd()));
        fd::close_all_but(&keep).while_doing("closing descriptors")
    }
}

/// What the walls cost at a start: the time from clone to the end of a process that closes all of them and does nothing else, and of
/// one that does nothing at all. For the benchmark.
#[cfg(feature = "testing")]
pub fn time_of_walls(with: bool) -> Result<std::time::Duration, Failure> {
    use crate::launch::stdio;
    let io = Io {
        stdio: [stdio(0)?, stdio(1)?, stdio(2)?],
        more: Vec::new(),
        terminal: None,
        log: None,
        log_bounded: false,
        network: Vec::new(),
        figures: Vec::new(),
    };
    let trees = vec![Tree {
        host: "/".into(),
        read_only: true,
        below: true,
    }];
    let (ours, theirs) = fd::packet_pair().while_doing("control socket")?;
    let begin = std::time::Instant::now();
    if !with {
        let child = ns::spawn(0, || 0).map_err(cannot_clone)?;
        child.wait().while_doing("waiting for a process")?;
        return Ok(begin.elapsed());
    }
    let ids = IdMaps::of_caller()?;
    let copies = trees::copies(&trees)?;
    let child = ns::spawn(ns::JAIL, || {
        let entry = Entry {
            trees,
            copies,
            theirs: &theirs,
            listener: None,
            before: SignalSet::empty(),
            mapped_away: false,
        };
        let closed = entry.close_walls(&io, None, &mut Timing::new(false)).is_ok()
            && prctl::not_dumpable().is_ok()
            && host::surface::close_sentry(host::surface::Needs::default(), |_| None).is_ok();
        i32::from(!closed)
    });
    let child = child.map_err(cannot_clone)?;
    ids.write(child.pid_on_host())?;
    fd::send(ours.as_fd(), b"mapped").while_doing("telling a process")?;
    match child.wait().while_doing("waiting for a process")? {
        ns::Ended::Exited(0) => Ok(begin.elapsed()),
        ended => Err(Failure::own(format!("walls: {ended:?}"))),
    }
}
