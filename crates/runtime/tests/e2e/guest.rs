//! Every program of `tests/guest`: it must pass on this machine's own kernel first, and then inside.
//!
//! `TEGMEN_GUEST=name` runs only the programs whose name contains that.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{LIMIT, Outcome, Scratch, have, run, tegmen_do};

/// Sandboxes at the same time.
const WORKERS: usize = 2;
/// No guest program needs longer.
const GUEST_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn guest_programs_do_inside_what_they_do_on_linux() {
    if !have("cc") {
        return;
    }
    let sources = sources();
    let scratch = Scratch::new("guest");
    let next = AtomicUsize::new(0);
    let faults: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut faults = Vec::new();
            while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                faults.extend(check(source, &scratch));
            }
            faults
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(
        faults.is_empty(),
        "{} of {} failed:\n{}",
        faults.len(),
        sources.len(),
        faults.join("\n")
    );
}

fn sources() -> Vec<PathBuf> {
    let wanted = std::env::var("TEGMEN_GUEST").unwrap_or_default();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guest");
    let mut sources: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .filter(|path| path.to_string_lossy().contains(&wanted))
        .collect();
    sources.sort();
    sources
}

/// Compiles and runs one program; what went wrong, if anything did.
fn check(source: &Path, scratch: &Scratch) -> Option<String> {
    let name = source.file_stem()?.to_str()?;
    let program = scratch.path().join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-D_GNU_SOURCE", "-pthread", "-o"])
        .arg(&program)
        .arg(source)
        .args(["-lrt", "-lm"]);
    let compiled = run(&mut cc, LIMIT);
    if compiled.status != Some(0) {
        return Some(format!("{name}: does not compile:\n{}", compiled.stderr));
    }
    let native = run(Command::new(&program).current_dir("/tmp"), GUEST_LIMIT);
    if native.status != Some(0) {
        return Some(describe(name, "natively (so it tests nothing)", &native));
    }
    let inside = run(
        &mut tegmen_do(&["--cwd", "/tmp"], &[program.to_str()?]),
        GUEST_LIMIT,
    );
    if inside.status != Some(0) {
        return Some(describe(name, "inside", &inside));
    }
    if name.starts_with("volume_") {
        let dir = scratch.path().join("volume");
        std::fs::create_dir_all(&dir).unwrap();
        let volume = format!("{}:/mnt", dir.display());
        let on_volume = run(
            &mut tegmen_do(&["--volume", &volume], &[program.to_str()?, "/mnt"]),
            GUEST_LIMIT,
        );
        if on_volume.status != Some(0) {
            return Some(describe(name, "on a volume", &on_volume));
        }
    }
    (inside.stdout != native.stdout).then(|| {
        format!(
            "{name}: other output inside\n--- native\n{}\n--- inside\n{}",
            native.stdout, inside.stdout
        )
    })
}

fn describe(name: &str, where_: &str, outcome: &Outcome) -> String {
    let status = outcome
        .status
        .map_or("time limit".to_string(), |status| status.to_string());
    format!("{name}: {status} {where_}\n{}{}", outcome.stdout, outcome.stderr)
}
