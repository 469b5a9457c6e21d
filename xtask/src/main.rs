//! Chores of the workspace: `cargo xtask tidy`, `cargo xtask bench`.
#![forbid(unsafe_code)]

mod bench;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match verb.as_str() {
        "tidy" => tidy::run(&rest),
        "bench" => bench::run(&rest),
        _ => {
            eprintln!(
                "usage: cargo xtask tidy | bench [--rounds N] [--only ROW] [--runners A,B] [--out DIR]"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {verb}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The directory of the workspace.
fn workspace_root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest
        .parent()
        .context("xtask has a parent directory")?
        .to_path_buf())
}
