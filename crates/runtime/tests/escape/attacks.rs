//! Every program of `tests/escape`: each tries one idea inside, and exits 0 only if it was contained.
//!
//! `TEGMEN_ESCAPE=name` runs only the programs whose name contains that.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{LIMIT, Scratch, have, run, tegmen_do};
use crate::witness::Witness;

/// Sandboxes at the same time.
const WORKERS: usize = 2;
/// No attack needs longer, on a busy machine without optimisation.
const ATTACK_LIMIT: Duration = Duration::from_secs(400);
/// What the shell around each program says when the sandbox still serves after the attack.
const SERVES: &str = "the sandbox still serves";

#[test]
fn attacks_are_contained() {
    if !have("cc") {
        return;
    }
    let sources = sources();
    assert!(!sources.is_empty());
    let scratch = Scratch::new("escape");
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
        "{} of {} attacks were not contained:\n{}",
        faults.len(),
        sources.len(),
        faults.join("\n")
    );
}

fn sources() -> Vec<PathBuf> {
    let wanted = std::env::var("TEGMEN_ESCAPE").unwrap_or_default();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/escape");
    let mut sources: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        // Those need a volume or a network: `volumes` and `network` run them.
        .filter(|path| !path.to_string_lossy().contains("volume"))
        .filter(|path| !path.to_string_lossy().contains("network"))
        .filter(|path| path.to_string_lossy().contains(&wanted))
        .collect();
    sources.sort();
    sources
}

/// Compiles an attack into `scratch`.
pub fn compile(source: &Path, scratch: &Scratch, more: &[&str]) -> Result<PathBuf, String> {
    let name = source.file_stem().unwrap_or_default();
    let program = scratch.path().join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-w", "-pthread"])
        .args(more)
        .arg("-o")
        .arg(&program)
        .arg(source)
        .arg("-lrt");
    let compiled = run(&mut cc, LIMIT);
    if compiled.status == Some(0) {
        Ok(program)
    } else {
        Err(format!(
            "{}: does not compile:\n{}",
            name.display(),
            compiled.stderr
        ))
    }
}

/// Runs one attack; what went wrong, if anything did.
fn check(source: &Path, scratch: &Scratch) -> Option<String> {
    let name = source.file_stem()?.to_str()?;
    let program = match compile(source, scratch, &[]) {
        Ok(program) => program,
        Err(fault) => return Some(fault),
    };
    let own = Scratch::new(name);
    let witness = Witness::new(&own);
    // Stopped and orphaned children of the attack must not keep the shell from saying its line.
    let script = format!("\"$0\" \"$1\"; status=$?; echo '{SERVES}'; exit $status");
    let command = ["sh", "-c", &script, program.to_str()?, witness.canary()];
    let start = std::time::Instant::now();
    let (outcome, mut faults) = witness.watch(&mut tegmen_do(&["--cwd", "/tmp"], &command), ATTACK_LIMIT);
    if outcome.status != Some(0) {
        faults.push(format!("exit status {:?}", outcome.status));
    }
    if !outcome.stdout.contains(SERVES) {
        faults.push("the sandbox did not go on".into());
    }
    eprintln!("{name}: {} faults, {:.1?}", faults.len(), start.elapsed());
    (!faults.is_empty()).then(|| {
        format!(
            "{name}: {}\n{}{}",
            faults.join("; "),
            tail(&outcome.stdout),
            tail(&outcome.stderr)
        )
    })
}

/// The last lines of an output that may be long.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(25);
    lines[from..].iter().map(|line| format!("    {line}\n")).collect()
}
