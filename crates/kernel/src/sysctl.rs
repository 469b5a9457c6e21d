//! Values of /proc/sys that differ from their defaults. The table of names and rules is procfs's.

use std::collections::BTreeMap;

use sync::{Mutex, rank};

/// Changed values by path below /proc/sys. Only names of procfs's table get in, so the map is bounded.
#[derive(Debug)]
pub struct Sysctls(Mutex<BTreeMap<&'static str, String>>);

impl Default for Sysctls {
    fn default() -> Self {
        Sysctls(Mutex::new(rank::LEAF, BTreeMap::new()))
    }
}

impl Sysctls {
    /// A changed value; `None`: the default is in force.
    pub fn get(&self, path: &str) -> Option<String> {
        self.0.lock().get(path).cloned()
    }

    /// A changed value as a number, else `default`.
    pub fn number(&self, path: &str, default: i64) -> i64 {
        let value = self.get(path);
        value.and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// Changes a value.
    pub fn set(&self, path: &'static str, value: String) {
        self.0.lock().insert(path, value);
    }
}
