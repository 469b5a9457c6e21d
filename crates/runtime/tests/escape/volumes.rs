//! Volumes: the host lays traps in them, or changes them while a guest attacks. The guest's root is a directory with nothing
//! but the attack in it, so that all of the host's files lie outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::attacks::compile;
use crate::harness::{LIMIT, Scratch, have, run, tegmen_do};
use crate::witness::Witness;

const O_NONBLOCK: i32 = 0o4000;
/// The attacks take some seconds; a busy machine takes its time.
const ATTACK_LIMIT: Duration = Duration::from_secs(200);

/// A root with one program, a volume, and a directory that is in neither.
struct Stage {
    scratch: Scratch,
    witness: Witness,
}

impl Stage {
    /// `None` where programs cannot be linked statically.
    fn new(attack: &str) -> Option<Stage> {
        if !have("cc") {
            return None;
        }
        let scratch = Scratch::new(attack);
        for dir in ["root/tmp", "root/vol", "root/etc", "vol/dir/sub", "outside/sub"] {
            fs::create_dir_all(scratch.path().join(dir)).unwrap();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/escape")
            .join(format!("{attack}.c"));
        let program = compile(&source, &scratch, &["-static"])
            .map_err(|fault| eprintln!("skipped: {fault}"))
            .ok()?;
        fs::rename(program, scratch.path().join("root/attack")).unwrap();
        let witness = Witness::new(&scratch);
        for (file, text) in [
            ("vol/file", "inside\n"),
            ("vol/dir/file", "inside\n"),
            ("vol/dir/sub/file", "inside\n"),
            ("outside/file", "outside\n"),
            ("outside/victim", "outside\n"),
            ("outside/odd", "outside\n"),
            ("outside/sub/file", "outside\n"),
            ("root/etc/own", "own\n"),
        ] {
            fs::write(scratch.path().join(file), text).unwrap();
        }
        Some(Stage { scratch, witness })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs the attack; panics with what it and the host show if it was not contained.
    fn attack(&self, mode: &str, arguments: &[&str]) {
        let (root, volume) = (self.path("root"), self.path("vol"));
        let volume = format!("{}:/vol{mode}", volume.display());
        let options = [
            "--rootfs",
            root.to_str().unwrap(),
            "--volume",
            &volume,
            "--clear-env",
        ];
        let mut command = vec!["/attack", self.witness.canary()];
        command.extend(arguments);
        let (outcome, faults) = self
            .witness
            .watch(&mut tegmen_do(&options, &command), ATTACK_LIMIT);
        assert!(
            faults.is_empty() && outcome.status == Some(0),
            "{faults:?}\n{outcome:#?}"
        );
        eprintln!("{}", outcome.stdout);
    }
}

/// Everything below a directory: type and mode, owner, times of change, contents.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut text = format!(
            "{:o} {}:{} {} {}.{}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.ctime(),
            meta.ctime_nsec()
        );
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            text += &fs::read_to_string(&path).unwrap();
        }
        all.insert(path, text);
    }
    all
}

#[test]
fn a_read_only_volume_is_read_only_at_the_host() {
    let Some(stage) = Stage::new("volume_read_only") else {
        return;
    };
    symlink("file", stage.path("vol/link")).unwrap();
    let before = snapshot(&stage.path("vol"));
    stage.attack(":ro", &[]);
    assert_eq!(snapshot(&stage.path("vol")), before);
}

#[test]
fn traps_in_a_volume_are_not_followed() {
    let Some(stage) = Stage::new("volume_traps") else {
        return;
    };
    let canary = stage.witness.canary().to_string();
    symlink(&canary, stage.path("vol/absolute")).unwrap();
    symlink("../canary", stage.path("vol/up")).unwrap();
    symlink("..", stage.path("vol/up_dir")).unwrap();
    symlink("../../canary", stage.path("vol/dir/up")).unwrap();
    symlink(format!("/proc/self/root{canary}"), stage.path("vol/self_root")).unwrap();
    symlink("absolute", stage.path("vol/chain")).unwrap();
    let listener = UnixListener::bind(stage.path("vol/socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let make = |arguments: &[&str]| {
        let mut mknod = Command::new("mknod");
        run(mknod.current_dir(stage.path("vol")).args(arguments), LIMIT).status == Some(0)
    };
    assert!(make(&["fifo", "p"]));
    // Only root can: the other traps are there in any case.
    make(&["-m", "666", "memory", "c", "1", "1"]);
    make(&["-m", "666", "disk", "b", "7", "0"]);
    make(&["-m", "666", "kmsg", "c", "1", "11"]);
    let mut fifo = fs::OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(stage.path("vol/fifo"))
        .unwrap();
    let outside = snapshot(&stage.path("outside"));
    stage.attack("", &[]);
    let mut bytes = [0; 64];
    assert!(
        !matches!(fifo.read(&mut bytes), Ok(1..)),
        "the guest wrote into a fifo of the host"
    );
    assert!(
        listener.accept().is_err(),
        "the guest reached a socket of the host"
    );
    assert_eq!(snapshot(&stage.path("outside")), outside);
    for entry in fs::read_dir(stage.path("vol")).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let laid = ["memory", "disk", "kmsg"]
            .iter()
            .any(|name| entry.file_name() == *name);
        assert!(
            laid || !(kind.is_block_device() || kind.is_char_device()),
            "the guest made a device: {entry:?}"
        );
    }
}

#[test]
fn handles_of_files_outside_are_none() {
    let Some(stage) = Stage::new("volume_handles") else {
        return;
    };
    let outside = snapshot(&stage.path("outside"));
    let numbers: Vec<String> = ["outside", "outside/file", "outside/sub/file", "canary", "."]
        .into_iter()
        .map(|name| fs::metadata(stage.path(name)).unwrap().ino().to_string())
        .collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    stage.attack("", &numbers);
    assert_eq!(snapshot(&stage.path("outside")), outside);
}

#[test]
fn files_that_shrink_under_their_users_hurt_nobody_else() {
    let Some(stage) = Stage::new("volume_truncate") else {
        return;
    };
    let before = snapshot(&stage.path("outside"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let file = stage.path("vol/file");
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                // The guest may have put another in its place.
                if let Ok(open) = fs::OpenOptions::new().write(true).open(&file) {
                    round += 1;
                    let _ = open.set_len(round % 7 * 5000);
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        let attacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.attack("", &[])));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = attacked {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(snapshot(&stage.path("outside")), before);
}

#[test]
fn a_hostile_writer_on_the_host_leads_nobody_out() {
    let Some(stage) = Stage::new("volume_race") else {
        return;
    };
    let before = snapshot(&stage.path("outside"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| swap(&stage, &stop));
        let attacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.attack("", &["6"])));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = attacked {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(snapshot(&stage.path("outside")), before);
    let canary = fs::metadata(stage.path("canary")).unwrap();
    assert_ne!(canary.permissions().mode() & 0o777, 0o640);
}

/// Swaps directories and files of the volume for links that lead out, and other things that must not be opened.
fn swap(stage: &Stage, stop: &AtomicBool) {
    let vol = stage.path("vol");
    let aside = stage.path("aside");
    fs::create_dir_all(&aside).unwrap();
    let outside = stage.path("outside");
    // Moves a name aside, puts something else there for a moment, and takes it back. Errors are the guest's doing.
    let exchange = |name: &str, place: &dyn Fn(&Path)| {
        let (real, kept) = (vol.join(name), aside.join("kept"));
        if fs::rename(&real, &kept).is_ok() {
            place(&real);
            thread::sleep(Duration::from_micros(300));
            let _ = fs::remove_file(&real);
            if fs::rename(&kept, &real).is_err() {
                let _ = fs::remove_dir_all(&real);
                let _ = fs::rename(&kept, &real);
            }
        }
    };
    while !stop.load(Ordering::Relaxed) {
        exchange("dir", &|at| {
            let _ = symlink("../outside", at);
        });
        exchange("dir", &|at| {
            let _ = symlink(&outside, at);
        });
        exchange("dir/sub", &|at| {
            let _ = symlink("../../outside/sub", at);
        });
        exchange("file", &|at| {
            let _ = symlink(outside.join("file"), at);
        });
        exchange("dir/file", &|at| {
            let _ = symlink("../../outside/file", at);
        });
        exchange("dir/file", &|at| {
            let _ = UnixListener::bind(at);
        });
        // The whole directory leaves the volume while the guest is in it.
        let _ = fs::rename(vol.join("dir/sub"), aside.join("sub"));
        thread::sleep(Duration::from_micros(300));
        let _ = fs::rename(aside.join("sub"), vol.join("dir/sub"));
        restore(&vol, &aside);
    }
}

/// Puts back what the guest or a failed exchange has taken away, without following a link of our own.
fn restore(vol: &Path, aside: &Path) {
    for dir in ["", "dir", "dir/sub"] {
        let dir = vol.join(dir);
        let _ = fs::create_dir(&dir);
        if !fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir()) {
            return;
        }
        let new = aside.join("new");
        let _ = fs::write(&new, "inside\n");
        let _ = fs::rename(&new, dir.join("file"));
    }
}
