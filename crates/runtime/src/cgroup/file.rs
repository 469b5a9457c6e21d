//! Files of control groups: one value, or lines of a key and a value.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::failure::{Failure, While};

/// Writes a value with one call, as the host's kernel wants it. The file must exist.
pub fn write(dir: &Path, name: &str, value: &str) -> Result<(), Failure> {
    try_write(dir, name, value).while_doing(&format!(
        "control group: writing '{value}' to {}",
        dir.join(name).display()
    ))
}

/// The same with the host's error.
pub fn try_write(dir: &Path, name: &str, value: &str) -> std::io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(dir.join(name))?
        .write_all(value.as_bytes())
}

/// The file's text without white space around it; empty when it cannot be read.
pub fn text(dir: &Path, name: &str) -> String {
    let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
    text.trim().to_string()
}

/// A number; `None` for "max", too.
pub fn value(dir: &Path, name: &str) -> Option<u64> {
    text(dir, name).parse().ok()
}

/// A number, or the largest one for "max".
pub fn limit(dir: &Path, name: &str) -> Option<u64> {
    match text(dir, name).as_str() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Lines of a key and a number.
pub fn keyed(dir: &Path, name: &str) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_string(), value.trim().parse().ok()?))
    });
    lines.collect()
}
