//! /proc/cpuinfo: the model that the runtime found, once for each processor of the sandbox.

use std::fmt::Write;

use abi::Errno;

use super::system::System;

/// /proc/cpuinfo.
pub fn show(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let cpus = kernel.config.cpus;
    let mut out = String::new();
    for cpu in 0..cpus {
        for (name, value) in &kernel.config.cpu.lines {
            let value = match name.as_str() {
                "processor" | "core id" | "apicid" | "initial apicid" => cpu.to_string(),
                "siblings" | "cpu cores" => cpus.to_string(),
                "physical id" => "0".to_string(),
                _ => value.clone(),
            };
            // Names are padded with tabs to the third stop, as Linux writes them.
            let tabs = if name.len() < 8 { "\t\t" } else { "\t" };
            let space = if value.is_empty() { "" } else { " " };
            let _ = writeln!(out, "{name}{tabs}:{space}{value}");
        }
        out.push('\n');
    }
    Ok(out.into_bytes())
}
