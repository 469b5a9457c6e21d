//! `tegmen update`: other limits for a container that runs.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use oci_spec::runtime::LinuxResources;

use super::{Globals, show, usage};
use crate::cgroup::Limits;
use crate::container::{lifecycle, resources};
use crate::failure::{Failure, While};

const HELP: &str = "\
Changes limits of a container; those that are not named stay.

usage: tegmen update [OPTION...] ID

  -r, --resources FILE        linux.resources as config.json has them; '-': standard input
      --memory BYTES, --memory-swap BYTES, --memory-reservation BYTES
      --cpu-quota US, --cpu-period US, --cpu-burst US, --cpu-share N, --cpu-idle N
      --cpu-rt-runtime US, --cpu-rt-period US
      --cpuset-cpus LIST, --cpuset-mems LIST
      --pids-limit N, --blkio-weight N
Bytes may have a suffix (k, m, g); -1 means without limit.
";

/// Most bytes of a file of limits.
const FILE_MAX: u64 = 1 << 20;

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let mut change = Limits::default();
    let mut id = None;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            Arg::Long("resources") | Arg::Short('r') => {
                let file = parser.value().map_err(usage)?;
                change = read(&PathBuf::from(file), globals)?;
            }
            Arg::Long(name) => {
                let name = name.to_string();
                let value = parser.value().map_err(usage)?;
                set(&mut change, &name, &value.to_string_lossy())?;
            }
            Arg::Value(value) if id.is_none() => id = Some(value.to_string_lossy().into_owned()),
            other => return Err(usage(other.unexpected())),
        }
    }
    let id = id.ok_or_else(|| Failure::own("a container's id is needed; try 'tegmen update --help'"))?;
    lifecycle::update(globals, &id, change)?;
    Ok(0)
}

fn read(file: &PathBuf, globals: &Globals) -> Result<Limits, Failure> {
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .take(FILE_MAX)
            .read_to_end(&mut text)
            .while_doing("reading standard input")?;
    } else {
        text = fs::read(file).while_doing(&format!("reading '{}'", file.display()))?;
    }
    let resources: LinuxResources = serde_json::from_slice(&text)
        .map_err(|error| Failure::own(format!("'{}': {error}", file.display())))?;
    let (limits, warnings) = resources::limits(&resources);
    for warning in &warnings {
        globals.warn(warning);
    }
    Ok(limits)
}

fn set(limits: &mut Limits, name: &str, value: &str) -> Result<(), Failure> {
    let wrong = || Failure::own(format!("--{name}: '{value}' is no such value"));
    let bytes = || bytes(value).ok_or_else(wrong);
    let unsigned = || value.parse::<u64>().map_err(|_| wrong());
    let signed = || value.parse::<i64>().map_err(|_| wrong());
    match name {
        "memory" => limits.memory = Some(bytes()?),
        "memory-swap" => limits.memory_and_swap = Some(bytes()?),
        "memory-reservation" => limits.reservation = Some(bytes()?),
        "cpu-quota" => limits.quota = Some(signed()?),
        "cpu-period" => limits.period = Some(unsigned()?),
        "cpu-burst" => limits.burst = Some(unsigned()?),
        "cpu-share" => limits.shares = Some(unsigned()?),
        "cpu-idle" => limits.idle = Some(signed()?),
        "cpu-rt-runtime" => limits.realtime_runtime = Some(signed()?),
        "cpu-rt-period" => limits.realtime_period = Some(unsigned()?),
        "cpuset-cpus" => limits.cpus = Some(value.to_string()),
        "cpuset-mems" => limits.mems = Some(value.to_string()),
        "pids-limit" => limits.pids = Some(signed()?),
        "blkio-weight" => limits.io_weight = Some(value.parse().map_err(|_| wrong())?),
        // Obsolete in every kernel that Tegmen runs on; runc takes them without a word, too.
        "kernel-memory" | "kernel-memory-tcp" => {}
        "l3-cache-schema" | "mem-bw-schema" => {
            return Err(Failure::own(format!("--{name} is not supported")));
        }
        _ => {
            return Err(Failure::own(format!(
                "invalid option '--{name}'; try 'tegmen update --help'"
            )));
        }
    }
    Ok(())
}

/// A number of bytes, with k, m, g or t.
fn bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let text = lower.trim_end_matches('b');
    let (digits, shift) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 10),
        'm' => (&text[..text.len() - 1], 20),
        'g' => (&text[..text.len() - 1], 30),
        't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(
            [bytes("64m"), bytes("1Gb"), bytes("-1"), bytes("7")],
            [Some(64 << 20), Some(1 << 30), Some(-1), Some(7)]
        );
        assert_eq!((bytes(""), bytes("m"), bytes("x7")), (None, None, None));
    }

    #[test]
    fn options_name_their_limits() {
        let mut limits = Limits::default();
        set(&mut limits, "cpu-quota", "-1").unwrap();
        set(&mut limits, "pids-limit", "20").unwrap();
        assert_eq!((limits.quota, limits.pids), (Some(-1), Some(20)));
        assert!(set(&mut limits, "cpu-share", "many").is_err() && set(&mut limits, "colour", "1").is_err());
    }
}
