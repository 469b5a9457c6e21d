//! `cargo xtask tidy`: the rules of ARCHITECTURE.md that a compiler does not check.
//!
//! Dependency direction, where `unsafe` and host calls may be, and how long files are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Crate, and which crates of ours it may depend on. The order is from the bottom to the top.
const ALLOWED: &[(&str, &[&str])] = &[
    ("abi", &[]),
    ("sync", &["abi"]),
    ("host", &["abi"]),
    ("platform", &["abi"]),
    ("systrap", &["platform", "host", "abi"]),
    ("net", &[]),
    ("kernel", &["abi", "sync", "platform", "net"]),
    ("fs", &["kernel", "host", "abi", "sync", "platform"]),
    (
        "sandbox",
        &[
            "abi", "sync", "platform", "host", "systrap", "net", "kernel", "fs",
        ],
    ),
    ("relay", &["net", "host", "abi"]),
    ("runtime", &["sandbox", "relay", "host", "abi"]),
    ("shim", &["runtime"]),
    ("xtask", &[]),
];

/// Crates that may contain `unsafe` and use libc; everywhere else it is forbidden.
const UNSAFE: &[&str] = &["host", "systrap"];

/// A longer file needs a reason in [`LONG`].
const MAX_LINES: usize = 700;

/// Files that may be longer than [`MAX_LINES`], and why.
const LONG: &[(&str, &str)] = &[(
    "crates/kernel/src/syscall/table.rs",
    "one list of every system call; its bodies are in files of their own",
)];

/// Runs every check and reports all that fails.
pub fn run(_args: &[String]) -> Result<()> {
    let root = crate::workspace_root()?;
    let mut faults = Vec::new();
    check_dependencies(&root, &mut faults)?;
    check_sources(&root, &mut faults)?;
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    ensure!(faults.is_empty(), "{} faults", faults.len());
    Ok(())
}

fn check_dependencies(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages in metadata")?;
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may) = allowed.get(name) else {
            faults.push(format!(
                "crate {name} is not in the dependency order (xtask/src/tidy.rs)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev";
            if ours.contains(on) && !may.contains(&on) && !for_tests {
                faults.push(format!("crate {name} must not depend on {on}"));
            }
            if on == "libc" && !UNSAFE.contains(&name) {
                faults.push(format!(
                    "crate {name} uses libc; host calls belong in the host crate"
                ));
            }
        }
    }
    Ok(())
}

fn check_sources(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let mut crates: Vec<PathBuf> = fs::read_dir(root.join("crates"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    crates.push(root.join("xtask"));
    crates.sort();
    for dir in crates {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let may_be_unsafe = UNSAFE.contains(&name.as_str());
        if !may_be_unsafe {
            let entry = ["src/lib.rs", "src/main.rs"]
                .iter()
                .map(|f| dir.join(f))
                .find(|f| f.exists());
            let text = entry.map(fs::read_to_string).transpose()?.unwrap_or_default();
            if !text.contains("#![forbid(unsafe_code)]") {
                faults.push(format!("crate {name} lacks #![forbid(unsafe_code)]"));
            }
        }
        let mut files = Vec::new();
        rust_files(&dir, &mut files)?;
        for file in files {
            check_file(root, &file, may_be_unsafe, faults)?;
        }
    }
    Ok(())
}

fn check_file(root: &Path, file: &Path, may_be_unsafe: bool, faults: &mut Vec<String>) -> Result<()> {
    let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
    let text = fs::read_to_string(file).with_context(|| shown.clone())?;
    let lines = text.lines().count();
    if lines > MAX_LINES && !LONG.iter().any(|(path, _)| *path == shown) {
        faults.push(format!(
            "{shown}: {lines} lines, more than {MAX_LINES}; split it, or give a reason in xtask/src/tidy.rs"
        ));
    }
    let is_module = shown.contains("/src/");
    if is_module && !text.trim_start().starts_with("//!") {
        faults.push(format!("{shown}: no module comment (//!) at the top"));
    }
    if may_be_unsafe {
        return Ok(());
    }
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        // The name is put together so that this file does not find itself.
        if code.contains(concat!("libc", "::")) {
            faults.push(format!("{shown}:{}: libc outside of the host crates", number + 1));
        }
    }
    Ok(())
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(|e| e.path());
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}
